"""Transfer: relations, and planted gains that are found again with intervals."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from analysis import inference, transfer

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


def of(models, *names):
    """Masks of the pairs of each relation."""
    return [transfer.relations(models) == name for name in names]


def test_shares_recover_planted_transfer_with_intervals():
    models, groups = grid(), np.repeat(np.arange(20), 3)
    gain, own = transfer.gains(*planted(models, SHARES))
    masks = of(models, *SHARES)
    found = transfer.shares(gain, masks, models, groups, scale=own)
    np.testing.assert_allclose(found.value, list(SHARES.values()), atol=0.02)
    low, high = found.interval()
    assert ((low > 0) & (high - low < 0.1)).all()
    contrast = transfer.shares(gain, masks, models, groups, scale=own, contrast=[[0, 1, -1, 0]])[0]
    assert contrast.value == pytest.approx(0.3, abs=0.02) and contrast.interval()[0] > 0.2


def test_shares_without_a_scale_are_plain_means_over_pairs(rng):
    models = grid()
    likeness = rng.uniform(size=(12, 12, 10))
    masks = of(models, *SHARES)
    found = transfer.shares(likeness, masks, models, np.arange(10), n=100)
    np.testing.assert_allclose(found.value, [likeness[mask].mean() for mask in masks])


def test_a_share_of_little_has_a_finite_interval_and_of_nothing_none(rng):
    """Own gains of 0.05 with a standard error of 0.02: one in ten of these was 20 wide, as draws divide by nearly 0."""
    models, groups, widths = grid(), np.arange(40), []
    for _ in range(15):
        people = 0.05 + 0.12 * rng.normal(size=40)
        gain = 0.5 * people + 0.02 * rng.normal(size=(12, 12, 40))
        own = people + 0.02 * rng.normal(size=(12, 40))
        low, high = transfer.shares(gain, of(models, "task"), models, groups, scale=own)[0].interval()
        widths.append(high - low)
    assert np.nanmax(widths) < 2 and np.isfinite(widths).any()
    nothing = own - own.mean()
    masks = of(models, "task", "seed")
    found = transfer.shares(gain, masks, models, groups, scale=nothing, contrast=[[1, 0]])[0]
    assert np.isnan(found.value) and np.isnan(found.interval()).all()


def test_intervals_of_shares_cover_where_own_gains_are_small():
    rng, models, groups, hits = np.random.default_rng(3), grid(3), np.repeat(np.arange(30), 2), []
    for k in range(150):
        own = 0.06 + 0.1 * rng.normal(size=30)[groups] + 0.1 * rng.normal(size=(12, 60))
        gain = 0.6 * own[None] + 0.1 * rng.normal(size=(12, 12, 60))
        low, high = transfer.shares(gain, of(models, "task"), models, groups, scale=own, n=200, seed=k)[
            0
        ].interval()
        hits.append(np.isnan(low) or low < 0.6 < high)
    assert np.mean(hits) > 0.92


def test_pair_means_agree_between_one_row_and_many(rng):
    values, masks = rng.normal(size=(6, 6, 9)), rng.integers(0, 2, size=(3, 6, 6)).astype(float)
    w, v, strata = rng.dirichlet(np.ones(9), size=4), rng.uniform(0.5, 2, size=(4, 6)), list("aabbbb")
    many = transfer.pair_means(values, masks, w, v, strata)
    for b in range(4):
        one = transfer.pair_means(values, masks, w[b, None], v[b, None], strata)
        np.testing.assert_allclose(many[b], one[0])


def test_pairs_of_two_strata_have_the_same_share_whatever_their_models_weigh(rng):
    values, w, strata = rng.normal(size=(4, 4, 3)), np.full((1, 3), 1 / 3), list("aabb")
    masks, level = np.kron(np.eye(2), np.ones((2, 2)))[None], values.mean(-1)
    found = transfer.pair_means(
        values, masks, w, np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 0, 1, 1]]), strata
    )
    first, second = level[:2, :2].mean(), level[2:, 2:].mean()
    expected = [(first + second) / 2, (level[0, 0] + second) / 2, second]
    np.testing.assert_allclose(found[:, 0], expected)


def test_networks_of_one_run_count_as_that_run_in_the_variance(rng):
    """The standard error of a mean over pairs within runs is that of a mean over runs; with two pretrainings by v^2 it
    is a fifth more."""
    models, groups = grid(seeds=6, runs=3), np.arange(20)
    of_run = rng.normal(size=6)
    run = np.array([3 * (m.pretraining == "faces") + m.run for m in models])
    values = np.repeat(np.where(np.equal.outer(run, run), of_run[run], 0)[..., None], 20, axis=2)
    estimate = transfer.shares(values, of(models, "seed"), models, groups, n=100)[0]
    expected = np.sqrt((of_run[:3].var(ddof=1) + of_run[3:].var(ddof=1)) / 3) / 2
    assert estimate.se == pytest.approx(expected, rel=1e-6)


def test_asymmetry_finds_the_favoured_direction():
    models, groups = grid(), np.arange(60)
    performance, control = planted(models, SHARES)
    to_objects = transfer.between(models, "pretraining", "faces", "objects")
    performance[to_objects] += 0.1
    gain, own = transfer.gains(performance, control)
    for factor, a, b, truth in (("pretraining", "faces", "objects", 0.25), ("task", "gender", "identity", 0)):
        masks = [transfer.between(models, factor, *pair) for pair in ((a, b), (b, a))]
        found = transfer.shares(gain, masks, models, groups, scale=own, contrast=[[1, -1]])[0]
        assert found.value == pytest.approx(truth, abs=0.03)
        assert (found.interval()[0] > 0.15) == (truth > 0)


def test_between_names_pairs_that_differ_in_one_factor_alone():
    models = grid(seeds=1)
    pairs = transfer.between(models, "task", "gender", "identity")
    assert [
        (models[i].pretraining, models[i].task, models[j].task) for i, j in zip(*pairs.nonzero(), strict=True)
    ] == [
        ("faces", "gender", "identity"),
        ("objects", "gender", "identity"),
    ]
    assert (transfer.between(models, "task", "identity", "gender") == pairs.T).all()


def test_two_thousand_resamples_take_well_under_a_second():
    models = grid()
    gain, own = transfer.gains(*planted(models, SHARES, n_images=200))
    started = time.process_time()
    masks = of(models, *SHARES)
    transfer.shares(gain, masks, models, np.repeat(np.arange(50), 4), scale=own, n=2000)
    assert time.process_time() - started < 2


def test_gains_that_are_not_numbers_are_one_clear_error():
    with pytest.raises(ValueError, match="hold 16 NaN"):
        transfer.gains(np.ones((2, 2, 4)), np.full((2, 4), np.nan))


def test_what_varies_with_people_and_networks_is_no_more_than_what_varies_with_people(rng):
    """With few runs the share of both is overestimated in what only pairs of runs have."""
    models, groups = grid(seeds=3, runs=3), np.arange(40)
    values = rng.normal(size=(12, 12, 40))
    estimate = transfer.shares(values, of(models, "run"), models, groups, n=300)[0]
    mean = values[transfer.relations(models) == "run"].mean(0)
    people = inference.mean(mean, groups, n=300)
    assert estimate.parts[0] + estimate.parts[2] == pytest.approx(people.parts[0])


def variances(values, name):
    """Mean estimated variance of transfer over the pairs of a relation, in that of the estimates."""
    runs = values.shape[1] // 2
    models, groups = grid(seeds=runs, tasks=("identity",), runs=runs), np.arange(4)
    values = np.broadcast_to(values[..., None], (*values.shape, 4))
    found = [transfer.shares(each, of(models, name), models, groups, n=100)[0] for each in values]
    return np.mean([estimate.se**2 for estimate in found]) / np.var([estimate.value for estimate in found])


def test_what_only_pairs_of_five_runs_have_is_not_counted_three_times(rng):
    """The jackknife alone finds 2.7 times the variance; one that cannot be below 0 stays a little above it."""
    draws = rng.normal(size=(300, 10, 10))
    assert 0.9 < variances(draws + draws.swapaxes(1, 2), "run") < 1.9


@pytest.mark.parametrize("name", ["run", "pretraining"])
def test_what_runs_have_is_not_taken_for_what_pairs_have(rng, name):
    effects = rng.normal(size=(600, 10))
    assert variances(effects[:, :, None] + effects[:, None], name) == pytest.approx(1, abs=0.2)
