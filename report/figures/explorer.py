"""The explorer: faces, maps, masked faces and decisions, to be looked at one by one in the page.

`explorer` packs them into a figure, and `markup` is its part of the page.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from report import templates
from report.figures.images import map_image
from report.figures.show import Figure, img, png

FOLDER = "explorer"  # under _static
_STEPS = 127  # shades of each sign in a stored map


def explorer(dataset: xr.Dataset, name: str, caption: str, alt: str) -> Figure:
    """What `study.explorer.explore` gives, as a figure whose face, networks, rule and mask the reader picks.

    `name`, `caption` and `alt` as in `Figure`. ValueError where there is no face to show.
    """
    if not dataset.sizes["face"]:
        raise ValueError(f"figure {name!r}: no face to show")
    faces = [_face(dataset.isel(face=index)) for index in range(dataset.sizes["face"])]
    content = {
        "faces": dataset.label.values.tolist(),
        "models": dataset.model.values.tolist(),
        "tasks": dataset.task.values.tolist(),
        "classes": dataset.attrs["classes"],
        "rules": dataset.composite.values.tolist(),
        "modes": dataset["mode"].values.tolist(),
        "percents": dataset.percent.values.tolist(),
        "size": [dataset.sizes["x"], dataset.sizes["y"]],
        "data": faces,
    }
    page = "".join(img(label, face["pixels"]) for label, face in zip(content["faces"], faces, strict=True))
    return Figure("explorer", name, caption, alt, content, page)


def _face(dataset: xr.Dataset) -> dict[str, Any]:
    """All of one face: pictures as PNG in base64, decisions as lists.

    `maps` and `levels` are tables of pictures with a row for each network and a column for each rule. Decisions run
    over (network, network that masks, rule, mode, percent), the last fastest; probabilities are in thousandths.
    """
    dataset = dataset.transpose("model", "source", "composite", "mode", "percent", "y", "x", "channel")
    colours = map_image(np.linspace(-1, 1, 2 * _STEPS + 1)[None], limit=1.0)[0]
    relevance = dataset.relevance.values
    limit = np.abs(relevance).max((2, 3), keepdims=True)
    strength = np.divide(relevance, limit, out=np.zeros_like(relevance), where=limit > 0)
    maps = Image.fromarray(_tiled((strength * _STEPS).round().astype(np.int16) + _STEPS))
    maps.putpalette(colours.tobytes())
    return {
        "pixels": png(dataset.pixels.values),
        "filling": png(dataset.filling.values),
        "maps": png(maps),
        "levels": png(_tiled(dataset.level.values)),
        "truth": dataset.truth.values.tolist(),
        "whole": [dataset.whole_prediction.values.tolist(), _thousandths(dataset.whole_probability)],
        "masked": [dataset.prediction.values.ravel().tolist(), _thousandths(dataset.probability)],
    }


def _tiled(pictures: np.ndarray) -> np.ndarray:
    """Pictures `(rows, columns, y, x)` side by side as one `(rows * y, columns * x)` uint8."""
    rows, columns, height, width = pictures.shape
    return pictures.swapaxes(1, 2).reshape(rows * height, columns * width).astype(np.uint8)


def _thousandths(values: xr.DataArray) -> list[int]:
    return (values.values.ravel() * 1000).round().astype(int).tolist()


def markup(figure: dict[str, Any], static: Path) -> str:
    """The HTML of an explorer, from the payload of its figure.

    What belongs to one face becomes a script of its own in `static`, the folder of the book's static files, read when
    the face is first shown.
    """
    keys = ("faces", "models", "tasks", "classes", "modes", "percents", "size", "rules")
    shared = {key: figure[key] for key in keys}
    shared["scripts"] = [_script(index, face, static) for index, face in enumerate(figure["data"])]
    about = json.dumps(shared, separators=(",", ":"))
    percents = [f"{percent:g}" for percent in figure["percents"]]
    return templates.fill("explorer.html", f=figure, about=about, percents=percents)


def _script(index: int, face: dict[str, Any], static: Path) -> str:
    text = f"explorerFace({index}, {json.dumps(face, separators=(',', ':'))});\n"
    file = f"face-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}.js"
    (static / FOLDER).mkdir(parents=True, exist_ok=True)
    (static / FOLDER / file).write_text(text)
    return f"_static/{FOLDER}/{file}"
