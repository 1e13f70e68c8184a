"""The study: for every network of the grid, what is missing is computed, in parallel, into the store.

Everything is lazy: asking for a result makes what it needs, once; asking again reads it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from study import exchange, explorer, humans, likeness, maps, networks, stimuli
from study import parameters as params
from study.grid import Cell, cells, table
from study.parameters import Parameters
from study.provenance import digest
from study.store import Store, read, write

__all__ = ["Cell", "Study", "from_notebook", "open_study"]


class Study:
    """One set of parameters and its results.

    Args:
        parameters: what to compute.
        store: a store, or its folder; `_build/store` by default, shared by all profiles.
    """

    def __init__(self, parameters: Parameters, store: Store | str | Path | None = None):
        self.parameters = parameters
        if not isinstance(store, Store):
            store = Store(store or os.environ.get("ANALYSIS_STORE") or params.ROOT / "_build" / "store")
        self.store = store
        self.grid = cells(parameters)

    @property
    def networks(self) -> pd.DataFrame:
        """One row per network: model (its name), family, pretraining, task, seed, run."""
        return table(self.grid)

    def input_hashes(self) -> dict[str, Any]:
        """Hashes of what comes from outside or is made first: stimuli, pretraining images, ratings."""
        p = self.parameters
        return {
            "faces": self.faces().attrs["store_key"],
            "pretraining_sets": {
                label: self.pretraining_set(label).attrs["store_key"]
                for label, source in p.pretrainings.items()
                if source != "none"
            },
            "ratings": digest(humans.contents(p)),
        }

    def faces(self) -> xr.Dataset:
        """All face images with group and split; see `study.stimuli.faces`."""
        return stimuli.faces(self.parameters, self.store)

    def explained(self) -> xr.Dataset:
        """The held-out images every network is explained on."""
        faces = self.faces()
        return faces.isel(image=stimuli.explained(self.parameters, faces))

    def pretraining_set(self, label: str) -> xr.Dataset:
        """The images of a pretraining."""
        return stimuli.pretraining_set(self.parameters, self.store, label)

    def predictions(self) -> pd.DataFrame:
        """One row per network and image of its task: model, ..., split, label, prediction, probability, correct."""
        networks.train_all(self.parameters, self.store, self.grid)
        frames = []
        for cell, row in zip(self.grid, self.networks.to_dict("records"), strict=True):
            path = networks.finetune(self.parameters, self.store, cell) / "predictions.zarr"
            frames.append(read(path).to_dataframe().reset_index().assign(**row))
        return pd.concat(frames, ignore_index=True)

    def histories(self) -> pd.DataFrame:
        """Training curves: one row per epoch of every pretraining and finetuning; `stage` tells which."""
        networks.train_all(self.parameters, self.store, self.grid)
        frames = []
        for pretraining, run in sorted({(c.pretraining, c.run) for c in self.grid}):
            if self.parameters.pretrainings[pretraining] == "none":
                continue
            folder = networks.pretrain(self.parameters, self.store, pretraining, run)
            row = {"stage": "pretraining", "model": f"{pretraining} (run {run})", "pretraining": pretraining}
            frames.append(pd.read_csv(folder / "history.csv").assign(**row))
        for cell in self.grid:
            folder = networks.finetune(self.parameters, self.store, cell)
            row = {"stage": cell.task, "model": cell.name, "pretraining": cell.pretraining}
            frames.append(pd.read_csv(folder / "history.csv").assign(**row))
        return pd.concat(frames, ignore_index=True)

    def network(self, cell: Cell) -> Any:
        """A trained network, ready to explain (torch module, batch norm merged)."""
        return networks.load(self.parameters, self.store, cell)

    def relevance(self) -> xr.Dataset:
        """`relevance (model, image, y, x)` of every network, with `logit`, `prediction`, `target`."""
        return maps.explain_all(self.parameters, self.store, self.grid)

    def export_relevance(self, path: Path) -> None:
        """Copy the maps to `path`, a zarr folder that outlives the store; what is there is replaced."""
        maps = self.relevance()
        if not path.is_dir() or read(path).attrs["store_key"] != maps.attrs["store_key"]:
            temporary = path.with_suffix(".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            write(maps.load(), temporary)
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)

    def curves(self) -> xr.Dataset:
        """Masking curves `(model, ranking, mode, percent, image)`: correct, probability, logit."""
        return maps.mask_all(self.parameters, self.store, self.grid)

    def transfer(self) -> xr.Dataset:
        """Networks on each other's masks, `(model, ranking, mode, percent, image)`; model = target."""
        return maps.transfer_all(self.parameters, self.store, self.grid)

    def exchange(self, a: str, b: str) -> dict[str, xr.Dataset]:
        """Every network of two families with maps exchanged part by part; see `study.exchange`."""
        grid = [cell for cell in self.grid if cell.family in (a, b)]
        return exchange.exchange_all(self.parameters, self.store, grid)

    def similarity(self) -> xr.Dataset:
        """How alike maps are: `spearman`, `overlap` `(source, target, image)`."""
        return likeness.similarity_all(self.parameters, self.store, self.grid)

    def consensus(self) -> xr.Dataset:
        """Networks on the consensus masks of all other families, `(model, ranking, mode, percent, image)`."""
        return maps.consensus_all(self.parameters, self.store, self.grid)

    def explorer(self) -> xr.Dataset:
        """A few faces through every network's masks; see `study.explorer.explore`."""
        return explorer.explore(self.parameters, self.store, self.grid)

    def agreement(self) -> dict:
        """Models' and people's dissimilarities compared; see `study.humans.agreement`."""
        return humans.agreement(self.parameters, self.store, self.grid)

    def performance(self, curves: xr.Dataset) -> xr.DataArray:
        """The parameter `measure` of masked images, as float."""
        name = {"accuracy": "correct"}.get(self.parameters.measure, self.parameters.measure)
        return curves[name].astype(np.float64)


def open_study(profile: str = params.DEFAULT_PROFILE, data: str | None = None, **overrides: Any) -> Study:
    """The study of a profile, with single parameters overridden."""
    return Study(params.load(profile, data, **overrides))


def from_notebook(namespace: Mapping[str, Any]) -> Study:
    """The study of a notebook's parameters; pass `globals()`. Bad parameters fail here, before any computing."""
    return Study(params.from_notebook(namespace))
