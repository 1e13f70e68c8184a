"""How far the intervals, tests and verdicts of this paper can be trusted: simulated studies, and power."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from analysis.inference import Estimate
from study import calibration
from study.calibration import Design
from study.settings import Settings
from study.steps import Study, step

PEOPLE = 30  # of the simulated studies, near those of the paper
ACCURACY = 0.9  # of simulated hits and misses
PLANNED_SEEDS = (2, 3, 4, 5, 7, 10, 15, 20)
PLANNED_PEOPLE = (1, 2, 4)  # times those of the study


class Certainty(Settings):
    """How large the simulated studies are."""

    calibration_seeds: tuple[Annotated[int, Field(ge=2, le=50)], ...] = Field(
        (3,), min_length=1, description="seeds per family of those simulated studies; one design each"
    )
    calibration_experiments: int = Field(
        100, ge=20, le=100000, description="simulated studies that check intervals and tests"
    )


@step("calibration_seeds", "calibration_experiments", "stimulus_seed", title="simulated studies")
def simulations(s: Study) -> dict[str, Any]:
    """Simulated studies: `coverage`, `transfer`, `tests`.

    coverage: of 95 % intervals for means, by seeds, kind of score, variation, statistic and method; transfer: of those
    for transfer between networks; tests: how often a test at 5 % finds what is not there, with the first of
    `calibration_seeds`. Each row has experiments, rate and its 95 % interval low, high.
    """
    designs = [Design(seeds, PEOPLE) for seeds in s.p.calibration_seeds]
    options = {"experiments": s.p.calibration_experiments, "seed": s.p.stimulus_seed}
    scores = calibration.coverage(designs, **options).assign(score="normal")
    hits = calibration.coverage(designs, accuracy=ACCURACY, **options).assign(score="hit or miss")
    return {
        "coverage": pd.concat([scores, hits], ignore_index=True),
        "transfer": calibration.pair_coverage(designs, **options),
        "tests": calibration.false_positives(designs[0], **options),
    }


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables of `simulations`."""
    return dict(simulations(s))


def power(s: Study, records: list[dict]) -> pd.DataFrame:
    """Chance that a larger study reaches a verdict on each claim, if the truth is what this study estimates.

    Columns: claim, people (in the planned study), seeds, power. The effect is the distance from the deciding part's
    estimate to the nearest end of the claim's region; a claim whose interval is not made from people and networks
    (C8) is left out.
    """
    rows = []
    for record in records:
        part = next(part for part in record["parts"] if part["label"] == record["part"])
        if not part["variance"] or not np.isfinite(part["variance"]).all():
            continue
        # Values that `power` does not use are left at zero: it plans from variances alone.
        estimate = Estimate(np.array(0.0), np.array(0.0), np.array(part["variance"]), np.array(part["df"]))
        effect = min(abs(part["estimate"] - bound) for bound in record["bounds"])
        people = round(part["df"][0]) + 1
        for more, seeds in product(PLANNED_PEOPLE, PLANNED_SEEDS):
            planned = {"people": (people, more * people), "seeds": (s.p.seeds, seeds)}
            chance = calibration.power(estimate, effect, **planned)
            row = {"claim": f"{record['id']} {record['title']}", "people": f"{more * people} people"}
            rows.append(row | {"seeds": seeds, "power": chance})
    return pd.DataFrame(rows, columns=["claim", "people", "seeds", "power"])
