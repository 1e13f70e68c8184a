"""The statistics are themselves validated: on simulated studies with a known truth."""

import numpy as np
import pytest
from scipy import stats

from analysis import inference as bootstrap
from analysis import transfer
from study import calibration
from study.calibration import VARIATIONS, Design, Pairs, Variation

SMALL = Design(seeds=3, people=12, images=2)


@pytest.mark.parametrize("name", VARIATIONS)
def test_simulated_scores_vary_as_stated(name):
    variation = VARIATIONS[name]
    values = calibration.scores(SMALL, variation, 4000, seed=0)
    assert values.shape == (4000, 12, 24)
    total = sum(sd**2 for sd in vars(variation).values())
    assert values.var(0).mean() == pytest.approx(total, rel=0.03)
    shared = np.mean(values[:, 0] * values[:, 6])  # networks of different families, same image
    assert shared == pytest.approx(variation.person**2 + variation.image**2, abs=0.03)


def test_simulated_hits_have_the_stated_rate():
    variation = Variation()
    hits = calibration.correct(calibration.scores(SMALL, variation, 4000, seed=0), variation, 0.9)
    assert set(np.unique(hits)) == {0.0, 1.0}
    assert hits.mean() == pytest.approx(0.9, abs=0.01)


def test_simulated_transfer_has_the_stated_truth():
    share = {"seed": 0.9, "task": 0.6, "pretraining": 0.4, "both": 0.2}
    quiet = Pairs(share, 0, 0.01, 0, 0, 0, 0.01)
    gain, scale = (x.mean(-1) for x in transfer.gains(*calibration.performances(SMALL, quiet, seed=1)))
    relations = transfer.relations(SMALL.networks)
    for name, truth in share.items():
        assert (gain / scale)[relations == name].mean() == pytest.approx(truth, abs=0.03)


def test_rates_come_with_wilson_intervals():
    found = calibration.rate(np.repeat([True, False], [95, 5]))
    assert found == pytest.approx({"experiments": 100, "rate": 0.95, "low": 0.8882, "high": 0.9785}, abs=1e-3)


def test_power_matches_simulated_studies():
    design, effect = Design(seeds=4, people=20, images=2), 0.3
    variation = Variation(0.3, 0.4, 0.2, 0.2, 0.2, 0.1, 0.5)
    values = calibration.scores(design, variation, 400, seed=3)
    weights = calibration.contrasts(design)["difference of pretrainings"]
    values += effect * np.sign(weights)[:, None] / 2
    strata, _ = transfer.resampling(design.networks)
    statistic = calibration._means(values, weights)
    estimate = bootstrap.infer(statistic, design.groups, strata, n=500)
    found = (estimate.p() < 0.05).mean()
    parts, df = estimate.parts.mean(1), estimate.df.mean(1)
    typical = bootstrap.Estimate(np.array(0.0), parts.sum(), parts, df)
    expected = calibration.power(typical, effect, people=(20, 20), seeds=(4, 4))
    assert 0.3 < found < 0.95
    assert expected == pytest.approx(found, abs=0.1)


def test_power_grows_with_seeds_people_and_effect():
    parts = np.array([1.0, 1.0, 0.1]) * 1e-3
    estimate = bootstrap.Estimate(np.array(0.0), parts.sum(), parts, np.array([29.0, 8.0, 232.0]))

    def power(effect=0.1, people=30, seeds=3):
        return calibration.power(estimate, effect, people=(30, people), seeds=(3, seeds))

    assert power(0.0) == pytest.approx(0.05, abs=0.015)
    assert power() < power(seeds=5) < power(seeds=20)
    assert power() < power(people=300)
    assert power() < power(effect=0.2) < 1
    with pytest.raises(ValueError, match="at least 2"):
        power(seeds=1)
    with pytest.raises(ValueError, match="people, networks and both"):
        calibration.power(bootstrap.mean([0.0, 1.0], [0, 1]), 1, people=(2, 2), seeds=(2, 2))


@pytest.mark.slow
def test_intervals_cover_the_truth_with_few_seeds():
    found = calibration.coverage([Design(3, 30), Design(5, 30)], experiments=1000, methods=["combined"])
    assert (found.high >= 0.93).all(), found[found.high < 0.93]
    usual = found[
        found.variation != "only noise"
    ]  # where nothing but noise varies, intervals are a little wide
    assert (usual.low <= 0.97).all(), usual[usual.low > 0.97]
    assert usual.rate.mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
def test_percentile_intervals_would_be_too_narrow_with_few_seeds():
    found = calibration.coverage([Design(3, 30)], experiments=250, methods=["percentile", "combined"])
    found = found[(found.variation == "networks vary most") & (found.statistic == "one family")]
    rates = found.set_index("method").rate
    assert rates["percentile"] < 0.88 < 0.9 < rates["combined"]


@pytest.mark.slow
def test_intervals_of_transfer_cover_the_truth():
    found = calibration.pair_coverage([Design(3, 30)], experiments=1000)
    assert (found.high >= 0.93).all(), found[found.high < 0.93]


@pytest.mark.slow
def test_tests_keep_their_level():
    found = calibration.false_positives(Design(3, 40), experiments=1000)
    assert (found.low <= 0.05).all(), found[found.low > 0.05]
    exact = found[found.test.isin(["sign flip", "label swap"])]
    assert (exact.high >= 0.04).all(), exact


def test_false_positive_simulation_can_fail(monkeypatch):
    """The simulation notices a test that ignores that images of a person are alike."""
    real = calibration.permutation.sign_flip

    def naive(differences, groups, **options):
        return real(differences, np.arange(len(groups)), **options)

    monkeypatch.setattr(calibration.permutation, "sign_flip", naive)
    found = calibration.false_positives(Design(3, 15, 8), experiments=100)
    assert found[found.test == "sign flip"].low.min() > 0.05


def test_the_t_quantiles_used_are_those_of_scipy():
    estimate = bootstrap.mean(np.arange(6.0), np.arange(6), n=500)
    reach = (estimate.interval()[1] - estimate.value) / estimate.se
    assert reach == pytest.approx(stats.t.ppf(0.975, 5), rel=0.01)
