"""How well an attribution map agrees with evidence that is known.

The *truth* of an image says for every pixel how much evidence is there, 0 or more; it may be graded, or a mask of 0
and 1. Each score lies in 0..1, and 1 is the best that any map can reach; for a mask each is the published score.
A map is read as relevance of at least 0 (`masking.rank`); pixels of equal relevance count as if in random order.
"""

from __future__ import annotations

import numpy as np

METRICS = {
    "mass": "relevance mass accuracy",
    "rank": "relevance rank accuracy",
    "pointing": "pointing game",
    "precision": "average precision",
}


def change(pixels: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Truth `(N, H, W)` float64 in grey levels: how far each pixel moves from `pixels` to `changed` `(N, C, H, W)`.

    Absolute differences summed over channels. ValueError for shapes that differ or are not (N, C, H, W).
    """
    pixels, changed = np.asarray(pixels), np.asarray(changed)
    if pixels.ndim != 4 or pixels.shape != changed.shape:
        raise ValueError(f"pixels {pixels.shape} and changed {changed.shape} must both be (N, C, H, W)")
    return np.abs(pixels.astype(float) - changed).sum(1)


def scores(maps: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of `METRICS`, `(N,)` float64 each: `maps (N, H, W)` against `truth (N, H, W)`."""
    r, t = _checked(maps, truth)
    groups = _Groups(r, t)
    return {
        "mass": _mass(r, t),
        "rank": _rank(groups, t),
        "pointing": groups.mean[:, 0],
        "precision": groups.average_precision() / _Groups(t, t).average_precision(),
    }


def mass_accuracy(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of the relevance that lies on the evidence, `(N,)`: Arras, Osman & Samek 2022, arXiv:2003.07258.

    Each pixel's share counts as much as its truth relative to the image's largest. A map that is 0 everywhere counts
    as a uniform one. ValueError: see `scores`.
    """
    return _mass(*_checked(maps, truth))


def rank_accuracy(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Truth under the K most relevant pixels over the most that K pixels can hold, `(N,)`: Arras et al. 2022.

    K is the truth's area: its sum over its largest value, rounded, at least 1 (a mask: its number of pixels). Tied
    pixels share the places that are left. ValueError: see `scores`.
    """
    r, t = _checked(maps, truth)
    return _rank(_Groups(r, t), t)


def pointing_game(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Truth at the most relevant pixel over the image's largest, `(N,)`: Zhang et al. 2018, arXiv:1608.00507.

    Without the tolerance of 15 pixels that photographs needed. Tied maxima count by their mean. ValueError: see
    `scores`.
    """
    return _Groups(*_checked(maps, truth)).mean[:, 0]


def average_precision(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve over that of the truth itself, `(N,)`.

    Sum over thresholds of precision times gain in recall, without interpolation (Davis & Goadrich 2006,
    doi:10.1145/1143844.1143874); tied pixels pass the threshold together. A pixel of truth 0.3 counts as 0.3 of a
    positive. ValueError: see `scores`.
    """
    r, t = _checked(maps, truth)
    return _Groups(r, t).average_precision() / _Groups(t, t).average_precision()


def _mass(r: np.ndarray, t: np.ndarray) -> np.ndarray:
    total = r.sum(1)
    return np.where(total > 0, (r * t).sum(1) / np.where(total > 0, total, 1), t.mean(1))


def _rank(groups: _Groups, t: np.ndarray) -> np.ndarray:
    area = np.maximum(1, np.rint(t.sum(1)).astype(int))[:, None] - 1
    best = np.cumsum(-np.sort(-t, axis=1), axis=1)
    found = np.cumsum(groups.mean, axis=1)
    return (np.take_along_axis(found, area, 1) / np.take_along_axis(best, area, 1))[:, 0]


class _Groups:
    """Pixels from the most to the least relevant, with tied ones in one group.

    mean `(N, P)`: the truth at each place, averaged over the group: its expectation if ties are in random order.
    """

    def __init__(self, r: np.ndarray, t: np.ndarray):
        order = np.argsort(-r, axis=1, kind="stable")
        self.truth = np.take_along_axis(t, order, 1)
        places = np.broadcast_to(np.arange(r.shape[1]), r.shape)
        new = np.diff(np.take_along_axis(r, order, 1), axis=1) != 0
        edge = np.ones((len(r), 1), bool)
        starts = np.maximum.accumulate(np.where(np.hstack([edge, new]), places, 0), axis=1)
        last = np.where(np.hstack([new, edge]), places, r.shape[1])
        self.ends = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
        self.until = np.cumsum(self.truth, axis=1)
        before = np.take_along_axis(self.until - self.truth, starts, 1)
        self.mean = (np.take_along_axis(self.until, self.ends, 1) - before) / (self.ends - starts + 1)

    def average_precision(self) -> np.ndarray:
        precision = np.take_along_axis(self.until, self.ends, 1) / (self.ends + 1)
        return (self.truth * precision).sum(1) / self.until[:, -1]


def _checked(maps: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as `(N, P)` float64, the truth with a maximum of 1.

    ValueError for shapes that differ or are not (N, H, W), values that are negative or not finite, and an image without
    evidence.
    """
    maps, truth = np.asarray(maps, dtype=float), np.asarray(truth, dtype=float)
    if maps.ndim != 3 or maps.shape != truth.shape or not maps.size:
        raise ValueError(f"maps {maps.shape} and truth {truth.shape} must both be (N, H, W), N >= 1")
    for name, values in (("maps", maps), ("truth", truth)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold values that are not finite; recompute them")
        if (values < 0).any():
            hint = (
                "; read signed relevance with masking.rank(relevance, 'positive')" if name == "maps" else ""
            )
            raise ValueError(f"{name} hold negative values (least: {values.min():g}){hint}")
    maps, truth = maps.reshape(len(maps), -1), truth.reshape(len(truth), -1)
    largest = truth.max(1, keepdims=True)
    if (largest == 0).any():
        missing = np.flatnonzero(largest[:, 0] == 0)
        raise ValueError(
            f"{len(missing)} image(s) have no evidence (first: image {missing[0]}); leave them out"
        )
    return maps, truth / largest
