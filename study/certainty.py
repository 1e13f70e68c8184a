"""How far the intervals, tests and verdicts of this paper can be trusted: simulated studies, and power."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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

ACCURACY = 0.9  # of simulated hits and misses
PLANNED_NETWORKS = (2, 3, 4, 5, 7, 10, 15, 20)
PLANNED_PEOPLE = (1, 2, 4)  # times those of the study


class Certainty(Settings):
    """How large the simulated studies are."""

    calibration_seeds: tuple[Annotated[int, Field(ge=2, le=50)], ...] = Field(
        (10,),
        min_length=1,
        description="seeds per family of those simulated studies (see `calibration.designs`)",
    )
    calibration_experiments: int = Field(
        40, ge=20, le=100000, description="simulated studies that check intervals and tests"
    )


@step("calibration_experiments", "stimulus_seed", title="simulated studies", unit="table")
def simulated(s: Study, table: str, design: Design) -> pd.DataFrame:
    """One table of studies simulated by one design: see `SIMULATED`."""
    return SIMULATED[table]([design], experiments=s.p.calibration_experiments, seed=s.p.stimulus_seed)


SIMULATED: dict[str, Callable[..., pd.DataFrame]] = {
    "transfer": calibration.pair_coverage,  # the longest first
    "agreement": calibration.agreement_coverage,
    "normal": calibration.coverage,
    "hit or miss": partial(calibration.coverage, accuracy=ACCURACY),
    "tests": calibration.false_positives,
}


def plans(s: Study) -> list[tuple[str, Design]]:
    """The tables of simulated studies and the design of each; tests are done with the first one alone."""
    designs = [calibration.designs(seeds) for seeds in s.p.calibration_seeds]
    every = {name: [each for of_seeds in designs for each in of_seeds] for name in SIMULATED}
    # In agreement other people are judged, whose number is not the design's.
    every |= {"agreement": [many for many, _ in designs], "tests": designs[0][:1]}
    return [(name, design) for name, of_table in every.items() for design in of_table]


@step(
    *("calibration_seeds", "calibration_experiments", "stimulus_seed"),
    needs=[simulated.of(lambda s: plans(s), "calibration_seeds")],
    title="simulated studies",
)
def simulations(s: Study) -> dict[str, Any]:
    """Simulated studies: `coverage`, `transfer`, `tests`.

    coverage: of 95 % intervals for means, by seeds, kind of score, variation, statistic and method; transfer: of those
    for transfer between networks and for agreement with people; tests: how often a test at 5 % finds what is not
    there, and claims get a wrong verdict. Each row has experiments, rate and its 95 % interval low, high.
    """
    made = {name: [simulated(s, *job) for job in plans(s) if job[0] == name] for name in SIMULATED}
    scores = {name: pd.concat(made[name]).assign(score=name) for name in ("normal", "hit or miss")}
    return {
        "coverage": pd.concat(scores.values(), ignore_index=True),
        "transfer": pd.concat(made["transfer"] + made["agreement"], ignore_index=True),
        "tests": pd.concat(made["tests"], ignore_index=True),
    }


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables of `simulations`."""
    return dict(simulations(s))


def power(s: Study, records: list[dict]) -> pd.DataFrame:
    """Chance that a larger study reaches a verdict on each claim, if the truth is what this study estimates.

    Columns: claim, people (in the planned study), networks (of each family that are independent: seeds, or pretraining
    runs where there are several), power. The effect is the `distance` of the deciding part's estimate; a claim whose
    interval is not made from people and networks, or has no ends, is left out.
    """
    rows, networks = [], s.p.pretraining_runs if s.p.pretraining_runs > 1 else s.p.seeds
    for record in records:
        part = next(part for part in record["parts"] if part["label"] == record["part"])
        if len(part["variance"]) < 3 or not np.isfinite(part["variance"]).all():
            continue
        estimate = Estimate(np.array(part["estimate"]), np.array(part["variance"]), np.array(part["df"]))
        effect = distance(part["estimate"], record["bounds"], record["smallest"])
        people = round(part["df"][0]) + 1
        for more, planned_networks in product(PLANNED_PEOPLE, PLANNED_NETWORKS):
            planned = {"people": (people, more * people), "seeds": (networks, planned_networks)}
            chance = calibration.power(estimate, effect, **planned)
            row = {"claim": f"{record['id']} {record['title']}", "people": f"{more * people} people"}
            rows.append(row | {"networks": planned_networks, "power": chance})
    return pd.DataFrame(rows, columns=["claim", "people", "networks", "power"])


def distance(estimate: float, bounds: list[float], smallest: float | None) -> float:
    """How far an estimate is from the bound that its interval has to clear for a verdict, in the claim's unit.

    With a smallest effect of interest beyond the one bound, that is the one of the two that is further away.
    """
    if smallest is None:
        return min(abs(estimate - bound) for bound in bounds)
    return max(abs(estimate - bounds[0]), abs(estimate - smallest))
