"""A handful of held-out faces, masked by every network's relevance under several rules, and shown to every network.

The networks are the first seed of each pretraining run: with all seeds a page would be too heavy to send.
"""

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

from analysis import masking
from study import networks, parallel, relevance, stimuli, vgg
from study.grid import Cell
from study.relevance import SEED
from study.settings import Composite, Settings
from study.steps import Study, step


class Explorer(Settings):
    """What a reader can explore."""

    explorer_faces: int = Field(6, ge=1, le=40, description="held-out faces to explore (procedural faces)")
    explorer_composites: tuple[Composite, ...] = Field(
        ("epsilon_plus", "epsilon", "epsilon_alpha2_beta1_flat"),
        min_length=1,
        description="rules to explore faces with",
    )


CHOSEN = (
    "faces",
    "explained_images",
    "explained_people",
    "explorer_faces",
)  # what decides which faces there are
WAYS = ("explorer_composites", "percents")  # and how they can be masked


def chosen(s: Study) -> xr.Dataset:
    """The faces of the explorer: `pixels (face, channel, y, x)` uint8, with `label`, `gender` and `person` on face.

    Procedural faces are held-out images, one of each of `explorer_faces` people, whose `person` is their class in
    the identity task. Photographs are never shown one by one: there, a face is one of the means of
    `relevance.examples`, of which there may be none, and `person` is -1.

    A step that calls this declares CHOSEN and needs `stimuli.faces`.
    """
    faces = stimuli.explained(s)
    if s.p.faces == "procedural":
        first = np.unique(faces.identity.values, return_index=True)[1]
        index = first[np.linspace(0, len(first) - 1, min(s.p.explorer_faces, len(first))).astype(int)]
        pixels, gender = faces.pixels.values[index], faces.gender.values[index]
        label = [f"face {number}" for number in range(1, len(index) + 1)]
        person = stimuli.labels(faces, "identity")[index]
    else:
        means = relevance.examples(s)
        label, person = [name for name, _ in means], np.full(len(means), -1)
        gender = [stimuli.kinds(faces)[index[0]] for _, index in means]
        pixels = [faces.pixels.values[index].mean(0).round() for _, index in means]
        pixels = np.array(pixels, np.uint8).reshape(-1, *faces.pixels.shape[1:])
    on_face = {"label": ("face", label), "gender": ("face", gender), "person": ("face", person)}
    return xr.Dataset({"pixels": (("face", "channel", "y", "x"), pixels)}, on_face)


@step(
    *(*CHOSEN, *WAYS, "ranking"),
    needs=[networks.finetuned, stimuli.faces],
    title="maps to explore",
    work=lambda s, cell: s.p.explorer_faces * len(s.p.explorer_composites),
)
def masks(s: Study, cell: Cell) -> xr.Dataset:
    """One network's `relevance (composite, face, y, x)` and `level` of each pixel.

    The explained class is the one that the network names. The level is the index of the smallest of `percents`
    whose mask holds the pixel, and their number where none does: masks of ascending percents are nested.
    """
    p, images, model = s.p, _inputs(s, chosen(s)), networks.network(s, cell)
    maps, levels = [], []
    for composite in p.explorer_composites:
        of_faces = relevance.dataset(model, images, None, composite).relevance.values
        scores = masking.rank(torch.from_numpy(of_faces), p.ranking)
        inside = masking.select(scores, p.percents, seed=SEED)
        maps.append(of_faces)
        levels.append((len(p.percents) - inside.sum(0)).to(torch.uint8).numpy())
    dims = ("composite", "face", "y", "x")
    return xr.Dataset(
        {"relevance": (dims, np.stack(maps), relevance.ATTRS), "level": (dims, np.stack(levels))},
        coords={"composite": list(p.explorer_composites)},
    )


@step(
    *(*CHOSEN, *WAYS, "fill"),
    needs=[masks.firsts(), networks.finetuned, stimuli.faces],
    title="decisions to explore",
    work=lambda s, cell: len(s.firsts),
)
def decisions(s: Study, cell: Cell) -> xr.Dataset:
    """What one network says of the chosen faces through every network's masks.

    `prediction` (class index) and its `probability`, `(source, composite, mode, percent, face)`; of the faces as they
    are, `whole_prediction` and `whole_probability` `(face)`.
    """
    p, images, model = s.p, _inputs(s, chosen(s)), networks.network(s, cell)
    filling, sources, said = _filling(s, images), masks_of_all(s), []
    for level in sources.level.values:
        said.append(_decide(model, _masked(images, level, len(p.percents), filling)))
        parallel.progress(1)
    coords = {
        "source": sources.source.values,
        "composite": list(p.explorer_composites),
        "mode": list(masking.MODES),
        "percent": list(p.percents),
    }
    shape = (*map(len, coords.values()), len(images))
    prediction, probability = (np.stack(values).reshape(shape) for values in zip(*said, strict=True))
    whole_prediction, whole_probability = _decide(model, images)
    return xr.Dataset(
        {
            "prediction": ((*coords, "face"), prediction),
            "probability": ((*coords, "face"), probability),
            "whole_prediction": ("face", whole_prediction),
            "whole_probability": ("face", whole_probability),
        },
        coords,
    )


def masks_of_all(s: Study) -> xr.Dataset:
    """`masks` of every network, along `source`."""
    names = [cell.name for cell in s.firsts]
    return masks.all(s, [(cell,) for cell in s.firsts], "source").assign_coords(source=names)


def explore(s: Study) -> xr.Dataset:
    """Everything the explorer shows: `chosen`, `masks` on (source, ...), `decisions` on (model, source, ...).

    `filling (face, channel, y, x)` uint8 is what masked pixels look like, `truth (model, face)` the right class or -1.
    The attribute `classes` names each task's classes; people are numbered, not named.
    """
    faces, said = chosen(s), decisions.grid(s, s.firsts)
    filling = _as_pixels(_filling(s, _inputs(s, faces)))
    known = {
        "gender": pd.Index(stimuli.GENDERS).get_indexer(faces.gender.values),
        "identity": faces.person.values,
    }
    truth = np.stack([known.get(cell.task, np.full(faces.sizes["face"], -1)) for cell in s.firsts])
    faces = faces.assign(filling=(("face", "channel", "y", "x"), filling), truth=(("model", "face"), truth))
    everyone = stimuli.faces(s)
    classes = {task: stimuli.classes(everyone, task) for task in s.p.tasks}
    classes |= {"identity": [f"person {n}" for n in range(1, len(classes.get("identity", ())) + 1)]}
    return xr.merge([faces, masks_of_all(s), said]).assign_attrs(classes=classes)


def _inputs(s: Study, faces: xr.Dataset) -> torch.Tensor:
    """Faces as networks take them, `(N, 3, H, W)` float32."""
    return vgg.normalise(torch.from_numpy(faces.pixels.values)).to(s.p.device)


def _filling(s: Study, images: torch.Tensor) -> torch.Tensor:
    """What stands in for masked pixels of the images, as network input: that of the masking experiments."""
    return masking.fillings(images, s.p.fill, seed=SEED, reference=_inputs(s, stimuli.explained(s)))


def _masked(images: torch.Tensor, levels: np.ndarray, percents: int, filling: torch.Tensor) -> torch.Tensor:
    """The images masked in every way by one network, `(composite * mode * percent * face, channel, y, x)`."""
    return torch.cat(
        [
            masking.apply(images, level <= share, mode, filling)
            for level in torch.from_numpy(levels).to(images.device)
            for mode in masking.MODES
            for share in range(percents)
        ]
    )


@torch.inference_mode()
def _decide(model: torch.nn.Module, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Class `(N,)` int64 with the highest probability, and that probability `(N,)` float32."""
    best = torch.cat([model(batch).softmax(1) for batch in vgg.portions(images)]).max(1)
    return best.indices.cpu().numpy(), best.values.cpu().numpy()


def _as_pixels(images: torch.Tensor) -> np.ndarray:
    """Network input `(N, 3, H, W)` as uint8 pixels: the inverse of `vgg.normalise`."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (vgg.MEAN, vgg.STD))
    return ((images.cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
