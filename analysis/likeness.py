"""How alike relevance maps are: stacks `(M, N, H, W)` of M models for N images, compared image by image."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import rankdata

from analysis import masking


def pearson(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Correlation over pixels of every map of `a` `(A, N, H, W)` with every map of `b` `(B, N, H, W)`: `(A,
    B, N)`.

    `b` defaults to `a`. A constant map has no correlation: NaN. ValueError for NaN maps or shapes that
    differ.
    """
    return _products(_standardised(_pixels(a)), None if b is None else _standardised(_pixels(b)))


def spearman(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Rank correlation over pixels, `(A, B, N)`; ties get their mean rank. Otherwise as `pearson`."""
    return _products(
        _standardised(_ranks(_pixels(a))), None if b is None else _standardised(_ranks(_pixels(b)))
    )


def top_overlap(a: np.ndarray, b: np.ndarray | None = None, *, percent: float, seed: int = 0) -> np.ndarray:
    """Share of the top `percent` of pixels that two maps have in common, `(A, B, N)`, from 0 to 1.

    Two unrelated maps share percent / 100. Ties are broken at random, differently for every map.
    """
    first = _top(_pixels(a), np.shape(a), percent, seed)
    second = None if b is None else _top(_pixels(b), np.shape(b), percent, seed + 1)
    return _products(first, second)


MEASURES: dict[str, Callable[..., np.ndarray]] = {
    "spearman": spearman,
    "pearson": pearson,
    "top_overlap": top_overlap,
}


def split_half(maps: np.ndarray, *, averaged: int = 1, splits: int = 20, seed: int = 0) -> np.ndarray:
    """Reliability `(N,)` of a family's map, from the maps of its S seeds `(S, N, H, W)`.

    Seeds are split at random into halves of h = S // 2 and the halves' mean rank maps are correlated (r). The
    Spearman-Brown formula k r / (1 + (k - 1) r) with k = `averaged` / h turns that into the reliability of a
    mean over `averaged` seeds: 1 for a single model's map, S for the family's mean map. Two families' maps
    cannot be expected to correlate more than the geometric mean of their reliabilities (Spearman 1910; Brown
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
        halves = [
            ranks[:, chosen].mean(1, keepdims=True) for chosen in (order[:half], order[half : 2 * half])
        ]
        correlations.append(_products(*(_standardised(h) for h in halves))[0, 0])
    r, k = np.mean(correlations, axis=0), averaged / half
    return k * r / (1 + (k - 1) * r)


def ceiling(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper) `(S, N)`: rank correlation of each of S seeds' maps `(S, N, H, W)` with their family's
    mean map.

    Lower: the mean of the *other* seeds; upper: the mean of all, the map itself included (Nili et al. 2014).
    The best map that any other source could offer for this family lies between them. ValueError for fewer
    than 2 seeds.
    """
    ranks = _ranks(_pixels(maps))
    seeds = ranks.shape[1]
    if seeds < 2:
        raise ValueError(f"a ceiling needs at least 2 seeds, found {seeds}")
    total = ranks.sum(1, keepdims=True)
    own, others, everyone = (_standardised(x) for x in (ranks, _ranks(total - ranks), _ranks(total)))
    return (own * others).sum(-1).T, (own * everyone).sum(-1).T


def _pixels(maps: np.ndarray) -> np.ndarray:
    """Maps `(M, N, H, W)` as `(N, M, P)`."""
    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise ValueError(f"maps must be (model, image, y, x), not {maps.shape}")
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


def _top(pixels: np.ndarray, shape: tuple[int, ...], percent: float, seed: int) -> np.ndarray:
    """0/1 maps `(N, M, P)`, scaled so that the product of two is the share they have in common."""
    size = masking.count(percent, pixels.shape[-1])
    if size == 0:
        raise ValueError(f"{percent} % of {pixels.shape[-1]} pixels is none; choose a larger percent")
    flat = torch.from_numpy(np.ascontiguousarray(pixels)).flatten(0, 1)
    mask = masking.select(flat.view(-1, *shape[2:]), percent, seed=seed)
    return mask.view(*pixels.shape).numpy() / np.sqrt(size, dtype=np.float32)


def _products(a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """`(N, A, P)` times `(N, B, P)` -> `(A, B, N)`."""
    b = a if b is None else b
    if a.shape[::2] != b.shape[::2]:
        raise ValueError(
            f"maps of {a.shape[0]} images x {a.shape[2]} pixels against {b.shape[0]} x {b.shape[2]}"
        )
    return (a @ b.transpose(0, 2, 1)).transpose(1, 2, 0)
