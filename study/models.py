"""Are the networks equally good, whatever they were pretrained on?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from analysis import inference, transfer
from faces import contact_sheet
from study import networks, relevance, stimuli
from study.grid import Cell
from study.masking import mean_row
from study.settings import Settings, is_built_in, is_images
from study.steps import Study, step
from study.verdicts import ESTIMATE, Region, answer, part

SHEET = 24  # images on a sheet of examples


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


def image_sets(s: Study) -> dict[str, xr.Dataset]:
    """The faces and the images of each pretraining that has some, by name."""
    names = [name for name, images in s.p.pretrainings.items() if is_images(images)]
    return {"faces": stimuli.faces(s)} | {f"pretraining: {n}": stimuli.pretraining_set(s, n) for n in names}


def pictures(s: Study) -> dict[str, Any]:
    """What each of `image_sets` looks like: examples of what is drawn by code, the mean of photographs.

    None of photographs of fewer than `relevance.MEAN_OF` people, or classes.
    """
    drawn = {f"pretraining: {name}": images for name, images in s.p.pretrainings.items()} | {
        "faces": s.p.faces
    }
    shown = {}
    for name, images in image_sets(s).items():
        if is_built_in(drawn[name]):
            few = images.isel(image=slice(0, None, max(1, images.sizes["image"] // SHEET)))
            shown[name] = contact_sheet(few.isel(image=slice(SHEET)), 8)
        elif len(set(images.identity.values)) >= relevance.MEAN_OF:
            shown[f"{name} (mean)"] = relevance.picture(images.pixels.values)
    return shown


def histories(s: Study) -> pd.DataFrame:
    """Training curves of the networks of one pretraining and stage ("pretraining", or the task of finetuning).

    Columns: stage, pretraining, images (shown so far), validation_accuracy (mean over networks), least, most.
    """
    networks.finetuned.each(s)
    frames = []
    for pretraining, run in sorted({(c.pretraining, c.run) for c in s.grid}):
        history = networks.pretrained(s, pretraining, run)["history"]
        frames.append(history.assign(stage="pretraining", pretraining=pretraining))
    for cell in s.grid:
        history = networks.finetuned(s, cell)["history"]
        frames.append(history.assign(stage=cell.task, pretraining=cell.pretraining))
    rows = pd.concat([frame for frame in frames if len(frame)])
    by = rows.groupby(["stage", "pretraining", "images"], sort=False).validation_accuracy
    return by.agg(validation_accuracy="mean", least="min", most="max").reset_index()


def correctness(s: Study, cells: list[Cell], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each network of one task named each image of a split rightly, `(cell, image)`; who is on the images."""
    named = named_rightly(s, cells, split)
    return named.values, named.identity.values


def named_rightly(s: Study, cells: list[Cell], split: str) -> xr.DataArray:
    """Values of `correctness (cell, image)`, with the `name` and `identity` of each image; in order of name."""
    tables = []
    for cell in cells:
        table = networks.finetuned(s, cell)["predictions"].load()
        tables.append(table.isel(image=np.flatnonzero(table.split.values == split)).sortby("name"))
    values = np.stack([table.correct.values.astype(float) for table in tables])
    on_image = {key: ("image", tables[-1][key].values) for key in ("name", "identity")}
    return xr.DataArray(values, on_image, ("cell", "image"))


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


def explained_accuracy(s: Study) -> pd.DataFrame:
    """How many of the explained images each family names rightly: pretraining, task, accuracy, low, high.

    Without the identity task where new people are explained, whom it has no class for.
    """
    whole, people = relevance.maps(s), stimuli.people(s)
    rows = []
    for family in dict.fromkeys(cell.family for cell in s.grid):
        cells = [cell for cell in s.grid if cell.family == family]
        label = stimuli.explained_inputs(s, cells[0].task)[1].cpu().numpy()
        if (label >= 0).all():
            correct = whole.prediction.values[whole.family.values == family] == label
            row = {"pretraining": cells[0].pretraining, "task": cells[0].task}
            rows.append(row | mean_row(s, correct.astype(float), people, "accuracy", cells))
    return pd.DataFrame(rows)


def single_networks(s: Study) -> pd.DataFrame:
    """Test accuracy of every single network: a row for each family, a column for each seed."""
    table = predictions(s).query("split == 'test'")
    table = table.assign(seed="seed " + table.seed.astype(str) + ", run " + table.run.astype(str))
    return table.groupby(["pretraining", "task", "seed"], sort=False).correct.mean().unstack().reset_index()
