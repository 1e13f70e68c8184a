"""Procedural faces: known identities, genders, parts and nuisance, as a dataset."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from PIL import Image

from .anatomy import LANDMARKS
from .factors import (
    FACTOR_NAMES,
    FACTORS,
    GENDERS,
    PART_FACTORS,
    PARTS,
    VIEW_NAMES,
    VIEWS,
    check_count,
    override,
    sample_identities,
    sample_views,
    swap_parts,
)
from .portrait import Picture, draw

__all__ = [
    "FACTORS",
    "GENDERS",
    "LANDMARKS",
    "PARTS",
    "PART_FACTORS",
    "VIEWS",
    "Picture",
    "contact_sheet",
    "make_faces",
    "render",
    "sample_identities",
    "sample_views",
    "swap_parts",
]
SMALLEST = 16


def render(
    factors: np.ndarray | torch.Tensor, views: np.ndarray | torch.Tensor, size: int, seed: int
) -> Picture:
    """Pictures (pixels, parts, landmarks) of `factors` (N, factor) seen in `views` (N, view).

    A pure function, image by image: rows may be reordered, swapped (`swap_parts`) and rendered again, and what
    the change did not touch keeps its pixels and its noise. `seed` chooses the textures of skin, hair and
    background; use the seed the views were sampled with to reproduce a dataset's pixels. Raises ValueError for
    a size below 16, a wrong number of columns or rows, or a value that is not finite.
    """
    check_count("size", size, SMALLEST)
    check_count("seed", seed, 0)
    tables = []
    for name, table, columns in (("factors", factors, FACTOR_NAMES), ("views", views, VIEW_NAMES)):
        table = torch.as_tensor(np.asarray(table, np.float32))
        if table.ndim != 2 or table.shape[1] != len(columns) or len(table) != len(factors) or not len(table):
            raise ValueError(f"{name} must have shape (images, {len(columns)}), got {tuple(table.shape)}")
        if not torch.isfinite(table).all():
            raise ValueError(f"{name} has a value that is not finite")
        tables.append(table)
    return draw(*tables, size, seed)


def make_faces(
    identities: int,
    views: int,
    size: int,
    seed: int,
    *,
    factors: Mapping[str, np.ndarray] | None = None,
    first_identity: int = 0,
    evidence: Sequence[str] | None = None,
    shift: float = 1.0,
    variation: float = 1.0,
) -> xr.Dataset:
    """`identities` x `views` procedural faces of `size` x `size` pixels, identity-major.

    Returns a Dataset with `pixels (image, channel, y, x)` uint8, `parts (image, y, x)` uint8 indices into
    attrs["parts"], `factors (image, factor)` and `views (image, view)` float32, `landmarks (image, landmark,
    axis)` float32 in pixels, and the coordinates `identity`, `gender`, `name` on `image`.

    `factors` overrides factors by name (a scalar or one value per identity, standard units). `evidence` names
    the parts that carry gender (default: all); `shift` multiplies how far the genders differ, `variation` how
    much the views of a person do. Raises ValueError for a bad size, count or name.
    """
    check_count("size", size, SMALLEST)
    table, gender = sample_identities(
        identities, seed, first_identity=first_identity, evidence=evidence, shift=shift
    )
    table = override(table, factors or {})
    nuisance = sample_views(identities, views, seed, first_identity=first_identity, variation=variation)
    row = np.repeat(np.arange(identities), views)
    picture = render(table[row], nuisance, size, seed)
    labels = np.array([f"id{first_identity + i:04d}" for i in row])
    names = np.array([f"{label}/{k % views:02d}" for k, label in enumerate(labels)])
    dataset = xr.Dataset(
        {
            "pixels": (("image", "channel", "y", "x"), picture.pixels.numpy()),
            "parts": (("image", "y", "x"), picture.parts.numpy()),
            "factors": (("image", "factor"), table[row]),
            "views": (("image", "view"), nuisance),
            "landmarks": (("image", "landmark", "axis"), picture.landmarks.numpy()),
        },
        coords={
            "identity": ("image", labels),
            "gender": ("image", gender[row]),
            "name": ("image", names),
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
    """All images of a dataset in rows of `columns`, in their order."""
    check_count("columns", columns, 1)
    pixels = dataset["pixels"].transpose("image", "y", "x", "channel").values
    n, height, width, _ = pixels.shape
    rows = -(-n // columns)
    sheet = np.full((rows, columns, height, width, 3), 255, np.uint8)
    sheet.reshape(rows * columns, height, width, 3)[:n] = pixels
    return Image.fromarray(sheet.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3))
