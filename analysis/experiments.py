"""Experiments that are too expensive for the default book: run once with a profile of their own, then stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import archive, study

PROFILE = "grid"


@dataclass(frozen=True)
class Experiment:
    """An experiment whose tables are stored.

    Attributes:
        tables: function of a study that gives its data frames by name; a section calls it with small parameters,
        `store` with large ones. modules: whose code the tables depend on.
    """

    tables: Callable[[study.Study], dict[str, pd.DataFrame]]
    modules: tuple[str, ...]


EXPERIMENTS: dict[str, Experiment] = {}


def store(name: str, profile: str = PROFILE, data: str | None = None) -> Path:
    """Run an experiment and store its tables in the repository; the folder they are in.

    Raises:
        ValueError: there is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r}: there are {', '.join(sorted(EXPERIMENTS)) or 'none'}")
    made, started = study.open_study(profile, data), time.monotonic()
    experiment = EXPERIMENTS[name]
    tables = experiment.tables(made)
    return archive.keep(name, tables, made.parameters, experiment.modules, time.monotonic() - started)
