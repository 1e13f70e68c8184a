"""Render executed notebooks to HTML with Jupyter Book, execution off."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from report import templates
from report.figures.show import MIME
from report.records import Record
from report.sections import BOOK, ROOT, Section
from study.settings import is_built_in

_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"


class RenderFailed(RuntimeError):
    """Jupyter Book warned or failed; the message is its output."""


@dataclass(frozen=True)
class Page:
    """What becomes one page.

    Attributes:
        name: of the page. source: an executed notebook, or Markdown. ending: Markdown for the end of a notebook's page.
        mark: words that end the caption of each figure of a notebook.
    """

    name: str
    source: Path | str
    ending: str = ""
    mark: str = ""


def stage(site: Path, pages: Sequence[Page]) -> None:
    """Fill the folder `site` with everything Jupyter Book needs; the first page is the front page."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    notebooks = [page.name for page in pages if isinstance(page.source, Path)]
    for page in pages:
        if isinstance(page.source, Path):
            nbformat.write(_notebook(page, notebooks), site / f"{page.name}.ipynb")
        else:
            (site / f"{page.name}.md").write_text(_linked(page.source, notebooks))
    for path in BOOK.glob("*.bib"):
        shutil.copy2(path, site)
    root, *chapters = (page.name for page in pages)
    toc: dict[str, Any] = {"format": "jb-book", "root": root}
    if chapters:  # an empty list is an error
        toc["chapters"] = [{"file": name} for name in chapters]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["execute"] = {"execute_notebooks": "off", "stderr_output": "remove"}
    for name in ("exclude_patterns", "only_build_toc_files"):  # of the project's folder, not of this one
        del config[name]
    sphinx = config["sphinx"]["config"]
    sphinx["bibtex_bibfiles"] = [Path(name).name for name in sphinx["bibtex_bibfiles"]]
    for name, value in {"_toc.yml": toc, "_config.yml": config}.items():
        (site / name).write_text(yaml.safe_dump(value, sort_keys=False))


def _notebook(page: Page, notebooks: Sequence[str]) -> nbformat.NotebookNode:
    """The page's notebook as it is shown: code hidden, captions marked, links to other pages as the book has them."""
    notebook = nbformat.read(page.source, as_version=4)
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & {"parameters", "injected-parameters"}:
            tags.add("remove-cell")
        elif cell.cell_type == "code":
            tags.add("hide-input")
        for output in cell.get("outputs", []) if page.mark else []:
            if figure := output.get("data", {}).get(MIME):
                figure["caption"] += f" *{page.mark}*"
        if cell.cell_type == "markdown":
            cell.source = _linked(cell.source, notebooks)
        if tags:
            cell.metadata["tags"] = sorted(tags)
    if page.ending:
        notebook.cells.append(nbformat.v4.new_markdown_cell(page.ending))
    return notebook


def _linked(text: str, notebooks: Sequence[str]) -> str:
    """The pages link to each other's sources, some of which are executed notebooks here."""
    return re.sub(rf"\]\(({'|'.join(notebooks)})\.md([)#])", r"](\1.ipynb\2", text)


def render(site: Path, work: Path, strict: bool) -> Path:
    """Build `site` inside the folder `work`; the folder of the finished pages.

    Args:
        strict: warnings are errors.

    Raises:
        RenderFailed: with Jupyter Book's warnings, or all its output if there are none.
    """
    shutil.rmtree(work, ignore_errors=True)
    command = [
        sys.executable,
        "-c",
        _JUPYTER_BOOK,
        "build",
        str(site),
        "--path-output",
        str(work),
        "--all",
        "-q",
    ]
    if strict:
        command += ["-W", "-n", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        output = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
        warnings = re.findall(r"^.*(?:WARNING|ERROR|CRITICAL).*$", output, flags=re.MULTILINE)
        raise RenderFailed("\n".join(["the pages could not be rendered:", *(warnings or [output])]))
    return work / "_build" / "html"


def publish(finished: Path, target: Path) -> None:
    """Put the finished folder in the place of `target`, which is thus old or new, never half of each."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    finished.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def inputs() -> list[Path]:
    """Files, apart from the pages, that the rendered book depends on."""
    files = [ROOT / "_config.yml", *templates.files(), *BOOK.glob("*.bib"), *(BOOK / "_static").rglob("*")]
    for package in ("report", "analysis"):  # a page shows the docstrings of `analysis`
        files += (ROOT / package).rglob("*.py")
    return sorted(path for path in files if path.is_file())


# ------------------------------------------------------------ what the build adds to the pages


def mark(record: Record) -> str:
    """What the caption of every figure of a section must say of its stimuli; empty for photographs."""
    return "Synthetic faces." if record["parameters"]["faces"] == "procedural" else ""


def ending(section: Section, record: Record) -> str:
    """Markdown for the end of a page: how to make it again, and what that takes."""
    changes = (shlex.quote(f"{name}={json.dumps(value)}") for name, value in record["overrides"].items())
    changed = "".join(f" -p {change}" for change in changes)
    profile, used = shlex.quote(record["profile"]), record["parameters"]
    folders = [name for name in (used["faces"], *used["pretrainings"].values()) if not is_built_in(name)]
    images = "photographs" if folders else "procedural faces and objects, made by the code"
    return templates.fill(
        "ending.md",
        name=section.name,
        profile=profile,
        images=images,
        r=record,
        changes=changed,
        duration=duration,
    )


def status_page(sections: Sequence[Section], records: Mapping[str, Record]) -> str:
    """Markdown of the page that lists what each section took."""
    rows = [{"name": s.name, "title": s.title} | records[s.name] for s in sections]
    return templates.fill("status.md", rows=rows, duration=duration)


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
