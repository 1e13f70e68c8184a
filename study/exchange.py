"""What each part of the face has to do with asymmetric transfer: maps exchanged between networks part by part.

Asymmetry compares what a whole map of A does for B with what one of B does for A. Here the target keeps its own map but
for one region, where it gets the source's; so what a region contributes is brought about, not only seen to differ.
"""

from __future__ import annotations

import torch
import xarray as xr

from study import maps, networks, stimuli
from study.grid import Cell
from study.parameters import Parameters
from study.regions import regions
from study.store import Store

CODE = (*maps.MASK, "study.regions", "study.exchange")


def percent(p: Parameters) -> float:
    """The share of pixels kept, in %: the middle one of `transfer_percents`."""
    return p.transfer_percents[len(p.transfer_percents) // 2]


def inputs(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> dict:
    """What a network's performance under exchanged maps depends on."""
    sources = [maps.relevance_inputs(p, store, source) for source in grid if source.family != cell.family]
    target = maps.relevance_inputs(p, store, cell)
    return p.inputs("ranking", "fill") | {"percent": percent(p), "target": target, "sources": sources}


def exchange(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> xr.Dataset:
    """One network on images masked (keep) by its own map with one region from a network of another family.

    Dimensions `(ranking, mode, percent, image)`; a ranking is "<source's name>: <region>". Maps are compared by the
    ranks of their pixels, and every mask keeps the same number of pixels.
    """

    def make() -> xr.Dataset:
        images, labels = maps.explained_images(p, store, cell.task)
        faces = stimuli.faces(p, store)
        where, names = regions(faces.isel(image=stimuli.explained(p, faces)))
        own, rankings = maps.pixel_ranks(maps.scores(p, store, cell)), {}
        for source in grid:
            if source.family != cell.family:
                theirs = maps.pixel_ranks(maps.scores(p, store, source))
                for k, name in enumerate(names):
                    rankings[f"{source.name}: {name}"] = torch.where(
                        torch.from_numpy(where == k), theirs, own
                    )
        model = networks.load(p, store, cell)
        return maps.masked_curves(p, model, images, labels, rankings, (percent(p),), ("keep",))

    return store.dataset("exchange", inputs(p, store, cell, grid), CODE, make)


def exchange_all(p: Parameters, store: Store, grid: list[Cell]) -> dict[str, xr.Dataset]:
    """`exchange` of every network of two families, by name."""
    maps.explain_all(p, store, grid)
    needs = [inputs(p, store, cell, grid) for cell in grid]
    rankings = len(regions(stimuli.faces(p, store).isel(image=[0]))[1]) * len(grid) // 2
    maps.make_missing(exchange, needs, "exchange", p, store, grid, "exchanged parts", rankings, (grid,), CODE)
    return {cell.name: exchange(p, store, cell, grid) for cell in grid}
