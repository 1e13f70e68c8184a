"""How alike relevance maps are: stacks `(M, N, H, W)` of M models for N images, compared image by image."""

import numpy as np
import torch
from scipy.stats import rankdata

from analysis import masking


def spearman(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Rank correlation over pixels of every map of `a (A, N, H, W)` with every map of `b (B, N, H, W)`: `(A, B, N)`.

    `b` defaults to `a`. Ties get their mean rank. A constant map has no correlation: NaN. ValueError for NaN maps.
    """
    first = _standardised(_ranks(_pixels(a)))
    return _products(first, first if b is None else _standardised(_ranks(_pixels(b))))


def top_overlap(a: np.ndarray, b: np.ndarray | None = None, *, percent: float, seed: int = 0) -> np.ndarray:
    """Share of the top `percent` of pixels that two maps have in common, `(A, B, N)`, from 0 to 1.

    `a` and `b` as in `spearman`. Two unrelated maps share percent / 100. Ties are broken at random, differently for
    every map. ValueError for NaN maps and for a percent of no pixel.
    """
    first = _top(a, percent, seed)
    return _products(first, first if b is None else _top(b, percent, seed + 1))


def split_half(maps: np.ndarray, *, splits: int = 20, seed: int = 0) -> np.ndarray:
    """Reliability `(N,)` of a single model's map, from the maps of its family's S seeds `(S, N, H, W)`.

    Seeds are split at random into halves of h = S // 2 and the halves' mean rank maps are correlated (r). The
    Spearman-Brown formula k r / (1 + (k - 1) r) with k = 1 / h turns that into the reliability of one map. Two models'
    maps cannot be expected to correlate more than the geometric mean of their reliabilities (Spearman 1910; Brown
    1910). ValueError for fewer than 2 seeds.
    """
    ranks = _ranks(_pixels(maps))  # (N, S, P)
    seeds = ranks.shape[1]
    if seeds < 2:
        raise ValueError(f"a split needs at least 2 seeds, found {seeds}")
    half = seeds // 2
    rng = np.random.default_rng(seed)
    correlations = []
    for _ in range(splits):
        order = rng.permutation(seeds)
        halves = (
            ranks[:, chosen].mean(1, keepdims=True) for chosen in (order[:half], order[half : 2 * half])
        )
        correlations.append(_products(*(_standardised(h) for h in halves))[0, 0])
    r, k = np.mean(correlations, axis=0), 1 / half
    return k * r / (1 + (k - 1) * r)


def _pixels(maps: np.ndarray) -> np.ndarray:
    """Maps `(M, N, H, W)` as `(N, M, P)`."""
    if np.isnan(maps).any():
        raise ValueError(f"maps of {int(np.isnan(maps).any((2, 3)).sum())} model-image pairs hold NaN")
    return maps.reshape(*maps.shape[:2], -1).transpose(1, 0, 2)


def _ranks(pixels: np.ndarray) -> np.ndarray:
    return rankdata(pixels, axis=-1)


def _standardised(pixels: np.ndarray) -> np.ndarray:
    """Mean 0 and sum of squares 1, so that a product is a correlation; NaN for constant maps."""
    centred = pixels - pixels.mean(-1, keepdims=True)
    norm = np.sqrt((centred**2).sum(-1, keepdims=True))
    norm[norm <= 1e-12 * np.abs(pixels).max(-1, keepdims=True)] = np.nan
    return centred / norm


def _top(maps: np.ndarray, percent: float, seed: int) -> np.ndarray:
    """0/1 maps `(N, M, P)`, scaled so that the product of two is the share they have in common."""
    pixels = _pixels(maps)
    size = masking.count(percent, pixels.shape[-1])
    if size == 0:
        raise ValueError(f"{percent} % of {pixels.shape[-1]} pixels is none; choose a larger percent")
    flat = torch.from_numpy(np.ascontiguousarray(pixels)).view(-1, *maps.shape[2:])
    mask = masking.select(flat, percent, seed=seed)
    return mask.view(*pixels.shape).numpy() / np.sqrt(size, dtype=np.float32)


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`(N, A, P)` times `(N, B, P)` -> `(A, B, N)`."""
    return (a @ b.transpose(0, 2, 1)).transpose(1, 2, 0)
