"""The statistics are themselves validated: on simulated studies with a known truth."""

import numpy as np
import pytest
from scipy import stats

from analysis import inference as bootstrap
from analysis import transfer
from study import calibration
from study.calibration import SHARE, VARIATIONS, Design, Pairs, Variation

SMALL = Design(seeds=4, people=12, images=2, runs=2)


@pytest.mark.parametrize("name", VARIATIONS)
def test_simulated_scores_vary_as_stated(name):
    variation = VARIATIONS[name]
    values = calibration.scores(SMALL, variation, 4000, seed=0)
    assert values.shape == (4000, 16, 24)
    names = ("person", "image", "person_by_family", "image_by_family", "residual")
    of_networks = ("run", "run_by_person", "network", "network_by_person")
    fixed, ours = (sum(getattr(variation, n) ** 2 for n in each) for each in (names, of_networks))
    assert values[:, :8].var(0).mean() == pytest.approx(fixed + ours, rel=0.05)
    assert values[:, 8:].var(0).mean() == pytest.approx(fixed + ours * variation.unequal**2, rel=0.05)
    shared = np.mean(values[:, 0] * values[:, 12])  # networks of different families, same image
    assert shared == pytest.approx(variation.person**2 + variation.image**2, abs=0.03)


def test_networks_of_one_run_share_its_effects():
    alone = Variation(0, 0, 0, 0, run=1.0, run_by_person=0, network=0, network_by_person=0, residual=0)
    values = calibration.scores(SMALL, alone, 50, seed=0)[..., 0]
    units = transfer.resampling(SMALL.networks)[1]
    for unit in set(units):
        assert np.ptp(values[:, units == unit], axis=1).max() == 0
    assert len({float(x) for x in values[0]}) == 4
    fixed = calibration.scores(Design(3, 12, 2, runs=1), alone, 5, seed=0)
    assert not fixed.any()  # the one run of a pretraining is what conclusions are about


def test_designs_are_those_of_the_study():
    many, few = calibration.designs(6)
    assert (many.people, many.images, many.runs) == (120, 1, 3) and (few.people, few.images) == (30, 3)
    assert len(many.networks) == 24 and len(set(many.unit)) == 6
    assert calibration.designs(3)[0].runs == 1


@pytest.mark.parametrize("variation", [Variation(), VARIATIONS["networks vary unequally"]])
def test_simulated_hits_have_the_stated_rate(variation):
    hits = calibration.correct(calibration.scores(SMALL, variation, 4000, seed=0), SMALL, variation, 0.9)
    assert set(np.unique(hits)) == {0.0, 1.0}
    assert hits[:, :8].mean() == pytest.approx(0.9, abs=0.01)
    assert hits[:, 8:].mean() == pytest.approx(0.9, abs=0.01)


def test_simulated_transfer_has_the_stated_truth():
    quiet = Pairs(SHARE, (0.2, 0.1), 0, 0.01, 0, 0, 0, 0.01)
    gain, scale = (x.mean(-1) for x in transfer.gains(*calibration.performances(SMALL, quiet, seed=1)))
    relations = transfer.relations(SMALL.networks)
    for name, truth in SHARE.items():
        assert (gain / scale)[relations == name].mean() == pytest.approx(truth, abs=0.03)


def test_small_own_gains_are_without_interval_and_said_to_be():
    table = calibration.pair_coverage([Design(3, 40, 1, runs=1)], experiments=6)
    rates = table.set_index("statistic")
    assert rates.loc["transfer, seed", "none"] == 0 and rates.loc["transfer, seed", "experiments"] == 6
    small = rates.loc["transfer, seed, small own gains"]
    assert small.none > 0 and small.experiments == 6 - round(6 * small.none)


def test_the_truth_of_agreement_is_what_large_studies_find():
    design, truth = Design(20, runs=10), calibration._true_agreement()
    levels = [
        calibration._agreement(*calibration.dissimilarities(design, 40, k), design).value for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(np.mean(levels, 0)[:2], truth[:2], atol=0.06)
    assert truth[0] > truth[1] > 0


def test_rates_come_with_wilson_intervals():
    found = calibration.rate(np.repeat([True, False], [95, 5]))
    assert found == pytest.approx({"experiments": 100, "rate": 0.95, "low": 0.8882, "high": 0.9785}, abs=1e-3)


def test_power_matches_simulated_studies():
    design, effect = Design(seeds=4, people=20, images=2, runs=1), 0.3
    variation = Variation(0.3, 0.4, 0.2, 0.2, 0, 0, 0.2, 0.1, 0.5)
    values = calibration.scores(design, variation, 400, seed=3)
    weights = calibration.contrasts(design)["difference of pretrainings"]
    values += effect * np.sign(weights[0])[:, None] / 2
    strata, _ = transfer.resampling(design.networks)
    statistic = calibration._means(values, weights)
    estimate = bootstrap.infer(statistic, design.groups, strata, n=500)
    found = (estimate.p() < 0.05).mean()
    parts, df = estimate.parts.mean(1), estimate.df.mean(1)
    typical = bootstrap.Estimate(np.array(0.0), parts, df)
    expected = calibration.power(typical, effect, people=(20, 20), seeds=(4, 4))
    assert 0.3 < found < 0.95
    assert expected == pytest.approx(found, abs=0.1)


def test_power_grows_with_seeds_people_and_effect():
    parts = np.array([1.0, 1.0, 0.1]) * 1e-3
    estimate = bootstrap.Estimate(np.array(0.0), parts, np.array([29.0, 8.0, 232.0]))

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
def test_intervals_cover_the_truth_with_few_networks():
    """Of single differences; what falls short is named in `inference.infer`."""
    rates = calibration.coverage(calibration.designs(6), experiments=1000, methods=["combined"])
    found = rates[rates.statistic.isin(["difference of pretrainings", "all families", "one family"])]
    assert (found.rate >= 0.89).all(), found[found.rate < 0.89]
    usual = found[found.variation != "networks vary unequally"]
    assert (usual.high >= 0.93).all(), usual[usual.high < 0.93]
    assert (found.low <= 0.98).all(), found[found.low > 0.98]
    assert found.rate.mean() == pytest.approx(0.955, abs=0.015)


@pytest.mark.slow
def test_percentile_intervals_would_be_too_narrow_with_few_runs():
    rates = calibration.coverage([Design(6, 30, 3)], experiments=250, methods=["percentile", "combined"])
    rates = rates[(rates.variation == "networks vary most") & (rates.statistic == "one family")]
    rates = rates.set_index("method").rate
    assert rates["percentile"] < 0.88 < 0.9 < rates["combined"]


@pytest.mark.slow
def test_intervals_of_transfer_cover_the_truth():
    found = calibration.pair_coverage([Design(6, 120, 1)], experiments=500)
    single = found[~found.statistic.str.startswith("asymmetry")]
    assert (single.high >= 0.93).all(), single[single.high < 0.93]
    assert (found.high >= 0.90).all(), found[found.high < 0.90]


@pytest.mark.slow
def test_tests_keep_their_level_and_claims_are_seldom_wrong():
    found = calibration.false_positives([Design()], experiments=1000)
    usual = found[~found.null.str.startswith("networks vary unequally")]
    assert (usual.low <= usual.expected).all(), usual[usual.low > usual.expected]
    assert (found.rate <= 1.6 * found.expected).all(), found


def test_networks_of_a_run_taken_for_independent_would_find_what_is_not_there(monkeypatch):
    """The simulation notices intervals that ignore that networks share a run."""
    runs_vary = Variation(0.1, 0.1, 0, 0, 0.3, 0.1, 0.02, 0, 0.1)
    monkeypatch.setattr(calibration, "VARIATIONS", {"runs vary": runs_vary})
    design = [Design(6, 20, 1)]
    expected = calibration.false_positives(design, experiments=200).set_index("test").rate["difference"]
    monkeypatch.setattr(transfer, "resampling", lambda models: (np.array([m.family for m in models]), None))
    naive = calibration.false_positives(design, experiments=200).set_index("test").rate["difference"]
    assert expected < 0.1 < naive


def test_the_t_quantiles_used_are_those_of_scipy():
    estimate = bootstrap.mean(np.arange(6.0), np.arange(6), n=500)
    reach = (estimate.interval()[1] - estimate.value) / estimate.se
    assert reach == pytest.approx(stats.t.ppf(0.975, 5), rel=0.01)
