"""How alike the maps of the grid are, image by image."""

from __future__ import annotations

import torch
import xarray as xr

from analysis import likeness, masking
from study import maps
from study.grid import Cell
from study.parameters import Parameters
from study.store import Store

CODE = (
    "analysis.masking",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    "study.likeness",
)


def similarity_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Likeness of every two networks' maps, `(source, target, image)`.

    `spearman`: rank correlation over pixels of the signed relevance. `overlap`: share of the top
    `overlap_percent` of pixels, by the parameter `ranking`, that the two have in common.
    """
    relevance = maps.explain_all(p, store, grid)
    inputs = {"maps": relevance.attrs["store_key"]} | p.inputs("ranking", "overlap_percent")

    def make() -> xr.Dataset:
        signed = relevance.relevance.values
        scores = torch.stack([masking.rank(torch.from_numpy(m), p.ranking) for m in signed]).numpy()
        names, dims = [cell.name for cell in grid], ("source", "target", "image")
        overlap = likeness.top_overlap(scores, percent=p.overlap_percent, seed=maps.SEED)
        return xr.Dataset(
            {"spearman": (dims, likeness.spearman(signed)), "overlap": (dims, overlap)},
            coords={"source": names, "target": names},
        )

    return store.dataset("similarity", inputs, CODE, make)
