"""Experiments that are too expensive for the default book: run once with a profile of their own, then stored."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

import study
from study import archive

PROFILE = "grid"
# Name -> module of `study`. It has `tables(study)`, which gives data frames by name (a section calls it with small
# parameters, `store` with large ones), and `CODE`, the modules whose code the tables depend on.
EXPERIMENTS = {
    "truth": "truth",
    "shortcuts": "shortcuts",
    "sanity": "sanity",
    "retrain": "retrain",
    "calibration": "certainty",
    "multiverse": "multiverse",
}


def store(name: str, profile: str = PROFILE, data: str | None = None) -> Path:
    """Run an experiment and store its tables in the repository; the folder they are in.

    Raises:
        ValueError: there is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r}: there are {', '.join(sorted(EXPERIMENTS)) or 'none'}")
    made, started = study.open_study(profile, data), time.monotonic()
    experiment = import_module(f"study.{EXPERIMENTS[name]}")
    tables = experiment.tables(made)
    return archive.keep(name, tables, made.parameters, experiment.CODE, time.monotonic() - started)
