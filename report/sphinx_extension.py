"""Sphinx extension: figures from notebook outputs, formulas as MathML, and nothing from the network.

Named in `_config.yml`; `FigureRenderer` is also a `myst_nb.mime_renderers` entry point (pyproject.toml).
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import latex2mathml.converter
import pandas as pd
import vl_convert
from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer, create_figure_context
from PIL import Image
from pydata_sphinx_theme.utils import get_theme_options_dict
from sphinx import addnodes
from sphinx.application import Sphinx

from report.figures.explorer import markup
from report.figures.show import MIME
from report.sections import BOOK, sections

VEGA_LITE = "6.4"
TABLE_ROWS = 60
SMALLEST_IMAGE = 112  # pixels of the page; smaller images are enlarged
GRID_WIDTH, GRID_GAP = 690, 12  # pixels of the page for all images of a row, and between two
# a page opened from a folder may not read others, which search would do to quote from them
SEARCH_FROM_FOLDER = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'
HOSTS = {"github.com": "gh", "gitlab.com": "gl"}  # that Binder can read
Content = dict[str, Any]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_display_math, None))
    app.connect("config-inited", _add_static)
    app.connect("builder-inited", _write_vega)
    app.connect("html-page-context", _load_scripts)
    app.connect("html-page-context", _add_buttons, priority=900)  # after the theme has made its own
    app.connect("build-finished", _mend_pages)
    app.connect("autodoc-process-docstring", _as_napoleon_reads, priority=400)  # before napoleon does
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# ------------------------------------------------------------ figures


class FigureRenderer:
    """Turns an output of `report.figures` into a numbered figure."""

    mime_priority_overrides = (("*", MIME, 1),)

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Docutils nodes for a figure; None for any other output."""
        if data.mime_type != MIME:
            return None
        content = data.content
        make = {"chart": _chart, "images": _image_table, "explorer": _explorer}[content["kind"]]
        body, legend = make(renderer, content)
        document, holder = renderer.renderer, nodes.Element()
        caption = " ".join(content["caption"].split()).replace("<", "&lt;")  # one paragraph, no HTML
        options = {"name": content["name"], "caption": caption}
        with document.current_node_context(holder), create_figure_context(document, options, data.line):
            document.current_node.extend(body)
        holder.children[-1] += nodes.legend("", *legend)
        return holder.children


def _chart(renderer: NbElementRenderer, figure: Content) -> tuple[list[nodes.Node], list[nodes.Node]]:
    name, spec, alt = figure["name"], figure["spec"], html.escape(figure["alt"])
    # "<" is escaped so that no text in the data can close the script element
    text = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
    live = (
        f'<div class="chart" id="chart-{name}" role="img" aria-label="{alt}"></div>'
        f'<script type="application/json" data-chart="chart-{name}">{text}</script>'
    )
    uri = _write(renderer, f"{name}.svg", figure["svg"].encode())
    picture = nodes.image(uri=uri, alt=figure["alt"], classes=["chart-static"], candidates={"*": uri})
    tables = [
        pd.DataFrame(rows, columns=figure["columns"][key], dtype=object)  # numbers as they are
        for key, rows in spec.get("datasets", {}).items()
    ]
    files = {}
    for number, table in enumerate(tables, 1):
        file = f"{name}-{number}.csv" if number > 1 else f"{name}.csv"
        files[file] = f"Data{f'-{number}' * (number > 1)} (CSV)", table.to_csv(index=False)
    files[f"{name}.vl.json"] = "Specification (Vega-Lite)", json.dumps(spec, indent=1)
    files[f"{name}.svg"] = "Picture (SVG)", figure["svg"]
    links = nodes.paragraph(classes=["chart-links"])
    for file, (label, content) in files.items():
        uri = _write(renderer, file, content.encode())
        doc = renderer.renderer.sphinx_env.docname
        links += addnodes.download_reference("", "", nodes.inline("", label), reftarget=uri, refdoc=doc)
    rows = "".join(_table(f"Data {number} of {name}", table) for number, table in enumerate(tables, 1))
    start = _raw('<details class="chart-data"><summary>Data and downloads</summary>')
    return [_raw(live), picture], [start, links, _raw(rows + "</details>")]


def _table(label: str, table: pd.DataFrame) -> str:
    shown = table[:TABLE_ROWS].map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    text = shown.fillna("").to_html(index=False, border=0, classes="table", justify="unset")
    rest = f"<p>The first {TABLE_ROWS} of {len(table)} rows; the CSV file has all.</p>"
    return (
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="{label}">{text}</div>'
        f"{rest if len(table) > TABLE_ROWS else ''}"
    )


def _image_table(renderer: NbElementRenderer, figure: Content) -> tuple[list[nodes.Node], list[nodes.Node]]:
    columns, rows = figure["columns"], figure["rows"]
    table = nodes.table(classes=["image-grid"] + ["one-column"] * (len(columns) == 1))
    group = nodes.tgroup(cols=len(columns) + 1)
    table += group
    group += [nodes.colspec(colwidth=1, stub=index == 0) for index in range(len(columns) + 1)]
    head, body = nodes.thead(), nodes.tbody()
    head += _row([nodes.Text(""), *(nodes.Text(c) for c in columns)])
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
    return [table], [_described(figure)]


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def _explorer(renderer: NbElementRenderer, figure: Content) -> tuple[list[nodes.Node], list[nodes.Node]]:
    static = Path(renderer.renderer.sphinx_env.app.outdir) / "_static"
    return [_raw(markup(figure, static))], [_described(figure)]


def _described(figure: Content) -> nodes.raw:
    return _raw(f'<p class="visually-hidden">{html.escape(figure["alt"])}</p>')


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _write(renderer: NbElementRenderer, file: str, content: bytes) -> str:
    return renderer.write_file(["figures", file], content, overwrite=True)


# ------------------------------------------------------------ formulas


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


# ------------------------------------------------------------ docstrings


def _as_napoleon_reads(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings list arguments as `name: meaning` without a heading, and indent formulas; composites have none."""
    if isinstance(thing, dict):
        told = {
            key: (f"{r.kind} ({r.position}) `{r.rule}`" for r in table.rows) for key, table in thing.items()
        }
        lines[:] = [f"- `{key}`: {', '.join(rows)}" for key, rows in told.items()]
    paragraphs = "\n".join(lines).replace("|", "\\|").split("\n\n")
    for index, text in enumerate(paragraphs):
        if re.match(r"[a-z]\w*(, [a-z]\w*)*: ", text):
            paragraphs[index] = "Args:\n" + textwrap.indent(text, "    ")
        elif re.match(r" +\w+ += ", text):
            paragraphs[index] = "::\n\n" + text
    lines[:] = "\n\n".join(paragraphs).splitlines()


# ------------------------------------------------------------ scripts


def _add_static(app: Sphinx, config: Any) -> None:
    config.html_static_path.append(str(BOOK / "_static"))
    config.html_math_renderer = "mathml"
    app.add_css_file("paper.css")
    app.add_js_file(None, body=SEARCH_FROM_FOLDER, priority=900)


def _write_vega(app: Sphinx) -> None:
    """Vega, Vega-Lite and Vega-Embed as one script, wrapped so that it leaves no other names behind."""
    if app.builder.format == "html":
        bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
        target = Path(app.outdir) / "_static" / "vega.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"(function () {{\n{bundle}\n}})();\n")


def _load_scripts(
    app: Sphinx, page: str, template: str, context: Content, doctree: nodes.document | None
) -> None:
    raw = "".join(node.astext() for node in doctree.findall(nodes.raw)) if doctree is not None else ""
    scripts = {'class="chart"': ("vega.js", "charts.js"), 'class="explorer"': ("explorer.js",)}
    for script in (script for mark, needed in scripts.items() if mark in raw for script in needed):
        app.add_js_file(script, loading_method="defer")


# ------------------------------------------------------------ the theme's pages


def launch_address(repository: str, branch: str, path: str) -> str | None:
    """Binder's address that opens a text notebook of a public repository in JupyterLab.

    `postBuild` makes Jupytext the viewer of Markdown there. None if Binder cannot read the repository.

    Args:
        repository: its address. branch: of it. path: the notebook, from the top of the repository.
    """
    parts = re.fullmatch(r"https://([\w.]+)/(.+?)(?:\.git)?/?", repository)
    if not parts or parts[1] not in HOSTS:
        return None
    host, name = HOSTS[parts[1]], quote(parts[2], safe="/" if parts[1] == "github.com" else "")
    return f"https://mybinder.org/v2/{host}/{name}/{quote(branch, safe='')}?urlpath=lab/tree/{quote(path)}"


def _add_buttons(
    app: Sphinx, page: str, template: str, context: Content, doctree: nodes.document | None
) -> None:
    """Say what the theme's download button gives, and add a launch button where `_config.yml` names a repository."""
    groups = context.get("header_buttons", [])
    for button in (button for group in groups for button in group.get("buttons", [])):
        if button.get("text") == ".ipynb":
            button["tooltip"] = "Download this page as an executed notebook"
    options, name = get_theme_options_dict(app), page.rsplit("/")[-1]
    repository, branch = options.get("repository_url") or "", options.get("repository_branch") or "main"
    address = launch_address(repository, branch, f"book/{name}.md")
    if address and name in {section.name for section in sections()}:
        button = {"type": "link", "url": address, "tooltip": "Run this page on Binder"}
        groups.append(button | {"icon": "fas fa-rocket", "label": "launch-binder-button"})


# What the theme, docutils and pandas write, and what a screen reader needs instead.
_MENDED = {
    r'role="doc-biblioentry"': 'role="listitem"',
    r'(<button class="btn search-button-field[^>]*) aria-label="Search"': r"\1",
    r'<summary aria-label="Toggle hidden content">': "<summary>",
    r'<i class="theme-switch ([^>]*?)\s+title="[^"]*"': r'<i class="theme-switch \1 aria-hidden="true"',
    r"<th(?: [^>]*)?>(?:<p></p>)?</th>": "<td></td>",
    r'<div id="pst-primary-sidebar"': '<div id="pst-primary-sidebar" role="complementary" aria-label="Book"',
}


def _mend_pages(app: Sphinx, exception: Exception | None) -> None:
    """Mend what automatic checks of accessibility find in markup that is not ours."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).glob("**/*.html"):
            text = path.read_text()
            for pattern, replacement in _MENDED.items():
                text = re.sub(pattern, replacement, text)
            path.write_text(text)
