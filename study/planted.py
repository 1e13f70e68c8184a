"""Planted evidence: networks trained on faces whose class only chosen parts carry, and maps scored against the truth.

A *set* such as "brows+jaw" names those parts. Its faces differ between two classes in the factors of these parts and in
nothing else; every face is rendered three times: as it is, with the planted factors moved to the other class, and with
them moved half way, which removes the cue. The truth is what the first move changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import xarray as xr

import faces as stimuli
from analysis import attribution as baselines
from analysis import evidence as ground_truth
from analysis import masking
from study import maps, networks, parallel, training, vgg, weights
from study.parameters import Composite, Parameters
from study.store import Store

COMPOSITES = get_args(Composite)
READINGS = ("positive", "absolute")
SHOWN = {"original": "unchanged", "removed": "cue removed", "changed": "cue of the other class"}
PEOPLE_APART = 2_000_003  # added to the seed: people of these sets are nobody in the study
TRAIN = ("study.vgg", "study.weights", "study.training", "study.networks", "study.planted")
SCORE = ("analysis.evidence", "analysis.lrp", "analysis.masking", *TRAIN)


@dataclass(frozen=True, order=True)
class Planted:
    """One network: the set it learned and its seed."""

    evidence: str
    seed: int


def grid(p: Parameters) -> list[Planted]:
    """All networks, sets side by side, so that workers do not wait for each other's faces."""
    return [Planted(evidence, seed) for seed, evidence in product(range(p.evidence_seeds), p.evidence)]


# ------------------------------------------------------------ faces


def training_faces(p: Parameters, store: Store, evidence: str) -> xr.Dataset:
    """`pixels (image, channel, y, x)` uint8 and `label` (0, 1), one image of each person."""
    inputs = _face_inputs(p, evidence) | p.inputs("evidence_people")
    code = ("faces", "study.planted")

    def make() -> xr.Dataset:
        made = _faces(p, evidence, 0, p.evidence_people, 1)
        return made[["pixels"]].assign(label=("image", _labels(made)))

    return store.dataset("evidence_training", inputs, code, make).load()


def held_out_faces(p: Parameters, store: Store, evidence: str) -> xr.Dataset:
    """Other people, two images each: `pixels (shown, image, channel, y, x)` uint8, `label`, `parts`, `truth`.

    `truth (image, y, x)` float32, grey levels, is the change to the other class. The people and views are the same
    whatever the evidence.
    """
    inputs = _face_inputs(p, evidence) | p.inputs("evidence_people", "evidence_images")

    def make() -> xr.Dataset:
        people = -(-p.evidence_images // 2)
        made = _faces(p, evidence, p.evidence_people, people, 2).isel(image=slice(p.evidence_images))
        label = _labels(made)
        step = _difference(p, evidence) * np.where(label == 1, -1, 1)[:, None]
        pixels = [made.pixels.values]
        for amount in (0.5, 1.0):
            table = made.factors.values + np.float32(amount * step)
            picture = stimuli.render(table, made["views"].values, p.image_size, made.attrs["seed"])
            pixels.append(picture.pixels.numpy())
        truth = ground_truth.change(pixels[0], pixels[2]).astype(np.float32)
        return xr.Dataset(
            {
                "pixels": (("shown", "image", "channel", "y", "x"), np.stack(pixels)),
                "truth": (("image", "y", "x"), truth, {"units": "grey levels, summed over channels"}),
                "parts": (("image", "y", "x"), made.parts.values),
                "label": ("image", label),
            },
            coords={"shown": list(SHOWN), "identity": ("image", made.identity.values)},
        )

    return store.dataset(
        "evidence_held_out", inputs, ("analysis.evidence", "faces", "study.planted"), make
    ).load()


def part_mask(faces: xr.Dataset, evidence: str) -> np.ndarray:
    """Pixels `(image, y, x)` bool that show a planted part."""
    names = list(stimuli.procedural.PARTS)
    return np.isin(faces.parts.values, [names.index(part) for part in evidence.split("+")])


def _face_inputs(p: Parameters, evidence: str) -> dict:
    return p.inputs("image_size", "stimulus_seed", "evidence_shift") | {"evidence": evidence}


def _faces(p: Parameters, evidence: str, first: int, people: int, views: int) -> xr.Dataset:
    return stimuli.make_faces(
        people,
        views,
        p.image_size,
        p.stimulus_seed + PEOPLE_APART,
        first_identity=first,
        evidence=evidence.split("+"),
        shift=p.evidence_shift,
    )


def _labels(faces: xr.Dataset) -> np.ndarray:
    return (faces.gender.values == "male").astype(np.int64)


def _difference(p: Parameters, evidence: str) -> np.ndarray:
    """Mean of class 1 minus mean of class 0, `(factor,)`: 0 for every factor that is not planted."""
    planted = evidence.split("+")
    return np.array([p.evidence_shift * f.shift if f.part in planted else 0.0 for f in stimuli.FACTORS])


# ------------------------------------------------------------ networks


def start(p: Parameters, seed: int) -> tuple[str, int]:
    """The pretraining that a network starts from, and its run: the study's first one."""
    return next(iter(p.pretrainings)), seed % p.pretraining_runs


def network_inputs(p: Parameters, store: Store, cell: Planted) -> dict:
    """What a network depends on."""
    names = ("finetuning_rate", "weight_decay", "batch_size", "bfloat16", "threads", "device")
    more = ("evidence_people", "evidence_samples")
    inputs = networks.pretraining_inputs(p, store, *start(p, cell.seed))
    before = {"pretrained": store.key("pretrained", inputs, networks.CODE), "seed": cell.seed}
    return p.inputs(*names, *more) | _face_inputs(p, cell.evidence) | before


def network(p: Parameters, store: Store, cell: Planted) -> torch.nn.Module:
    """A pretrained network finetuned on a set, ready to explain: batch norm merged, evaluation mode."""

    def make(folder: Path) -> None:
        faces = training_faces(p, store, cell.evidence)
        pretrained = weights.load(networks.pretrain(p, store, *start(p, cell.seed)) / networks.WEIGHTS)
        model = vgg.new_head(pretrained, 2, cell.seed).to(p.device)
        epochs = max(1, round(p.evidence_samples / faces.sizes["image"]))
        training.fit(
            model,
            torch.from_numpy(faces.pixels.values),
            torch.from_numpy(faces.label.values),
            epochs=epochs,
            batch_size=min(p.batch_size, faces.sizes["image"]),
            learning_rate=p.finetuning_rate,
            weight_decay=p.weight_decay,
            seed=cell.seed,
            bfloat16=p.bfloat16,
            progress=False,
            on_epoch=lambda: parallel.progress(p.evidence_samples / epochs),
        )
        weights.save(model.cpu(), folder / networks.WEIGHTS)

    folder = store.folder("evidence_network", network_inputs(p, store, cell), TRAIN, make)
    return vgg.merge_batch_norm(weights.load(folder / networks.WEIGHTS)).to(p.device)


# ------------------------------------------------------------ maps and their scores


def kind(method: str) -> str:
    """Kind of a method: "LRP", "other method" or "control"."""
    return "LRP" if method in COMPOSITES else "other method" if method in baselines.METHODS else "control"


def read_maps(
    p: Parameters, model: torch.nn.Module, faces: xr.Dataset, methods: tuple[str, ...]
) -> xr.DataArray:
    """Maps `(method, reading, image, y, x)` of held-out faces for their true class, each of at least 0.

    Controls that are made from a map ("other_image", "average", "blobs", "random_weights") are made from that of the
    composite in `p`, under each reading. Other controls have no sign: both readings are the same.
    """
    images = vgg.normalise(torch.from_numpy(faces.pixels.sel(shown="original").values)).to(p.device)
    targets = torch.from_numpy(faces.label.values).to(p.device)
    own = maps.attribute(p, model, images, targets, p.composite)
    found = []
    for method in methods:
        if kind(method) == "control" and method != "random_weights":
            both = [_control(method, masking.rank(own, by), images, faces) for by in READINGS]
        else:
            if method == p.composite:
                relevance = own
            elif method == "random_weights":
                relevance = maps.attribute(p, vgg.randomise(model, maps.SEED), images, targets, p.composite)
            else:
                relevance = maps.attribute(p, model, images, targets, method)
            both = [masking.rank(relevance, by) for by in READINGS]
        found.append(torch.stack(both))
        parallel.progress(faces.sizes["image"])
    coords = {"method": list(methods), "reading": list(READINGS)}
    return xr.DataArray(torch.stack(found).numpy(), coords, ("method", "reading", "image", "y", "x"))


def _control(name: str, scores: torch.Tensor, images: torch.Tensor, faces: xr.Dataset) -> torch.Tensor:
    identities = list(faces.identity.values)
    found = masking.controls(name, scores, seed=maps.SEED, images=images.cpu(), identities=identities)
    # Only "centre" and "blobs" have negative values; the first falls to 0 in the corners, the second is cut at 0.
    return found - found.amin((1, 2), keepdim=True) if name == "centre" else found.clamp(min=0)


def score_inputs(p: Parameters, store: Store, cell: Planted) -> dict:
    """What a network's scores depend on."""
    return network_inputs(p, store, cell) | p.inputs("evidence_images", "evidence_methods", "composite")


def score(p: Parameters, store: Store, cell: Planted) -> xr.Dataset:
    """One network's `score (truth, reading, method, metric, image)`, and `correct (shown, image)`.

    Scores are NaN for images that the network gets wrong and for those in which the cue does not show.
    """

    def make() -> xr.Dataset:
        model, faces = network(p, store, cell), held_out_faces(p, store, cell.evidence)
        correct = np.stack(
            [
                (training.predict(model, torch.from_numpy(pixels)).argmax(1).numpy() == faces.label.values)
                for pixels in faces.pixels.values
            ]
        )
        found = read_maps(p, model, faces, p.evidence_methods)
        truths = {"change": faces.truth.values, "part": part_mask(faces, cell.evidence).astype(float)}
        values = np.full((2, *found.shape[1::-1], len(ground_truth.METRICS), faces.sizes["image"]), np.nan)
        usable = correct[0] & np.all([truth.any((1, 2)) for truth in truths.values()], axis=0)
        for t, truth in enumerate(truths.values()):
            for m, r in product(range(len(found)), range(len(READINGS))):
                if usable.any():
                    got = ground_truth.scores(found.values[m, r][usable], truth[usable])
                    values[t, r, m][:, usable] = list(got.values())
        return xr.Dataset(
            {
                "score": (("truth", "reading", "method", "metric", "image"), values),
                "correct": (("shown", "image"), correct),
            },
            coords={
                "truth": list(truths),
                "reading": list(READINGS),
                "method": list(p.evidence_methods),
                "metric": list(ground_truth.METRICS),
                "shown": list(SHOWN),
                "identity": ("image", faces.identity.values),
            },
        )

    return store.dataset("evidence_scores", score_inputs(p, store, cell), SCORE, make)


def score_all(p: Parameters, store: Store) -> xr.Dataset:
    """Scores of every network, with `evidence` and `seed` on `network`; made in parallel where missing."""
    cells = grid(p)
    runs = sorted({start(p, cell.seed) for cell in cells})
    todo = [
        r
        for r in runs
        if not store.has("pretrained", networks.pretraining_inputs(p, store, *r), networks.CODE)
    ]
    sizes = [networks.pretraining_size(p, label) for label, _ in todo]
    parallel.each(
        networks.pretrain, [(p, store, *r) for r in todo], sizes, "pretraining networks", p.workers, p.threads
    )
    todo = [cell for cell in cells if not store.has("evidence_scores", score_inputs(p, store, cell), SCORE)]
    work = p.evidence_samples + p.evidence_images * len(p.evidence_methods)
    jobs = [(p, store, cell) for cell in todo]
    parallel.each(score, jobs, [work] * len(todo), "planted evidence", p.workers, p.threads)
    whole = xr.concat([score(p, store, cell).load().drop_attrs() for cell in cells], "network")
    coords = {name: ("network", [getattr(cell, name) for cell in cells]) for name in ("evidence", "seed")}
    return whole.assign_coords(coords)


def examples(study, methods: tuple[str, ...], count: int = 3) -> tuple[xr.Dataset, xr.DataArray]:
    """Held-out faces of the first set that its first network gets right, and their maps `(method, image, y, x)`."""
    p, cell = study.parameters, grid(study.parameters)[0]
    faces, found = held_out_faces(p, study.store, cell.evidence), score(p, study.store, cell)
    right = np.flatnonzero(found.correct.sel(shown="original").values & faces.truth.values.any((1, 2)))
    chosen = right[np.linspace(0, len(right) - 1, min(count, len(right))).astype(int)]
    relevance = read_maps(p, network(p, study.store, cell), faces, methods).sel(reading="positive")
    return faces.isel(image=chosen), relevance.isel(image=chosen)
