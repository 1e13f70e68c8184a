"""The explorer: faces, maps, masked faces and decisions, to be looked at one by one in the page."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from report.figures.images import map_image
from report.figures.show import Figure, check_texts

_STEPS = 127  # shades of each sign in a stored map


def explorer(dataset: xr.Dataset, name: str, caption: str, alt: str) -> Figure:
    """What `Study.explorer` made, as a figure whose face, networks, rule and mask the reader picks.

    Args:
        dataset: see `study.explorer.explore`.
        name, caption, alt: as for `show`.

    Raises:
        ValueError: there is no face to show.
    """
    check_texts(name, caption, alt)
    if not dataset.sizes["face"]:
        raise ValueError(f"figure {name!r}: no face to show")
    faces = [_face(dataset.isel(face=index)) for index in range(dataset.sizes["face"])]
    payload = {
        "kind": "explorer", "name": name, "caption": caption, "alt": alt,
        "faces": [str(label) for label in dataset.label.values],
        "models": [str(model) for model in dataset.model.values],
        "tasks": [str(task) for task in dataset.task.values],
        "classes": dataset.attrs["classes"],
        "rules": [str(rule) for rule in dataset.composite.values],
        "modes": [str(mode) for mode in dataset["mode"].values],
        "percents": dataset.percent.values.tolist(),
        "size": [dataset.sizes["x"], dataset.sizes["y"]],
        "data": faces,
    }  # fmt: skip
    pictures = "".join(
        f'<img alt="{html.escape(label)}" src="data:image/png;base64,{face["pixels"]}">'
        for label, face in zip(payload["faces"], faces, strict=True)
    )
    return Figure(payload, f"<figure>{pictures}<figcaption>{html.escape(caption)}</figcaption></figure>")


def _face(dataset: xr.Dataset) -> dict[str, Any]:
    """All of one face: pictures as PNG in base64, decisions as lists.

    `maps` and `levels` are tables of pictures with a row for each network and a column for each rule. Decisions run
    over (network, network that masks, rule, mode, percent), the last fastest; probabilities are in thousandths.
    """
    order = ("model", "source", "composite", "mode", "percent")
    colours = map_image(np.linspace(-1, 1, 2 * _STEPS + 1)[None], limit=1.0)[0]
    relevance = dataset.relevance.transpose("source", "composite", "y", "x").values
    limit = np.abs(relevance).max((2, 3), keepdims=True)
    strength = np.divide(relevance, limit, out=np.zeros_like(relevance), where=limit > 0)
    maps = Image.fromarray(_tiled((strength * _STEPS).round().astype(np.int16) + _STEPS))
    maps.putpalette(colours.tobytes())
    levels = dataset.level.transpose("source", "composite", "y", "x").values
    picture = ("y", "x", "channel")
    return {
        "pixels": _png(Image.fromarray(dataset.pixels.transpose(*picture).values)),
        "filling": _png(Image.fromarray(dataset.filling.transpose(*picture).values)),
        "maps": _png(maps),
        "levels": _png(Image.fromarray(_tiled(levels))),
        "truth": dataset.truth.values.tolist(),
        "whole": [dataset.whole_prediction.values.tolist(), _thousandths(dataset.whole_probability)],
        "masked": [
            dataset.prediction.transpose(*order).values.ravel().tolist(),
            _thousandths(dataset.probability.transpose(*order)),
        ],
    }


def _tiled(pictures: np.ndarray) -> np.ndarray:
    """Pictures `(rows, columns, y, x)` side by side as one `(rows * y, columns * x)` uint8."""
    rows, columns, height, width = pictures.shape
    return pictures.swapaxes(1, 2).reshape(rows * height, columns * width).astype(np.uint8)


def _thousandths(values: xr.DataArray) -> list[int]:
    return (values.values.ravel() * 1000).round().astype(int).tolist()


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
