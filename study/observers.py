"""Simulated observers with known weights on the faces' factors, and how to recover such weights."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from rsatoolbox.rdm import RDMs
from scipy.optimize import nnls


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

    Returns one matrix per rater, items in alphabetical order; the rdm descriptor `simulated` is True. KeyError for an
    unknown factor, ValueError for a weighted one that is the same for all items.
    """
    factors = factors.sort_index()
    truth = squared_differences(factors[list(weights)]) @ np.array(list(weights.values()), dtype=float)
    rng = np.random.default_rng(seed)
    return RDMs(
        truth + noise * truth.std() * rng.standard_normal((raters, len(truth))),
        dissimilarity_measure="simulated rating",
        rdm_descriptors={"simulated": [True] * raters},
        pattern_descriptors={"identity": factors.index.tolist()},
    )


def factor_weights(rdms: RDMs, factors: pd.DataFrame) -> pd.Series:
    """How much each factor counts in a dissimilarity matrix.

    Non-negative least squares with a free intercept of the dissimilarities, of people or models (one matrix), on the
    squared differences of each factor (in standard deviations), the model behind :func:`simulate_observers`.
    `factors` has one row per identity (index), one column per factor; identities beyond the matrix's are not used.

    Returns the weight of each factor, in units of the dissimilarity. KeyError for an identity without factors,
    ValueError for a factor that is the same for all items.
    """
    differences = squared_differences(factors.loc[rdms.pattern_descriptors["identity"]])
    (vector,) = rdms.get_vectors()
    # Centring both sides is the same as an unconstrained intercept.
    weights, _ = nnls(differences - differences.mean(axis=0), vector - vector.mean())
    return pd.Series(weights, factors.columns)


def squared_differences(factors: pd.DataFrame) -> np.ndarray:
    """How far items differ in each factor, `(pair, factor)`, in squared standard deviations over the items.

    Pairs are in the order of rsatoolbox's vectors. ValueError for a factor that is the same for all items.
    """
    values = factors.to_numpy(dtype=float)
    spread = values.std(axis=0)
    constant = factors.columns[spread < 1e-12]
    if len(constant):
        raise ValueError(f"factor {constant[0]!r} is the same for all items, so it cannot be weighted")
    first, second = np.triu_indices(len(values), 1)
    z = values / spread
    return (z[first] - z[second]) ** 2
