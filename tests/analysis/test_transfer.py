"""Transfer: relations, and planted gains that are found again with intervals."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from analysis import transfer

SHARES = {"seed": 0.9, "task": 0.6, "pretraining": 0.3, "both": 0.1}


@dataclass(frozen=True)
class Model:
    pretraining: str
    task: str
    seed: int
    run: int = 0


def grid(seeds=3, pretrainings=("faces", "objects"), tasks=("gender", "identity"), runs=1):
    return [Model(p, t, s, s % runs) for p in pretrainings for t in tasks for s in range(seeds)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_relation_names_what_differs():
    a = Model("faces", "gender", 0, 0)
    assert transfer.relation(a, a) == "self"
    for other, expected in [
        (Model("faces", "gender", 1, 0), "seed"),
        (Model("faces", "gender", 1, 1), "run"),
        (Model("faces", "identity", 0, 0), "task"),
        (Model("faces", "identity", 3, 0), "task"),
        (Model("faces", "identity", 0, 1), "run_task"),
        (Model("objects", "gender", 0, 0), "pretraining"),
        (Model("objects", "identity", 0, 0), "both"),
    ]:
        assert transfer.relation(a, other) == transfer.relation(other, a) == expected


def test_what_is_drawn_at_random_depends_on_the_number_of_pretraining_runs():
    strata, units = transfer.resampling(grid(seeds=4, runs=1))
    assert len(set(strata)) == 4 and len(set(units)) == 16
    strata, units = transfer.resampling(grid(seeds=4, runs=2))
    assert set(strata) == {"faces", "objects"} and len(set(units)) == 4


def planted(models, shares, n_images=60, seed=0, noise=0.02):
    """Performance and control with known transfer: own gain 0.4 over 0.3, `shares` by relation."""
    rng = np.random.default_rng(seed)
    share = np.vectorize(lambda r: {"self": 1.0, **shares}[r])(transfer.relations(models))
    control = 0.3 + noise * rng.normal(size=(len(models), n_images))
    performance = 0.3 + 0.4 * share[..., None] + noise * rng.normal(size=(len(models), len(models), n_images))
    return performance, control


def test_gains_are_what_masks_add_to_the_control():
    performance, control = planted(grid(), SHARES, noise=0)
    gain, own = transfer.gains(performance, control)
    np.testing.assert_allclose(own, 0.4)
    np.testing.assert_allclose(gain[0, 1], 0.9 * 0.4)


def test_summaries_recover_planted_transfer_with_intervals():
    models, groups = grid(), np.repeat(np.arange(20), 3)
    gain, own = transfer.gains(*planted(models, SHARES))
    found = transfer.by_relation(gain, models, groups, scale=own)
    assert list(found) == ["seed", "task", "pretraining", "both"]
    for name, share in SHARES.items():
        low, high = found[name].interval()
        assert found[name].value == pytest.approx(share, abs=0.02)
        assert 0 < high - low < 0.1
    contrast = transfer.relation_contrast(gain, models, groups, "task", "pretraining", scale=own)
    assert contrast.value == pytest.approx(0.3, abs=0.02) and contrast.interval()[0] > 0.2


def test_summaries_equal_the_plain_mean_over_pairs(rng):
    models = grid()
    similarity = rng.uniform(size=(12, 12, 10))
    found = transfer.by_relation(similarity, models, np.arange(10), n=100)
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(similarity[transfer.relations(models) == name].mean())


def test_pair_means_agree_between_one_row_and_many(rng):
    values, masks = rng.normal(size=(6, 6, 9)), rng.integers(0, 2, size=(3, 6, 6)).astype(float)
    w, v = rng.dirichlet(np.ones(9), size=4), rng.uniform(0.5, 2, size=(4, 6))
    many = transfer.pair_means(values, masks, w, v)
    for b in range(4):
        np.testing.assert_allclose(many[b], transfer.pair_means(values, masks, w[b, None], v[b, None])[0])


def test_asymmetry_finds_the_favoured_direction():
    models, groups = grid(), np.arange(60)
    performance, control = planted(models, SHARES)
    family = np.array([f"{m.pretraining}/{m.task}" for m in models])
    better = np.ix_(family == "faces/gender", family == "objects/gender")
    performance[better] += 0.1
    found = transfer.asymmetry(performance, control, models, groups)
    low, high = found.estimate.simultaneous()
    k = found.pairs.index(("faces/gender", "objects/gender"))
    assert len(found.pairs) == 6 and not found.excluded
    assert found.estimate.value[k] == pytest.approx(0.25, abs=0.03) and low[k] > 0.15
    others = np.arange(6) != k
    assert (low[others] < 0).all() and (high[others] > 0).all()


def test_asymmetry_reports_families_it_cannot_judge():
    models = grid()
    performance, control = planted(models, SHARES)
    control[:3] = 0.9
    found = transfer.asymmetry(performance, control, models, np.arange(60))
    assert len(found.pairs) == 3 and len(found.excluded) == 3
    assert "faces/gender gains" in found.excluded["faces/gender", "objects/gender"]


def test_two_thousand_resamples_take_well_under_a_second():
    models = grid()
    gain, own = transfer.gains(*planted(models, SHARES, n_images=200))
    started = time.process_time()
    transfer.by_relation(gain, models, np.repeat(np.arange(50), 4), scale=own, n=2000)
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transfer.gains(np.ones((2, 2, 4)), np.full((2, 4), np.nan)), "hold 16 NaN"),
        (
            lambda: transfer.relation_contrast(np.ones((12, 12, 4)), grid(), range(4), "run", "task"),
            "no pair.*'run'.*present: seed, task",
        ),
        (
            lambda: transfer.asymmetry(np.ones((12, 12, 4)), np.ones((12, 4)), grid(), range(4)),
            "no pair of families to compare; own relevance of",
        ),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
