"""The sections of the paper, in the order of `_toc.yml`."""

from __future__ import annotations

import ast
import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml

from study import archive, provenance
from study.parameters import ROOT, Parameters

LOCK = ROOT / "requirements.lock"


@dataclass(frozen=True)
class Section:
    """One notebook. `name` is its file name without the ending, and the name of its page."""

    name: str
    source: Path

    @property
    def title(self) -> str:
        """The first heading of the notebook."""
        lines = (line for line in self.source.read_text().splitlines() if line.startswith("# "))
        return next(lines, f"# {self.name}").removeprefix("# ").strip()

    def notebook(self) -> nbformat.NotebookNode:
        """The notebook, without outputs.

        Raises:
            ValueError: it does not have exactly one cell tagged `parameters`.
        """
        notebook = jupytext.read(self.source)
        tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        if len(tagged) != 1:
            raise ValueError(
                f"{self.source.name}: {len(tagged)} cells are tagged 'parameters'; there must be one"
            )
        return notebook

    def key(self, parameters: Parameters, overrides: dict[str, Any]) -> str:
        """Hash of everything the executed notebook depends on."""
        code = "\n".join(cell.source for cell in self.notebook().cells if cell.cell_type == "code")
        data = _listing(Path(parameters.data)) if parameters.data else None
        return provenance.digest(
            [
                self.source.read_text(),
                parameters.settings(),
                overrides,
                provenance.code(*_modules(code), apart=frozenset()),
                [hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.files()],
                hashlib.sha256(LOCK.read_bytes()).hexdigest(),
                data,
            ]
        )


def sections() -> list[Section]:
    """All sections: the front page first, then the chapters in order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [toc["root"], *(chapter["file"] for chapter in toc["chapters"])]
    return [Section(Path(file).name, ROOT / f"{file}.md") for file in files]


def find(name: str) -> Section:
    """The section called `name`.

    Raises:
        ValueError: there is none; names the closest one.
    """
    known = {section.name: section for section in sections()}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"section {name!r}: no such section{hint} There are: {', '.join(known)}")
    return known[name]


def _modules(code: str) -> list[str]:
    """Modules of ours that a notebook imports."""
    plain = "\n".join(line for line in code.splitlines() if not line.startswith(("%", "!")))
    return sorted(set(provenance.imports(ast.parse(plain), "")))


def _listing(folder: Path) -> str:
    """Hash of names, sizes and times of all files below a folder: notices changed data without reading it."""
    entries = []
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        entries.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return provenance.digest(entries)
