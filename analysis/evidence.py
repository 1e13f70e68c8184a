"""How well an attribution map agrees with evidence that is known.

The *truth* of an image says for every pixel how much evidence is there, 0 or more; it may be graded, or a mask of 0
and 1. Each score lies in 0..1, and 1 is the best that any map can reach; for a mask each is the published score.
A map is read as relevance of at least 0 (`masking.rank`); pixels of equal relevance count as if in random order.
"""

import numpy as np

METRICS = {
    "mass": "relevance mass accuracy",
    "rank": "relevance rank accuracy",
    "pointing": "pointing game",
    "precision": "average precision",
}


def change(pixels: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Truth `(N, H, W)` float64 in grey levels: how far each pixel moves from `pixels` to `changed` `(N, C, H, W)`.

    Absolute differences summed over channels.
    """
    return np.abs(pixels.astype(float) - changed).sum(1)


def scores(maps: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of METRICS, `(N,)` float64 each: `maps (N, H, W)` against `truth (N, H, W)`.

    - `mass`: share of the relevance that lies on the evidence (Arras, Osman & Samek 2022, arXiv:2003.07258). A pixel's
      share counts as much as its truth relative to the image's largest. A map of 0 counts as a uniform one.
    - `rank`: truth under the K most relevant pixels over the most that K pixels can hold (Arras et al.). K is the
      truth's area: its sum over its largest value, rounded, at least 1 (a mask: its number of pixels).
    - `pointing`: truth at the most relevant pixel over the image's largest (Zhang et al. 2018, arXiv:1608.00507),
      without the tolerance of 15 pixels that photographs needed.
    - `precision`: area under the precision-recall curve over that of the truth itself: the sum over thresholds of
      precision times gain in recall, without interpolation (Davis & Goadrich 2006, doi:10.1145/1143844.1143874). A
      pixel of truth 0.3 counts as 0.3 of a positive.

    Tied pixels share the places they take by their mean; on the precision-recall curve they pass the threshold
    together. ValueError for shapes that differ or are not (N, H, W), values that are negative or not finite, and an
    image without evidence.
    """
    r, t = _checked(maps, truth)
    groups = _Groups(r, t)
    total = r.sum(1)
    area = np.maximum(1, np.rint(t.sum(1)).astype(int))[:, None] - 1
    best = np.cumsum(-np.sort(-t, axis=1), axis=1)
    reached = np.cumsum(groups.mean, axis=1)
    return {
        "mass": np.where(total > 0, (r * t).sum(1) / np.where(total > 0, total, 1), t.mean(1)),
        "rank": (np.take_along_axis(reached, area, 1) / np.take_along_axis(best, area, 1))[:, 0],
        "pointing": groups.mean[:, 0],
        "precision": groups.average_precision() / _Groups(t, t).average_precision(),
    }


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
    """Both as `(N, P)` float64, the truth with a maximum of 1."""
    maps, truth = np.asarray(maps, dtype=float), np.asarray(truth, dtype=float)
    if maps.ndim != 3 or maps.shape != truth.shape or not maps.size:
        raise ValueError(f"maps {maps.shape} and truth {truth.shape} must both be (N, H, W), N >= 1")
    maps, truth = (values.reshape(len(values), -1) for values in (maps, truth))
    for name, values in (("maps", maps), ("truth", truth)):
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} hold values that are negative (see masking.rank) or not finite")
    largest = truth.max(1, keepdims=True)
    if not largest.all():
        missing = np.flatnonzero(largest[:, 0] == 0)
        raise ValueError(
            f"{len(missing)} image(s) have no evidence (first: image {missing[0]}); leave them out"
        )
    return maps, truth / largest
