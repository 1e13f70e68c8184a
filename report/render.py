"""Render executed notebooks to HTML with Jupyter Book, execution off."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml

from report.figures.show import MIME
from study.parameters import ROOT

BOOK = ROOT / "book"
_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"


class RenderFailed(RuntimeError):
    """Jupyter Book warned or failed; the message is its output."""


def stage(
    site: Path,
    notebooks: Mapping[str, Path],
    endings: Mapping[str, str],
    pages: Mapping[str, str],
    marks: Mapping[str, str],
) -> None:
    """Fill the folder `site` with everything Jupyter Book needs.

    Args:
        notebooks: section name -> executed notebook; the first is the front page.
        endings: section name -> Markdown to put at the end of its page.
        pages: name -> Markdown of further pages, after the sections.
        marks: section name -> words that end the caption of each of its figures.
    """
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for name, path in notebooks.items():
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(_page(notebook, endings.get(name), marks.get(name)), site / f"{name}.ipynb")
    for name, text in pages.items():
        (site / f"{name}.md").write_text(text)
    for path in BOOK.iterdir():
        if path.suffix in {".bib", ".png", ".svg"}:
            shutil.copy2(path, site)
    root, *chapters = [*notebooks, *pages]
    toc: dict[str, Any] = {"format": "jb-book", "root": root}
    if chapters:
        toc["chapters"] = [{"file": name} for name in chapters]
    (site / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    (site / "_config.yml").write_text(yaml.safe_dump(_config(), sort_keys=False))


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


def _page(notebook: nbformat.NotebookNode, ending: str | None, mark: str | None) -> nbformat.NotebookNode:
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & {"parameters", "injected-parameters"}:
            tags.add("remove-cell")
        elif cell.cell_type == "code" and "show-input" not in tags:
            tags.add("hide-input")
        for output in cell.get("outputs", []) if mark else []:
            if figure := output.get("data", {}).get(MIME):
                figure["caption"] += f" *{mark}*"
        if cell.cell_type == "markdown":
            # the sections link to each other's sources, which are notebooks here
            cell.source = re.sub(r"\]\(([\w-]+)\.md([)#])", r"](\1.ipynb\2", cell.source)
        if tags:
            cell.metadata["tags"] = sorted(tags)
    if ending:
        notebook.cells.append(nbformat.v4.new_markdown_cell(ending))
    return notebook


def _config() -> dict[str, Any]:
    """The book's configuration, for a folder that holds the executed notebooks."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["execute"] = {"execute_notebooks": "off", "stderr_output": "remove"}
    config.pop("exclude_patterns", None)
    config.pop("only_build_toc_files", None)
    sphinx = config["sphinx"]["config"]
    sphinx["bibtex_bibfiles"] = [Path(name).name for name in sphinx["bibtex_bibfiles"]]
    return config


def inputs() -> list[Path]:
    """Files, apart from executed notebooks, that the rendered pages depend on."""
    files = [ROOT / "_config.yml", ROOT / "_toc.yml", *BOOK.glob("*.bib"), *(BOOK / "_static").rglob("*")]
    files += (ROOT / "report").glob("*.py")
    return sorted(path for path in files if path.is_file())
