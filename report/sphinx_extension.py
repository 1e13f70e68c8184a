"""Sphinx extension: figures from notebook outputs, formulas as MathML, and nothing from the network.

Named in `_config.yml`; `FigureRenderer` is also a `myst_nb.mime_renderers` entry point (pyproject.toml).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter
import vl_convert
from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer, create_figure_context
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx

from report import buttons, explorer
from report.figures.show import MIME
from study.parameters import ROOT

STATIC = ROOT / "book" / "_static"
VEGA_LITE = "6.4"
TABLE_ROWS = 60
SMALLEST_IMAGE = 112  # pixels of the page; smaller images are enlarged
GRID_WIDTH, GRID_GAP = 690, 12  # pixels of the page for all images of a row, and between two


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_display_math, None))
    app.connect("config-inited", _add_static)
    app.connect("builder-inited", _write_vega)
    app.connect("html-page-context", _load_scripts)
    app.connect("html-page-context", buttons.improve, priority=900)  # after the theme has made its own
    app.connect("build-finished", _mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


_SEARCH_FROM_FOLDER = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'


class FigureRenderer:
    """Turns an output of `report.figures` into a numbered figure."""

    mime_priority_overrides = (("*", MIME, 1),)

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Docutils nodes for a figure; None for any other output."""
        if data.mime_type != MIME:
            return None
        content = data.content
        body, legend = {"chart": _chart, "images": _image_table, "explorer": _explorer}[content["kind"]](
            renderer, content
        )
        document, holder = renderer.renderer, nodes.Element()
        options = {"name": content["name"], "caption": content["caption"]}
        with document.current_node_context(holder), create_figure_context(document, options, data.line):
            document.current_node.extend(body)
        figure = holder.children[-1]
        figure += nodes.legend("", *legend)
        return holder.children


def _chart(renderer: NbElementRenderer, figure: dict[str, Any]) -> tuple[list[nodes.Node], list[nodes.Node]]:
    name, spec, alt = figure["name"], figure["spec"], html.escape(figure["alt"], quote=True)
    # "<" is escaped so that no text in the data can close the script element
    text = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
    live = (
        f'<div class="chart" id="chart-{name}" role="img" aria-label="{alt}"></div>'
        f'<script type="application/json" data-chart="chart-{name}">{text}</script>'
    )
    uri = _write(renderer, f"{name}.svg", figure["svg"].encode())
    picture = nodes.image(uri=uri, alt=figure["alt"], classes=["chart-static"], candidates={"*": uri})
    tables = [(figure["columns"][key], rows) for key, rows in spec.get("datasets", {}).items()]
    links = nodes.paragraph(classes=["chart-links"])
    for label, file, content in _downloads(name, spec, figure["svg"], tables):
        uri = _write(renderer, file, content.encode())
        doc = renderer.renderer.sphinx_env.docname
        links += addnodes.download_reference("", "", nodes.inline("", label), reftarget=uri, refdoc=doc)
    rows = "".join(_table(f"Data {number} of {name}", *table) for number, table in enumerate(tables, 1))
    start = _raw('<details class="chart-data"><summary>Data and downloads</summary>')
    return [_raw(live), picture], [start, links, _raw(rows + "</details>")]


def _downloads(
    name: str, spec: dict[str, Any], svg: str, tables: list[tuple[list[str], list[dict[str, Any]]]]
) -> Iterator[tuple[str, str, str]]:
    """Label, file name and content of each file a reader may take away."""
    for index, table in enumerate(tables):
        number = f"-{index + 1}" if index else ""
        yield f"Data{number} (CSV)", f"{name}{number}.csv", _csv(*table)
    yield "Specification (Vega-Lite)", f"{name}.vl.json", json.dumps(spec, indent=1)
    yield "Picture (SVG)", f"{name}.svg", svg


def _table(label: str, columns: list[str], rows: list[dict[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_number(row.get(c)))}</td>" for c in columns) + "</tr>"
        for row in rows[:TABLE_ROWS]
    )
    more = (
        f"<p>The first {TABLE_ROWS} of {len(rows)} rows; the CSV file has all.</p>"
        if len(rows) > TABLE_ROWS
        else ""
    )
    return (
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _image_table(
    renderer: NbElementRenderer, figure: dict[str, Any]
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    columns, rows = figure["columns"], figure["rows"]
    table = nodes.table(classes=["image-grid"] + ["one-column"] * (len(columns) == 1))
    group = nodes.tgroup(cols=len(columns) + 1)
    table += group
    group += [nodes.colspec(colwidth=1, stub=index == 0) for index in range(len(columns) + 1)]
    head = nodes.thead()
    head += _row([nodes.Text(""), *(nodes.Text(c) for c in columns)])
    body = nodes.tbody()
    for label, images in zip(rows, figure["images"], strict=True):
        cells: list[nodes.Node] = [nodes.Text(label)]
        for column, png in zip(columns, images, strict=True):
            content = base64.b64decode(png)
            file = f"{hashlib.blake2b(content, digest_size=10).hexdigest()}.png"
            uri = _write(renderer, file, content)
            width = max(SMALLEST_IMAGE, Image.open(io.BytesIO(content)).width)
            width = min(width, GRID_WIDTH // len(columns) - GRID_GAP)
            alt = f"{label}, {column}"
            cells.append(nodes.image(uri=uri, alt=alt, candidates={"*": uri}, width=f"{width}px"))
        body += _row(cells)
    group += [head, body]
    return [table], [_described(figure["alt"])]


def _described(text: str) -> nodes.raw:
    return _raw(f'<p class="visually-hidden">{html.escape(text)}</p>')


def _explorer(
    renderer: NbElementRenderer, figure: dict[str, Any]
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    static = Path(renderer.renderer.sphinx_env.app.outdir) / "_static"
    return [_raw(explorer.markup(figure, static))], [_described(figure["alt"])]


def _row(cells: list[nodes.Node]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry, paragraph = nodes.entry(), nodes.paragraph()
        paragraph += cell
        entry += paragraph
        row += entry
    return row


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _write(renderer: NbElementRenderer, file: str, content: bytes) -> str:
    return renderer.write_file(["figures", file], content, overwrite=True)


def _csv(columns: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    return latex2mathml.converter.convert(node.astext(), display=display)


def _inline_math(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _display_math(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math-block"))
    writer.body.append(_mathml(node, "block"))
    if node.get("number"):
        writer.body.append(f'<span class="eqno">({node["number"]})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _add_static(app: Sphinx, config: Any) -> None:
    config.html_static_path.append(str(STATIC))
    config.html_math_renderer = "mathml"
    app.add_css_file("paper.css")
    # a page opened from a folder may not read others, which search would do to quote from them
    app.add_js_file(None, body=_SEARCH_FROM_FOLDER, priority=900)


def _write_vega(app: Sphinx) -> None:
    """Vega, Vega-Lite and Vega-Embed as one script, wrapped so that it leaves no other names behind."""
    if app.builder.format == "html":
        bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
        target = Path(app.outdir) / "_static" / "vega.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"(function () {{\n{bundle}\n}})();\n")


def _load_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    raw = "".join(node.astext() for node in doctree.findall(nodes.raw)) if doctree is not None else ""
    for mark, scripts in (
        ('class="chart"', ("vega.js", "charts.js")),
        ('class="explorer"', ("explorer.js",)),
    ):
        for script in scripts if mark in raw else ():
            app.add_js_file(script, loading_method="defer")


# What the theme, docutils and pandas write, and what a screen reader needs instead.
_MENDED = [
    (r'role="doc-biblioentry"', 'role="listitem"'),
    (r'(<button class="btn search-button-field[^>]*) aria-label="Search"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'<i class="theme-switch ([^>]*?)\s+title="[^"]*"', r'<i class="theme-switch \1 aria-hidden="true"'),
    (r"<th(?: [^>]*)?>(?:<p></p>)?</th>", "<td></td>"),
    (
        r'<div id="pst-primary-sidebar"',
        '<div id="pst-primary-sidebar" role="complementary" aria-label="Book"',
    ),
]


def _mend_pages(app: Sphinx, exception: Exception | None) -> None:
    """Mend what automatic checks of accessibility find in markup that is not ours."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).glob("**/*.html"):
            text = path.read_text()
            for pattern, replacement in _MENDED:
                text = re.sub(pattern, replacement, text)
            path.write_text(text)
