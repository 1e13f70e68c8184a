"""The sections of the paper, in the order of `_toc.yml`."""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml

from report import templates
from study import networks, provenance, stored
from study.parameters import Parameters
from study.provenance import ROOT

BOOK, BUILD = ROOT / "book", ROOT / "_build"
LOCK = ROOT / "requirements.lock"


@dataclass(frozen=True)
class Section:
    """One text notebook."""

    source: Path

    @property
    def name(self) -> str:
        """Its file name without the ending, and the name of its page."""
        return self.source.stem

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
        plain = "\n".join(line for line in code.splitlines() if not line.startswith(("%", "!")))
        modules = sorted(set(provenance.imports(ast.parse(plain), "")))
        files = [self.source, LOCK, *templates.files(), *stored.files()]
        data = _listing(Path(parameters.data)) if parameters.data else None
        networks_of = [file.stat() for file in networks.files(parameters) if file.is_file()]
        data = [data, *((s.st_size, s.st_mtime_ns) for s in networks_of)] if networks_of else data
        made_by = provenance.code(*modules, apart=frozenset())
        return provenance.digest([hashes(files), parameters.computed(), overrides, made_by, data])


def sections() -> list[Section]:
    """All sections: the front page first, then the chapters in order."""
    return [Section(path) for path in _chapters() if _is_notebook(path)]


def texts() -> list[Path]:
    """Chapters that are no notebooks, in order: pages without code to run."""
    return [path for path in _chapters() if not _is_notebook(path)]


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


def hashes(files: list[Path]) -> list[str]:
    """SHA-256 of the content of each file."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _chapters() -> list[Path]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [ROOT / f"{file}.md" for file in (toc["root"], *(chapter["file"] for chapter in toc["chapters"]))]


def _is_notebook(path: Path) -> bool:
    return path.read_text().startswith("---\njupytext:")


def _listing(folder: Path) -> str:
    """Hash of names, sizes and times of all files below a folder: notices changed data without reading it.

    Links are followed, but none into a folder that was seen before; what cannot be opened counts by its name.
    """
    rows, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        rows.append((os.path.relpath(place, folder), 0, 0))
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for path in (os.path.join(place, name) for name in sorted(files)):
            try:
                status = os.stat(path)
                rows.append((os.path.relpath(path, folder), status.st_size, status.st_mtime_ns))
            except OSError:
                rows.append((os.path.relpath(path, folder), -1, 0))
    return provenance.digest(rows)
