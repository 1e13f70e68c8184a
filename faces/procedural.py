"""Procedural faces: known identities, genders, parts and nuisance, as a dataset."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from PIL import Image
from torchvision.utils import make_grid

from .anatomy import LANDMARKS
from .factors import FACTOR_NAMES, PARTS, VIEW_NAMES, sample_identities, sample_views
from .portrait import render


def make_faces(
    identities: int,
    views: int,
    size: int,
    seed: int,
    *,
    first_identity: int = 0,
    evidence: Sequence[str] | None = None,
    shift: float = 1.0,
) -> xr.Dataset:
    """`identities` x `views` procedural faces of `size` x `size` pixels, identity-major.

    Returns a Dataset with `pixels (image, channel, y, x)` uint8, `parts (image, y, x)` uint8 indices into
    attrs["parts"], `factors (image, factor)` and `views (image, view)` float32, `landmarks (image, landmark,
    axis)` float32 in pixels, and the coordinates `identity`, `gender`, `name` on `image`.

    `evidence` names the parts that carry gender (default: all); `shift` multiplies how far the genders differ.
    Raises ValueError for a size below 16, no images, a negative seed or an unknown part.
    """
    people, gender = sample_identities(
        identities, seed, first_identity=first_identity, evidence=evidence, shift=shift
    )
    row = np.repeat(np.arange(identities), views)
    factors = people[row]
    nuisance = sample_views(identities, views, seed, first_identity=first_identity)
    picture = render(factors, nuisance, size, seed)
    labels = np.array([f"id{first_identity + i:04d}" for i in row])
    dataset = xr.Dataset(
        {
            "pixels": (("image", "channel", "y", "x"), picture.pixels.numpy()),
            "parts": (("image", "y", "x"), picture.parts.numpy()),
            "factors": (("image", "factor"), factors),
            "views": (("image", "view"), nuisance),
            "landmarks": (("image", "landmark", "axis"), picture.landmarks.numpy()),
        },
        coords={
            "identity": ("image", labels),
            "gender": ("image", gender[row]),
            "name": ("image", [f"{label}/{k % views:02d}" for k, label in enumerate(labels)]),
            "channel": ["R", "G", "B"],
            "factor": list(FACTOR_NAMES),
            "view": list(VIEW_NAMES),
            "landmark": list(LANDMARKS),
            "axis": ["x", "y"],
        },
        attrs={"parts": list(PARTS), "source": "procedural faces", "seed": seed},
    )
    dataset["factors"].attrs["units"] = "standard deviations within a gender"
    dataset["landmarks"].attrs["units"] = "pixels from the centre of the first pixel"
    return dataset


def contact_sheet(dataset: xr.Dataset, columns: int) -> Image.Image:
    """All images (image, channel, y, x) uint8 of a dataset in rows of `columns`, in their order, on white."""
    pixels = torch.from_numpy(dataset["pixels"].values)
    return Image.fromarray(make_grid(pixels, columns, padding=0, pad_value=255).permute(1, 2, 0).numpy())
