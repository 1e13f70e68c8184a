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

from study import networks, relevance, stimuli
from study.generalisation import controls
from study.grid import Cell
from study.masking import CLAIM, RIVALS, against_controls, masked, performance
from study.steps import Study, step

CONTROLS = tuple(name for name in RIVALS if name != "least")
SHOWN = ("consensus", "own", "average", "centre", "random")  # rankings in the table of pixels needed


@step(
    *("ranking", "fill", "percents", "explained_images", "explained_people", "grid"),
    needs=[
        relevance.explain.of(lambda s, cell: [(c,) for c in s.grid if c == cell or c.family != cell.family]),
        networks.finetuned,
        stimuli.faces,
    ],
    title="consensus masks",
    work=lambda s, cell: s.p.explained_images * (len(RIVALS) + 2),
)
def curves(s: Study, cell: Cell) -> xr.Dataset:
    """One network on the consensus mask of all *other* families, on its own masks, and on controls.

    The consensus of an image is the mean over families of the mean over their networks of the map's pixel ranks (0..1).
    Controls are made from the consensus maps, so "average" is one fixed mask for (nearly) all faces. Dimensions
    `(ranking, mode, percent, image)`.
    """
    images, labels = stimuli.explained_inputs(s, cell.task)
    families = defaultdict(list)
    for source in s.grid:
        if source.family != cell.family:
            families[source.family].append(pixel_ranks(relevance.scores(s, source)))
    shared = torch.stack([torch.stack(maps).mean(0) for maps in families.values()]).mean(0)
    scores = {"consensus": shared, "own": relevance.scores(s, cell)}
    scores |= controls(shared, images, stimuli.people(s))
    return masked(networks.network(s, cell), images, labels, scores, s.p.percents, s.p.fill)


@step(*CLAIM, needs=[curves.every(), stimuli.faces], title="claim C7")
def claim(s: Study) -> dict[str, Any]:
    """Claim C7: the consensus of all other families beats every control."""
    return against_controls(s, curves.grid(s), "consensus", CONTROLS)


def pixel_ranks(scores: torch.Tensor) -> torch.Tensor:
    """Scores `(N, H, W)` as ranks in 0..1 within each image, ties shared alike (average rank)."""
    ranks = rankdata(scores.flatten(1).numpy(), axis=1)
    return torch.from_numpy((ranks - 1) / max(1, ranks.shape[1] - 1)).float().view_as(scores)


def pixels_needed(s: Study, reach: float = 0.8) -> pd.DataFrame:
    """How few pixels a held-out family needs: family, ranking, percent.

    percent: the smallest share of pixels, interpolated, from which on performance has risen by `reach` of the way from
    no pixels to all; NaN for a family whose performance is no better with all pixels than with none.
    """
    values = performance(s.p, curves.grid(s)).sel(mode="keep").mean("image").sortby("percent")
    percents, families = values.percent.values, values.family.values
    rows = []
    for family, ranking in product(dict.fromkeys(families), SHOWN):
        heights = values.sel(ranking=ranking).isel(model=families == family).mean("model").values
        goal = heights[0] + reach * (heights[-1] - heights[0])
        needed = np.nan
        if heights[-1] > heights[0]:
            last = np.flatnonzero(heights < goal)[-1]  # the first point is below the goal
            share = (goal - heights[last]) / (heights[last + 1] - heights[last])
            needed = percents[last] + share * (percents[last + 1] - percents[last])
        rows.append({"family": family, "ranking": ranking, "percent": float(needed)})
    return pd.DataFrame(rows)
