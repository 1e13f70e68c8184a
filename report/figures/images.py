"""Relevance maps and image tables."""

import html
from collections.abc import Sequence

import numpy as np

from report.figures.show import Figure, img, png

# Blue - white - orange, symmetrical in lightness, so that neither sign dominates and no common colour vision
# deficiency confuses them. After the diverging maps of Crameri et al. (2020).
_ANCHORS = np.array(
    [[10, 60, 130], [86, 154, 204], [246, 246, 246], [232, 145, 58], [130, 58, 6]], dtype=float
)


def map_image(relevance: np.ndarray, limit: float | None = None) -> np.ndarray:
    """A relevance map `(H, W)` in colour: orange speaks for the class, blue against it, white is zero.

    Returns `(H, W, 3)` uint8. `limit` is the relevance drawn in full colour, by default this map's largest magnitude.
    ValueError for another shape, and for values that are not finite.
    """
    relevance = np.asarray(relevance, dtype=float)
    if relevance.ndim != 2:
        raise ValueError(f"relevance has shape {relevance.shape}; a map is (H, W): sum over channels first")
    if not np.isfinite(relevance).all():
        raise ValueError("relevance holds values that are not finite")
    limit = np.abs(relevance).max() if limit is None else limit
    strength = np.clip(relevance / limit, -1, 1) if limit > 0 else np.zeros_like(relevance)
    stops = np.linspace(-1, 1, len(_ANCHORS))
    colour = np.stack([np.interp(strength, stops, _ANCHORS[:, c]) for c in range(3)], axis=-1)
    return colour.round().astype(np.uint8)


def image_grid(
    images: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    rows: Sequence[str],
    name: str,
    caption: str,
    alt: str,
) -> Figure:
    """Images in a table with a header for each row and column; `name`, `caption` and `alt` as in `Figure`.

    `images[r][c]` is (H, W, 3) or (H, W) uint8. ValueError for another dtype, and for a wrong number of headers.
    """
    if len(images) != len(rows) or any(len(row) != len(columns) for row in images):
        shape = [len(row) for row in images]
        raise ValueError(f"figure {name!r}: rows of {shape} images, but {len(rows)} x {len(columns)} headers")
    images = [[np.asarray(image) for image in row] for row in images]
    if wrong := {image.dtype for row in images for image in row} - {np.dtype("uint8")}:
        raise ValueError(f"figure {name!r}: an image has dtype {wrong.pop()}; give uint8, 0 to 255")
    cells = [[png(image) for image in row] for row in images]
    page = "<table><tr><td></td>" + "".join(f"<th>{html.escape(column)}</th>" for column in columns) + "</tr>"
    for row, line in zip(rows, cells, strict=True):
        pictures = [img(f"{row}, {column}", cell) for column, cell in zip(columns, line, strict=True)]
        page += f"<tr><th>{html.escape(row)}</th><td>{'</td><td>'.join(pictures)}</td></tr>"
    content = {"columns": list(columns), "rows": list(rows), "images": cells}
    return Figure("images", name, caption, alt, content, page + "</table>")
