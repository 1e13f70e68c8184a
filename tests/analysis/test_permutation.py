"""Permutation tests: exact where few, never 0, and only what is exchangeable is exchanged."""

import numpy as np
import pytest
from scipy import stats

from analysis import permutation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
    difference, p = permutation.label_swap(matrix, list("aaabbb"), np.zeros(6))
    assert difference == 1 and p == pytest.approx(2 / 20)


def test_label_swap_only_exchanges_within_blocks():
    labels = np.tile(["a", "b"], 4)
    blocks = np.repeat([0, 1, 2, 3], 2)
    matrix = (labels[:, None] == labels[None]).astype(float)
    difference, p = permutation.label_swap(matrix, labels, blocks)
    assert difference == 1 and p == pytest.approx(2 / 16)
    by_block = (blocks[:, None] == blocks[None]).astype(float)  # blocks alike, labels irrelevant
    assert permutation.label_swap(by_block, labels, blocks)[1] == 1


def test_random_and_exact_permutations_agree(rng):
    matrix = rng.normal(size=(8, 8)) + 0.4 * np.kron(np.eye(2), np.ones((4, 4)))
    labels = np.repeat(["a", "b"], 4)
    exact = permutation.label_swap(matrix, labels, np.zeros(8))
    random = permutation.label_swap(matrix, labels, np.zeros(8), n=68)  # 70 arrangements
    many = permutation._arrangements(np.repeat([0, 1], 4), np.zeros(8), 69, 0)
    assert many[1] and len(np.unique(many[0], axis=0)) == 70
    assert exact[0] == random[0] and abs(exact[1] - random[1]) < 0.15


def test_pairs_left_out_do_not_count(rng):
    labels, blocks = list("aaabbb") * 2, np.repeat([0, 1], 6)
    matrix = rng.normal(size=(12, 12))
    within = blocks[:, None] == blocks[None]
    changed = np.where(within, matrix, 100.0)
    assert permutation.label_swap(matrix, labels, blocks, pairs=within) == permutation.label_swap(
        changed, labels, blocks, pairs=within
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: permutation.sign_flip(np.array([1, np.nan]), [0, 1]), "1 of 2 differences are NaN"),
        (lambda: permutation.label_swap(np.eye(2), ["a", "a"], [0, 0]), "do not vary"),
        (lambda: permutation.label_swap(np.eye(2), ["a", "b"], [0, 0]), "both needed"),
        (lambda: permutation.label_swap(np.full((4, 4), np.nan), list("aabb"), [0] * 4), "none of them NaN"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
