"""Simulated observers with known weights on the faces' factors, and how to recover such weights."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from rsatoolbox.rdm import RDMs
from scipy.optimize import nnls


def simulate_observers(
    factors: pd.DataFrame, weights: Mapping[str, float], *, raters: int, noise: float, seed: int
) -> RDMs:
    """Dissimilarity ratings of all pairs by simulated raters.

    d(i, j) = sum over factors of weight * (z_i - z_j)^2 with z the factor in standard deviations over the
    items, plus independent normal noise for each rater and pair.

    Args:
        factors: one row per item (index: identity), one column per factor.
        weights: {factor: weight >= 0}; factors not named count for nothing.
        raters: how many.
        noise: standard deviation of the noise, in standard deviations of d over the pairs.
        seed: of the noise.

    Returns:
        One matrix per rater; rdm descriptors `group` and `rater` say "simulated", `simulated` is True and
        `descriptors["weights"]` holds the true weights. Items in alphabetical order.

    Raises:
        ValueError: unknown, negative or all-zero weights, a weighted factor that is the same for all items,
            duplicated identities, fewer than 3 items, raters < 1, noise < 0.
    """
    _check_counts(raters=raters, noise=noise)
    factors = _check_factors(factors)
    truth = _true_distances(factors, weights)
    rng = np.random.default_rng(seed)
    ratings = truth + noise * truth.std() * rng.standard_normal((raters, len(truth)))
    return RDMs(
        ratings,
        dissimilarity_measure="simulated rating",
        descriptors={"weights": dict(weights)},
        rdm_descriptors={
            "group": ["simulated"] * raters,
            "rater": [f"simulated {i + 1}" for i in range(raters)],
            "simulated": [True] * raters,
        },
        pattern_descriptors={"identity": factors.index.tolist()},
    )


def simulate_triplets(
    factors: pd.DataFrame,
    weights: Mapping[str, float],
    *,
    raters: int,
    triplets: int,
    noise: float,
    seed: int,
) -> pd.DataFrame:
    """Odd-one-out choices by simulated raters: the item outside the pair that seems most alike.

    Args:
        factors, weights, raters, noise, seed: as for :func:`simulate_observers`; the noise is drawn anew for
            each pair of each triplet.
        triplets: random triplets shown to each rater, with repetition.

    Returns:
        Columns `a`, `b`, `c`, `odd`, `rater`, for :func:`study.ratings.triplet_rdm` (drop `rater` to
        pool) or `to_csv`; `attrs["simulated"]` is True.

    Raises:
        ValueError: as for :func:`simulate_observers`; triplets < 1.
    """
    _check_counts(raters=raters, noise=noise, triplets=triplets)
    factors = _check_factors(factors)
    names = factors.index.to_numpy()
    truth = _true_distances(factors, weights)
    matrix = RDMs(truth[None]).get_matrices()[0]
    rng = np.random.default_rng(seed)
    total = raters * triplets
    shown = rng.permuted(np.tile(np.arange(len(names)), (total, 1)), axis=1)[:, :3]
    a, b, c = shown.T
    # Column k is the distance of the pair that leaves out item k.
    left = np.stack([matrix[b, c], matrix[a, c], matrix[a, b]], axis=1)
    seen = left + noise * truth.std() * rng.standard_normal(left.shape)
    odd = shown[np.arange(total), seen.argmin(axis=1)]
    rater = np.repeat([f"simulated {i + 1}" for i in range(raters)], triplets)
    choices = pd.DataFrame({"a": names[a], "b": names[b], "c": names[c], "odd": names[odd], "rater": rater})
    choices.attrs["simulated"] = True
    return choices


def factor_weights(
    rdms: RDMs, factors: pd.DataFrame, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """How much each factor counts in a dissimilarity matrix.

    Non-negative least squares with a free intercept of the dissimilarities on the squared differences of
    each factor (in standard deviations), the model behind :func:`simulate_observers`.

    Args:
        rdms: one or more matrices, of people or models.
        factors: one row per identity (index), one column per factor; identities beyond the matrices' are
            not used.
        draws: bootstrap samples of the items for the interval of the share.
        level: its coverage.
        seed: of the bootstrap.

    Returns:
        One row per matrix and factor: the matrix's descriptors, `factor`, `weight` (in units of the
        dissimilarity), `share` (weight / sum of weights; nan if all are 0), `ci_low` and `ci_high` of the
        share, `r2` (variance of the dissimilarities explained).

    Raises:
        ValueError: an identity without factors, or a factor that is the same for all items.
    """
    identities = list(rdms.pattern_descriptors["identity"])
    missing = [identity for identity in identities if identity not in factors.index]
    if missing:
        raise ValueError(f"no factors for identity {missing[0]!r} ({len(missing)} missing)")
    table = _check_factors(factors.loc[identities], keep_order=True)
    differences = _squared_differences(table)
    rng = np.random.default_rng(seed)
    pairs, copies = _resampled_pairs(len(identities), draws, rng)
    frames = []
    for i, vector in enumerate(rdms.get_vectors()):
        if not np.isfinite(vector).all():
            raise ValueError(f"matrix {i} has values that are not finite")
        weights, r2 = _fit(differences, vector)
        drawn = [
            _fit(differences[p[keep]], vector[p[keep]])[0] for p, keep in zip(pairs, copies, strict=True)
        ]
        low, high = _share_interval(np.array(drawn).reshape(-1, len(weights)), level)
        described = {k: v[i] for k, v in rdms.rdm_descriptors.items() if k != "index"}
        share = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), np.nan)
        columns = {"factor": table.columns, "weight": weights, "share": share, "ci_low": low, "ci_high": high}
        frames.append(pd.DataFrame({**described, **columns, "r2": r2}))
    return pd.concat(frames, ignore_index=True)


def _check_counts(*, raters: int, noise: float, triplets: int = 1) -> None:
    if raters < 1 or triplets < 1:
        raise ValueError(f"raters is {raters} and triplets {triplets}; both must be at least 1")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}; it must be 0 or more")


def _check_factors(factors: pd.DataFrame, keep_order: bool = False) -> pd.DataFrame:
    if len(factors) < 3:
        raise ValueError(f"{len(factors)} items; at least 3 are needed")
    twice = factors.index[factors.index.duplicated()]
    if len(twice):
        raise ValueError(f"identity {twice[0]!r} has more than one row of factors")
    if not np.isfinite(factors.to_numpy(dtype=float)).all():
        raise ValueError("factors must be finite numbers")
    return factors if keep_order else factors.sort_index()


def _squared_differences(factors: pd.DataFrame) -> np.ndarray:
    """(pair, factor), in squared standard deviations; pairs in the order of rsatoolbox's vectors."""
    values = factors.to_numpy(dtype=float)
    spread = values.std(axis=0)
    constant = factors.columns[spread < 1e-12]
    if len(constant):
        raise ValueError(f"factor {constant[0]!r} is the same for all items, so it cannot be weighted")
    first, second = np.triu_indices(len(values), 1)
    z = values / spread
    return (z[first] - z[second]) ** 2


def _true_distances(factors: pd.DataFrame, weights: Mapping[str, float]) -> np.ndarray:
    for name, weight in weights.items():
        if name not in factors.columns:
            raise ValueError(f"no factor {name!r}; there are {', '.join(map(str, factors.columns))}")
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of {name!r} is {weight}; it must be 0 or more")
    used = [name for name, weight in weights.items() if weight > 0]
    if not used:
        raise ValueError("at least one factor needs a weight above 0")
    return _squared_differences(factors[used]) @ np.array([weights[name] for name in used], dtype=float)


def _fit(differences: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, float]:
    # Centring both sides is the same as an unconstrained intercept.
    x, y = differences - differences.mean(axis=0), vector - vector.mean()
    weights, residual = nnls(x, y)
    total = np.sum(y**2)
    return weights, float(1 - residual**2 / total) if total > 0 else np.nan


def _resampled_pairs(n: int, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(draw, pair) index of each resampled pair, and whether it is a pair of different items."""
    index = np.zeros((n, n), dtype=int)
    first, second = np.triu_indices(n, 1)
    index[first, second] = index[second, first] = np.arange(len(first))
    items = rng.integers(n, size=(draws, n))
    left, right = items[:, first], items[:, second]
    return index[left, right], left != right


def _share_interval(weights: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    totals = weights.sum(axis=1, keepdims=True)
    weights = (weights / np.where(totals > 0, totals, np.nan))[totals[:, 0] > 0]
    if not len(weights):
        return (np.full(weights.shape[1], np.nan),) * 2
    low, high = np.quantile(weights, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
