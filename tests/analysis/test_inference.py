"""Inference: textbook intervals where there are some, nothing counted twice, one way to a table row."""

import numpy as np
import pytest
from scipy import stats

from analysis import inference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_image_weights_move_whole_identities():
    groups = np.array(["a", "b", "b", "c", "c", "c"])
    weights = inference.image_weights(groups, 500, seed=1)
    assert weights.shape == (500, 6)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights[:, 1] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, 0] == 0).mean() == pytest.approx((2 / 3) ** 3, abs=0.07)


def test_resampling_follows_its_seed(rng):
    x, groups = rng.normal(size=40), np.repeat(np.arange(10), 4)
    first, again, other = (inference.mean(x, groups, seed=s).interval() for s in (1, 1, 2))
    assert first == again and first != other


def test_mean_of_independent_images_has_the_textbook_interval(rng):
    x = rng.normal(size=60)
    found = inference.mean(x, np.arange(60), n=20000).interval()
    textbook = stats.t.interval(0.95, 59, x.mean(), stats.sem(x))
    np.testing.assert_allclose(found, textbook, atol=0.02)


def test_mean_of_seeds_has_the_textbook_interval_when_images_agree(rng):
    seeds = rng.normal(size=4)
    values = np.repeat(seeds[:, None], 10, axis=1)
    estimate = inference.mean(values, np.arange(10), ["cell"] * 4)
    textbook = stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds))
    np.testing.assert_allclose(estimate.interval(), textbook, rtol=1e-3)


def test_two_cells_are_compared_like_a_pooled_t_test(rng):
    seeds = rng.normal(size=6)
    values = np.repeat(seeds[:, None], 8, axis=1)
    contrast = np.repeat([1 / 3, -1 / 3], 3)
    estimate = inference.mean(values, np.arange(8), np.repeat(["a", "b"], 3), contrast=contrast)
    assert estimate.p() == pytest.approx(stats.ttest_ind(seeds[:3], seeds[3:]).pvalue, rel=1e-2)


def test_noise_of_single_images_is_counted_once_not_twice(rng):
    values = rng.normal(size=(30, 40))  # nothing but model x image noise
    estimate = inference.mean(values, np.arange(40), ["cell"] * 30)
    assert estimate.se == pytest.approx(1 / np.sqrt(30 * 40), rel=0.3)


def test_several_contrasts_at_once_agree_with_one_at_a_time(rng):
    values, groups, strata = rng.normal(size=(6, 20)), np.repeat(np.arange(10), 2), np.repeat(["a", "b"], 3)
    contrasts = rng.normal(size=(3, 6))
    together = inference.mean(values, groups, strata, contrast=contrasts, seed=3)
    for k in range(3):
        alone = inference.mean(values, groups, strata, contrast=contrasts[k], seed=3)
        assert together.value[k] == pytest.approx(alone.value)
        assert together.se[k] == pytest.approx(alone.se)
        np.testing.assert_allclose(together.df[:, k], alone.df)


@pytest.mark.parametrize("df", [1, 2, 4, 30])
def test_one_source_of_variation_gives_student_t(df):
    estimate = inference.Estimate(np.array(2.5), np.ones(1), np.array([float(df)]))
    for confidence in (0.5, 0.9, 0.95, 0.99):
        reach = stats.t.ppf((1 + confidence) / 2, df)
        np.testing.assert_allclose(
            estimate.interval(confidence)[1] - 2.5, reach, rtol=0.02 if df > 1 else 0.05
        )
    assert estimate.p() == pytest.approx(2 * stats.t.sf(2.5, df), rel=0.02)


def test_two_sources_of_variation_give_an_interval_between_theirs():
    both = inference.Estimate(np.array(0.0), np.array([0.5, 0.5]), np.array([2.0, 40.0]))
    assert stats.t.ppf(0.975, 40) < both.interval()[1] < stats.t.ppf(0.975, 2)
    # Behrens-Fisher by brute force
    rng = np.random.default_rng(1)
    t = (rng.standard_t(2, 400000) + rng.standard_t(40, 400000)) * np.sqrt(0.5)
    assert both.interval()[1] == pytest.approx(np.quantile(t, 0.975), rel=0.02)
    assert both.p(null=3.0) == pytest.approx(np.mean(np.abs(t) > 3), rel=0.03)


def test_strata_of_unequal_variance_have_fewer_degrees_of_freedom_than_they_have_together():
    equal, one, unequal = np.ones(4), np.array([1.0, 0, 0, 0]), np.array([1.0, 0.1, 0.1, 0.1])
    found = inference.degrees_of_freedom(np.array([equal, one, unequal]).T, np.full(4, 2))
    assert found[0] == 8 and found[1] == 2 and 2 < found[2] < 6


def test_intervals_of_all_cells_cover_together_though_their_variances_differ():
    """By max-t, with degrees of freedom summed over cells, 0.93 of these studies are covered."""
    rng = np.random.default_rng(0)
    sd, covered = np.array([1.0, 0.3, 0.3, 0.3]), []
    contrasts = np.kron([[1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, -1], [0, 1, -1, 0]], np.full(3, 1 / 3))
    for _ in range(600):
        seeds = np.repeat(sd, 3) * rng.normal(size=12)
        values = np.repeat(seeds[:, None], 8, axis=1)
        estimate = inference.mean(values, np.arange(8), np.repeat(list("abcd"), 3), contrast=contrasts, n=50)
        low, high = estimate.interval(1 - 0.05 / 4)
        covered.append(((low <= 0) & (high >= 0)).all())
    assert np.mean(covered) > 0.945


def test_a_statistic_without_variation_has_an_interval_of_no_width():
    estimate = inference.mean(np.ones((4, 6)), np.arange(6), ["cell"] * 4)
    assert estimate.interval() == pytest.approx((1, 1)) and estimate.p(null=0) == pytest.approx(0)


def test_jackknife_rows_leave_out_one_unit_each():
    rows, of = inference.leave_one_out(["a", "a", "a", "b", "b"])
    np.testing.assert_allclose(rows[0], [0, 1.5, 1.5, 1, 1])
    np.testing.assert_allclose(rows[3], [1, 1, 1, 0, 2])
    assert of.tolist() == [0, 0, 0, 1, 1]


def test_jackknife_rows_leave_out_a_unit_with_all_its_models():
    rows, of = inference.leave_one_out(list("aabbb"), units=["x", "y", "p", "q", "p"])
    np.testing.assert_allclose(rows, [[0, 2, 1, 1, 1], [2, 0, 1, 1, 1], [1, 1, 0, 2, 0], [1, 1, 2, 0, 2]])
    assert of.tolist() == [0, 0, 1, 1]


def test_a_part_of_the_estimates_is_what_was_estimated_of_it(rng):
    together = inference.mean(rng.normal(size=(6, 8)), np.arange(8), list("aaabbb"), contrast=np.eye(6), n=50)
    some = together[np.array([True, False, True, False, False, False])]
    for k, of_all in enumerate((0, 2)):
        assert some[k].value == together[of_all].value and some[k].se == together[of_all].se


def test_a_row_has_the_value_and_an_interval_within_bounds(rng):
    estimate = inference.mean(
        rng.uniform(size=(6, 8)), np.arange(8), list("aaabbb"), contrast=np.eye(6), n=50
    )
    low, high = estimate[1].interval(0.9)
    assert estimate[1].row("accuracy", 0.9) == {"accuracy": estimate.value[1], "low": low, "high": high}
    assert all(type(number) is float for number in estimate[1].row().values())
    rows = estimate.row(bounds=(0.4, 0.6))
    assert list(rows) == ["estimate", "low", "high"]
    np.testing.assert_array_equal(rows["low"], estimate.interval()[0].clip(0.4, 0.6))
    np.testing.assert_array_equal(rows["estimate"], estimate.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inference.image_weights(["a", "a"], 10, 0), "at least 2 identities"),
        (lambda: inference.leave_one_out(["a", "a", "b"]), "stratum b has a single unit"),
        (lambda: inference.leave_one_out(list("aabb"), units=[0, 1, 2, 2]), "stratum b has a single unit"),
        (lambda: inference.mean(np.ones((2, 3)), range(3), ["a", "b"]), "stratum a has a single unit"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
