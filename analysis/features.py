"""Dissimilarity matrices of models: from features, relevance maps or relevance-weighted images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import RDMs, calc_rdm

MEASURES = ("correlation", "cosine", "euclidean")


def average(values: ArrayLike, identities: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Mean over the images of each identity.

    Args:
        values: (image, ...) features, maps or weighted images.
        identities: (image,) whose image it is.

    Returns:
        (identity, ...) float64 and the identities, in alphabetical order.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) != len(identities):
        raise ValueError(f"{len(values)} rows of values but {len(identities)} identities")
    names, codes = np.unique(np.asarray(identities, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, codes, values)
    counts = np.bincount(codes).reshape(-1, *[1] * (values.ndim - 1))
    return sums / counts, names.tolist()


def model_rdm(
    features: ArrayLike, identities: Sequence[str], method: str = "correlation", **descriptors: object
) -> RDMs:
    """Dissimilarity matrix between identities, from one row of numbers per image.

    Args:
        features: (image, ...) finite numbers; all axes but the first are flattened. Several images of one
            identity are averaged first.
        identities: (image,) names.
        method: "correlation" (1 - Pearson r), "cosine" (1 - cosine) or "euclidean" (mean squared
            difference per feature, as rsatoolbox defines it).
        descriptors: rdm descriptors to attach, such as `level="features", seed=0`.

    Returns:
        One matrix, identities in alphabetical order, pattern descriptor `identity`.

    Raises:
        ValueError: unknown method, a number that is not finite, fewer than 3 identities, or an identity
            without variation across features, for which correlation or cosine is undefined.
    """
    if method not in MEASURES:
        raise ValueError(f"method is {method!r}; use one of {', '.join(MEASURES)}")
    rows, names = average(features, identities)
    rows = rows.reshape(len(rows), -1)
    if len(names) < 3:
        raise ValueError(f"only {len(names)} identities; a comparison of dissimilarities needs at least 3")
    bad = [name for name, row in zip(names, rows, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise ValueError(f"features of {bad[0]!r} are not finite ({len(bad)} identities affected)")
    if method == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    if method != "euclidean":
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        flat = [name for name, norm in zip(names, length[:, 0], strict=True) if norm < 1e-12]
        if flat:
            raise ValueError(f"features of {flat[0]!r} do not vary; the {method} distance is undefined")
        # Between rows of unit length, 1 - cosine is half the squared distance; rsatoolbox divides by columns.
        rows = rows / length * np.sqrt(rows.shape[1] / 2)
    rdm = calc_rdm(Dataset(rows, obs_descriptors={"identity": names}), method="euclidean")
    return RDMs(
        np.clip(rdm.get_vectors(), 0, None),
        dissimilarity_measure=method,
        rdm_descriptors={name: [value] for name, value in descriptors.items()},
        pattern_descriptors={"identity": names},
    )


def weighted_images(
    pixels: ArrayLike, relevance: ArrayLike, *, mean: ArrayLike | None = None, part: str = "positive"
) -> np.ndarray:
    """Images as a network weighs them: deviation from the mean face, times its share of relevance.

    Pixel x of an image becomes (I(x) - mean(x)) * w(x) with w = R+ / sum(R+), so every image carries the
    same total weight of 1, and pixels in which all faces agree contribute nothing.

    Args:
        pixels: (image, channel, y, x), any range.
        relevance: (image, y, x), summed over channels.
        mean: (channel, y, x) the mean face; None takes the mean of `pixels`.
        part: "positive" (R+ = relevance above zero) or "absolute" (R+ = |relevance|).

    Returns:
        (image, channel, y, x) float64.

    Raises:
        ValueError: shapes that do not fit, unknown part, or an image with no relevance of that part.
    """
    pixels, relevance = np.asarray(pixels, np.float64), np.asarray(relevance, np.float64)
    if pixels.ndim != 4 or relevance.shape != (len(pixels), *pixels.shape[2:]):
        raise ValueError(
            f"pixels has shape {pixels.shape}, relevance {relevance.shape}; "
            "they must be (image, channel, y, x) and (image, y, x)"
        )
    if part not in ("positive", "absolute"):
        raise ValueError(f"part is {part!r}; use 'positive' or 'absolute'")
    weights = np.abs(relevance) if part == "absolute" else np.clip(relevance, 0, None)
    total = weights.sum(axis=(1, 2), keepdims=True)
    if not (total > 0).all():
        raise ValueError(f"image {int(np.argmin(total > 0))} has no {part} relevance to weight it by")
    mean = pixels.mean(axis=0) if mean is None else np.asarray(mean, np.float64)
    return (pixels - mean) * (weights / total)[:, None]
