"""Where do maps of A help B more than maps of B help A, and which part of the face has to do with it?

Transfer compares what a whole map of A does for B with what one of B does for A. To see what a part contributes, maps
are also exchanged part by part: the target keeps its own map but for one region, where it gets the source's.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field
from statsmodels.stats.multitest import multipletests

from analysis import masking, transfer
from analysis.inference import QUICK_DRAWS
from study import networks, relevance, stimuli
from study.consensus import pixel_ranks
from study.generalisation import NEEDS, TRANSFER, draws, exchanged, performances
from study.grid import Cell
from study.masking import masked, mean_row, performance
from study.regions import regions
from study.settings import Settings
from study.steps import Study, step
from study.verdicts import Region, answer, part, untestable

WHOLE = "the whole face"


class Asymmetry(Settings):
    """When a difference between directions counts."""

    asymmetry_margin: float = Field(
        0.05, ge=0, lt=1, description="transfer differences below this do not count"
    )


@step(*TRANSFER, "asymmetry_margin", needs=NEEDS, title="claim C6")
def claim(s: Study) -> dict[str, Any]:
    """Claim C6: for some pair of families, maps generalise better in one direction than in the other."""
    p, people = s.p, stimuli.people(s)
    region = Region(-p.asymmetry_margin, p.asymmetry_margin, outside=True)
    try:
        differences = between_families(s)
    except ValueError as nothing:  # no family whose own maps gain anything: nothing to be asymmetric about
        return answer(region, [untestable(str(nothing), len(people))])
    known = np.isfinite(differences.estimate.se)
    excluded, parts = dict(differences.excluded), []
    excluded |= {differences.pairs[k]: "its variance cannot be estimated" for k in np.flatnonzero(~known)}
    if known.any():
        estimate = differences.estimate[known]
        ends = np.transpose(estimate.simultaneous(p.confidence, seed=p.stimulus_seed))
        chance = multipletests(estimate.p(), method="holm")[1]
        for k, (a, b) in enumerate(np.array(differences.pairs)[known]):
            label = f"{a} to {b}, minus the reverse"
            parts.append(part(region, label, estimate[k], tuple(ends[k]), people, chance[k]))
    parts += [untestable(f"{a} to {b}: {reason}", len(people)) for (a, b), reason in excluded.items()]
    return answer(region, parts)


def between_families(s: Study) -> transfer.Asymmetry:
    """Transfer A to B minus B to A for every pair of families; see `analysis.transfer.asymmetry`."""
    return transfer.asymmetry(*performances(s), s.grid, stimuli.people(s), **draws(s))


# ------------------------------------------------------------ maps exchanged part by part


def percent(s: Study) -> float:
    """The share of pixels kept, in %: the middle one of `transfer_percents`."""
    return s.p.transfer_percents[len(s.p.transfer_percents) // 2]


@step(
    *("ranking", "fill", "transfer_percents", "explained_images"),
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
    images, labels = stimuli.explained_inputs(s, cell.task)
    where, names = regions(stimuli.explained(s))
    own, other = (pixel_ranks(relevance.scores(s, c)) for c in (cell, source))
    scores = {name: torch.where(torch.from_numpy(where == k), other, own) for k, name in enumerate(names)}
    return masked(networks.network(s, cell), images, labels, scores, (percent(s),), s.p.fill, ("keep",))


# ------------------------------------------------------------ tables


def clearest(s: Study) -> tuple[str, str]:
    """The two families whose transfer differs most for its uncertainty between directions, the better source first.

    Where no pair can be compared, because own maps gain nothing, the first and the last family.
    """
    try:
        differences = between_families(s)
    except ValueError:
        return s.grid[0].family, s.grid[-1].family
    ratios = np.nan_to_num(differences.estimate.value / differences.estimate.se, posinf=0, neginf=0)
    largest = int(np.abs(ratios).argmax())
    a, b = differences.pairs[largest]
    return (a, b) if ratios[largest] > 0 else (b, a)


def kept_parts(s: Study, a: str, b: str) -> pd.DataFrame:
    """Where the kept pixels of family `a` lie and those of `b` do not.

    Columns: part (of procedural faces; a field of a grid on photographs), difference (of the shares of kept pixels in
    the part, a minus b), low, high. Kept are the most relevant pixels at `percent`.
    """
    cells = [cell for cell in s.grid if cell.family in (a, b)]
    maps = [relevance.scores(s, cell) for cell in cells]
    kept = np.stack([masking.select(each, percent(s), seed=relevance.SEED).numpy() for each in maps])
    sign = np.array([1 / s.p.seeds if cell.family == a else -1 / s.p.seeds for cell in cells])
    where, names = regions(stimuli.explained(s))
    rows = []
    for index, name in enumerate(names):
        share = (kept & (where == index)).sum((2, 3)) / kept.sum((2, 3))
        rows.append({"part": name} | mean_row(s, share, stimuli.people(s), "difference", cells, sign))
    return pd.DataFrame(rows)


def part_contributions(s: Study, a: str, b: str) -> pd.DataFrame:
    """What each part of the face contributes to the asymmetry of two families: part, difference, low, high.

    The difference is the transfer from `a` to `b` minus the reverse, when networks get the other family's map in this
    part alone; for "the whole face" everywhere. In units of what own maps add to the control, as in
    `generalisation.own_gain`, at `percent`. With "the whole face" first, and empty where own maps add too little.
    """
    p, people = s.p, stimuli.people(s)
    cells = [cell for cell in s.grid if cell.family in (a, b)]
    names = [cell.name for cell in cells]
    whole = performance(p, exchanged.grid(s).sel(percent=percent(s), mode="keep")).sel(model=names)
    control = whole.sel(ranking=p.transfer_control).transpose("model", "image").values
    everywhere = whole.sel(ranking=names).transpose("ranking", "model", "image").values
    pairs = [pair for pair in product(cells, repeat=2) if pair[0].family != pair[1].family]
    exchanged_parts.each(s, pairs)
    parts = regions(stimuli.explained(s))[1]
    performances = {WHOLE: everywhere} | {name: everywhere.copy() for name in parts}
    for target, source in pairs:
        values = performance(p, exchanged_parts(s, target, source).isel(mode=0, percent=0).load())
        for name in parts:
            performances[name][cells.index(source), cells.index(target)] = values.sel(ranking=name)
    rows = []
    for name, values in performances.items():
        try:  # a draw in which nothing gains has no ratio, and the interval is then NaN
            with np.errstate(all="ignore"):
                differences = transfer.asymmetry(
                    values, control, cells, people, n=QUICK_DRAWS, seed=p.stimulus_seed
                )
        except ValueError:  # own maps add nothing to be a share of
            return pd.DataFrame(columns=["part", "difference", "low", "high"])
        row = differences.estimate[0].row("difference", p.confidence)
        if differences.pairs[0] != (a, b):
            row = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
        rows.append({"part": name} | row)
    return pd.DataFrame(rows)
