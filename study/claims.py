"""The ledger: for each claim a statistic, an effect, an interval and a verdict, all computed from the store.

The words of the claims are in `claims.yml`; the steps that compute them stand with their experiments.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study import asymmetry, consensus, generalisation, humans, masking, models
from study.steps import Step, Study
from study.verdicts import Part, Region, combined, untestable

STEPS: dict[str, Step] = {
    "C1": models.claim,
    "C2": masking.claim,
    "C3": generalisation.stability,
    "C4": generalisation.across_tasks,
    "C5": generalisation.across_pretrainings,
    "C6": asymmetry.claim,
    "C7": consensus.claim,
    "C8": humans.claim,
}


@cache
def words() -> dict[str, dict[str, Any]]:
    """What each claim says: title, statement, statistic, unit, section (its page), original (what the paper's abstract
    says, in short), need, reported, counted."""
    return yaml.safe_load(Path(__file__).with_suffix(".yml").read_text())


def ledger(s: Study) -> list[dict[str, Any]]:
    """All claims as JSON-able records: see `claim`."""
    return [claim(s, name) for name in STEPS]


def claim(s: Study, name: str) -> dict[str, Any]:
    """One claim: id, title, statement, statistic, unit, section, original, reported, counted, region, bounds (the
    region's finite ends), estimate, ci_low, ci_high, p, n, effect_size, verdict, part (which part these numbers are of)
    and `parts`.

    The numbers at the top are those of the part that decides: the one nearest to overturning the verdict.
    """
    result, said = STEPS[name](s), words()[name]
    region, parts = Region(**result["region"]), [Part(**each) for each in result["parts"]]
    verdict = combined([part.verdict for part in parts], said["need"])
    # The part that decides: of those with the claim's verdict the weakest if all must hold, else the strongest.
    parts = parts or [untestable("the study has no pair of networks to test this on", 0)]
    pick = min if said["need"] == "all" else max
    deciding = [part for part in parts if part.verdict == verdict]
    head = pick(deciding, key=lambda part: region.strength(part.ci_low, part.ci_high))
    numbers = ("estimate", "ci_low", "ci_high", "p", "n", "effect_size")
    return (
        {"id": name}
        | {key: value for key, value in said.items() if key != "need"}
        | {"region": str(region)}
        | {key: getattr(head, key) for key in numbers}
        | {"bounds": [bound for bound in (region.low, region.high) if math.isfinite(bound)]}
        | {"verdict": verdict, "part": head.label, "parts": result["parts"] or [vars(parts[0])]}
    )


def table(record: dict[str, Any]) -> pd.DataFrame:
    """A claim's parts as a table: part, estimate, ci_low, ci_high, p, n, effect_size, verdict."""
    return pd.DataFrame(record["parts"]).rename(columns={"label": "part"}).drop(columns=["variance", "df"])
