"""Permutation tests that respect the design: only what the null hypothesis makes exchangeable is exchanged."""

from itertools import product
from math import factorial, prod

import numpy as np
from scipy import stats

from analysis.inference import Labels

TIE = 1e-9  # relative; permuted statistics this close to the observed one count as equal to it


def sign_flip(differences: np.ndarray, groups: Labels, *, n: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value that paired differences `(N,)` are symmetric around 0, e.g. relevance minus control.

    The differences of an identity (`groups` `(N,)`) keep or change their sign together, so correlation between a
    person's images does no harm. The statistic is the mean over images. All 2^G sign patterns are used if they are at
    most n, otherwise n random ones with p = (b + 1) / (n + 1), never 0 (Phipson & Smyth 2010). ValueError for fewer
    than 2 identities, and for NaN.
    """
    if np.isnan(differences).any():
        raise ValueError(f"{int(np.isnan(differences).sum())} of {len(differences)} differences are NaN")
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(codes, weights=differences)
    test = stats.permutation_test(
        (sums,),
        lambda x, axis: np.abs(x.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=n,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def label_swap(
    matrix: np.ndarray,
    labels: Labels,
    blocks: Labels,
    *,
    pairs: np.ndarray | None = None,
    n: int = 9999,
    seed: int = 0,
) -> tuple[float, float]:
    """Are models with the same label more alike than models with different labels? (difference, p-value)

    `matrix` `(M, M)` holds a likeness (or transfer) of every ordered pair. The statistic is the mean over pairs with
    the same label minus the mean over pairs with different labels; the diagonal never counts, and `pairs` `(M, M)`
    bool may leave out others. Under the null `labels` `(M,)` (e.g. pretraining) are exchangeable within `blocks`
    `(M,)` (e.g. task). One-sided p: all arrangements if they are at most n + 1, otherwise n random ones, (b + 1) /
    (n + 1).

    With few seeds the smallest possible p is large: two labels with 3 seeds each in one block have 20 arrangements,
    equal in pairs, so p >= 0.1. ValueError where labels never vary within a block, or all pairs share a label.
    """
    kept = ~np.eye(len(matrix), dtype=bool) & (True if pairs is None else pairs)
    names, label = np.unique(np.asarray(labels), return_inverse=True)
    block = np.unique(np.asarray(blocks), return_inverse=True)[1]
    arrangements, exact = _arrangements(label, block, n, seed)
    values = np.where(kept, matrix, 0)
    observed = _same_minus_different(values, kept, label[None], len(names))[0]
    if np.isnan(observed):
        raise ValueError(
            "pairs with the same and pairs with different labels are both needed, none of them NaN"
        )
    permuted = _same_minus_different(values, kept, arrangements, len(names))
    reached = permuted >= observed - TIE * abs(observed)
    return float(observed), float(reached.mean() if exact else (reached.sum() + 1) / (n + 1))


def _arrangements(labels: np.ndarray, blocks: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, bool]:
    """Arrangements `(n, M)` within blocks: all distinct ones if at most n + 1 (then True), or n random."""
    members = [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
    sizes = [
        factorial(len(inside)) // prod(factorial(int(c)) for c in np.bincount(labels[inside]))
        for inside in members
    ]
    if max(sizes) == 1:
        raise ValueError("labels do not vary within any block, so nothing can be exchanged")
    if prod(sizes) <= n + 1:
        choices = [_multiset_permutations(labels[inside]) for inside in members]
        rows = np.empty((prod(sizes), len(labels)), dtype=int)
        for row, arrangement in zip(rows, product(*choices), strict=True):
            for inside, values in zip(members, arrangement, strict=True):
                row[inside] = values
        return rows, True
    rows = np.tile(labels, (n, 1))
    rng = np.random.default_rng(seed)
    for inside in members:
        rows[:, inside] = rng.permuted(rows[:, inside], axis=1)
    return rows, False


def _multiset_permutations(values: np.ndarray) -> list[tuple[int, ...]]:
    if len(values) == 0:
        return [()]
    return [
        (int(v), *rest)
        for v in np.unique(values)
        for rest in _multiset_permutations(np.delete(values, np.flatnonzero(values == v)[0]))
    ]


def _same_minus_different(matrix: np.ndarray, kept: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean of same-label pairs minus mean of different-label pairs, for every row of labels `(n, M)`."""
    same_sum = np.zeros(len(labels))
    same_count = np.zeros(len(labels))
    for value in range(k):
        member = (labels == value).astype(float)
        same_sum += ((member @ matrix) * member).sum(1)
        same_count += ((member @ kept) * member).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return same_sum / same_count - (matrix.sum() - same_sum) / (kept.sum() - same_count)
