"""The ledger: for each claim a statistic, an effect, an interval and a verdict, all computed from the store.

One rule gives every verdict. A claim states where its statistic should lie (its *region*). It is *supported* if
the whole interval lies in the region, *contradicted* if none of it does, *inconclusive* otherwise. A claim
with several parts is supported if all its parts are and contradicted if any is (or the other way round for a
claim that something exists somewhere).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from analysis import correction, inference, masking, permutation, transfer
from analysis.inference import Estimate
from study import Cell, Study, maps

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
CONTROLS = tuple(name for name in maps.CONTROLS if name != "least")
SHARED_CONTROLS = tuple(name for name in maps.RIVALS if name != "least")


@dataclass(frozen=True)
class Region:
    """Where a claim's statistic should lie: between `low` and `high`, or outside of them."""

    low: float = -math.inf
    high: float = math.inf
    outside: bool = False

    def verdict(self, low: float, high: float) -> str:
        """The verdict on an interval; one that is not finite says nothing."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return INCONCLUSIVE
        within, apart = self.low < low and high < self.high, high <= self.low or low >= self.high
        if self.outside:
            within, apart = apart, within
        return SUPPORTED if within else CONTRADICTED if apart else INCONCLUSIVE

    def __str__(self) -> str:
        if self.outside:
            return f"below {self.low:g} or above {self.high:g}"
        if math.isinf(self.high):
            return f"above {self.low:g}"
        return f"below {self.high:g}" if math.isinf(self.low) else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Part:
    """One number of a claim.

    Attributes:
        label: what it is about. estimate, ci_low, ci_high: in the claim's unit. p: two-sided, against 0.
        n: how many things were judged (the claim's `counted`). effect_size: the estimate in standard deviations
        over people (NaN where not defined). verdict: by the claim's region.
        variance, df: from people, networks and both, and their degrees of
        freedom (`bootstrap.Estimate`); empty where the interval is not made from these.
    """

    label: str
    estimate: float
    ci_low: float
    ci_high: float
    p: float
    n: int
    effect_size: float
    verdict: str
    variance: tuple[float, ...] = ()
    df: tuple[float, ...] = ()


@dataclass(frozen=True)
class Claim:
    """What is claimed, and how it is tested.

    Attributes:
        id: C1 to C8. title: a few words. statement: in plain words. statistic: what is computed. unit: of it.
        section: the page that computes it. original: what the paper's abstract says, in short.
        parts: function of a study that gives the parts. need: "all" parts or "any".
        reported: whether the abstract gives an outcome, or says only what was done. counted: what n counts.
    """

    id: str
    title: str
    statement: str
    statistic: str
    unit: str
    section: str
    original: str
    parts: Callable[[Study], tuple[Region, list[Part]]]
    need: Literal["all", "any"] = "all"
    reported: bool = True
    counted: str = "images"


def ledger(study: Study) -> list[dict[str, Any]]:
    """All claims as JSON-able records: see `claim`."""
    return [claim(study, definition.id) for definition in CLAIMS]


def claim(study: Study, name: str) -> dict[str, Any]:
    """One claim: id, title, statement, statistic, unit, section, original, counted, region, bounds (the region's finite
    ends), estimate, ci_low, ci_high, p, n, effect_size, verdict, part (which part these numbers are of) and `parts`.

    The numbers at the top are those of the part that decides: the one nearest to overturning the verdict.
    """
    definition = next(c for c in CLAIMS if c.id == name)
    p = study.parameters
    inputs = {"claim": name, "settings": p.settings()} | study.input_hashes()

    def make() -> dict[str, Any]:
        region, parts = definition.parts(study)
        return _record(definition, region, parts)

    return study.store.json("claim", inputs, ("claims", "study"), make)


def table(record: dict[str, Any]) -> pd.DataFrame:
    """A claim's parts as a table: part, estimate, ci_low, ci_high, p, n, effect_size, verdict."""
    return pd.DataFrame(record["parts"]).rename(columns={"label": "part"}).drop(columns=["variance", "df"])


def combined(verdicts: list[str], need: str) -> str:
    """The verdict on a claim from those on its parts."""
    first, second = (CONTRADICTED, SUPPORTED) if need == "all" else (SUPPORTED, CONTRADICTED)
    if first in verdicts:
        return first
    return second if verdicts and all(v == second for v in verdicts) else INCONCLUSIVE


def _record(definition: Claim, region: Region, parts: list[Part]) -> dict[str, Any]:
    verdict = combined([part.verdict for part in parts], definition.need)
    # The part that decides: of those with the claim's verdict the weakest if all must hold, else the strongest.
    parts = parts or [_untestable("the study has no pair of networks to test this on", 0)]
    deciding = [part for part in parts if part.verdict == verdict]
    pick = min if definition.need == "all" else max
    head = pick(deciding, key=lambda part: _strength(part, region))
    described = {k: v for k, v in asdict(definition).items() if k not in ("parts", "need")}
    return (
        described
        | {"region": str(region)}
        | {k: v for k, v in asdict(head).items() if k not in ("label", "verdict", "variance", "df")}
        | {"bounds": [bound for bound in (region.low, region.high) if math.isfinite(bound)]}
        | {"verdict": verdict, "part": head.label, "parts": [asdict(part) for part in parts]}
    )


def _strength(part: Part, region: Region) -> float:
    """How far the interval is on the claimed side, in the claim's unit; NaN counts as weakest."""
    if not (math.isfinite(part.ci_low) and math.isfinite(part.ci_high)):
        return -math.inf
    if region.outside:
        return max(part.ci_low - region.high, region.low - part.ci_high)
    return min(part.ci_low - region.low, region.high - part.ci_high)


def _part(
    study: Study, region: Region, label: str, estimate: Estimate, n: int, people: int, p: float | None = None
) -> Part:
    low, high = (float(x) for x in estimate.interval(study.parameters.confidence))
    value, se = float(estimate.value), float(estimate.se)
    effect = value / (se * math.sqrt(people)) if se > 0 else math.nan
    chance = float(estimate.p() if p is None else p)
    spread = tuple(estimate.parts.tolist()), tuple(estimate.df.tolist())
    return Part(label, value, low, high, chance, n, effect, region.verdict(low, high), *spread)


# ------------------------------------------------------------ C1: accuracy


def _accuracy(study: Study) -> tuple[Region, list[Part]]:
    p = study.parameters
    region = Region(-p.accuracy_margin, p.accuracy_margin)
    parts = []
    for task in p.tasks:
        cells = [cell for cell in study.grid if cell.task == task]
        values, people = correctness(study, cells, "test")
        strata, units = transfer.resampling(cells)
        for a, b in combinations(p.pretrainings, 2):
            sign = np.array([(c.pretraining == a) / p.seeds - (c.pretraining == b) / p.seeds for c in cells])
            estimate = inference.mean(
                values,
                people,
                strata,
                contrast=sign,
                units=units,
                n=p.resamples,
                seed=p.stimulus_seed,
            )
            label = f"{task}: {a} minus {b}"
            parts.append(_part(study, region, label, estimate, len(people), len(set(people))))
    return region, parts


def correctness(study: Study, cells: list[Cell], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each network of one task named each image of a split rightly, `(cell, image)`; who is on the images."""
    names = [cell.name for cell in cells]
    found = study.predictions().query("split == @split and model in @names")
    wide = found.pivot(index="name", columns="model", values="correct").astype(float)
    people = found.drop_duplicates("name").set_index("name").identity.loc[wide.index]
    return wide[names].to_numpy().T, people.to_numpy()


# ------------------------------------------------------------ C2 and C7: masking


MODE_SIGNS = {"keep": 1, "remove": -1}  # whether high performance under a ranking speaks for it


def gains_over_controls(study: Study, curves: xr.Dataset, ranking: str, controls: tuple[str, ...]) -> dict:
    """Area between the curves of a ranking and of each control, `{(mode, control): (model, image) array}`.

    Keeping relevant pixels should help and removing them should hurt, so the sign is turned for "remove":
    positive speaks for the ranking in both.
    """
    area = masking.area(study.performance(curves), *counted(study))
    gains = {}
    for mode, sign in MODE_SIGNS.items():
        own = area.sel(ranking=ranking, mode=mode)
        for control in controls:
            difference = sign * (own - area.sel(ranking=control, mode=mode))
            gains[mode, control] = difference.transpose("model", "image").values
    return gains


def counted(study: Study) -> tuple[float, float]:
    """The range of percents whose area counts, by the parameter `percent_range`."""
    percents = study.parameters.percents
    middle = percents[(len(percents) - 1) // 2]
    return {"all": (0.0, 100.0), "few": (0.0, middle), "many": (middle, 100.0)}[
        study.parameters.percent_range
    ]


def _against_controls(
    study: Study, curves: xr.Dataset, ranking: str, controls: tuple[str, ...]
) -> tuple[Region, list[Part]]:
    p = study.parameters
    region = Region(low=0)
    people = study.explained().identity.values
    strata, units = transfer.resampling(study.grid)
    parts = []
    for (mode, control), values in gains_over_controls(study, curves, ranking, controls).items():
        estimate = inference.mean(values, people, strata, units=units, n=p.resamples, seed=p.stimulus_seed)
        chance = permutation.sign_flip(values.mean(0), people, n=p.permutations, seed=p.stimulus_seed)
        label = f"{mode}: against {control.replace('_', ' ')}"
        parts.append(_part(study, region, label, estimate, len(people), len(set(people)), chance))
    return region, parts


def _masking(study: Study) -> tuple[Region, list[Part]]:
    return _against_controls(study, study.curves(), "relevance", CONTROLS)


def _consensus(study: Study) -> tuple[Region, list[Part]]:
    return _against_controls(study, study.consensus(), "consensus", SHARED_CONTROLS)


# ------------------------------------------------------------ C3 to C6: generalisation


def transfer_arrays(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Performance `(source, target, image)` on kept pixels, and the control on `(target, image)`."""
    curves, percents = study.transfer(), study.parameters.transfer_percents
    half = (len(percents) + 1) // 2
    chosen = {"all": percents, "few": percents[:half], "many": percents[-half:]}[
        study.parameters.percent_range
    ]
    values = study.performance(curves.sel(percent=list(chosen))).mean(("percent", "mode"))
    names = [cell.name for cell in study.grid]
    performance = values.sel(ranking=names).transpose("ranking", "model", "image").values
    control = values.sel(ranking=study.parameters.transfer_control).transpose("model", "image").values
    return performance, control


def transfer_by_relation(study: Study) -> dict[str, Estimate]:
    """Transfer of the pairs of each relation ("seed", "run", "task", "pretraining", "both")."""
    gain, own = transfer.gains(*transfer_arrays(study))
    return transfer.by_relation(gain, study.grid, _people(study), scale=own, **_draws(study))


def similarity_by_relation(study: Study, measure: str = "spearman") -> dict[str, Estimate]:
    """Likeness of maps ("spearman" or "overlap") of the pairs of each relation."""
    values = study.similarity()[measure].values
    return transfer.by_relation(values, study.grid, _people(study), **_draws(study))


def _stability(study: Study) -> tuple[Region, list[Part]]:
    region = Region(low=study.parameters.transfer_margin)
    likeness = study.parameters.likeness
    words = {"spearman": "rank correlation", "overlap": "top-pixel overlap"}[likeness]
    estimates = {
        "transfer between seeds": transfer_by_relation(study)["seed"],
        f"{words} of maps between seeds": similarity_by_relation(study, likeness)["seed"],
    }
    return region, _parts(study, region, estimates)


def _across_tasks(study: Study) -> tuple[Region, list[Part]]:
    region = Region(low=0)
    found = transfer_by_relation(study)
    return region, _parts(study, region, {"transfer between tasks": found["task"]} if "task" in found else {})


def _across_pretrainings(study: Study) -> tuple[Region, list[Part]]:
    region = Region(high=0)
    gain, own = transfer.gains(*transfer_arrays(study))
    present = set(transfer.relations(study.grid).ravel())
    estimates = {
        f"between pretrainings minus between {name}s": transfer.relation_contrast(
            gain, study.grid, _people(study), "pretraining", name, scale=own, **_draws(study)
        )
        for name in ("task", "seed", "run")
        if {"pretraining", name} <= present
    }
    return region, _parts(study, region, estimates)


def asymmetries(study: Study) -> Any:
    """Transfer A->B minus B->A for every pair of families; see `analysis.transfer.asymmetry`."""
    return transfer.asymmetry(*transfer_arrays(study), study.grid, _people(study), **_draws(study))


def _asymmetry(study: Study) -> tuple[Region, list[Part]]:
    p = study.parameters
    region = Region(-p.asymmetry_margin, p.asymmetry_margin, outside=True)
    people = _people(study)
    try:
        found = asymmetries(study)
    except ValueError as nothing:  # no family whose own maps gain anything: nothing to be asymmetric about
        return region, [_untestable(str(nothing), len(people))]
    known = np.isfinite(found.estimate.se)
    excluded = found.excluded | {
        found.pairs[k]: "its variance cannot be estimated" for k in np.flatnonzero(~known)
    }
    estimate = found.estimate.subset(known)
    low, high = estimate.simultaneous(p.confidence, seed=p.stimulus_seed) if known.any() else ([], [])
    chance = correction.holm(estimate.p()) if known.any() else []
    parts = []
    for k, (a, b) in enumerate(pair for pair, ours in zip(found.pairs, known, strict=True) if ours):
        one = estimate[k]
        value, se, ends = float(one.value), float(one.se), (float(low[k]), float(high[k]))
        effect = value / (se * math.sqrt(len(set(people)))) if se > 0 else math.nan
        spread = tuple(one.parts.tolist()), tuple(one.df.tolist())
        label, verdict = f"{a} to {b}, minus the reverse", region.verdict(*ends)
        parts.append(Part(label, value, *ends, float(chance[k]), len(people), effect, verdict, *spread))
    for (a, b), reason in excluded.items():
        parts.append(_untestable(f"{a} to {b}: {reason}", len(people)))
    return region, parts


def _untestable(label: str, n: int) -> Part:
    return Part(label, math.nan, math.nan, math.nan, math.nan, n, math.nan, INCONCLUSIVE)


# ------------------------------------------------------------ C8: humans


def _humans(study: Study) -> tuple[Region, list[Part]]:
    region = Region(low=0)
    found = study.agreement()
    rows = {
        "correlation with relevance-weighted images": found["means"]["none"]["weighted"],
        "gain over unweighted images": found["gain"],
    }
    parts = [
        Part(
            label,
            r["estimate"],
            r["ci_low"],
            r["ci_high"],
            r["p"],
            found["pairs"],
            math.nan,
            region.verdict(r["ci_low"], r["ci_high"]),
        )
        for label, r in rows.items()
    ]
    return region, parts


def _parts(study: Study, region: Region, estimates: dict[str, Estimate]) -> list[Part]:
    people = _people(study)
    return [
        _part(study, region, label, estimate, len(people), len(set(people)))
        for label, estimate in estimates.items()
    ]


def _people(study: Study) -> np.ndarray:
    return study.explained().identity.values


def _draws(study: Study) -> dict[str, int]:
    return {"n": study.parameters.resamples, "seed": study.parameters.stimulus_seed}


CLAIMS = (
    Claim(
        "C1",
        "Comparable accuracy",
        "Networks classify held-out faces about equally well, whichever set they were pretrained on.",
        "difference in test accuracy between pretrainings, per task",
        "share of images",
        "models",
        "ImageNet- and VGGFace-trained models achieve comparably high classification performance.",
        _accuracy,
    ),
    Claim(
        "C2",
        "Relevance marks the pixels that matter",
        "Keeping the most relevant pixels helps a network more, and removing them hurts it more, than any control.",
        "area between the masking curves of relevance and of each control",
        "mean performance",
        "masking",
        "Relevance-based image masking is used to quantify how relevance measures vary and generalise.",
        _masking,
        reported=False,
    ),
    Claim(
        "C3",
        "Stable across seeds",
        "Maps of networks that differ in their random seed alone are mostly interchangeable.",
        "transfer and rank correlation between networks of one family",
        "share of the own map's benefit; correlation",
        "generalisation",
        "Relevance maps prove generally stable across random initialisations.",
        _stability,
    ),
    Claim(
        "C4",
        "General across tasks",
        "Maps of a network finetuned for one task help networks finetuned for the other.",
        "transfer between tasks, same pretraining",
        "share of the own map's benefit",
        "generalisation",
        "Relevance maps can generalise across finetuning tasks.",
        _across_tasks,
    ),
    Claim(
        "C5",
        "Less general across pretrainings",
        "Maps generalise less between networks pretrained on different sets than between tasks or seeds.",
        "transfer between pretrainings minus transfer between tasks, and minus between seeds",
        "share of the own map's benefit",
        "generalisation",
        "There is markedly less generalisation across pretraining datasets.",
        _across_pretrainings,
    ),
    Claim(
        "C6",
        "Asymmetric",
        "For some pair of families, maps generalise better in one direction than in the other.",
        "transfer A to B minus B to A, for every pair of families (intervals hold for all pairs at once)",
        "share of the own map's benefit",
        "asymmetry",
        "Asymmetries in generalisation point to specific benefits of choice parameters.",
        _asymmetry,
        "any",
    ),
    Claim(
        "C7",
        "A shared set of important pixels",
        "Pixels that all other families find important drive a held-out family's decisions more than any control.",
        "area between the masking curves of the other families' consensus and of each control",
        "mean performance",
        "consensus",
        "It may be possible to find an underlying set of important face pixels across networks and tasks.",
        _consensus,
    ),
    Claim(
        "C8",
        "Weighting as humans do",
        "Weighting faces by relevance makes their dissimilarities follow human judgements, and better than without.",
        "rank correlation of model and human dissimilarities, and what relevance weighting adds to it",
        "correlation",
        "humans",
        "Model decision weighting is evaluated against human measures of similarity.",
        _humans,
        reported=False,
        counted="pairs of people",
    ),
)
