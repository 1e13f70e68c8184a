"""Do maps of one network help another: between seeds, pretraining runs, tasks and pretrainings?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import permutations, product
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field, field_validator

from analysis import likeness, masking, transfer
from analysis.inference import QUICK_DRAWS, Estimate
from study import networks, relevance, stimuli
from study.grid import Cell
from study.masking import counted, masked, performance
from study.relevance import SEED
from study.settings import Percent, Settings, ascending
from study.steps import Study, step
from study.stimuli import EXPLAINED
from study.verdicts import ESTIMATE, Region, answer, part

RELATIONS = {"both": "pretraining and task", "run_task": "run and task"}  # in words, where these differ
BESIDE = {
    "other_image": "image (same network)",
    "random_weights": "training (random weights)",
}  # controls shown
ONE_THING = ("self", "run", "task", "pretraining")
LIKENESS = {"spearman": "rank correlation", "overlap": "top-pixel overlap"}


class Generalisation(Settings):
    """How maps are tested on other networks, and what counts as general."""

    transfer_percents: tuple[Percent, ...] = Field(
        (5.0, 10.0, 20.0),
        min_length=1,
        description="share of pixels kept when maps are tested on other models, %",
    )
    transfer_control: Literal["random", "blobs", "centre", "average", "other_image"] = Field(
        "blobs", description="the control mask that a transfer of 0 refers to"
    )
    likeness: Literal["spearman", "overlap"] = Field(
        "spearman",
        description="how alike maps are: rank correlation over pixels, or overlap of the top pixels",
    )
    overlap_percent: Percent = Field(10.0, description="share of top pixels compared between maps, %")
    transfer_margin: float = Field(
        0.5, ge=0, lt=1, description="share of the own map's benefit that counts as 'generally stable'"
    )

    smallest_transfer: float = Field(
        0.1, gt=0, lt=1, description="smallest effect of interest, share of the own map's benefit"
    )

    _kept_percents = field_validator("transfer_percents")(ascending)


def sources(s: Study, cell: Cell) -> list[Cell]:
    """Whose maps a network is tested with: those of the first seed of each run, and of its own other seeds.

    At another depth than the grid's, the first seeds that differ from it in one thing at most.
    """
    firsts = s.firsts
    if cell.scope == s.p.scope:
        return [each for each in s.grid if each in firsts or transfer.relation(each, cell) == "seed"]
    others = [each for each in firsts if transfer.relation(each, cell) in ONE_THING]
    return [each.at(scope=cell.scope) for each in others]


EXCHANGE = ("ranking", "fill", "composite", "transfer_percents", "transfer_control", *EXPLAINED)


@step(
    *EXCHANGE,
    needs=[
        relevance.explain.of(lambda s, cell: [(c,) for c in sources(s, cell)], "grid"),
        networks.finetuned,
        stimuli.faces,
    ],
    title="transfer between networks",
    work=lambda s, cell: s.p.explained_images * len(sources(s, cell)),
)
def exchanged(s: Study, cell: Cell) -> xr.Dataset:
    """One network on images masked (keep) by the relevance of each of its `sources` and by controls.

    Dimensions `(ranking, mode, percent, image)`; a ranking is a network's name, or a control (for the default depth
    those of BESIDE too). What is followed is the class that the network's own map explains.
    """
    beside = BESIDE if cell.scope == s.p.scope else ()
    return _exchange(s, cell, {source.name: source for source in sources(s, cell)}, beside)


def _exchange(s: Study, cell: Cell, maps_of: dict[str, Cell], beside: Collection[str] = ()) -> xr.Dataset:
    p, model, own = s.p, networks.network(s, cell), relevance.explain(s, cell)
    images, _ = stimuli.explained_inputs(s, cell.task)
    scores = {name: relevance.scores(s, source) for name, source in maps_of.items()}
    known = {"own": torch.from_numpy(own.relevance.values), "identities": stimuli.people(s)}
    names = dict.fromkeys((p.transfer_control, *beside))
    scores |= relevance.rankings(s, model, images, own.target.values, names, by=p.ranking, **known)
    labels = relevance.explained_class(s, cell)
    return masked(model, images, labels, scores, p.transfer_percents, p.fill, ("keep",))


@step("ranking", "overlap_percent", needs=[relevance.explain.every()], title="likeness of maps", keep=True)
def alike(s: Study) -> xr.Dataset:
    """Likeness of every two networks' maps, `(source, target, image)`.

    `spearman`: rank correlation over pixels of the signed relevance. `overlap`: share of the top
    `overlap_percent` of pixels, by the parameter `ranking`, that the two have in common.
    """
    signed = relevance.explain.grid(s).relevance.values
    scores = torch.stack([masking.rank(torch.from_numpy(m), s.p.ranking) for m in signed]).numpy()
    names, dims = [cell.name for cell in s.grid], ("source", "target", "image")
    overlap = likeness.top_overlap(scores, percent=s.p.overlap_percent, seed=SEED)
    return xr.Dataset(
        {"spearman": (dims, likeness.spearman(signed)), "overlap": (dims, overlap)},
        coords={"source": names, "target": names},
    )


# ------------------------------------------------------------ at matched accuracy


def every_stage(s: Study) -> list[tuple[Cell]]:
    """The first seeds of each run at every stage of finetuning."""
    return [(cell.at(stage=k),) for cell in s.firsts for k in range(len(networks.STAGES))]


def matched(s: Study) -> dict[str, int]:
    """The stage of each family at which the pretrainings are most nearly equally good: `{family: stage}`.

    The goal for a task is the validation accuracy of the pretraining that ends lowest; means over runs.
    """
    table = pd.DataFrame(
        {"family": cell.family, "task": cell.task, "stage": cell.stage}
        | {"accuracy": _accuracy(s, cell, "validation")}
        for (cell,) in every_stage(s)
    )
    means = table.groupby(["task", "family", "stage"], as_index=False).accuracy.mean()
    goal = means[means.stage == 0].groupby("task").accuracy.min()
    distance = (means.accuracy - means.task.map(goal)).abs()
    return means.loc[distance.groupby(means.family).idxmin()].set_index("family").stage.to_dict()


def _accuracy(s: Study, cell: Cell, split: str) -> float:
    table = networks.finetuned(s, cell)["predictions"]
    return float(table.correct.values[table.split.values == split].mean())


@step(
    *EXCHANGE,
    needs=[
        step.of(lambda s, cell: every_stage(s), "grid") for step in (relevance.explain, networks.finetuned)
    ]
    + [stimuli.faces],
    title="transfer at matched accuracy",
    work=lambda s, cell: s.p.explained_images * len(s.firsts) / len(s.p.tasks),
)
def exchanged_matched(s: Study, cell: Cell) -> xr.Dataset:
    """The same as `exchanged` among the first seeds of a task, every family at its stage of `matched`."""
    stages = matched(s)
    cells = {c.name: c.at(stage=stages[c.family]) for c in s.firsts if c.task == cell.task}
    return _exchange(s, cells[cell.name], cells)


# ------------------------------------------------------------ claims


TRANSFER = (*ESTIMATE, "measure", "percent_range", "transfer_percents", "transfer_control", *EXPLAINED)
NEEDS = (exchanged.firsts(), stimuli.faces)


@step(*TRANSFER, "transfer_margin", "likeness", needs=[*NEEDS, alike], title="claim C3")
def stability(s: Study) -> dict[str, Any]:
    """Claim C3: maps of networks that differ in their seed alone are mostly interchangeable."""
    kind, masks = s.p.likeness, [transfer.relations(s.grid) == "seed"]
    estimates = {
        "transfer between seeds": shares(s, masks),
        f"{LIKENESS[kind]} of maps between seeds": transfer.shares(
            alike(s)[kind].values, masks, s.grid, stimuli.people(s), **draws(s)
        )[0],
    }
    return _answer(s, Region(low=s.p.transfer_margin), estimates)


@step(*TRANSFER, "smallest_transfer", needs=NEEDS, title="claim C4")
def across_tasks(s: Study) -> dict[str, Any]:
    """Claim C4: maps help networks finetuned for the other task, in both directions."""
    relations, estimates = transfer.relations(s.grid), {}
    for a, b in permutations(s.p.tasks, 2):
        masks = [(relations == "task") & transfer.between(s.grid, "task", a, b)]
        estimates[f"transfer from {a} to {b}"] = shares(s, masks)
    return _answer(s, Region(low=0, smallest=s.p.smallest_transfer), estimates)


@step(
    *(*TRANSFER, "smallest_transfer"),
    needs=[*NEEDS, exchanged_matched.of(lambda s: [(cell,) for cell in s.firsts])],
    title="claim C5",
)
def across_pretrainings(s: Study) -> dict[str, Any]:
    """Claim C5: maps generalise less between pretrainings than between runs of one, also at matched accuracy.

    Where each pretraining has one run, less than between tasks and seeds.
    """
    region, several = Region(high=0, smallest=-s.p.smallest_transfer), s.p.pretraining_runs > 1
    label = "between pretrainings minus between {}s".format
    estimates = {
        label(name): estimate
        for name in ("run", "task", "seed")
        if (estimate := less_between_pretrainings(s, name, s.grid)) is not None
    }
    beside = {label(name) for name in ("task", "seed")} if several else set()
    if several and len(s.p.pretrainings) > 1:
        curves = exchanged_matched.grid(s, s.firsts)
        matched_ones = less_between_pretrainings(s, "run", s.firsts, curves)
        estimates[f"{label('run')}, at matched accuracy"] = matched_ones
    return _answer(s, region, estimates, beside)


def less_between_pretrainings(
    s: Study, name: str, cells: list[Cell], curves: xr.Dataset | None = None
) -> Estimate | None:
    """Transfer between pretrainings minus that between pairs of another relation; None without such pairs."""
    relations = transfer.relations(cells)
    masks = [relations == "pretraining", relations == name]
    if not all(mask.any() for mask in masks):
        return None
    return shares(s, masks, [1, -1], cells, curves)


def _answer(
    s: Study, region: Region, estimates: dict[str, Estimate], beside: Collection[str] = ()
) -> dict[str, Any]:
    people, level = stimuli.people(s), s.p.confidence
    parts = [
        part(region, label, estimate, people, level, decides=label not in beside)
        for label, estimate in estimates.items()
    ]
    return answer(region, parts)


def draws(s: Study) -> dict[str, int]:
    """Arguments of every bootstrap of the ledger."""
    return {"n": s.p.resamples, "seed": s.p.stimulus_seed}


def shares(
    s: Study,
    masks: Sequence[np.ndarray],
    weights: Sequence[float] | None = None,
    cells: list[Cell] | None = None,
    curves: xr.Dataset | None = None,
) -> Estimate:
    """Transfer over the pairs of the masks, or the sum of these with `weights`; of one mask a single estimate.

    Among `cells`, by default the grid, on the `curves` of `exchanged`, by default those of the cells. Pairs that were
    not tested do not count.
    """
    cells = s.grid if cells is None else cells
    gain, own, measured = gains(s, cells, curves)
    masks = [mask & measured for mask in masks]
    contrast = None if weights is None else np.array([weights])
    estimate = transfer.shares(
        gain, masks, cells, stimuli.people(s), scale=own, contrast=contrast, **draws(s)
    )
    return estimate[0] if len(estimate.value) == 1 else estimate


def tested(s: Study, cells: list[Cell]) -> np.ndarray:
    """Indices of the cells that are tested with masks: the first seed of each run."""
    seeds = {cell.seed for cell in s.firsts}
    return np.array([k for k, cell in enumerate(cells) if cell.seed in seeds])


def gains(
    s: Study, cells: list[Cell] | None = None, curves: xr.Dataset | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What masks add to the control: of every source `(source, target, image)`, of own maps `(target, image)`.

    0 for pairs that were not tested; the third array `(source, target)` says which were.
    """
    cells = s.grid if cells is None else cells
    values, names, index = kept(s, cells, curves), [cell.name for cell in cells], tested(s, cells)
    shape = (len(cells), values.sizes["image"])
    performances, control = np.full((len(cells), *shape), np.nan), np.zeros(shape)
    performances[:, index] = values.reindex(ranking=names).transpose("ranking", "model", "image").values
    control[index] = values.sel(ranking=s.p.transfer_control).values
    measured = ~np.isnan(performances).all(-1)
    return *transfer.gains(np.where(measured[..., None], performances, control), control), measured


def kept(s: Study, cells: list[Cell] | None = None, curves: xr.Dataset | None = None) -> xr.DataArray:
    """Performance `(model, image, ranking)` on the pixels kept by each ranking of `exchanged`, mean over percents.

    The models are those of `cells` that were tested; NaN where one was not tested with a ranking.
    """
    if curves is None:
        cells = s.grid if cells is None else cells
        curves = exchanged.grid(s, [cells[k] for k in tested(s, cells)])
    values = performance(s.p, curves.sel(percent=counted(s.p, s.p.transfer_percents)))
    return values.mean(("percent", "mode")).transpose("model", "image", "ranking")


# ------------------------------------------------------------ tables


def transfer_matrix(s: Study) -> pd.DataFrame:
    """Transfer between families: source, target, transfer (0: control mask, 1: the target's own maps).

    NaN where the target's own maps add nothing to be a share of.
    """
    family = np.array([cell.family for cell in s.grid])
    different = ~np.eye(len(family), dtype=bool)
    pairs = list(product(dict.fromkeys(family), repeat=2))
    masks = [np.outer(family == source, family == target) & different for source, target in pairs]
    rows = zip(pairs, np.atleast_1d(shares(s, masks).value), strict=True)
    return pd.DataFrame({"source": a, "target": b, "transfer": value} for (a, b), value in rows)


def relation_table(s: Study) -> pd.DataFrame:
    """Transfer and likeness of maps by what two networks differ in: measure, differ in, value, low, high.

    Beside transfer, what another image's map of the same network does, and that of a network with random weights.
    """
    relations, people = transfer.relations(s.grid), stimuli.people(s)
    present = [name for name in transfer.RELATIONS if (relations == name).any()]
    masks = [relations == name for name in present]
    options = {"n": QUICK_DRAWS, "seed": s.p.stimulus_seed}
    tables = {"transfer": shares(s, masks)}
    tables |= {
        words: transfer.shares(alike(s)[name].values, masks, s.grid, people, **options)
        for name, words in LIKENESS.items()
    }
    rows = [
        {"measure": measure, "differ in": RELATIONS.get(relation, relation)}
        | estimate[k].row("value", s.p.confidence)
        for measure, estimate in tables.items()
        for k, relation in enumerate(present)
    ]
    for name in BESIDE:
        row = _of_control(s, name).row("value", s.p.confidence)
        rows.append({"measure": "transfer", "differ in": BESIDE[name]} | row)
    return pd.DataFrame(rows)


def _of_control(s: Study, name: str) -> Estimate:
    """Transfer of a control that has a mask of its own for every network and image."""
    values, cells = kept(s), s.firsts
    gain = (values.sel(ranking=name) - values.sel(ranking=s.p.transfer_control)).values
    own, itself = gains(s)[1][tested(s, s.grid)], np.eye(len(cells))
    options = {"scale": own, "n": QUICK_DRAWS, "seed": s.p.stimulus_seed}
    return transfer.shares(itself[..., None] * gain, [itself], cells, stimuli.people(s), **options)[0]


def own_gain(s: Study) -> pd.DataFrame:
    """What own maps add over the control, the unit of transfer: family, gain."""
    own = gains(s)[1][tested(s, s.grid)]
    table = pd.DataFrame({"family": [cell.family for cell in s.firsts], "gain": own.mean(-1)})
    return table.groupby("family", as_index=False, sort=False).mean()


def matched_accuracy(s: Study) -> pd.DataFrame:
    """Test accuracy at the end of finetuning and where pretrainings are matched: family, stage, final, matched."""
    stages, rows = matched(s), []
    for cell in s.firsts:
        row = {"family": cell.family, "stage": stages[cell.family]}
        for name, stage in (("final", 0), ("matched", stages[cell.family])):
            row[name] = _accuracy(s, cell.at(stage=stage), "test")
        rows.append(row)
    return pd.DataFrame(rows).groupby("family", as_index=False, sort=False).mean()


def reliability(s: Study) -> pd.DataFrame:
    """Split-half reliability of a single network's map in each family: family, reliability, seeds."""
    maps = relevance.maps(s)
    rows = []
    for family in dict.fromkeys(maps.family.values):
        of_family = maps.relevance.values[maps.family.values == family]
        halves = likeness.split_half(of_family, seed=s.p.stimulus_seed)
        rows.append({"family": family, "reliability": float(halves.mean()), "seeds": len(of_family)})
    return pd.DataFrame(rows)
