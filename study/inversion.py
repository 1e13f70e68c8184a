"""Faces upside down: what it does to the networks' accuracy and to their maps.

People recognise faces much worse upside down, and lose more than with other objects (Yin 1969, Journal of Experimental
Psychology 81). No network here was trained on pictures that were turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from analysis import inference, likeness
from study import networks, relevance, stimuli, training, vgg
from study.grid import Cell
from study.masking import mean_row
from study.regions import regions
from study.settings import is_images
from study.steps import Study, step
from study.stimuli import EXPLAINED

IMAGES = 40  # explained images, at most, whose maps are compared
ORIENTATIONS = ("upright", "inverted")
COMPARED = ("turned back", "in place", "another person's")  # maps of inverted faces, with the upright one


@step(
    *("composite", *EXPLAINED),
    needs=[networks.finetuned, relevance.explain, stimuli.faces],
    title="upside-down faces",
)
def turned(s: Study, cell: Cell) -> xr.Dataset:
    """One network on faces turned by 180 degrees.

    Returns:
        `correct (orientation, test)`: whether test images of its task are named rightly; `tested (test)` is who is on
        them. Of at most IMAGES explained images, whose maps explain the same class upright and inverted: `likeness
        (compared, image)`, rank correlation over pixels with the upright map of the inverted face's map turned back
        and of the same as it is, and of the former with another person's upright map; `share (orientation, region,
        image)` of the magnitude of relevance by region of the face; `shown (image)` is who is on them.
    """
    faces, model = stimuli.faces(s), networks.network(s, cell)
    test = np.flatnonzero((faces.split.values == "test") & stimuli.of_task(faces, cell.task))
    correct = _correct(model, faces.pixels.values[test], stimuli.labels(faces, cell.task)[test])

    index = stimuli.explained_index(s, faces)
    chosen = np.unique(np.linspace(0, len(index) - 1, min(IMAGES, len(index))).astype(int))
    shown, explained = faces.isel(image=index[chosen]), relevance.explain(s, cell).isel(image=chosen)
    images = vgg.normalise(torch.from_numpy(shown.pixels.values)).flip((2, 3)).to(s.p.device)
    targets = torch.from_numpy(explained.target.values).to(s.p.device)
    upright = explained.relevance.values
    in_place = relevance.dataset(model, images, targets, s.p.composite).relevance.values
    back = in_place[:, ::-1, ::-1]
    other = np.roll(upright, len(upright) // 2, axis=0)
    alike = [
        likeness.spearman(a[None], b[None])[0, 0]
        for a, b in ((back, upright), (in_place, upright), (back, other))
    ]
    where, names = regions(shown)
    share = np.array([_shares(np.abs(maps, dtype=float), where, len(names)) for maps in (upright, back)])
    return xr.Dataset(
        {
            "correct": (("orientation", "test"), correct),
            "likeness": (("compared", "image"), np.array(alike)),
            "share": (("orientation", "region", "image"), share),
        },
        coords={
            "orientation": list(ORIENTATIONS),
            "compared": list(COMPARED),
            "region": names,
            "tested": ("test", faces.identity.values[test]),
            "shown": ("image", shown.identity.values),
        },
    )


@step(
    needs=[
        networks.pretrained,
        stimuli.pretraining_set.of(lambda s, name, run: [(name,)]),
    ],
    title="upside-down pretraining images",
)
def turned_pretraining(s: Study, pretraining: str, run: int) -> xr.Dataset:
    """One pretrained network on the validation images of its set: `correct (orientation, image)`, and `identity`."""
    images = stimuli.pretraining_set(s, pretraining)
    labels = np.unique(images.identity.values, return_inverse=True)[1]
    held_out = np.flatnonzero(images.split.values == "validation")
    model = vgg.merge_batch_norm(networks.pretrained(s, pretraining, run)["model"])
    correct = _correct(model, images.pixels.values[held_out], labels[held_out])
    identity = images.identity.values[held_out]
    coords = {"orientation": list(ORIENTATIONS), "identity": ("image", identity)}
    return xr.Dataset({"correct": (("orientation", "image"), correct)}, coords=coords)


def _correct(model: vgg.VGG16, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image is named rightly, upright and turned by 180 degrees, `(2, N)` float64."""
    upright = torch.from_numpy(pixels)
    named = [training.predict(model, images).argmax(1).numpy() for images in (upright, upright.flip((2, 3)))]
    return (np.array(named) == labels).astype(float)


def _shares(magnitude: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """Share `(region, image)` of each map's sum in each region `where (image, y, x)`."""
    whole = magnitude.sum((1, 2))
    return np.array([(magnitude * (where == k)).sum((1, 2)) for k in range(count)]) / whole


# ------------------------------------------------------------ tables


def accuracy(s: Study) -> pd.DataFrame:
    """What turning costs, for the networks of the first seed of each pretraining run.

    Columns: shown (a task, or "pretraining": the pretrained networks on their own kind of image), pretraining, upright,
    inverted, loss (their difference), low, high, chance (accuracy of always naming the commonest class).
    """
    rows, faces = [], stimuli.faces(s)
    for task in s.p.tasks:
        of_task = stimuli.labels(faces, task)[(faces.split.values == "test") & stimuli.of_task(faces, task)]
        for pretraining in s.p.pretrainings:
            cells = [c for c in s.firsts if (c.task, c.pretraining) == (task, pretraining)]
            whole = turned.all(s, [(c,) for c in cells], "model")
            loss = mean_row(s, _loss(whole), whole.tested.values, "loss", cells)
            rows.append(
                {
                    "shown": task,
                    "pretraining": pretraining,
                    **_means(whole),
                    **loss,
                    "chance": _chance(of_task),
                }
            )
    runs = sorted({c.run for c in s.firsts})
    for pretraining in (name for name, source in s.p.pretrainings.items() if is_images(source)):
        whole = turned_pretraining.all(s, [(pretraining, run) for run in runs], "model")
        values, strata = (
            (_loss(whole), [pretraining] * len(runs)) if len(runs) > 1 else (_loss(whole)[0], None)
        )
        draws = {"n": inference.QUICK_DRAWS, "seed": s.p.stimulus_seed}
        loss = inference.mean(values, whole.identity.values, strata, **draws).row("loss", s.p.confidence)
        chance = _chance(whole.identity.values)
        rows.append(
            {"shown": "pretraining", "pretraining": pretraining, **_means(whole), **loss, "chance": chance}
        )
    return pd.DataFrame(rows)


def maps(s: Study) -> pd.DataFrame:
    """Likeness of inverted faces' maps and upright ones: task, compared (see COMPARED), likeness, low, high."""
    rows = []
    for task in s.p.tasks:
        cells, whole = _explained(s, [task])
        for kind in COMPARED:
            values = whole.likeness.sel(compared=kind).values
            row = {"task": task, "compared": kind}
            rows.append(row | mean_row(s, values, whole.shown.values, "likeness", cells, _equal(cells)))
    return pd.DataFrame(rows)


def shares(s: Study) -> pd.DataFrame:
    """Where relevance goes on upright and inverted faces: region, upright, inverted, change, low, high."""
    cells, whole = _explained(s, s.p.tasks)
    rows = []
    for region in whole.region.values:
        upright, inverted = (whole.share.sel(region=region, orientation=name).values for name in ORIENTATIONS)
        change = mean_row(s, inverted - upright, whole.shown.values, "change", cells, _equal(cells))
        rows.append({"region": region, "upright": upright.mean(), "inverted": inverted.mean(), **change})
    return pd.DataFrame(rows)


def _explained(s: Study, tasks: Sequence[str]) -> tuple[list[Cell], xr.Dataset]:
    """The first networks of these tasks, and what `turned` has of the explained images, along `model`."""
    cells = [cell for cell in s.firsts if cell.task in tasks]
    turned.each(s, [(cell,) for cell in cells])
    names = ["likeness", "share"]
    return cells, xr.concat(
        [turned(s, cell)[names].drop_vars("tested", errors="ignore") for cell in cells], "model"
    )


def _equal(cells: list[Cell]) -> np.ndarray:
    return np.full(len(cells), 1 / len(cells))


def _loss(whole: xr.Dataset) -> np.ndarray:
    """Accuracy upright minus inverted, `(model, image)`."""
    correct = whole.correct.transpose("orientation", "model", ...).values
    return correct[0] - correct[1]


def _means(whole: xr.Dataset) -> dict[str, float]:
    means = whole.correct.mean([dim for dim in whole.correct.dims if dim != "orientation"])
    return {name: float(means.sel(orientation=name)) for name in ORIENTATIONS}


def _chance(labels: Any) -> float:
    return float(pd.Series(labels).value_counts(normalize=True).iloc[0])
