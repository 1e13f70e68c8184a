"""Is there a shared set of important pixels, which drives networks that had no part in choosing it?"""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import rankdata

from analysis import attribution
from study import masking, networks, relevance, stimuli
from study.grid import Cell
from study.masking import ALIGNED, CLAIM, RIVALS, against_controls, aligned, masked, performance
from study.relevance import SEED
from study.steps import Study, step
from study.stimuli import EXPLAINED

CONTROLS = (*RIVALS, ALIGNED)
KNOWN = ("random", "centre", "edges")  # these know nothing of maps: the page on masking has measured them
SHOWN = ("consensus", "own", "average", ALIGNED, "centre", "random")  # rankings in the table of pixels needed


def shown_to(s: Study, cell: Cell) -> list[tuple[Cell]]:
    """A network and those of all other families, the first seed of each pretraining run."""
    return [(c,) for c in s.firsts if c == cell or c.family != cell.family]


@step(
    *("ranking", "fill", "percents", *EXPLAINED),
    needs=[relevance.explain.of(shown_to, "grid"), networks.finetuned, stimuli.faces, masking.curves],
    title="consensus masks",
    work=lambda s, cell: s.p.explained_images * (len(CONTROLS) - len(KNOWN) + 1),
)
def curves(s: Study, cell: Cell) -> xr.Dataset:
    """One network on the consensus mask of all *other* families, on its own masks, and on controls.

    The consensus of an image is the mean over families of the mean over their networks of the map's pixel ranks (0..1).
    Controls are made from the consensus maps, so "average" is one fixed mask for (nearly) all faces, and "average
    aligned" one that is laid on each by its landmarks. What is followed is the class that
    the network's own map explains. Dimensions `(ranking, mode, percent, image)`.
    """
    images, _ = stimuli.explained_inputs(s, cell.task)
    families = defaultdict(list)
    for (source,) in shown_to(s, cell):
        if source.family != cell.family:
            families[source.family].append(pixel_ranks(relevance.scores(s, source)))
    shared = torch.stack([torch.stack(maps).mean(0) for maps in families.values()]).mean(0)
    options = {"seed": SEED, "images": images.cpu(), "identities": stimuli.people(s)}
    scores = {"consensus": shared} | aligned(s, shared)
    scores |= {name: attribution.control(name, shared, **options) for name in RIVALS if name not in KNOWN}
    model, labels = networks.network(s, cell), relevance.explained_class(s, cell)
    measured = masked(model, images, labels, scores, s.p.percents, s.p.fill, ends=True)
    known = masking.curves(s, cell).load().sel(ranking=["relevance", *KNOWN])
    known = known.assign_coords(ranking=["own", *KNOWN])
    ends = measured.sel(percent=[0.0, 100.0], ranking=["consensus"] * len(known.ranking))
    known = xr.concat([known, ends.assign_coords(ranking=known.ranking)], "percent").sortby("percent")
    return xr.concat([measured, known], "ranking")


@step(*CLAIM, needs=[curves.firsts(), stimuli.faces], title="claim C7")
def claim(s: Study) -> dict[str, Any]:
    """Claim C7: the consensus of all other families beats every control."""
    return against_controls(s, curves.grid(s, s.firsts), "consensus", CONTROLS)


def pixel_ranks(scores: torch.Tensor) -> torch.Tensor:
    """Scores `(N, H, W)` as ranks in 0..1 within each image, ties shared alike (average rank)."""
    ranks = rankdata(scores.flatten(1).numpy(), axis=1)
    return torch.from_numpy((ranks - 1) / max(1, ranks.shape[1] - 1)).float().view_as(scores)


def pixels_needed(s: Study, reach: float = 0.8) -> pd.DataFrame:
    """How few pixels a held-out family needs: family, ranking, percent.

    percent: the smallest share of pixels, interpolated, from which on performance has risen by `reach` of the way from
    no pixels to all; NaN for a family whose performance is no better with all pixels than with none.
    """
    values = performance(s.p, curves.grid(s, s.firsts)).sel(mode="keep").mean("image")
    percents, families = values.percent.values, values.family.values
    rows = []
    shown = [name for name in SHOWN if name in values.ranking]
    for family, ranking in product(dict.fromkeys(families), shown):
        heights = values.sel(ranking=ranking).isel(model=families == family).mean("model").values
        goal = heights[0] + reach * (heights[-1] - heights[0])
        needed = np.nan
        if heights[-1] > heights[0]:
            last = np.flatnonzero(heights < goal)[-1]  # the first point is below the goal
            share = (goal - heights[last]) / (heights[last + 1] - heights[last])
            needed = percents[last] + share * (percents[last + 1] - percents[last])
        rows.append({"family": family, "ranking": ranking.replace("_", " "), "percent": float(needed)})
    return pd.DataFrame(rows)
