"""The grid of networks: pretraining x finetuning task x seed, at one depth and stage of finetuning."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

import pandas as pd

Scope = Literal["classifier", "last_block", "all"]


@dataclass(frozen=True, order=True)
class Cell:
    """One network of the grid.

    Attributes:
        pretraining: label of the pretraining set.
        task: "gender", "identity", or another column of the tables on photographs.
        seed: seed of the new classifier and of the data order in finetuning.
        run: which independent pretraining run it started from.
        scope: how deep finetuning goes: the linear layers ("classifier"), these and the last block of convolutions
            ("last_block"), or all layers ("all").
        stage: 0 at the end of finetuning; 1, 2, ... after ever smaller shares of it (see `networks.STAGES`).
    """

    pretraining: str
    task: str
    seed: int
    run: int
    scope: Scope = "all"
    stage: int = 0

    @property
    def name(self) -> str:
        """Unique and readable, e.g. 'faces/identity/2', or 'faces/identity/2/classifier/stage 1'."""
        scope = "" if self.scope == "all" else f"/{self.scope}"
        stage = f"/stage {self.stage}" if self.stage else ""
        return f"{self.family}/{self.seed}{scope}{stage}"

    @property
    def family(self) -> str:
        """Pretraining and task: networks of a family differ in seed alone."""
        return f"{self.pretraining}/{self.task}"

    def at(self, scope: Scope | None = None, stage: int | None = None) -> Cell:
        """The same network finetuned to another depth, or at another stage; None: as it is."""
        return replace(
            self,
            scope=self.scope if scope is None else scope,
            stage=self.stage if stage is None else stage,
        )


def cells(p: Any) -> list[Cell]:
    """All networks of the parameters, in a fixed order: seed k starts from pretraining run k modulo their number."""
    return [
        Cell(pretraining, task, p.first_seed + k, p.first_seed + k % p.pretraining_runs, p.scope)
        for pretraining, task, k in product(p.pretrainings, p.tasks, range(p.seeds))
    ]


def table(grid: list[Cell]) -> pd.DataFrame:
    """One row per network: model (its name), family, and the attributes of `Cell`."""
    return pd.DataFrame([{"model": c.name, "family": c.family} | asdict(c) for c in grid])
