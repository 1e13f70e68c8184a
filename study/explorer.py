"""A handful of held-out faces, masked by every network's relevance under several rules, and shown to every network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import xarray as xr

from analysis import masking
from study import maps, networks, parallel, stimuli, vgg
from study.grid import Cell
from study.parameters import Parameters
from study.store import Store

CODE = ("analysis.lrp", "analysis.masking", "study.explorer", "study.maps")
MEAN_OF = 8  # people in the mean face that stands for photographs, at least


def chosen(p: Parameters, store: Store) -> xr.Dataset:
    """The faces of the explorer: `pixels (face, channel, y, x)` uint8, with `label`, `gender` and `person` on face.

    Procedural faces are held-out images, one of each of `explorer_faces` people, whose `person` is their class in
    the identity task. Photographs are never shown one by one: there, a face is the mean of the explained images of
    many people of one (annotated) gender, and `person` is -1.
    A mean of fewer than `MEAN_OF` people could show who they are, and is left out, so there may be no face at all.
    """
    faces = stimuli.faces(p, store)
    faces = faces.isel(image=stimuli.explained(p, faces))
    first = np.unique(faces.identity.values, return_index=True)[1]
    if p.faces == "procedural":
        index = first[np.linspace(0, len(first) - 1, min(p.explorer_faces, len(first))).astype(int)]
        pixels, gender = faces.pixels.values[index], faces.gender.values[index]
        person = (
            stimuli.labels(faces, "identity")[index] if "identity" in p.tasks else np.full(len(index), -1)
        )
        label = [f"face {number}" for number in range(1, len(index) + 1)]
    else:
        pixels, gender, label = _mean_faces(faces)
        person = np.full(len(pixels), -1)
    on_face = {"label": label, "gender": gender, "person": person}
    return xr.Dataset({"pixels": (("face", "channel", "y", "x"), pixels)}).assign_coords(
        {name: ("face", values) for name, values in on_face.items()}
    )


def _mean_faces(faces: xr.Dataset) -> tuple[np.ndarray, list[str], list[str]]:
    pixels, labels, genders = [], [], []
    for gender in sorted(set(faces.gender.values)):
        ours = faces.isel(image=np.flatnonzero(faces.gender.values == gender))
        people = len(set(ours.identity.values))
        if people >= MEAN_OF:
            pixels.append(ours.pixels.values.mean(0).round().astype(np.uint8))
            labels.append(f"mean of {people} people ({gender})")
            genders.append(gender)
    return np.stack(pixels) if pixels else faces.pixels.values[:0], genders, labels


def inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a network's maps and masks of the chosen faces depend on."""
    names = (
        "explorer_faces",
        "explorer_composites",
        "explained_images",
        "ranking",
        "percents",
        "stimulus_seed",
    )
    return p.inputs(*names) | {
        "network": store.key("network", networks.network_inputs(p, store, cell), networks.CODE)
    }


def masks(p: Parameters, store: Store, cell: Cell) -> xr.Dataset:
    """One network's `relevance (composite, face, y, x)` and `level` of each pixel.

    The explained class is the one that the network names. The level is the index of the smallest of `percents`
    whose mask holds the pixel, and their number where none does: masks of ascending percents are nested.
    """

    def make() -> xr.Dataset:
        images = vgg.normalise(torch.from_numpy(chosen(p, store).pixels.values)).to(p.device)
        model = networks.load(p, store, cell)
        relevance, level = [], []
        for composite in p.explorer_composites:
            found = maps.relevance_of(model, images, None, p.model_copy(update={"composite": composite}))
            scores = masking.rank(torch.from_numpy(found.relevance.values), p.ranking)
            inside = masking.select(scores, p.percents, seed=maps.SEED)
            relevance.append(found.relevance.values)
            level.append((len(p.percents) - inside.sum(0)).to(torch.uint8).numpy())
            parallel.progress(len(images))
        dims = ("composite", "face", "y", "x")
        return xr.Dataset(
            {
                "relevance": (dims, np.stack(relevance), maps.RELEVANCE_ATTRS),
                "level": (dims, np.stack(level)),
            },
            coords={"composite": list(p.explorer_composites)},
        )

    return store.dataset("explorer_masks", inputs(p, store, cell), CODE, make)


def fillings(p: Parameters, store: Store) -> torch.Tensor:
    """What stands in for masked pixels of the chosen faces: `(face, channel, y, x)`, as network input."""
    reference, _ = maps.explained_images(p, store, p.tasks[0])
    images = vgg.normalise(torch.from_numpy(chosen(p, store).pixels.values)).to(p.device)
    return masking.fillings(images, p.fill, seed=maps.SEED, reference=reference)


def decisions(p: Parameters, store: Store, cell: Cell, grid: list[Cell], levels: np.ndarray) -> xr.Dataset:
    """What one network says of the chosen faces through every network's masks, whose `levels` are on (source, ...).

    `prediction` (class index) and its `probability`, `(source, composite, mode, percent, face)`; of the faces as they
    are, `whole_prediction` and `whole_probability` `(face)`.
    """

    def make() -> xr.Dataset:
        images = vgg.normalise(torch.from_numpy(chosen(p, store).pixels.values)).to(p.device)
        filling, model = fillings(p, store), networks.load(p, store, cell)
        found = [_decide(model, _masked(p, images, level, filling)) for level in levels]
        parallel.progress(len(grid))
        shape = (len(grid), len(p.explorer_composites), len(masking.MODES), len(p.percents), len(images))
        dims = ("source", "composite", "mode", "percent", "face")
        whole = _decide(model, images)
        return xr.Dataset(
            {
                "prediction": (dims, torch.cat([names for names, _ in found]).reshape(shape).numpy()),
                "probability": (dims, torch.cat([sure for _, sure in found]).reshape(shape).numpy()),
                "whole_prediction": ("face", whole[0].numpy()),
                "whole_probability": ("face", whole[1].numpy()),
            },
            coords={
                "source": [source.name for source in grid],
                "composite": list(p.explorer_composites),
                "mode": list(masking.MODES),
                "percent": list(p.percents),
            },
        )

    return store.dataset("explorer_decisions", decisions_inputs(p, store, cell, grid), CODE, make)


def decisions_inputs(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> dict:
    """What a network's decisions depend on."""
    sources = [inputs(p, store, source) for source in grid]
    return p.inputs("fill") | {"target": inputs(p, store, cell), "sources": sources}


def explore(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Everything the explorer shows: `chosen`, `masks` on (source, ...), `decisions` on (model, source, ...).

    `filling (face, channel, y, x)` uint8 is what masked pixels look like, `truth (model, face)` the right class or -1.
    The attribute `classes` names each task's classes; people are numbered, not named.
    """
    networks.train_all(p, store, grid)
    faces = chosen(p, store)
    todo = [c for c in grid if not store.has("explorer_masks", inputs(p, store, c), CODE)]
    sizes = [faces.sizes["face"] * len(p.explorer_composites)] * len(todo)
    parallel.each(masks, [(p, store, c) for c in todo], sizes, "maps to explore", p.workers, p.threads)
    names = [cell.name for cell in grid]
    made = xr.concat([masks(p, store, c).load().drop_attrs() for c in grid], xr.Variable("source", names))
    levels = made.level.values
    todo = [c for c in grid if not store.has("explorer_decisions", decisions_inputs(p, store, c, grid), CODE)]
    jobs = [(p, store, c, grid, levels) for c in todo]
    parallel.each(decisions, jobs, [len(grid)] * len(todo), "decisions to explore", p.workers, p.threads)
    said = [decisions(p, store, c, grid, levels).load().drop_attrs() for c in grid]
    filling = (("face", "channel", "y", "x"), _as_pixels(fillings(p, store)))
    said = xr.concat(said, xr.Variable("model", names)).assign_coords(task=("model", [c.task for c in grid]))
    gender = pd.Index(stimuli.GENDERS).get_indexer(faces.gender.values)
    truth = np.stack([gender if cell.task == "gender" else faces.person.values for cell in grid])
    people = int(said.prediction.max()) + 1
    classes = {"gender": list(stimuli.GENDERS), "identity": [f"person {n}" for n in range(1, people + 1)]}
    faces = faces.assign(filling=filling, truth=(("model", "face"), truth))
    return xr.merge([faces, made, said]).assign_attrs(classes=classes)


def _masked(p: Parameters, images: torch.Tensor, levels: np.ndarray, filling: torch.Tensor) -> torch.Tensor:
    """The images masked in every way by one network, `(composite * mode * percent * face, channel, y, x)`."""
    level = torch.from_numpy(levels).to(images.device)
    return torch.cat(
        [
            masking.apply(images, each <= share, mode, filling)
            for each in level
            for mode in masking.MODES
            for share in range(len(p.percents))
        ]
    )


@torch.inference_mode()
def _decide(model: torch.nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Class `(N,)` int64 with the highest probability, and that probability `(N,)` float32."""
    best = [model(batch).softmax(1).max(1) for batch in images.split(256)]
    return torch.cat([b.indices for b in best]).cpu(), torch.cat([b.values for b in best]).cpu()


def _as_pixels(images: torch.Tensor) -> np.ndarray:
    """Network input `(N, 3, H, W)` as uint8 pixels: the inverse of `vgg.normalise`."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (vgg.MEAN, vgg.STD))
    return ((images.cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
