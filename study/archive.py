"""Results of expensive runs, kept in the repository as tables with a manifest, so that every book can show them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from study import parameters as params
from study import provenance

FOLDER = params.ROOT / "book" / "stored"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Kept:
    """A stored result.

    Attributes:
        name: of the experiment. tables: its data frames by name. manifest: profile, parameters, code (hash of the code
        that made it), modules (whose code that is), environment, seconds.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    manifest: dict[str, Any]

    @property
    def is_current(self) -> bool:
        """Whether the code that made it is the code that is here."""
        return self.manifest["code"] == provenance.code(*self.manifest["modules"])

    def __str__(self) -> str:
        made = self.manifest
        changed = "" if self.is_current else "; the code that makes it has changed since"
        return (
            f"stored result of profile {made['profile']!r}, made in {made['seconds'] / 60:.0f} min at commit "
            f"{made['environment']['commit'][:8]}{changed}"
        )


def keep(
    name: str, tables: dict[str, pd.DataFrame], p: params.Parameters, modules: tuple[str, ...], seconds: float
) -> Path:
    """Replace the stored result `name`; the folder it is in. Numbers are rounded to six digits."""
    folder, temporary = FOLDER / name, FOLDER / f".{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for table, rows in tables.items():
        rows.to_csv(temporary / f"{table}.csv", index=False, float_format="%.6g")
    manifest = {
        "profile": p.profile,
        "parameters": p.settings(),
        "code": provenance.code(*modules),
        "modules": modules,
        "environment": provenance.environment(),
        "seconds": round(seconds),
    }
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


def recall(name: str) -> Kept:
    """The stored result `name`.

    Raises:
        FileNotFoundError: nothing of that name is stored.
    """
    folder = FOLDER / name
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"no stored result {name!r}; make it with: python -m report store {name}")
    tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
    return Kept(name, tables, json.loads((folder / MANIFEST).read_text()))


def files() -> list[Path]:
    """Every file of every stored result."""
    return sorted(path for path in FOLDER.rglob("*") if path.is_file())


def recall_or(name: str, live: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], str]:
    """The stored tables `name` and a note on what they are; where nothing is stored, `live` and a note on that."""
    try:
        kept = recall(name)
    except FileNotFoundError:
        return live, f"live run, as nothing is stored yet; to store it: python -m report store {name}"
    return kept.tables, str(kept)
