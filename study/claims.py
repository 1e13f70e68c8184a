"""The ledger: for each claim a statistic, an effect, an interval and a verdict, all computed from the store.

The words of the claims are in `claims.yml`; the steps that compute them stand with their experiments.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from statsmodels.stats.multitest import multipletests

from study import asymmetry, consensus, depth, generalisation, humans, masking, models
from study.steps import Step, Study
from study.verdicts import CONTRADICTED, INCONCLUSIVE, SUPPORTED, Part, Region, combined, untestable

STEPS: dict[str, Step] = {
    "C1": models.claim,
    "C2": masking.claim,
    "C3": generalisation.stability,
    "C4": generalisation.across_tasks,
    "C5": generalisation.across_pretrainings,
    "C6": asymmetry.claim,
    "C7": consensus.claim,
    "C8": humans.claim,
    "C9": depth.claim,
}


@cache
def words() -> dict[str, dict[str, Any]]:
    """What each claim says: title, statement, statistic, unit, section (its page), original (what the paper's abstract
    says, in short), need, reported, counted."""
    return yaml.safe_load(Path(__file__).with_suffix(".yml").read_text())


def ledger(s: Study) -> list[dict[str, Any]]:
    """All claims as JSON-able records, as `claim` gives them, each judged among all.

    p_holm: the level at which the claim would just be decided, corrected for all claims (Holm 1979). verdict_holm: the
    verdict that is left. comparable: whether what the original reports was tested as it was meant, which of C5 is true
    where accuracies are comparable and each pretraining has several runs.
    """
    records = [claim(s, name) for name in STEPS]
    corrected = multipletests([record["level"] for record in records], method="holm")[1]
    comparable = {r["id"]: r["verdict"] for r in records}["C1"] == SUPPORTED and s.p.pretraining_runs > 1
    for record, p in zip(records, corrected, strict=True):
        holds = p <= 1 - s.p.confidence
        record |= {"p_holm": float(p), "verdict_holm": record["verdict"] if holds else INCONCLUSIVE}
        record["comparable"] = record["id"] != "C5" or comparable
    return records


def claim(s: Study, name: str) -> dict[str, Any]:
    """One claim: id, title, statement, statistic, unit, section, original, reported, counted, region, bounds (the
    region's finite ends), smallest (effect of interest, or None), estimate, ci_low, ci_high, p, n, effect_size,
    detectable, verdict, part (which part these numbers are of), level, and `parts`.

    The numbers at the top are those of the part that decides: the one nearest to overturning the verdict. level: where
    the claim would just be supported or contradicted, counting that any of its parts can do the one or the other.
    """
    result, said = STEPS[name](s), words()[name]
    region, parts = Region(**result["region"]), [Part(**each) for each in result["parts"]]
    parts = parts or [untestable("the study has no pair of networks to test this on", 0)]
    deciding = [part for part in parts if part.decides]
    verdict = combined([part.verdict for part in deciding], said["need"])
    # The part that decides: of those with the claim's verdict the weakest if all must hold, else the strongest.
    pick = min if said["need"] == "all" else max
    head = pick(
        [part for part in deciding if part.verdict == verdict],
        key=lambda part: region.strength(part.ci_low, part.ci_high),
    )
    against = verdict == CONTRADICTED
    numbers = ("estimate", "ci_low", "ci_high", "n", "effect_size", "detectable")
    return (
        {"id": name}
        | {key: value for key, value in said.items() if key != "need"}
        | {"region": str(region), "bounds": region.bounds, "smallest": region.smallest}
        | {key: getattr(head, key) for key in numbers}
        | {"p": head.p_against if against else head.p, "level": _level(deciding, said["need"])}
        | {"verdict": verdict, "part": head.label, "parts": [asdict(part) for part in parts]}
    )


def _level(parts: list[Part], need: str) -> float:
    """The level at which a claim is decided either way: by all of its parts, or by any, corrected for their number."""
    supports, against = (
        [1.0 if math.isnan(p) else p for p in levels]
        for levels in ([part.p for part in parts], [part.p_against for part in parts])
    )
    every, some = (supports, against) if need == "all" else (against, supports)
    # Parts of which any supports the claim come corrected (`verdicts.part`).
    return min(1.0, max(every), min(some) * (len(parts) if need == "all" else 1))


def table(record: dict[str, Any]) -> pd.DataFrame:
    """A claim's parts as a table: part, and the other attributes of `Part` but variances."""
    return pd.DataFrame(record["parts"]).rename(columns={"label": "part"}).drop(columns=["variance", "df"])
