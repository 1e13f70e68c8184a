"""Likeness of maps: scipy's correlations, shared pixels, known reliabilities."""

import numpy as np
import pytest
from scipy import stats

from analysis import likeness


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_rank_correlation_agrees_with_scipy(rng):
    a, b = rng.normal(size=(3, 2, 6, 5)).round(1), rng.normal(size=(4, 2, 6, 5)).round(1)
    spearman = likeness.spearman(a, b)
    assert spearman.shape == (3, 4, 2)
    for i, j, k in np.ndindex(3, 4, 2):
        x, y = a[i, k].ravel(), b[j, k].ravel()
        assert spearman[i, j, k] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_top_overlap_counts_shared_pixels(rng):
    a, b = rng.normal(size=(2, 3, 10, 10)), rng.normal(size=(2, 3, 10, 10))
    overlap = likeness.top_overlap(a, b, percent=20)
    x, y = (set(np.argsort(-m[1, 2].ravel())[:20]) for m in (a, b))
    assert overlap[1, 1, 2] == pytest.approx(len(x & y) / 20)
    np.testing.assert_allclose(np.diagonal(likeness.top_overlap(a, percent=20)), 1, rtol=1e-6)


def test_overlap_of_constant_maps_is_chance_not_one():
    flat = np.zeros((2, 50, 10, 10))
    assert likeness.top_overlap(flat, percent=20)[0, 1].mean() == pytest.approx(0.2, abs=0.05)


def test_a_constant_map_correlates_with_nothing(rng):
    a = rng.normal(size=(2, 1, 4, 4))
    a[0] = 0.1
    found = likeness.spearman(a)[..., 0]
    assert np.isnan(found[0]).all() and np.isnan(found[0, 1]) and found[1, 1] == pytest.approx(1)


def test_split_half_recovers_the_known_reliability(rng):
    shared = rng.normal(size=(1, 4, 40, 40))
    seeds = shared + rng.normal(size=(6, 4, 40, 40))  # reliability 1/2
    pairs = likeness.spearman(seeds)[np.triu_indices(6, 1)].mean()
    assert likeness.split_half(seeds).mean() == pytest.approx(pairs, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: likeness.spearman(np.full((1, 1, 2, 2), np.nan)), "hold NaN"),
        (lambda: likeness.top_overlap(np.ones((1, 1, 2, 2)), percent=1), "is none"),
        (lambda: likeness.split_half(np.ones((1, 1, 2, 2))), "at least 2 seeds"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
