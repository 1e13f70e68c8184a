"""Networks: VGG-16 at full size and narrower, and the public weights for it."""

from analysis.models.vgg import (
    MEAN,
    STD,
    VGG16,
    Architecture,
    merge_batch_norm,
    new_head,
    normalise,
    randomise,
    reset_classifier,
    sequential,
    vgg16,
)
from analysis.models.weights import REGISTRY, WeightsError, fetch, load, pretrained, save

__all__ = [
    "MEAN",
    "REGISTRY",
    "STD",
    "VGG16",
    "Architecture",
    "WeightsError",
    "fetch",
    "load",
    "merge_batch_norm",
    "new_head",
    "normalise",
    "pretrained",
    "randomise",
    "reset_classifier",
    "save",
    "sequential",
    "vgg16",
]
