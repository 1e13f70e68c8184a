"""Relevance maps and image tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from report.figures.show import Figure, check_texts

# Blue - white - orange, symmetrical in lightness, so that neither sign dominates and no common colour vision
# deficiency confuses them. After the diverging maps of Crameri et al. (2020).
_ANCHORS = np.array(
    [[10, 60, 130], [86, 154, 204], [246, 246, 246], [232, 145, 58], [130, 58, 6]], dtype=float
)


def map_image(
    relevance: np.ndarray, limit: float | None = None, under: np.ndarray | None = None
) -> np.ndarray:
    """A relevance map in colour: orange speaks for the class, blue against it, white is zero.

    Args:
        relevance: (H, W), any float dtype; arbitrary units.
        limit: the relevance drawn in full colour; by default the largest magnitude of this map.
        under: (H, W, 3) uint8 image whose lightness shows through, so that one sees where relevance lies.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: wrong shape, or values that are not finite.
    """
    relevance = np.asarray(relevance, dtype=float)
    if relevance.ndim != 2:
        raise ValueError(f"relevance has shape {relevance.shape}; a map is (H, W): sum over channels first")
    if not np.isfinite(relevance).all():
        raise ValueError("relevance holds values that are not finite")
    limit = np.abs(relevance).max() if limit is None else limit
    strength = np.clip(relevance / limit, -1, 1) if limit > 0 else np.zeros_like(relevance)
    position = (strength + 1) / 2
    stops = np.linspace(0, 1, len(_ANCHORS))
    colour = np.stack([np.interp(position, stops, _ANCHORS[:, c]) for c in range(3)], axis=-1)
    if under is not None:
        under = np.asarray(under)
        if under.shape != (*relevance.shape, 3):
            raise ValueError(f"image has shape {under.shape}, the map {relevance.shape}")
        light = (under @ [0.299, 0.587, 0.114])[..., None]
        cover = 0.35 + 0.65 * np.abs(strength)[..., None]
        colour = cover * colour + (1 - cover) * light
    return colour.round().astype(np.uint8)


def image_grid(
    images: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    rows: Sequence[str],
    name: str,
    caption: str,
    alt: str,
) -> Figure:
    """Images in a table with a header for each row and column.

    Args:
        images: `images[r][c]` is (H, W, 3) or (H, W) uint8.
        columns: header of each column.
        rows: header of each row.
        name, caption, alt: as for `show`.

    Raises:
        ValueError: headers and images do not match, or an image is not uint8.
    """
    check_texts(name, caption, alt)
    if len(images) != len(rows) or any(len(row) != len(columns) for row in images):
        shape = [len(row) for row in images]
        raise ValueError(f"figure {name!r}: rows of {shape} images, but {len(rows)} x {len(columns)} headers")
    cells = [[_png(image) for image in row] for row in images]
    payload = {
        "kind": "images", "name": name, "caption": caption, "alt": alt,
        "columns": list(columns), "rows": list(rows), "images": cells,
    }  # fmt: skip
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join(
        f"<tr><th>{html.escape(r)}</th>"
        + "".join(f'<td><img alt="{html.escape(f"{r}, {c}")}" src="data:image/png;base64,{png}"></td>'
                  for c, png in zip(columns, row, strict=True)) + "</tr>"
        for r, row in zip(rows, cells, strict=True)
    )  # fmt: skip
    table = f"<table><tr><td></td>{head}</tr>{body}</table>"
    page = f"<figure>{table}<figcaption>{html.escape(caption)}</figcaption></figure>"
    return Figure(payload, page)


def _png(image: np.ndarray) -> str:
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise ValueError(f"image has dtype {image.dtype}; give uint8, 0 to 255")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
