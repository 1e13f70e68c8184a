"""Are the networks equally good, whatever they were pretrained on?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from analysis import inference, transfer
from study import networks
from study.grid import Cell
from study.masking import mean_row
from study.settings import Settings
from study.steps import Study, step
from study.verdicts import ESTIMATE, Region, answer, part


class Models(Settings):
    """When accuracies count as comparable."""

    accuracy_margin: float = Field(
        0.05, gt=0, lt=0.5, description="accuracies this close count as comparable"
    )


@step(*ESTIMATE, "accuracy_margin", needs=[networks.finetuned.every()], title="claim C1")
def claim(s: Study) -> dict[str, Any]:
    """Claim C1: test accuracy is comparable between pretrainings, for each task."""
    p = s.p
    region = Region(-p.accuracy_margin, p.accuracy_margin)
    parts = []
    for task in p.tasks:
        cells = [cell for cell in s.grid if cell.task == task]
        values, people = correctness(s, cells, "test")
        strata, units = transfer.resampling(cells)
        for a, b in combinations(p.pretrainings, 2):
            sign = np.array([(c.pretraining == a) / p.seeds - (c.pretraining == b) / p.seeds for c in cells])
            estimate = inference.mean(
                values, people, strata, contrast=sign, units=units, n=p.resamples, seed=p.stimulus_seed
            )
            parts.append(part(region, f"{task}: {a} minus {b}", estimate, people, p.confidence))
    return answer(region, parts)


def predictions(s: Study) -> pd.DataFrame:
    """One row per network and image of its task: model, ..., split, label, prediction, probability, correct."""
    networks.finetuned.each(s)
    frames = [networks.finetuned(s, cell)["predictions"].to_dataframe().reset_index() for cell in s.grid]
    rows = s.networks.to_dict("records")
    return pd.concat([f.assign(**row) for f, row in zip(frames, rows, strict=True)], ignore_index=True)


def histories(s: Study) -> pd.DataFrame:
    """Training curves: rows of every pretraining and finetuning (see `training.train`); `stage` tells which."""
    networks.finetuned.each(s)
    frames = []
    for pretraining, run in sorted({(c.pretraining, c.run) for c in s.grid}):
        row = {"stage": "pretraining", "model": f"{pretraining} (run {run})", "pretraining": pretraining}
        frames.append(networks.pretrained(s, pretraining, run)["history"].assign(**row))
    for cell in s.grid:
        row = {"stage": cell.task, "model": cell.name, "pretraining": cell.pretraining}
        frames.append(networks.finetuned(s, cell)["history"].assign(**row))
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


def correctness(s: Study, cells: list[Cell], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each network of one task named each image of a split rightly, `(cell, image)`; who is on the images."""
    frames = []
    for cell in cells:
        table = networks.finetuned(s, cell)["predictions"].load()
        table = table.isel(image=np.flatnonzero(table.split.values == split))
        frames.append(pd.Series(table.correct.values.astype(float), table.name.values).sort_index())
    people = pd.Series(table.identity.values, table.name.values).sort_index()
    return np.stack(frames, axis=1).T, people.to_numpy()


def accuracy(s: Study) -> pd.DataFrame:
    """Accuracy of each family (pretraining x task) and split, over its seeds, with intervals.

    Columns: pretraining, task, split, accuracy, low, high, chance (accuracy of always naming the commonest
    class of the test images), images, people.
    """
    rows = []
    for (pretraining, task, split), table in predictions(s).groupby(["pretraining", "task", "split"]):
        cells = [c for c in s.grid if (c.pretraining, c.task) == (pretraining, task)]
        values, people = correctness(s, cells, split)
        rows.append(
            {
                "pretraining": pretraining,
                "task": task,
                "split": split,
                **mean_row(s, values, people, "accuracy", cells),
                "chance": table.drop_duplicates("name").label.value_counts(normalize=True).max(),
                "images": len(people),
                "people": len(set(people)),
            }
        )
    table = pd.DataFrame(rows)
    order = pd.Categorical(table.split, ["train", "validation", "test"], ordered=True)
    return table.assign(order=order).sort_values(["task", "pretraining", "order"]).drop(columns="order")


def single_networks(s: Study) -> pd.DataFrame:
    """Accuracy of every single network, one column per split."""
    table = predictions(s).groupby(["pretraining", "task", "seed", "split"]).correct.mean().unstack()
    return table[["train", "validation", "test"]].reset_index()
