"""Where do maps of A help B more than maps of B help A, and which part of the face has to do with it?

Transfer compares what a whole map of A does for B with what one of B does for A. To see what a part contributes, maps
are also exchanged part by part: the target keeps its own map but for one region, where it gets the source's.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

from analysis import masking, transfer
from analysis.inference import QUICK_DRAWS
from study import networks, relevance, stimuli
from study.consensus import pixel_ranks
from study.generalisation import NEEDS, TRANSFER, exchanged, shares
from study.grid import Cell
from study.masking import masked, mean_row, performance
from study.regions import regions
from study.settings import Settings
from study.steps import Study, step
from study.stimuli import EXPLAINED
from study.verdicts import Region, answer, part

WHOLE = "the whole face"


class Asymmetry(Settings):
    """When a difference between directions counts."""

    asymmetry_margin: float = Field(
        0.05, ge=0, lt=1, description="transfer differences below this do not count"
    )


@step(*TRANSFER, "asymmetry_margin", needs=NEEDS, title="claim C6")
def claim(s: Study) -> dict[str, Any]:
    """Claim C6: maps of one pretraining, or of one task, serve the other better than the reverse.

    Two planned contrasts (more where there are more than two pretrainings), of which one is enough.
    """
    p, people = s.p, stimuli.people(s)
    region = Region(-p.asymmetry_margin, p.asymmetry_margin, outside=True)
    pairs = levels(p)
    parts = [
        part(region, f"{a} to {b}, minus the reverse", estimate, people, p.confidence, together=len(pairs))
        for (factor, a, b) in pairs
        for estimate in [shares(s, directions(s.grid, factor, a, b), [1, -1])]
    ]
    return answer(region, parts)


def levels(p: Any) -> list[tuple[str, str, str]]:
    """What is compared: factor of the grid, and two of its levels."""
    factors = {"pretraining": p.pretrainings, "task": p.tasks}
    return [(factor, a, b) for factor, names in factors.items() for a, b in combinations(names, 2)]


def directions(cells: list[Cell], factor: str, a: str, b: str) -> list[np.ndarray]:
    """Masks `(M, M)` of the pairs from level `a` of a factor to `b`, and of the reverse, which differ in it alone."""
    return [transfer.between(cells, factor, a, b), transfer.between(cells, factor, b, a)]


# ------------------------------------------------------------ maps exchanged part by part


def percent(s: Study) -> float:
    """The share of pixels kept, in %: the middle one of `transfer_percents`."""
    return s.p.transfer_percents[len(s.p.transfer_percents) // 2]


@step(
    *("ranking", "fill", "transfer_percents", *EXPLAINED),
    needs=[
        relevance.explain.of(lambda s, cell, source: [(cell,), (source,)]),
        networks.finetuned.of(lambda s, cell, source: [(cell,)]),
        stimuli.faces,
    ],
    title="exchanged parts",
    work=lambda s, cell, source: s.p.explained_images * 8,
)
def exchanged_parts(s: Study, cell: Cell, source: Cell) -> xr.Dataset:
    """One network on images masked (keep) by its own map with one region from another network's.

    Dimensions `(ranking, mode, percent, image)`; a ranking is the name of a region. Maps are compared by the ranks of
    their pixels, and every mask keeps the same number of pixels.
    """
    images, _ = stimuli.explained_inputs(s, cell.task)
    where, names = regions(stimuli.explained(s))
    own, other = (pixel_ranks(relevance.scores(s, c)) for c in (cell, source))
    scores = {name: torch.where(torch.from_numpy(where == k), other, own) for k, name in enumerate(names)}
    labels = relevance.explained_class(s, cell)
    return masked(networks.network(s, cell), images, labels, scores, (percent(s),), s.p.fill, ("keep",))


# ------------------------------------------------------------ tables


def clearest(s: Study) -> tuple[str, str, str]:
    """The factor and its two levels whose maps differ most in what they do for each other, the better source first."""
    best, largest = levels(s.p)[0], -1.0
    for (factor, a, b), each in zip(levels(s.p), claim(s)["parts"], strict=True):
        apart = each["estimate"] / (each["ci_high"] - each["ci_low"])
        if abs(apart) > largest:  # which NaN is not
            best, largest = (factor, a, b) if apart > 0 else (factor, b, a), abs(apart)
    return best


def kept_parts(s: Study, factor: str, a: str, b: str) -> pd.DataFrame:
    """Where the kept pixels of networks with the level `a` of a factor lie and those with `b` do not.

    Columns: part (of procedural faces; a field of a grid on photographs), difference (of the shares of kept pixels in
    the part, a minus b), low, high. Kept are the most relevant pixels at `percent`.
    """
    cells = [cell for cell in s.firsts if getattr(cell, factor) in (a, b)]
    maps = [relevance.scores(s, cell) for cell in cells]
    kept = np.stack([masking.select(each, percent(s), seed=relevance.SEED).numpy() for each in maps])
    sign = np.array([1.0 if getattr(cell, factor) == a else -1.0 for cell in cells]) / (len(cells) / 2)
    where, names = regions(stimuli.explained(s))
    rows = []
    for index, name in enumerate(names):
        share = (kept & (where == index)).sum((2, 3)) / kept.sum((2, 3))
        rows.append({"part": name} | mean_row(s, share, stimuli.people(s), "difference", cells, sign))
    return pd.DataFrame(rows)


def part_contributions(s: Study, factor: str, a: str, b: str) -> pd.DataFrame:
    """What each part of the face contributes to an asymmetry: part, difference, low, high.

    The difference is the transfer from level `a` of a factor to `b` minus the reverse, when networks get the other's
    map in this part alone; for "the whole face", which comes first, everywhere. At `percent`, among the first seeds of
    each run. NaN where own maps add too little to have shares of.
    """
    p, percents = s.p, [percent(s)]
    cells = [cell for cell in s.firsts if getattr(cell, factor) in (a, b)]
    masks = directions(cells, factor, a, b)
    pairs = [(cells[target], cells[source]) for source, target in zip(*np.nonzero(sum(masks)), strict=True)]
    exchanged_parts.each(s, pairs)
    whole = exchanged.grid(s, cells).sel(percent=percents, mode=["keep"])
    names = [cell.name for cell in cells]
    measured = performance(p, whole).mean(("percent", "mode")).transpose("ranking", "model", "image")
    everywhere, control = measured.sel(ranking=names).values, measured.sel(ranking=p.transfer_control).values
    of_part = {name: everywhere.copy() for name in regions(stimuli.explained(s))[1]}
    for target, source in pairs:
        values = performance(p, exchanged_parts(s, target, source).isel(mode=0, percent=0).load())
        for name, performances in of_part.items():
            performances[cells.index(source), cells.index(target)] = values.sel(ranking=name)
    rows = []
    for name, values in ({WHOLE: everywhere} | of_part).items():
        gain, own = transfer.gains(values, control)
        options = {"contrast": np.array([[1, -1]]), "n": QUICK_DRAWS, "seed": p.stimulus_seed}
        estimate = transfer.shares(gain, masks, cells, stimuli.people(s), scale=own, **options)[0]
        rows.append({"part": name} | estimate.row("difference", p.confidence))
    return pd.DataFrame(rows)
