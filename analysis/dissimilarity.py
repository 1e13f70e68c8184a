"""Dissimilarity matrices between people, of models and of judgements.

They are rsatoolbox's `RDMs` with the pattern descriptor `identity`: whom the rows and columns are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from rsatoolbox.rdm.rdms import RDMs
from scipy.spatial.distance import pdist


def model_rdm(features: ArrayLike, identities: Sequence[str], **descriptors: object) -> RDMs:
    """Dissimilarity matrix between identities, 1 - Pearson's r, from one row of numbers per image.

    Args:
        features: (image, ...) numbers; all axes but the first are flattened. Images of one identity are averaged first.
        identities: (image,) names.
        descriptors: rdm descriptors to attach, such as `level="features", seed=0`.

    Returns one matrix, identities in alphabetical order. ValueError for an identity whose features are not finite or do
    not vary.
    """
    values = np.asarray(features, dtype=np.float64).reshape(len(identities), -1)
    names, codes = np.unique(np.asarray(identities, dtype=str), return_inverse=True)
    rows = np.zeros((len(names), values.shape[1]))
    np.add.at(rows, codes, values)
    rows /= np.bincount(codes)[:, None]
    bad = names[~(rows.std(axis=1) >= 1e-12)]
    if len(bad):
        raise ValueError(f"features of {bad[0]!s} are not finite or do not vary ({len(bad)} identities)")
    return RDMs(
        pdist(rows, "correlation")[None],
        dissimilarity_measure="correlation",
        rdm_descriptors={name: [value] for name, value in descriptors.items()},
        pattern_descriptors={"identity": names.tolist()},
    )


def weighted_images(pixels: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Images as a network weighs them: deviation from the mean face, times its share of relevance.

    Pixel x of an image becomes (I(x) - mean(x)) * w(x) with w = R / sum(R), so every image carries the same total
    weight of 1, and pixels in which all faces agree contribute nothing.

    Args:
        pixels: (image, channel, y, x), any range.
        relevance: (image, y, x) of at least 0, such as the magnitude of a map.

    Returns (image, channel, y, x) float64. ValueError for an image without relevance.
    """
    pixels, weights = np.asarray(pixels, np.float64), np.asarray(relevance, np.float64)
    total = weights.sum(axis=(1, 2), keepdims=True)
    if not (total > 0).all():
        raise ValueError(f"image {int(np.argmin(total > 0))} has no relevance to weight it by")
    return (pixels - pixels.mean(axis=0)) * (weights / total)[:, None]


def stack(rdms: Sequence[RDMs]) -> RDMs:
    """Several sets of matrices as one, in the order given; identities and names of descriptors are those of the first.

    `rsatoolbox.rdm.concat` would lose the descriptors of a single set. ValueError for sets over other identities.
    """
    first = rdms[0]
    if any(
        list(r.pattern_descriptors["identity"]) != list(first.pattern_descriptors["identity"]) for r in rdms
    ):
        raise ValueError("matrices to stack are over other identities, or in another order")
    names = [name for name in first.rdm_descriptors if name != "index"]
    return RDMs(
        np.vstack([r.get_vectors() for r in rdms]),
        dissimilarity_measure=first.dissimilarity_measure,
        descriptors=first.descriptors,
        rdm_descriptors={name: [v for r in rdms for v in r.rdm_descriptors[name]] for name in names},
        pattern_descriptors=first.pattern_descriptors,
    )


def match(models: RDMs, humans: RDMs) -> tuple[RDMs, RDMs]:
    """Both restricted to their common identities, in the same (alphabetical) order. ValueError for fewer than 4."""
    judged = set(humans.pattern_descriptors["identity"])
    common = [identity for identity in models.pattern_descriptors["identity"] if identity in judged]
    if len(common) < 4:
        raise ValueError(
            f"models ({models.n_cond} identities, such as {models.pattern_descriptors['identity'][0]!r}) and humans "
            f"({humans.n_cond}, such as {humans.pattern_descriptors['identity'][0]!r}) have {len(common)} in common; "
            "at least 4 are needed. Map names with `names`"
        )
    models, humans = (rdms.subset_pattern("identity", common) for rdms in (models, humans))
    models.sort_by(identity="alpha")
    humans.sort_by(identity="alpha")
    return models, humans
