"""Simulated observers with known weights on the faces' factors, and how to recover such weights."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from rsatoolbox.rdm import RDMs
from scipy.optimize import nnls
from scipy.spatial.distance import squareform


def factors(faces: xr.Dataset) -> pd.DataFrame:
    """The factors that procedural faces are drawn from, one row per identity, in alphabetical order."""
    table = pd.DataFrame(faces.factors.values, faces.identity.values, faces.factor.values)
    return table[~table.index.duplicated()].sort_index()


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
        One matrix per rater, items in alphabetical order; rdm descriptors `group` and `rater` say "simulated",
        `simulated` is True.

    Raises:
        KeyError: an unknown factor. ValueError: a weighted factor that is the same for all items.
    """
    factors = factors.sort_index()
    truth = _distances(factors, weights)
    rng = np.random.default_rng(seed)
    return RDMs(
        truth + noise * truth.std() * rng.standard_normal((raters, len(truth))),
        dissimilarity_measure="simulated rating",
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
        KeyError, ValueError: as for :func:`simulate_observers`.
    """
    factors = factors.sort_index()
    names = factors.index.to_numpy()
    truth = _distances(factors, weights)
    matrix = squareform(truth)
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


def factor_weights(rdms: RDMs, factors: pd.DataFrame) -> pd.Series:
    """How much each factor counts in a dissimilarity matrix.

    Non-negative least squares with a free intercept of the dissimilarities on the squared differences of
    each factor (in standard deviations), the model behind :func:`simulate_observers`.

    Args:
        rdms: one matrix, of people or models.
        factors: one row per identity (index), one column per factor; identities beyond the matrix's are not used.

    Returns:
        The weight of each factor, in units of the dissimilarity.

    Raises:
        KeyError: an identity without factors. ValueError: a factor that is the same for all items.
    """
    differences = _squared_differences(factors.loc[rdms.pattern_descriptors["identity"]])
    (vector,) = rdms.get_vectors()
    # Centring both sides is the same as an unconstrained intercept.
    weights, _ = nnls(differences - differences.mean(axis=0), vector - vector.mean())
    return pd.Series(weights, factors.columns)


def _distances(factors: pd.DataFrame, weights: Mapping[str, float]) -> np.ndarray:
    return _squared_differences(factors[list(weights)]) @ np.array(list(weights.values()), dtype=float)


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
