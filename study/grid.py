"""The grid of networks: pretraining x finetuning task x seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import pandas as pd


@dataclass(frozen=True, order=True)
class Cell:
    """One network of the grid.

    Attributes:
        pretraining: label of the pretraining set.
        task: "gender" or "identity".
        seed: seed of the new head and of the data order in finetuning.
        run: which independent pretraining run it started from.
    """

    pretraining: str
    task: str
    seed: int
    run: int

    @property
    def name(self) -> str:
        """Unique and readable, e.g. 'faces/identity/2'."""
        return f"{self.pretraining}/{self.task}/{self.seed}"

    @property
    def family(self) -> str:
        """Pretraining and task: networks of a family differ in seed alone."""
        return f"{self.pretraining}/{self.task}"


def cells(p: Any) -> list[Cell]:
    """All networks of the parameters, in a fixed order."""
    return [
        Cell(pretraining, task, seed, seed % p.pretraining_runs)
        for pretraining, task, seed in product(p.pretrainings, p.tasks, range(p.seeds))
    ]


def table(grid: list[Cell]) -> pd.DataFrame:
    """One row per network: model (its name), family, pretraining, task, seed, run."""
    return pd.DataFrame([{"model": c.name, "family": c.family} | asdict(c) for c in grid])
