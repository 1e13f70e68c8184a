"""What keeping or removing a network's most relevant pixels does to its decisions, beside fair controls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field, field_validator

from analysis import alignment, attribution, inference, masking, transfer
from study import networks, relevance, stimuli, vgg
from study.grid import Cell
from study.relevance import SEED
from study.settings import Percent, Settings, ascending
from study.steps import Study, step
from study.stimuli import EXPLAINED
from study.verdicts import ESTIMATE, Region, answer, part

RIVALS = ("random", "blobs", "centre", "other_image", "average", "edges")  # need no further network
ALIGNED = "average_aligned"  # a rival where landmarks are known
RANKINGS = ("relevance", *RIVALS, "random_weights")
CONTROLS = (*RIVALS, ALIGNED, "random_weights")
MODE_SIGNS = {"keep": 1, "remove": -1}  # whether high performance under a ranking speaks for it


class Masking(Settings):
    """How images are masked, and what counts."""

    fill: Literal["mean", "blur", "noise", "grey"] = Field("mean", description="what masked pixels become")
    percents: tuple[Percent, ...] = Field(
        (2.5, 5.0, 10.0, 20.0, 40.0),
        min_length=2,
        description="share of pixels kept or removed, %; claims average over their logarithm, so that every doubling "
        "counts alike",
    )
    measure: Literal["accuracy", "probability", "logit"] = Field(
        "probability",
        description="performance on a masked image: whether the network names the explained class (so that accuracy "
        "means: its decision survives), or the probability or logit of the explained class",
    )
    percent_range: Literal["all", "few", "many"] = Field(
        "all", description="which of the percents claims count: all, or the half with few or with many pixels"
    )
    smallest_gain: float = Field(
        0.02, gt=0, description="smallest effect of interest: mean lead in `measure` over a control"
    )

    _mask_percents = field_validator("percents")(ascending)


@step(
    *("ranking", "fill", "percents", "composite", *EXPLAINED),
    needs=[relevance.explain, networks.finetuned, stimuli.faces],
    title="masking",
    work=lambda s, cell: s.p.explained_images * len(CONTROLS),
)
def curves(s: Study, cell: Cell) -> xr.Dataset:
    """Masking curves of one network: `correct`, `probability`, `logit` `(ranking, mode, percent, image)`.

    Rankings are the network's own relevance and every control, each followed for the class that the relevance explains.
    """
    own, model = relevance.explain(s, cell), networks.network(s, cell)
    images, _ = stimuli.explained_inputs(s, cell.task)
    known = {"own": torch.from_numpy(own.relevance.values), "identities": stimuli.people(s)}
    targets = own.target.values
    scores = relevance.rankings(s, model, images, targets, RANKINGS, by=s.p.ranking, **known)
    scores |= aligned(s, scores["relevance"])
    return masked(model, images, relevance.explained_class(s, cell), scores, s.p.percents, s.p.fill)


def aligned(s: Study, scores: torch.Tensor) -> dict[str, torch.Tensor]:
    """The rival ALIGNED made from scores `(N, H, W)` of the explained images; nothing where landmarks are not known."""
    faces = stimuli.explained(s)
    known = "landmarks" in faces
    return {ALIGNED: alignment.average_aligned(scores, faces.landmarks.values)} if known else {}


def masked(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    scores: dict[str, torch.Tensor],
    percents: tuple[float, ...],
    fill: str,
    modes: tuple[str, ...] = masking.MODES,
    ends: bool = False,
) -> xr.Dataset:
    """`masking.curves` of several rankings' scores `(N, H, W)`: dimensions `(ranking, mode, percent, image)`.

    What is followed are the classes `labels` `(N,)`. With `ends` there are 0 and 100 percent too, which are the same
    for all rankings.
    """
    model = model.to(memory_format=torch.channels_last)
    options = {"filling": masking.fillings(images, fill, seed=SEED), "labels": labels, "seed": SEED}

    def predict(batch: torch.Tensor) -> torch.Tensor:
        parts = vgg.portions(batch.contiguous(memory_format=torch.channels_last))
        return torch.cat([model(part) for part in parts])

    def one(scores: torch.Tensor, percents: tuple[float, ...]) -> xr.Dataset:
        return masking.curves(predict, images, scores, percents, modes=modes, **options)

    limits = [one(next(iter(scores.values())), (0.0, 100.0))] if ends else []
    whole = [
        xr.concat([*limits, one(each, percents)], "percent").sortby("percent") for each in scores.values()
    ]
    return xr.concat(whole, xr.Variable("ranking", list(scores)))


def performance(p: Any, dataset: xr.Dataset) -> xr.DataArray:
    """The parameter `measure` of masked images, as float."""
    return dataset[{"accuracy": "correct"}.get(p.measure, p.measure)].astype(np.float64)


# ------------------------------------------------------------ the claim, which "consensus" makes of other maps


CLAIM = (*ESTIMATE, "measure", "percent_range", "percents", "smallest_gain", *EXPLAINED)


@step(*CLAIM, needs=[curves.firsts(), stimuli.faces], title="claim C2")
def claim(s: Study) -> dict[str, Any]:
    """Claim C2: relevance beats every control, when pixels are kept and when they are removed."""
    return against_controls(s, curves.grid(s, s.firsts), "relevance", CONTROLS)


def against_controls(
    s: Study, dataset: xr.Dataset, ranking: str, controls: tuple[str, ...]
) -> dict[str, Any]:
    """The claim that a ranking beats every control: region and parts, by the area between the curves.

    `dataset`: of the first seed of each pretraining run.
    """
    p, region, people = s.p, Region(low=0, smallest=s.p.smallest_gain), stimuli.people(s)
    strata, units = transfer.resampling(s.firsts)
    parts = []
    for (mode, control), values in gains_over_controls(p, dataset, ranking, controls).items():
        estimate = inference.mean(values, people, strata, units=units, n=p.resamples, seed=p.stimulus_seed)
        label = f"{mode}: against {control.replace('_', ' ')}"
        parts.append(part(region, label, estimate, people, p.confidence))
    return answer(region, parts)


def gains_over_controls(
    p: Any, dataset: xr.Dataset, ranking: str, controls: tuple[str, ...]
) -> dict[tuple[str, str], np.ndarray]:
    """Area between the curves of a ranking and of each control, `{(mode, control): (model, image) array}`.

    Keeping relevant pixels should help and removing them should hurt, so the sign is turned for "remove":
    positive speaks for the ranking in both. A control that is not in the dataset is left out.
    """
    area = masking.area(performance(p, dataset).sel(percent=counted(p)))
    area = area.transpose("mode", "ranking", "model", "image")
    return {
        (mode, control): (
            sign * (area.sel(mode=mode, ranking=ranking) - area.sel(mode=mode, ranking=control)).values
        )
        for mode, sign in MODE_SIGNS.items()
        for control in controls
        if control in area.ranking
    }


def counted(p: Any, percents: Sequence[float] | None = None) -> list[float]:
    """Those of some percents, by default `percents`, that count by `percent_range`; a middle one is in both halves."""
    percents = list(p.percents if percents is None else percents)
    half = (len(percents) + 1) // 2
    return {"all": percents, "few": percents[:half], "many": percents[-half:]}[p.percent_range]


# ------------------------------------------------------------ tables


def kept_pixels(s: Study, cell: Cell) -> torch.Tensor:
    """The masks `(percent, image, y, x)` bool of a network, at each of `percents`: those measured."""
    return masking.select(relevance.scores(s, cell), s.p.percents, seed=SEED)


def curve_table(s: Study, dataset: xr.Dataset, rankings: list[str] | None = None) -> pd.DataFrame:
    """Masking curves averaged over networks and images: ranking, mode, percent, performance, low, high.

    `dataset`: of the first seed of each pretraining run. Rankings that it lacks are left out.
    """
    values = performance(s.p, dataset).transpose("ranking", "mode", "percent", "model", "image")
    rankings = [name for name in rankings or values.ranking.values if name in values.ranking]
    modes, percents = values["mode"].values, s.p.percents
    rows = []
    for ranking, mode, percent in product(rankings, modes, percents):
        at = values.sel(ranking=ranking, mode=mode, percent=percent).values
        row = {"ranking": ranking.replace("_", " "), "mode": str(mode), "percent": percent}
        rows.append(row | mean_row(s, at, stimuli.people(s), "performance", s.firsts))
    return pd.DataFrame(rows)


def mean_row(
    s: Study,
    values: np.ndarray,
    people: np.ndarray,
    name: str,
    grid: list[Cell] | None = None,
    contrast: np.ndarray | None = None,
) -> dict[str, float]:
    """Mean of `values (model, image)` as {name, low, high}; shares and probabilities stay within 0 and 1.

    The models are those of `grid`, by default the study's. `contrast` weighs them; see `inference.mean`.
    """
    strata, units = transfer.resampling(s.grid if grid is None else grid)
    draws = {"n": inference.QUICK_DRAWS, "seed": s.p.stimulus_seed}
    estimate = inference.mean(values, people, strata, contrast=contrast, units=units, **draws)
    within = contrast is None and values.min() >= 0 and values.max() <= 1
    return estimate.row(name, s.p.confidence, (0.0, 1.0) if within else None)


def leads(s: Study) -> pd.DataFrame:
    """How far relevance is ahead of each control at each percent: mode, percent, control, lead, low, high.

    The lead is the difference in performance, turned for removing, where the lower is the better.
    """
    values = performance(s.p, curves.grid(s, s.firsts)).transpose(..., "model", "image")
    controls = [name for name in CONTROLS if name in values.ranking]
    rows = []
    for (mode, sign), percent, control in product(MODE_SIGNS.items(), s.p.percents, controls):
        at = values.sel(mode=mode, percent=percent)
        lead = (at.sel(ranking="relevance") - at.sel(ranking=control)).values
        row = {"mode": mode, "percent": percent, "control": control.replace("_", " ")}
        weights = np.full(len(s.firsts), sign / len(s.firsts))
        rows.append(row | mean_row(s, lead, stimuli.people(s), "lead", s.firsts, weights))
    return pd.DataFrame(rows)


def borders(s: Study) -> pd.Series:
    """How scattered kept pixels are: share of them with a filled pixel beside, above or below, at the largest percent.

    Of "relevance" and of the fixed mask "average", means over networks and images.
    """
    rows = []
    for own in (relevance.scores(s, cell) for cell in s.firsts):
        rankings = {"relevance": own, "average": attribution.control("average", own, seed=SEED)}
        kept = {k: masking.select(v, max(s.p.percents), seed=SEED).numpy() for k, v in rankings.items()}
        rows.append({name: (mask & ~_inner(mask)).sum() / mask.sum() for name, mask in kept.items()})
    return pd.DataFrame(rows).mean()


def _inner(kept: np.ndarray) -> np.ndarray:
    """Which pixels of masks `(N, H, W)` have no filled pixel beside, above or below."""
    whole = np.pad(kept, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    return whole[:, :-2, 1:-1] & whole[:, 2:, 1:-1] & whole[:, 1:-1, :-2] & whole[:, 1:-1, 2:]
