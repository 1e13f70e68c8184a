"""Interventions: what a part of a face does to a network's logit, and the relevance that the part received.

On procedural faces a part is given another person's factors and the face is rendered again: the change of the explained
class's logit is what that part does to the decision. Photographs cannot be rendered again, so their regions, the
fields of a square grid, are filled with the mean colour instead. Parts are filled too, to see how good a stand-in that
is.
"""

from itertools import product

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field
from scipy.stats import rankdata

import faces as drawn
from analysis import attribution, masking
from study import networks, relevance, stimuli, training, vgg
from study.grid import Cell
from study.masking import mean_row
from study.regions import regions
from study.settings import Settings
from study.steps import Study, step

RIVALS = ("area", "random", "centre", "edges", "other_image", "average", "random_weights")
QUESTIONS = {"size": "how much does it matter?", "direction": "is it for or against the class?"}
EFFECTS = {"swap": "swapping the part", "fill": "filling the region"}
CHOSEN = (
    "explained_images",
    "explained_people",
    "intervention_images",
)  # what decides which images are intervened on


class Interventions(Settings):
    """How many faces are changed, and how often."""

    intervention_images: int = Field(
        40, ge=4, le=100000, description="images whose parts are swapped, at most"
    )
    intervention_donors: int = Field(
        2, ge=1, le=20, description="people whose parts each image is given in turn"
    )


def chosen(s: Study) -> np.ndarray:
    """Which of the explained images are intervened on: `intervention_images` of them, spread evenly."""
    count = stimuli.explained(s).sizes["image"]
    return np.unique(np.linspace(0, count - 1, min(count, s.p.intervention_images)).astype(int))


def chosen_faces(s: Study) -> xr.Dataset:
    """The faces that are intervened on."""
    return stimuli.explained(s).isel(image=chosen(s))


def chosen_regions(s: Study) -> tuple[np.ndarray, list[str]]:
    """`regions` of the chosen images, without the background of procedural faces, whose pixels are of no region: -1."""
    faces = chosen_faces(s)
    labels, names = regions(faces)
    return (labels - 1, names[1:]) if "parts" in faces else (labels, names)


@step(
    *(*CHOSEN, "intervention_donors", "image_size", "stimulus_seed"),
    needs=[stimuli.faces],
    title="faces with swapped parts",
)
def swapped_faces(s: Study) -> xr.Dataset:
    """The chosen procedural faces with one part of another person: `pixels (donor, part, image, channel, y, x)` uint8.

    The donor is someone else among the chosen; view and noise stay.
    """
    p, faces = s.p, chosen_faces(s)
    factors, views = faces.factors.values, faces["views"].values
    pixels = []
    for donor in range(p.intervention_donors):
        order = attribution.derangement(len(factors), p.stimulus_seed + donor, faces.identity.values)
        tables = [drawn.swap_parts(factors, factors[order], [part]) for part in drawn.PART_FACTORS]
        pixels.append([drawn.render(t, views, p.image_size, p.stimulus_seed).pixels.numpy() for t in tables])
    dims = ("donor", "part", "image", "channel", "y", "x")
    return xr.Dataset({"pixels": (dims, np.array(pixels))}, coords={"part": list(drawn.PART_FACTORS)})


@step(
    *(*CHOSEN, "composite"),
    needs=[
        *(relevance.explain, networks.finetuned, stimuli.faces),
        swapped_faces.of(lambda s, cell: [()] if s.settings.faces == "procedural" else [], "faces"),
    ],
    title="interventions",
    work=lambda s, cell: s.p.intervention_images,
)
def intervene(s: Study, cell: Cell) -> xr.Dataset:
    """Effects and relevance of one network by image and region.

    Returns:
        `effect (changed, image, region)`: the logit of the explained class with the region as it is, less that with the
        region changed, averaged over donors. `size (changed, image, region)`: the same with the magnitude of each
        change. `received (ranking, question, image, region)`: for "direction" the sum of the map over the region, for
        "size" that of its magnitude; `ranking` is "relevance" or one of `RIVALS`.
    """
    labels, names = chosen_regions(s)
    own = relevance.explain(s, cell).isel(image=chosen(s)).load()
    images = stimuli.explained_inputs(s, cell.task)[0][chosen(s)]
    model, target = networks.network(s, cell), torch.from_numpy(own.target.values)
    inside = labels[:, None] == np.arange(len(names))[:, None, None]  # image, region, y, x

    def drop(changed: torch.Tensor) -> np.ndarray:
        logits = training.predict(model, changed, normalised=True)
        return own.logit.values - logits.gather(1, target[:, None])[:, 0].numpy()

    filling = masking.fillings(images, "mean")
    masks = torch.from_numpy(inside).to(images.device).unbind(1)
    drops = {"fill": [[drop(masking.apply(images, mask, "remove", filling)) for mask in masks]]}
    if s.p.faces == "procedural":
        swapped = torch.from_numpy(swapped_faces(s).pixels.values)
        drops["swap"] = [[drop(vgg.normalise(pixels)) for pixels in donor] for donor in swapped]
    rankings = ["relevance", *RIVALS]
    known = {"own": torch.from_numpy(own.relevance.values), "identities": chosen_faces(s).identity.values}
    others = [name for name in rankings if name != "area"]
    maps = relevance.rankings(s, model, images, own.target.values, others, by="signed", **known)
    maps["area"] = torch.ones_like(maps["relevance"])
    signed = [maps[name].numpy()[:, None] for name in rankings]
    received = [[(m * inside).sum((2, 3)) for m in (np.abs(each), each)] for each in signed]
    by_region = {name: np.array(values).transpose(0, 2, 1) for name, values in drops.items()}
    dims = ("changed", "image", "region")
    return xr.Dataset(
        {
            "effect": (dims, np.array([values.mean(0) for values in by_region.values()])),
            "size": (dims, np.array([np.abs(values).mean(0) for values in by_region.values()])),
            "received": (("ranking", "question", "image", "region"), np.array(received)),
        },
        coords={"changed": list(drops), "region": names, "ranking": rankings, "question": list(QUESTIONS)},
    )


def correlations(whole: xr.Dataset) -> xr.DataArray:
    """Rank correlation over regions of what they received with their effect.

    Dimensions `(question, changed, ranking, model, image)`. A rival called "fill" is the other effect: what filling the
    part says about what swapping it does. Where nothing varies over regions the correlation is 0.
    """
    effect = xr.concat([whole["size"], whole.effect], xr.Variable("question", list(QUESTIONS)))
    fill = effect.sel(changed="fill", drop=True).expand_dims(ranking=["fill"])
    received = xr.concat([whole.received, fill], "ranking")
    ranks = [
        xr.apply_ufunc(rankdata, values.transpose(..., "region"), kwargs={"axis": -1})
        for values in (received, effect)
    ]
    told = xr.corr(*ranks, "region").fillna(0)
    return told.transpose("question", "changed", "ranking", "model", "image")


def table(s: Study) -> pd.DataFrame:
    """How well maps and rivals tell the effects of regions: means over images and networks of the rank correlation.

    The networks are the first seed of each pretraining run.

    Columns: question, changed, ranking, correlation, low, high (intervals over people and seeds), ahead, ahead_low,
    ahead_high (correlation of relevance minus that of the rival, on the same images and networks), images, networks.
    """
    told, people = correlations(intervene.grid(s, s.firsts)), chosen_faces(s).identity.values
    rows = []
    for question, changed, ranking in product(told.question.values, told.changed.values, told.ranking.values):
        if ranking == changed:
            continue
        of_ranking = told.sel(question=question, changed=changed)
        values, relevance_ = (of_ranking.sel(ranking=name).values for name in (ranking, "relevance"))
        row = {"question": QUESTIONS[question], "changed": EFFECTS[changed], "ranking": ranking}
        row |= mean_row(s, values, people, "correlation", s.firsts)
        ahead = mean_row(s, relevance_ - values, people, "ahead", s.firsts).values()
        row |= dict(zip(("ahead", "ahead_low", "ahead_high"), ahead, strict=True))
        rows.append(row | {"images": values.shape[1], "networks": values.shape[0]})
    return pd.DataFrame(rows)


def effects(s: Study) -> pd.DataFrame:
    """Mean effect of every region by task: task, changed, region, size (logits)."""
    size = intervene.grid(s, s.firsts)["size"].groupby("task").mean().mean("image")
    return size.to_dataframe("size").reset_index().replace({"changed": EFFECTS})
