"""Experiments too expensive for the default book: run once with a profile of their own, kept in the repository.

What is kept is their tables, a manifest, and their canaries (`study.canaries`): a stored result counts as current as
long as these give the same numbers, whatever else changed in the code.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from study import canaries, claims, provenance
from study.steps import Study

FOLDER = provenance.ROOT / "book" / "stored"
MANIFEST, CANARY = "manifest.json", "canary.json"
PROFILE = "grid"
# Name -> module of `study` with `tables(s)`, which gives data frames by name: a page calls it with small parameters,
# `store` with large ones.
EXPERIMENTS = {
    "truth": "truth",
    "shortcuts": "shortcuts",
    "sanity": "sanity",
    "retrain": "retrain",
    "calibration": "certainty",
    "multiverse": "multiverse",
    "replications": "replications",
}


@dataclass(frozen=True)
class Stored:
    """A stored result.

    Attributes:
        name: of the experiment. tables: its data frames by name. manifest: profile, parameters, environment, seconds.
        canary: the numbers that its canaries gave when it was made.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    manifest: dict[str, Any]
    canary: dict[str, Any]

    def outdated(self, s: Study) -> list[str]:
        """What its canaries no longer give, in words; empty while the result is current."""
        return canaries.disagreements(self.canary, canaries.of_experiment(s, self.name))

    def note(self, s: Study) -> str:
        """Where the result comes from, in words."""
        made = self.manifest
        changed = "; code that decides its numbers has changed since" if self.outdated(s) else ""
        return (
            f"stored result of profile {made['profile']!r}, made in {made['seconds'] / 60:.0f} min at commit "
            f"{made['environment']['commit'][:8]}{changed}"
        )


def store(s: Study, name: str) -> Path:
    """Run an experiment and replace its stored tables, numbers rounded to six digits; the folder they are in.

    Raises:
        ValueError: there is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r}: there are {', '.join(sorted(EXPERIMENTS))}")
    started = time.monotonic()
    tables = import_module(f"study.{EXPERIMENTS[name]}").tables(s)
    manifest = {
        "profile": s.p.profile,
        "parameters": s.settings.computed(),
        "environment": provenance.environment(),
        "seconds": round(
            time.monotonic() - started + sum(t.attrs.get("seconds", 0) for t in tables.values())
        ),
    }
    folder, temporary = FOLDER / name, FOLDER / f".{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for table, rows in tables.items():
        rows.to_csv(temporary / f"{table}.csv", index=False, float_format="%.6g")
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    (temporary / CANARY).write_text(json.dumps(canaries.of_experiment(s, name), sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


def recall(name: str) -> Stored:
    """The stored result `name`.

    Raises:
        FileNotFoundError: nothing of that name is stored.
    """
    folder = FOLDER / name
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"no stored result {name!r}; make it with: python -m report store {name}")
    tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
    manifest, canary = (json.loads((folder / file).read_text()) for file in (MANIFEST, CANARY))
    return Stored(name, tables, manifest, canary)


def of_study(s: Study, name: str) -> Stored | None:
    """The stored result `name`, if every parameter that a claim depends on is what it was there, else None.

    A parameter that there was none of at that time counts as its default.
    """
    try:
        kept = recall(name)
    except FileNotFoundError:
        return None
    decisive = set().union(*(step.depends_on() for step in claims.STEPS.values())) - {"device"}
    here = json.loads(s.settings.model_dump_json())
    there = json.loads(type(s.settings).model_construct().model_dump_json()) | kept.manifest["parameters"]
    return kept if all(there[each] == here[each] for each in decisive) else None


def recall_or(s: Study, name: str, live: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], str]:
    """The stored tables `name` and a note on what they are; where nothing is stored, `live` and a note on that."""
    try:
        kept = recall(name)
    except FileNotFoundError:
        return live, f"live run, as nothing is stored yet; to store it: python -m report store {name}"
    return kept.tables, kept.note(s)


def files() -> list[Path]:
    """Every file of every stored result."""
    return sorted(path for path in FOLDER.rglob("*") if path.is_file())
