"""Put a chart on the page: spec, static picture, caption, text alternative."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from report.figures.theme import PRINT, WIDTH

MIME = "application/vnd.face-relevance.figure+json"
LIMIT = 600_000  # characters of a chart's specification, so that no page grows beyond 3 MB


@dataclass(frozen=True)
class Figure:
    """A figure as a notebook output.

    The book's Sphinx extension renders `payload`, with a numbered caption; any other viewer shows `page`.
    """

    payload: dict[str, Any]
    page: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME: self.payload, "text/html": self.page, "text/plain": self.payload["alt"]}


def show(chart: alt.TopLevelMixin, name: str, caption: str, alt: str) -> Figure:
    """An interactive chart with everything a reader needs; let it be the last expression of a cell.

    Args:
        chart: any altair chart. Its data become the figure's table and its CSV file.
        name: label for cross-references, unique in the book: `` {numref}`name` ``.
        caption: MyST Markdown; Sphinx puts the number before it.
        alt: what a reader who cannot see the chart should know, in a sentence or two.

    Raises:
        ValueError: name, caption or alt is missing, or the chart holds too much data for a page.
    """
    check_texts(name, caption, alt)
    spec = chart.to_dict()
    size = len(json.dumps(spec))
    if size > LIMIT:
        raise ValueError(
            f"figure {name!r}: {size} characters of data exceed {LIMIT}; summarise before drawing"
        )
    spec["description"] = alt
    picture = _roomy(vl_convert.vegalite_to_svg(fixed_width(spec), config=PRINT))
    # saving a notebook sorts keys, so the order of columns is kept apart
    columns = {key: list(rows[0]) for key, rows in spec.get("datasets", {}).items()}
    payload = {
        "kind": "chart", "name": name, "caption": caption, "alt": alt,
        "spec": spec, "svg": picture, "columns": columns,
    }  # fmt: skip
    return Figure(payload, f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")


def _roomy(svg: str) -> str:
    """The picture with its text an eighth smaller than laid out: a reader's font may be that much wider."""
    return re.sub(r'font-size="([\d.]+)px"', lambda size: f'font-size="{0.87 * float(size[1]):.1f}px"', svg)


def check_texts(name: str, caption: str, alt: str) -> None:
    """Raise ValueError unless a figure has a usable name, a caption and a text alternative."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"figure name {name!r}: use lower-case letters, digits and hyphens, a letter first")
    for label, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"figure {name!r}: {label} is empty")


def fixed_width(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy of `spec` for pages of fixed width: a chart as wide as its container gets the theme's width."""
    return spec | {"width": WIDTH} if spec.get("width") == "container" else spec
