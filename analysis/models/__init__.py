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

__all__ = [
    "MEAN",
    "STD",
    "VGG16",
    "Architecture",
    "merge_batch_norm",
    "new_head",
    "normalise",
    "randomise",
    "reset_classifier",
    "sequential",
    "vgg16",
]
