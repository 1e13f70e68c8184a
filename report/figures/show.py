"""Put a figure on the page: what the book renders, a page for other viewers, caption, text alternative."""

import base64
import html
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import altair
import numpy as np
import vl_convert
from PIL import Image

from report.figures.theme import PRINT, WIDTH

MIME = "application/vnd.face-relevance.figure+json"
LIMIT = 600_000  # characters of a chart's specification, so that no page grows beyond 3 MB


@dataclass(frozen=True)
class Figure:
    """A figure as a notebook output.

    Attributes:
        kind: chart, images or explorer. name: label for cross-references, unique in the book: `` {numref}`name` ``.
        caption: MyST Markdown without HTML, names of the user's as `prose.plain` gives them; Sphinx puts the number
            before it. alt: what a reader who cannot see the figure should know, in a sentence or two. content: what
            the book's Sphinx extension renders. page: what any other viewer shows, HTML.

    ValueError if name, caption or alt is missing.
    """

    kind: str
    name: str
    caption: str
    alt: str
    content: dict[str, Any]
    page: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(
                f"figure name {self.name!r}: use lower-case letters, digits and hyphens, a letter first"
            )
        for label in ("caption", "alt"):
            if not getattr(self, label).strip():
                raise ValueError(f"figure {self.name!r}: {label} is empty")

    @property
    def payload(self) -> dict[str, Any]:
        """All but `page`, as JSON holds it."""
        return {name: getattr(self, name) for name in ("kind", "name", "caption", "alt")} | self.content

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        caption = html.escape(html.unescape(self.caption))  # what `prose.plain` wrote, as text
        page = f"<figure>{self.page}<figcaption>{caption}</figcaption></figure>"
        return {MIME: self.payload, "text/html": page, "text/plain": self.alt}


def show(chart: altair.TopLevelMixin, name: str, caption: str, alt: str) -> Figure:
    """An interactive chart with everything a reader needs; let it be the last expression of a cell.

    The data of `chart` become the figure's table and its CSV file; `name`, `caption` and `alt` as in `Figure`.
    ValueError for a chart that holds too much data for a page.
    """
    spec = chart.to_dict()
    if (size := len(json.dumps(spec))) > LIMIT:
        raise ValueError(
            f"figure {name!r}: {size} characters of data exceed {LIMIT}; summarise before drawing"
        )
    spec["description"] = alt
    # the static picture is for pages of fixed width: a chart as wide as its container gets the theme's width
    fixed = spec | {"width": WIDTH} if spec.get("width") == "container" else spec
    svg = _roomy(vl_convert.vegalite_to_svg(fixed, config=PRINT))
    # saving a notebook sorts keys, so the order of columns is kept apart
    columns = {key: list(rows[0]) for key, rows in spec.get("datasets", {}).items()}
    return Figure("chart", name, caption, alt, {"spec": spec, "svg": svg, "columns": columns}, svg)


def _roomy(svg: str) -> str:
    """The picture with its text an eighth smaller than laid out: a reader's font may be that much wider."""
    return re.sub(r'font-size="([\d.]+)px"', lambda size: f'font-size="{0.87 * float(size[1]):.1f}px"', svg)


def png(picture: np.ndarray | Image.Image) -> str:
    """A picture, `(H, W, 3)` or `(H, W)` uint8 where it is an array, as PNG in base64."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def img(alt: str, encoded: str) -> str:
    """An HTML image of a PNG in base64."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'
