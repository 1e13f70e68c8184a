"""Do maps of one network help another: between seeds, pretraining runs, tasks and pretrainings?"""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field, field_validator

from analysis import attribution, likeness, masking, permutation, transfer
from analysis.inference import Estimate
from study import networks, relevance, stimuli
from study.grid import Cell
from study.masking import RIVALS, masked, performance
from study.relevance import SEED
from study.settings import Percent, Settings, ascending
from study.steps import Study, step
from study.verdicts import ESTIMATE, Region, answer, part

RELATIONS = {"both": "pretraining and task", "run_task": "run and task"}  # in words, where these differ
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

    _kept_percents = field_validator("transfer_percents")(ascending)


@step(
    *("ranking", "fill", "transfer_percents", "explained_images"),
    needs=[relevance.explain.every(), networks.finetuned, stimuli.faces],
    title="transfer between networks",
    work=lambda s, cell: s.p.explained_images * (len(s.grid) + len(RIVALS)),
)
def exchanged(s: Study, cell: Cell) -> xr.Dataset:
    """One network on images masked (keep) by every network's relevance and by controls.

    Dimensions `(ranking, mode, percent, image)`; a ranking is a network's name, or a control made from the
    target's own maps.
    """
    p = s.p
    images, labels = stimuli.explained_inputs(s, cell.task)
    scores = {source.name: relevance.scores(s, source) for source in s.grid}
    scores |= controls(scores[cell.name], images, stimuli.people(s))
    model = networks.network(s, cell)
    return masked(model, images, labels, scores, p.transfer_percents, p.fill, ("keep",))


def controls(scores: torch.Tensor, images: torch.Tensor, people: np.ndarray) -> dict[str, torch.Tensor]:
    """Every control that needs no further network, made from scores `(N, H, W)`."""
    return {
        name: attribution.control(name, scores, seed=SEED, images=images.cpu(), identities=list(people))
        for name in RIVALS
    }


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


# ------------------------------------------------------------ claims


TRANSFER = (
    *ESTIMATE,
    "measure",
    "percent_range",
    "transfer_percents",
    "transfer_control",
    "explained_images",
)
NEEDS = (exchanged.every(), stimuli.faces)


@step(*TRANSFER, "transfer_margin", "likeness", needs=[*NEEDS, alike], title="claim C3")
def stability(s: Study) -> dict[str, Any]:
    """Claim C3: maps of networks that differ in their seed alone are mostly interchangeable."""
    kind = s.p.likeness
    estimates = {
        "transfer between seeds": transfer_by_relation(s)["seed"],
        f"{LIKENESS[kind]} of maps between seeds": likeness_by_relation(s, kind)["seed"],
    }
    return _answer(s, Region(low=s.p.transfer_margin), estimates)


@step(*TRANSFER, needs=NEEDS, title="claim C4")
def across_tasks(s: Study) -> dict[str, Any]:
    """Claim C4: maps help networks finetuned for the other task."""
    estimates = transfer_by_relation(s)
    estimates = {"transfer between tasks": estimates["task"]} if "task" in estimates else {}
    return _answer(s, Region(low=0), estimates)


@step(*TRANSFER, needs=NEEDS, title="claim C5")
def across_pretrainings(s: Study) -> dict[str, Any]:
    """Claim C5: maps generalise less between pretrainings than between tasks, seeds or runs."""
    gain, own = gains(s)
    present = set(transfer.relations(s.grid).ravel())
    estimates = {
        f"between pretrainings minus between {name}s": transfer.relation_contrast(
            gain, s.grid, stimuli.people(s), "pretraining", name, scale=own, **draws(s)
        )
        for name in ("task", "seed", "run")
        if {"pretraining", name} <= present
    }
    return _answer(s, Region(high=0), estimates)


def _answer(s: Study, region: Region, estimates: dict[str, Estimate]) -> dict[str, Any]:
    people, level = stimuli.people(s), s.p.confidence
    return answer(region, [part(region, k, e, e.interval(level), people) for k, e in estimates.items()])


def draws(s: Study) -> dict[str, int]:
    """Arguments of every bootstrap of the ledger."""
    return {"n": s.p.resamples, "seed": s.p.stimulus_seed}


def performances(s: Study) -> tuple[np.ndarray, np.ndarray]:
    """Performance `(source, target, image)` on kept pixels, and that of the control mask `(target, image)`."""
    p, percents = s.p, list(s.p.transfer_percents)
    half = (len(percents) + 1) // 2
    chosen = {"all": percents, "few": percents[:half], "many": percents[-half:]}
    curves = exchanged.grid(s).sel(percent=chosen[p.percent_range])
    values = performance(p, curves).mean(("percent", "mode"))
    names = [cell.name for cell in s.grid]
    kept = values.sel(ranking=names).transpose("ranking", "model", "image").values
    return kept, values.sel(ranking=p.transfer_control).transpose("model", "image").values


def gains(s: Study) -> tuple[np.ndarray, np.ndarray]:
    """What masks add to the control: of every source `(source, target, image)`, of own maps `(target, image)`."""
    return transfer.gains(*performances(s))


def transfer_by_relation(s: Study) -> dict[str, Estimate]:
    """Transfer of the pairs of each relation ("seed", "run", "task", "pretraining", "both")."""
    gain, own = gains(s)
    return transfer.by_relation(gain, s.grid, stimuli.people(s), scale=own, **draws(s))


def likeness_by_relation(s: Study, measure: str) -> dict[str, Estimate]:
    """Likeness of maps ("spearman" or "overlap") of the pairs of each relation."""
    return transfer.by_relation(alike(s)[measure].values, s.grid, stimuli.people(s), **draws(s))


# ------------------------------------------------------------ tables


def transfer_matrix(s: Study) -> pd.DataFrame:
    """Transfer between families: source, target, transfer (0: control mask, 1: the target's own maps)."""
    gain, own = (x.mean(-1) for x in gains(s))
    family = np.array([cell.family for cell in s.grid])
    different = ~np.eye(len(family), dtype=bool)
    rows = []
    for source, target in product(dict.fromkeys(family), repeat=2):
        pairs = np.outer(family == source, family == target) & different
        scale = np.broadcast_to(own, gain.shape)[pairs].mean()
        rows.append({"source": source, "target": target, "transfer": gain[pairs].mean() / scale})
    return pd.DataFrame(rows)


def relation_table(s: Study) -> pd.DataFrame:
    """Transfer and likeness of maps by what two networks differ in: measure, differ in, value, low, high."""
    measures = {"transfer": transfer_by_relation(s)}
    measures |= {words: likeness_by_relation(s, name) for name, words in LIKENESS.items()}
    return pd.DataFrame(
        {"measure": measure, "differ in": RELATIONS.get(relation, relation)}
        | estimate.row("value", s.p.confidence)
        for measure, estimates in measures.items()
        for relation, estimate in estimates.items()
    )


def own_gain(s: Study) -> pd.DataFrame:
    """What own maps add over the control, the unit of transfer: family, gain."""
    table = pd.DataFrame({"family": [c.family for c in s.grid], "gain": gains(s)[1].mean(-1)})
    return table.groupby("family", as_index=False, sort=False).mean()


def reliability(s: Study) -> pd.DataFrame:
    """Split-half reliability of a single network's map in each family: family, reliability, seeds."""
    maps = relevance.maps(s)
    rows = []
    for family in dict.fromkeys(maps.family.values):
        of_family = maps.relevance.values[maps.family.values == family]
        halves = likeness.split_half(of_family, seed=s.p.stimulus_seed)
        rows.append({"family": family, "reliability": float(halves.mean()), "seeds": len(of_family)})
    return pd.DataFrame(rows)


def label_tests(s: Study) -> pd.DataFrame:
    """Are maps more alike within a label than across? label, difference in rank correlation, p (one-sided)."""
    correlation = alike(s).spearman.mean("image").values
    rows = []
    for label, other in (("pretraining", "task"), ("task", "pretraining")):
        labels, blocks = (np.array([getattr(c, name) for c in s.grid]) for name in (label, other))
        if len(set(labels)) < 2:
            continue
        pairs = blocks[:, None] == blocks[None]
        difference, p = permutation.label_swap(
            correlation, labels, blocks, pairs=pairs, n=s.p.permutations, seed=s.p.stimulus_seed
        )
        rows.append({"networks differ in": label, "within minus across": difference, "p": p})
    return pd.DataFrame(rows)
