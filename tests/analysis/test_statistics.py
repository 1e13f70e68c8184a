"""Statistics: known answers, invariances and hostile input. Coverage is in test_statistics_calibration.py."""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from analysis import correction, permutation, transfer
from analysis import inference as bootstrap
from analysis import likeness as maps


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


# ------------------------------------------------------------ bootstrap


def test_image_weights_move_whole_identities():
    groups = np.array(["a", "b", "b", "c", "c", "c"])
    weights = bootstrap.image_weights(groups, 500, seed=1)
    assert weights.shape == (500, 6)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights[:, 1] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, 0] == 0).mean() == pytest.approx((2 / 3) ** 3, abs=0.07)


def test_images_within_an_identity_can_be_drawn_too():
    groups = np.repeat(np.arange(5), 4)
    weights = bootstrap.image_weights(groups, 500, seed=1, within=True)
    np.testing.assert_allclose(weights.sum(1), 1)
    drawn = weights.reshape(500, 5, 4).sum(2) * 5
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-9)
    assert not (weights[:, 0] == weights[:, 1]).all()


def test_model_weights_keep_every_cell_and_share_units():
    strata = np.repeat(["faces", "objects"], 6)
    units = np.tile([0, 1, 2], 4) + 3 * np.repeat([0, 1], 6)
    weights = bootstrap.model_weights(strata, 300, seed=0, units=units)
    np.testing.assert_allclose(weights[:, :6].mean(1), 1)
    np.testing.assert_allclose(weights[:, 6:].mean(1), 1)
    assert (weights[:, 0] == weights[:, 3]).all() and (weights[:, 1] == weights[:, 4]).all()
    assert not (weights[:, 0] == weights[:, 6]).all()


def test_resampling_follows_its_seed(rng):
    x, groups = rng.normal(size=40), np.repeat(np.arange(10), 4)
    first, again, other = (bootstrap.mean(x, groups, seed=s).interval() for s in (1, 1, 2))
    assert first == again and first != other


def test_mean_of_independent_images_has_the_textbook_interval(rng):
    x = rng.normal(size=60)
    found = bootstrap.mean(x, np.arange(60), n=20000).interval()
    textbook = stats.t.interval(0.95, 59, x.mean(), stats.sem(x))
    np.testing.assert_allclose(found, textbook, atol=0.02)


def test_mean_of_seeds_has_the_textbook_interval_when_images_agree(rng):
    seeds = rng.normal(size=4)
    values = np.repeat(seeds[:, None], 10, axis=1)
    estimate = bootstrap.mean(values, np.arange(10), ["cell"] * 4)
    textbook = stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds))
    np.testing.assert_allclose(estimate.interval(), textbook, rtol=1e-3)


def test_two_cells_are_compared_like_a_pooled_t_test(rng):
    seeds = rng.normal(size=6)
    values = np.repeat(seeds[:, None], 8, axis=1)
    contrast = np.repeat([1 / 3, -1 / 3], 3)
    estimate = bootstrap.mean(values, np.arange(8), np.repeat(["a", "b"], 3), contrast=contrast)
    assert estimate.p() == pytest.approx(stats.ttest_ind(seeds[:3], seeds[3:]).pvalue, rel=1e-2)


def test_noise_of_single_images_is_counted_once_not_twice(rng):
    values = rng.normal(size=(30, 40))  # nothing but model x image noise
    estimate = bootstrap.mean(values, np.arange(40), ["cell"] * 30)
    assert estimate.se == pytest.approx(1 / np.sqrt(30 * 40), rel=0.3)


def test_several_contrasts_at_once_agree_with_one_at_a_time(rng):
    values, groups, strata = rng.normal(size=(6, 20)), np.repeat(np.arange(10), 2), np.repeat(["a", "b"], 3)
    contrasts = rng.normal(size=(3, 6))
    together = bootstrap.mean(values, groups, strata, contrast=contrasts, seed=3)
    for k in range(3):
        alone = bootstrap.mean(values, groups, strata, contrast=contrasts[k], seed=3)
        assert together.value[k] == pytest.approx(alone.value)
        assert together.se[k] == pytest.approx(alone.se)
        np.testing.assert_allclose(together.df[:, k], alone.df)


def several(covariance, value=0.0, df=1000.0):
    k = len(covariance)
    return bootstrap.Estimate(np.full(k, value), covariance, np.diag(covariance)[None], np.full((1, k), df))


@pytest.mark.parametrize("df", [1, 2, 4, 30])
def test_one_source_of_variation_gives_student_t(df):
    estimate = several(np.eye(1), value=2.5, df=df)[0]
    for confidence in (0.5, 0.9, 0.95, 0.99):
        reach = stats.t.ppf((1 + confidence) / 2, df)
        np.testing.assert_allclose(
            estimate.interval(confidence)[1] - 2.5, reach, rtol=0.02 if df > 1 else 0.05
        )
    assert estimate.p() == pytest.approx(2 * stats.t.sf(2.5, df), rel=0.02)


def test_two_sources_of_variation_give_an_interval_between_theirs():
    both = bootstrap.Estimate(np.array(0.0), np.array(1.0), np.array([0.5, 0.5]), np.array([2.0, 40.0]))
    assert stats.t.ppf(0.975, 40) < both.interval()[1] < stats.t.ppf(0.975, 2)
    # Behrens-Fisher by brute force
    rng = np.random.default_rng(1)
    t = (rng.standard_t(2, 400000) + rng.standard_t(40, 400000)) * np.sqrt(0.5)
    assert both.interval()[1] == pytest.approx(np.quantile(t, 0.975), rel=0.02)
    assert both.p(null=3.0) == pytest.approx(np.mean(np.abs(t) > 3), rel=0.03)


def test_simultaneous_intervals_lie_between_single_and_bonferroni():
    estimate = several(np.eye(10))
    wide, single = estimate.simultaneous()[1], estimate.interval()[1]
    assert (wide > single).all()
    np.testing.assert_allclose(wide, stats.norm.ppf((1 + 0.95 ** (1 / 10)) / 2), rtol=0.02)
    same = several(np.ones((10, 10)))
    np.testing.assert_allclose(same.simultaneous()[1], single, rtol=0.02)


def test_percentile_intervals_can_be_expanded(rng):
    samples = rng.normal(size=200000)
    np.testing.assert_allclose(bootstrap.interval(samples), [-1.96, 1.96], atol=0.03)
    low, high = bootstrap.interval(samples, expand=12)
    reach = np.sqrt(12 / 11) * stats.t.ppf(0.975, 11)
    np.testing.assert_allclose([low, high], [-reach, reach], atol=0.05)


def test_a_statistic_without_variation_has_an_interval_of_no_width():
    estimate = bootstrap.mean(np.ones((4, 6)), np.arange(6), ["cell"] * 4)
    assert estimate.interval() == pytest.approx((1, 1)) and estimate.p(null=0) == pytest.approx(0)


# ------------------------------------------------------------ permutation


def test_sign_flip_is_exact_for_few_identities():
    differences = np.array([1.0, 2, 3, 4, 5])
    assert permutation.sign_flip(differences, np.arange(5)) == pytest.approx(2 / 32)
    assert permutation.sign_flip(-differences, np.arange(5)) == pytest.approx(2 / 32)


def test_sign_flip_counts_people_not_images():
    differences = np.repeat([1.0, 2, 3, 4, 5], 40)
    assert permutation.sign_flip(differences, np.repeat(np.arange(5), 40)) == pytest.approx(2 / 32)


def test_sign_flip_is_never_zero_and_agrees_with_a_t_test(rng):
    assert permutation.sign_flip(np.ones(100), np.arange(100), n=999) == 1 / 1000
    x = rng.normal(0.25, 1, size=60)
    p = permutation.sign_flip(x, np.arange(60), n=20000)
    assert p == pytest.approx(stats.ttest_1samp(x, 0).pvalue, abs=0.01)


def test_label_swap_enumerates_small_grids():
    matrix = np.kron(np.eye(2), np.ones((3, 3)))
    difference, p = permutation.label_swap(matrix, np.repeat(["a", "b"], 3))
    assert difference == 1 and p == pytest.approx(2 / 20)


def test_label_swap_only_exchanges_within_blocks():
    labels = np.tile(["a", "b"], 4)
    blocks = np.repeat([0, 1, 2, 3], 2)
    matrix = (labels[:, None] == labels[None]).astype(float)
    difference, p = permutation.label_swap(matrix, labels, blocks)
    assert difference == 1 and p == pytest.approx(2 / 16)
    by_block = (blocks[:, None] == blocks[None]).astype(float)  # blocks alike, labels irrelevant
    assert permutation.label_swap(by_block, labels, blocks)[1] == 1


def test_label_swap_keeps_units_together():
    units = np.repeat(np.arange(6), 4)
    labels = np.repeat(["a", "b"], 12)
    matrix = (labels[:, None] == labels[None]).astype(float)
    across = units[:, None] != units[None]
    assert permutation.label_swap(matrix, labels, units=units, pairs=across)[1] == pytest.approx(2 / 20)
    _, p = permutation.label_swap(matrix, labels, pairs=across, n=999)
    assert p == 1 / 1000


def test_random_and_exact_permutations_agree(rng):
    matrix = rng.normal(size=(8, 8)) + 0.4 * np.kron(np.eye(2), np.ones((4, 4)))
    labels = np.repeat(["a", "b"], 4)
    exact = permutation.label_swap(matrix, labels)
    random = permutation.label_swap(matrix, labels, n=68)  # 70 arrangements
    many = permutation._arrangements(np.repeat([0, 1], 4), np.zeros(8), 69, 0)
    assert many[1] and len(np.unique(many[0], axis=0)) == 70
    assert exact[0] == random[0] and abs(exact[1] - random[1]) < 0.15


# ------------------------------------------------------------ maps


def test_map_similarity_agrees_with_scipy(rng):
    a, b = rng.normal(size=(3, 2, 6, 5)).round(1), rng.normal(size=(4, 2, 6, 5)).round(1)
    spearman, pearson = maps.spearman(a, b), maps.pearson(a, b)
    assert spearman.shape == (3, 4, 2)
    for i, j, k in np.ndindex(3, 4, 2):
        x, y = a[i, k].ravel(), b[j, k].ravel()
        assert spearman[i, j, k] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert pearson[i, j, k] == pytest.approx(stats.pearsonr(x, y).statistic)


def test_top_overlap_counts_shared_pixels(rng):
    a, b = rng.normal(size=(2, 3, 10, 10)), rng.normal(size=(2, 3, 10, 10))
    overlap = maps.top_overlap(a, b, percent=20)
    x, y = (set(np.argsort(-m[1, 2].ravel())[:20]) for m in (a, b))
    assert overlap[1, 1, 2] == pytest.approx(len(x & y) / 20)
    np.testing.assert_allclose(np.diagonal(maps.top_overlap(a, percent=20)), 1, rtol=1e-6)


def test_overlap_of_constant_maps_is_chance_not_one():
    flat = np.zeros((2, 50, 10, 10))
    assert maps.top_overlap(flat, percent=20)[0, 1].mean() == pytest.approx(0.2, abs=0.05)


def test_a_constant_map_correlates_with_nothing(rng):
    a = rng.normal(size=(2, 1, 4, 4))
    a[0] = 0.1
    found = maps.spearman(a)[..., 0]
    assert np.isnan(found[0]).all() and np.isnan(found[0, 1]) and found[1, 1] == pytest.approx(1)


def test_ceilings_recover_the_known_reliability(rng):
    shared = rng.normal(size=(1, 4, 40, 40))
    seeds = shared + rng.normal(size=(6, 4, 40, 40))  # reliability of one map 1/2, of the mean of six 6/7
    pairs = maps.spearman(seeds)[np.triu_indices(6, 1)].mean()
    assert maps.split_half(seeds).mean() == pytest.approx(pairs, abs=0.02)
    assert maps.split_half(seeds, averaged=6).mean() == pytest.approx(6 / 7, abs=0.03)
    lower, upper = maps.ceiling(seeds)
    best = maps.spearman(seeds, shared).mean()  # the noise-free map
    assert lower.shape == (6, 4) and lower.mean() < best < upper.mean()


# ------------------------------------------------------------ transfer


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


SHARES = {"seed": 0.9, "task": 0.6, "pretraining": 0.3, "both": 0.1}


def test_transfer_is_zero_for_the_control_and_one_for_the_own_map():
    performance, control = planted(grid(), SHARES, noise=0)
    found = transfer.transfer(performance, control)
    np.testing.assert_allclose(np.diagonal(found.values), 1)
    assert found.values[0, 1] == pytest.approx(0.9) and not found.reasons
    performance[1, 0] = control[0]
    assert transfer.transfer(performance, control).values[1, 0] == pytest.approx(0)


def test_transfer_is_a_ratio_of_means(rng):
    performance, control = rng.uniform(size=(2, 2, 5)), rng.uniform(size=(2, 5)) - 1
    expected = (performance[0, 1].mean() - control[1].mean()) / (performance[1, 1].mean() - control[1].mean())
    assert transfer.transfer(performance, control).values[0, 1] == pytest.approx(expected)


def test_a_target_without_own_gain_has_no_transfer_and_a_reason():
    performance, control = planted(grid(), SHARES)
    control[2] = performance[2, 2] + 0.1
    found = transfer.transfer(performance, control)
    assert np.isnan(found.values[:, 2]).all() and not np.isnan(np.delete(found.values, 2, axis=1)).any()
    assert list(found.reasons) == [2] and "-0.1" in found.reasons[2]


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


# ------------------------------------------------------------ correction


def test_corrections_have_their_textbook_values():
    np.testing.assert_allclose(correction.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(correction.fdr([0.01, 0.04, 0.03]), [0.03, 0.04, 0.04])
    assert correction.holm([]).shape == (0,)


@pytest.mark.parametrize(("value", "equivalent"), [(0.0, True), (0.03, True), (0.045, False), (0.2, False)])
def test_equivalence_needs_the_90_percent_interval_within_the_margin(value, equivalent):
    estimate = several(np.full((1, 1), 0.01**2), value, df=30)[0]
    found = correction.equivalence(estimate, 0.05)
    assert found.equivalent == equivalent == (found.low > -0.05 and found.high < 0.05)


# ------------------------------------------------------------ hostile input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap.image_weights(["a", "a"], 10, 0), "at least 2"),
        (lambda: bootstrap.model_weights(["a", "a", "b"], 10, 0), "stratum b has a single unit"),
        (lambda: bootstrap.model_weights(list("aabb"), 10, 0, units=[0, 1, 1, 2]), "another stratum"),
        (lambda: bootstrap.model_weights(list("aabb"), 10, 0, units=[0, 1]), "2 units for 4 models"),
        (lambda: bootstrap.interval(np.array([1, np.nan])), "1 bootstrap samples are NaN"),
        (lambda: bootstrap.mean(np.ones((2, 3)), range(3)), "strata"),
        (lambda: permutation.sign_flip([1, np.nan], [0, 1]), "1 of 2 differences are NaN"),
        (lambda: permutation.sign_flip([1, 2, 3], [0, 1]), "3 differences for 2"),
        (lambda: permutation.sign_flip([1, 2], [0, 0]), "at least 2 identities"),
        (lambda: permutation.label_swap(np.eye(2), ["a", "a"]), "do not vary"),
        (lambda: permutation.label_swap(np.eye(2), ["a", "b"]), "both needed"),
        (lambda: permutation.label_swap(np.eye(4) / 0, list("aabb")), "pairs are NaN"),
        (lambda: permutation.label_swap(np.eye(4), list("aabb"), units=[0, 1, 1, 2]), "share one label"),
        (lambda: maps.spearman(np.ones((2, 3, 3))), "model, image, y, x"),
        (lambda: maps.spearman(np.full((1, 1, 2, 2), np.nan)), "hold NaN"),
        (lambda: maps.spearman(np.ones((1, 1, 2, 2)), np.ones((1, 2, 2, 2))), "against"),
        (lambda: maps.top_overlap(np.ones((1, 1, 2, 2)), percent=1), "is none"),
        (lambda: maps.split_half(np.ones((1, 1, 2, 2))), "at least 2 seeds"),
        (lambda: transfer.gains(np.ones((2, 3, 4)), np.ones((3, 4))), "same models"),
        (lambda: transfer.gains(np.ones((2, 2, 4)), np.ones((2, 3))), "control must be"),
        (lambda: transfer.gains(np.ones((2, 2, 4)), np.full((2, 4), np.nan)), "control holds 8 NaN"),
        (
            lambda: transfer.relation_contrast(np.ones((12, 12, 4)), grid(), range(4), "run", "task"),
            "no pair.*'run'; present: seed, task",
        ),
        (lambda: transfer.by_relation(np.ones((3, 3, 4)), grid(), range(4)), "must be"),
        (lambda: correction.holm([0.1, np.nan]), "nan"),
        (lambda: correction.equivalence(bootstrap.mean([0.0, 1], [0, 1]), 0), "margin must be positive"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_jackknife_rows_leave_out_one_unit_each():
    rows, of = bootstrap.leave_one_out(["a", "a", "a", "b", "b"])
    np.testing.assert_allclose(rows[0], [0, 1.5, 1.5, 1, 1])
    np.testing.assert_allclose(rows[3], [1, 1, 1, 0, 2])
    assert of.tolist() == [0, 0, 0, 1, 1]
