"""Whatever a user names is text: in every page, chart, table and notebook."""

import ast
import html
import json
import shutil
import subprocess
import sys

import altair
import jupytext
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from report import figures, prose, render
from report.sections import BOOK, ROOT, sections

IMAGE, SCRIPT = "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>"
NAMES = [
    IMAGE,
    SCRIPT,
    "A<B",
    "a|b",
    "$x$",
    "*x*",
    "_x_",
    "`x`",
    "[x](y)",
    "{{x}}",
    """it's "x" """,
    "a & b &lt;",
    "x\\y",
]


def soup(text):
    return BeautifulSoup(text, "html.parser")


@pytest.mark.parametrize("name", NAMES)
def test_tables_hold_text(name):
    rows = pd.DataFrame({name: [name, 0.5], "long": ["x" * 80, None]}).rename_axis(columns="named")
    table = soup(prose.table(rows, name, titled=True).data)
    assert {tag.name for tag in table.find_all(True)} == {
        "p",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert table.th.text == name.strip() and table.p.text == table.div["aria-label"] == name
    assert [cell.text.strip() for cell in table.find_all("td")] == [name.strip(), "x" * 80, "0.500", "n/a"]


@pytest.mark.parametrize("name", NAMES)
def test_captions_hold_text(name):
    """As MyST reads them, and in other viewers."""
    caption = f"Of {prose.plain(name)}, *stressed*."
    read = MarkdownIt("commonmark", {"html": True}).enable("table").render(caption)
    said = soup(read)
    assert [tag.name for tag in said.find_all(True)] == ["p", "em"]
    assert said.p.text == f"Of {name.strip()}, stressed."
    assert not set("$`{}|:~^@") & set(prose.plain(name))
    chart = altair.Chart(pd.DataFrame({"a": [name]})).mark_point().encode(x="a:N")
    page = soup(figures.show(chart, "fig-a", caption, name)._repr_mimebundle_()["text/html"])
    assert page.figcaption.text == f"Of {name.strip()}, *stressed*." and not page.find_all(["img", "script"])


@pytest.mark.parametrize("name", NAMES)
def test_charts_and_images_hold_text(name):
    rows = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0], "who": [name, "other"], "low": 0.0, "high": 3.0})
    charts = {
        "curves": figures.curves(rows, "x", "y", "who", "low", "high", emphasis=name, facet="who"),
        "bars": figures.bars(rows, "who", "y", "who", x_title=name),
        "matrix": figures.heatmap(rows, "who", "who", "y", title=name),
    }
    for kind, chart in charts.items():
        figure = figures.show(chart, kind, "A chart.", name)
        drawn = soup(figure.content["svg"])
        assert not drawn.find_all(["img", "script"])
        assert name.strip()[:9] in drawn.get_text()
    grid = figures.image_grid([[np.zeros((4, 4), np.uint8)]], [name], [name], "grid", "A grid.", name)
    page = soup(grid.page)
    assert (
        len(page.find_all("img")) == 1 and page.find_all("th")[1].text == page.find_all("th")[0].text == name
    )


def test_commands_at_the_end_of_a_page_can_be_pasted():
    parameters = {"data": None, "stimulus_seed": 0, "seeds": 2, "device": "cpu", "faces": "procedural"}
    parameters["pretrainings"] = {"objects": "none"}
    record = {"profile": "a; rm x", "overrides": {"pretrainings": {"it's": "none"}}, "parameters": parameters}
    record |= {
        "seconds": 1.0,
        "peak_memory_mb": 1,
        "platform": "x",
        "cores": 1,
        "python": "3",
        "versions": {},
    }
    record["commit"] = "0" * 40
    text = render.ending(sections()[0], record)
    line = next(line for line in text.splitlines() if "report run" in line).removeprefix("$ ")
    said = subprocess.run(
        f"printf '%s\\n' {line}", shell=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert said[said.index("--profile") + 1] == "a; rm x"
    assert said[said.index("-p") + 1] == "pretrainings=" + json.dumps({"it's": "none"})


def test_pages_put_names_into_captions_as_text_only():
    """A placeholder in a caption is `prose.plain(...)`, or a number with its format; and nothing uses `.style`."""
    for path in BOOK.glob("*.md"):
        for cell in jupytext.read(path).cells:
            if cell.cell_type != "code":
                continue
            assert ".style." not in cell.source, f"{path.name}: pandas' .style writes HTML; use prose.table"
            tree = ast.parse(cell.source)
            captions = [k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "caption"]
            for value in (v for c in captions for v in ast.walk(c) if isinstance(v, ast.FormattedValue)):
                fine = value.format_spec or ast.unparse(value.value).startswith("prose.plain(")
                assert fine, f"{path.name}: {ast.unparse(value)} in a caption"


PROFILE = f"{IMAGE} A<B"
LABELS = {f"{IMAGE} A<B a|b": "procedural:objects", f"""{SCRIPT} $x$ *x* "q" 'q'""": "procedural:faces"}


FOREIGN = """return [...document.querySelectorAll('[onerror], img[src=x], script')].filter(
    e => e.matches('[onerror], img[src=x]') || e.textContent.trim() === 'alert(1)').length"""


@pytest.mark.book
@pytest.mark.timeout(1800)
def test_no_page_takes_a_name_for_markup(project, browser):
    """The smoke book with such names for its pretrainings and its profile."""
    shutil.copytree(ROOT / "book", project.root / "book", dirs_exist_ok=True)
    for name in ("_toc.yml", "_config.yml", "report/results.py"):
        shutil.copy(ROOT / name, project.root / name)
    profile = yaml.safe_dump({"inherit": "smoke", "pretrainings": LABELS})
    (project.root / "profiles" / f"{PROFILE}.yml").write_text(profile)
    done = subprocess.run(
        [sys.executable, "-m", "report", "book", "--profile", PROFILE],
        cwd=project.root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    named_book, texts = project.root / "_build" / PROFILE / "html", {}
    for path in sorted(named_book.glob("*.html")):
        browser.get(path.as_uri())  # an alert would make the next command fail
        assert browser.execute_script(FOREIGN) == 0, path.name
        for details in browser.find_elements("css selector", "details"):
            browser.execute_script("arguments[0].open = true", details)
        texts[path.stem] = browser.execute_script("return document.body.textContent")
    for page in ("models", "generalisation", "relevance", "humans"):
        for label in LABELS:
            assert label in texts[page], (page, label)
    assert PROFILE in texts["reproduce"]
    for path in named_book.glob("_sources/*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                shown = soup("".join(output.get("data", {}).get("text/html", "")))
                assert not shown.find_all(onerror=True) and not shown.find_all("script"), path.name
    assert html.escape(IMAGE) in (named_book / "models.html").read_text()
