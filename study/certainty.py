"""How far the intervals, tests and verdicts of this paper can be trusted: simulated studies, and power."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from analysis.inference import Estimate
from study import Study, calibration
from study.calibration import Design

CODE = (
    "study.certainty",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    "study.calibration",
)
PEOPLE = 30  # of the simulated studies, near those of the paper
ACCURACY = 0.9  # of simulated hits and misses
PLANNED_SEEDS = (2, 3, 4, 5, 7, 10, 15, 20)
PLANNED_PEOPLE = (1, 2, 4)  # times those of the study


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """Simulated studies: `coverage`, `transfer`, `tests`.

    coverage: of 95 % intervals for means, by seeds, kind of score, variation, statistic and method; transfer: of those
    for transfer between networks; tests: how often a test at 5 % finds what is not there, with the first of
    `calibration_seeds`. Each row has experiments, rate and its 95 % interval rate_low, rate_high.
    """
    p = study.parameters
    designs = [Design(seeds, PEOPLE) for seeds in p.calibration_seeds]
    options = {"experiments": p.calibration_experiments, "seed": p.stimulus_seed}
    inputs = {"designs": [asdict(design) for design in designs]} | options

    def make() -> dict[str, list[dict]]:
        scores = calibration.coverage(designs, **options).assign(score="normal")
        hits = calibration.coverage(designs, accuracy=ACCURACY, **options).assign(score="hit or miss")
        found = {
            "coverage": pd.concat([scores, hits], ignore_index=True),
            "transfer": calibration.pair_coverage(designs, **options),
            "tests": calibration.false_positives(designs[0], **options),
        }
        return {name: rows.to_dict("records") for name, rows in found.items()}

    return {
        name: pd.DataFrame(rows) for name, rows in study.store.json("calibration", inputs, CODE, make).items()
    }


def power(study: Study, records: list[dict]) -> pd.DataFrame:
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
        for more in PLANNED_PEOPLE:
            for seeds in PLANNED_SEEDS:
                planned = {"people": (people, more * people), "seeds": (study.parameters.seeds, seeds)}
                chance = calibration.power(estimate, effect, **planned)
                row = {"claim": f"{record['id']} {record['title']}", "people": f"{more * people} people"}
                rows.append(row | {"seeds": seeds, "power": chance})
    return pd.DataFrame(rows, columns=["claim", "people", "seeds", "power"])
