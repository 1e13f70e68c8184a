"""Many tests at once, and tests for being the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests

from analysis.inference import Estimate


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjusted p-values `(K,)` that bound the chance of any false finding (Holm 1979)."""
    return _adjusted(p, "holm")


def fdr(p: Sequence[float]) -> np.ndarray:
    """Adjusted p-values `(K,)` that bound the share of false findings (Benjamini & Hochberg 1995)."""
    return _adjusted(p, "fdr_bh")


def _adjusted(p: Sequence[float], method: str) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():  # also False for NaN
        raise ValueError(f"p-values must lie in 0..1: {p[~((p >= 0) & (p <= 1))].tolist()}")
    return multipletests(p, method=method)[1] if len(p) else p


@dataclass(frozen=True)
class Equivalence:
    """Outcome of two one-sided tests: `p`, and the interval `low`..`high` that must lie within the margin."""

    p: float
    low: float
    high: float
    equivalent: bool


def equivalence(estimate: Estimate, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Is a difference smaller than `margin` either way? Two one-sided t tests (Schuirmann 1987).

    Equivalent at level alpha exactly if the 1 - 2 alpha interval lies within -margin..margin. ValueError for
    a margin that is not positive or for several estimates at once.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, not {margin}")
    if np.ndim(estimate.value):
        raise ValueError(f"one estimate at a time, not {np.shape(estimate.value)}")
    low, high = estimate.interval(1 - 2 * alpha)
    beyond = float(estimate.p(null=np.copysign(margin, estimate.value))) / 2
    p = beyond if abs(estimate.value) < margin else 1 - beyond
    return Equivalence(p, float(low), float(high), p < alpha)
