"""Does it depend on how deep finetuning goes whether maps pass between pretrainings?"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from analysis import transfer
from study import generalisation, networks, stimuli
from study.generalisation import TRANSFER, exchanged, gains, less_between_pretrainings
from study.grid import Cell, Scope
from study.masking import mean_row
from study.models import correctness
from study.settings import Settings, once
from study.steps import Study, step
from study.verdicts import Region, answer, part

WORDS = {"classifier": "classifier alone", "last_block": "and the last block", "all": "all layers"}


class Depth(Settings):
    """How deep finetuning goes."""

    depths: tuple[Scope, ...] = Field(
        ("classifier", "last_block", "all"),
        min_length=1,
        description="depths of finetuning that are compared, shallow ones first",
    )

    _each_depth = field_validator("depths")(once)


def cells(s: Study, depth: Scope) -> list[Cell]:
    """The networks of the first seed of each run, finetuned to another depth."""
    return [cell.at(scope=depth) for cell in s.firsts]


@step(
    *(*TRANSFER, "depths", "smallest_transfer"),
    needs=[
        exchanged.of(lambda s: [(c,) for depth in s.settings.depths for c in cells(s, depth)], "grid"),
        stimuli.faces,
    ],
    title="claim C9",
)
def claim(s: Study) -> dict[str, Any]:
    """Claim C9: maps pass less between pretrainings, beside tasks, the fewer layers were finetuned.

    The transfer between pretrainings minus that between tasks at the first of `depths` minus the same at the last.
    """
    p, region = s.p, Region(high=0, smallest=-s.p.smallest_transfer)
    ends = list(dict.fromkeys((p.depths[0], p.depths[-1])))
    if len(ends) < 2 or len(p.tasks) < 2 or len(p.pretrainings) < 2:
        return answer(region, [])
    estimate = _difference(s, *ends)
    label = f"pretrainings minus tasks: {WORDS[ends[0]]} minus {WORDS[ends[1]]}"
    return answer(region, [part(region, label, estimate, stimuli.people(s), p.confidence)])


def _difference(s: Study, *depths: Scope) -> Any:
    """Of two depths: a network that starts from one pretraining run is one unit at both."""
    each = [cells(s, depth) for depth in depths]
    both, half = [*each[0], *each[1]], len(each[0])
    gain = np.zeros((len(both), len(both), len(stimuli.people(s))))
    scale = np.zeros((len(both), gain.shape[-1]))
    masks = []
    for k, of_depth in enumerate(each):
        here = slice(k * half, (k + 1) * half)
        gain[here, here], scale[here], _ = gains(s, of_depth)
        for name in ("pretraining", "task"):
            mask = np.zeros(gain.shape[:2], dtype=bool)
            mask[here, here] = transfer.relations(of_depth) == name
            masks.append(mask)
    return transfer.shares(
        gain,
        masks,
        both,
        stimuli.people(s),
        scale=scale,
        contrast=np.array([[1, -1, -1, 1]]),
        **generalisation.draws(s),
    )[0]


# ------------------------------------------------------------ tables


def table(s: Study) -> pd.DataFrame:
    """Transfer by depth and by what two networks differ in: depth, differ in, value, low, high."""
    rows = []
    for depth in s.p.depths:
        of_depth = cells(s, depth)
        relations = transfer.relations(of_depth)
        for name in ("run", "task", "pretraining"):
            if (relations == name).any():
                estimate = generalisation.shares(s, [relations == name], None, of_depth)
                rows.append(
                    {"depth": WORDS[depth], "differ in": name} | estimate.row("value", s.p.confidence)
                )
    return pd.DataFrame(rows)


def contrasts(s: Study) -> pd.DataFrame:
    """Transfer between pretrainings minus that between tasks, and runs, by depth: depth, minus, value, low, high."""
    rows = []
    for depth, name in product(s.p.depths, ("task", "run")):
        estimate = less_between_pretrainings(s, name, cells(s, depth))
        if estimate is not None:
            rows.append(
                {"depth": WORDS[depth], "minus": f"between {name}s"} | estimate.row("value", s.p.confidence)
            )
    return pd.DataFrame(rows)


def accuracy(s: Study) -> pd.DataFrame:
    """Test accuracy by depth and family: depth, family, accuracy, low, high."""
    rows = []
    for depth in s.p.depths:
        networks.finetuned.each(s, [(cell,) for cell in cells(s, depth)])
        for family in dict.fromkeys(cell.family for cell in s.firsts):
            of_family = [cell for cell in cells(s, depth) if cell.family == family]
            values, people = correctness(s, of_family, "test")
            rows.append(
                {"depth": WORDS[depth], "family": family} | mean_row(s, values, people, "accuracy", of_family)
            )
    return pd.DataFrame(rows)
