"""Planted evidence: networks trained on faces whose class only chosen parts carry, and maps scored against the truth.

A *set* such as "brows+jaw" names those parts. Its faces differ between two classes in the factors of these parts and in
nothing else; every face is rendered three times: as it is, with the planted factors moved to the other class, and with
them moved half way, which removes the cue. The truth is what the first move changes.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import torch
import xarray as xr
from pydantic import Field, field_validator

import faces as drawn
from analysis import attribution
from analysis import evidence as ground_truth
from study import networks, relevance, training, vgg
from study.settings import Explainer, Settings, once
from study.steps import Study, step

SHOWN = {"original": "unchanged", "removed": "cue removed", "changed": "cue of the other class"}
PEOPLE_APART = 2_000_003  # added to the seed: people of these sets are nobody in the study

Part = Literal["skin", "jaw", "brows", "eyes", "nose", "mouth", "hair"]
Method = Literal[Explainer, "random", "blobs", "centre", "other_image", "average", "edges", "random_weights"]


class Evidence(Settings):
    """Which evidence is planted, and what is scored on it."""

    evidence: tuple[str, ...] = Field(
        ("brows+jaw",),
        min_length=1,
        description="planted evidence: sets of faces whose class only these parts carry, joined by '+'",
    )
    evidence_methods: tuple[Method, ...] = Field(
        get_args(Method),
        min_length=2,
        description="attribution methods and controls scored on planted evidence",
    )
    evidence_seeds: int = Field(
        3, ge=2, le=50, description="networks trained on each set of planted evidence"
    )
    evidence_people: int = Field(
        1500, ge=20, le=100000, description="people in the training half of such a set"
    )
    evidence_samples: int = Field(4500, ge=64, description="images shown while training on such a set")
    evidence_shift: float = Field(
        4.0,
        gt=0,
        le=10,
        description="how far the classes differ in planted evidence, times natural differences",
    )
    evidence_images: int = Field(
        120, ge=8, le=100000, description="held-out images scored in such a set, 2 a person"
    )

    @field_validator("evidence")
    @classmethod
    def _parts_of_a_face(cls, sets: tuple[str, ...]) -> tuple[str, ...]:
        for name in sets:
            parts = name.split("+")
            if unknown := set(parts) - set(get_args(Part)):
                raise ValueError(f"{name!r} names no part of a face: {sorted(unknown)}")
            if len(set(parts)) < len(parts) or len({frozenset(s.split("+")) for s in sets}) < len(sets):
                raise ValueError(f"{name!r}: each part, and each set, once")
        return sets

    @field_validator("evidence_methods")
    @classmethod
    def _composite_among_them(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not set(names) & set(attribution.COMPOSITES):
            raise ValueError("name at least one composite of LRP")
        return once(names)


@dataclass(frozen=True)
class Net:
    """One network: the set it learned, its seed, and the pretraining and its run that it started from."""

    evidence: str
    seed: int
    pretraining: str
    run: int


def nets(p: Any) -> list[Net]:
    """All networks, from the study's first pretraining; sets side by side, so that workers need different faces."""
    pretraining = next(iter(p.pretrainings))
    return [
        Net(evidence, seed, pretraining, p.first_seed + seed % p.pretraining_runs)
        for seed, evidence in product(range(p.evidence_seeds), p.evidence)
    ]


# ------------------------------------------------------------ faces


@step(
    *("image_size", "stimulus_seed", "evidence_shift", "evidence_people"),
    title="faces with planted evidence",
)
def training_faces(s: Study, evidence: str) -> xr.Dataset:
    """`pixels (image, channel, y, x)` uint8, one image of each person, with `label` (0, 1) and `split` ("train")."""
    faces = _faces(s.p, evidence, 0, s.p.evidence_people, 1)[["pixels"]]
    return faces.assign_coords(split=("image", ["train"] * faces.sizes["image"]))


@step(
    *("image_size", "stimulus_seed", "evidence_shift", "evidence_people", "evidence_images"),
    title="held-out faces with planted evidence",
)
def held_out_faces(s: Study, evidence: str) -> xr.Dataset:
    """Other people, two images each: `pixels (shown, image, channel, y, x)` uint8, `label`, `truth`.

    `truth (image, y, x)` float32, grey levels, is the change to the other class. The people and views are the same
    whatever the evidence.
    """
    p = s.p
    faces = _faces(p, evidence, p.evidence_people, -(-p.evidence_images // 2), 2)
    faces = faces.isel(image=slice(p.evidence_images))
    # mean of class 1 minus mean of class 0: 0 for every factor that is not planted
    difference = [p.evidence_shift * f.shift * (f.part in evidence.split("+")) for f in drawn.FACTORS]
    move = np.array(difference) * np.where(faces.label.values == 1, -1, 1)[:, None]
    pixels, options = [faces.pixels.values], (faces["views"].values, p.image_size, faces.attrs["seed"])
    for amount in (0.5, 1.0):
        picture = drawn.render(faces.factors.values + np.float32(amount * move), *options)
        pixels.append(picture.pixels.numpy())
    truth = ground_truth.change(pixels[0], pixels[2]).astype(np.float32)
    return xr.Dataset(
        {
            "pixels": (("shown", "image", "channel", "y", "x"), np.stack(pixels)),
            "truth": (("image", "y", "x"), truth, {"units": "grey levels, summed over channels"}),
            "label": ("image", faces.label.values),
        },
        coords={"shown": list(SHOWN), "identity": ("image", faces.identity.values)},
    )


def _faces(p: Any, evidence: str, first: int, people: int, views: int) -> xr.Dataset:
    options = {"first_identity": first, "evidence": evidence.split("+"), "shift": p.evidence_shift}
    faces = drawn.make_faces(people, views, p.image_size, p.stimulus_seed + PEOPLE_APART, **options)
    return faces.assign_coords(label=("image", (faces.gender.values == "male").astype(np.int64)))


# ------------------------------------------------------------ networks, their maps and the maps' scores


@step(
    *("evidence_samples", "finetuning_rate", *networks.RECIPE),
    needs=[
        networks.pretrained.of(lambda s, net: [(net.pretraining, net.run)]),
        training_faces.of(lambda s, net: [(net.evidence,)]),
    ],
    title="networks on planted evidence",
    work=lambda s, net: s.p.evidence_samples,
)
def network(s: Study, net: Net) -> vgg.VGG16:
    """A pretrained network finetuned on a set, ready to explain: batch norm merged, evaluation mode."""
    p, faces = s.p, training_faces(s, net.evidence)
    model = vgg.new_classifier(networks.pretrained(s, net.pretraining, net.run)["model"], 2, net.seed)
    trained = networks.train(
        p, model, faces, faces.label.values, p.evidence_samples, p.finetuning_rate, "all", net.seed
    )
    return vgg.merge_batch_norm(trained["model"])


def kind(method: str) -> str:
    """Kind of a method: "LRP", "other method" or "control"."""
    if method in attribution.COMPOSITES:
        return "LRP"
    return "other method" if method in attribution.METHODS else "control"


def maps(s: Study, model: vgg.VGG16, faces: xr.Dataset, methods: tuple[str, ...]) -> xr.DataArray:
    """Maps `(method, image, y, x)` of held-out faces for their true class, each of at least 0.

    Gradients, whose sign is no vote, are read by their magnitude and all others by their positive part. Controls that
    are made from a map are made from that of the parameter `composite`.
    """
    images = vgg.normalise(torch.from_numpy(faces.pixels.sel(shown="original").values))
    known = {"identities": faces.identity.values}
    images, labels = images.to(s.p.device), faces.label.values
    scores = relevance.rankings(s, model, images, labels, methods, by="positive", **known)
    positive = np.array([scores[name].clamp(min=0).numpy() for name in methods])  # "blobs" has others
    return xr.DataArray(positive, {"method": list(methods)}, ("method", "image", "y", "x"))


@step(
    *("evidence_methods", "composite"),
    needs=[network, held_out_faces.of(lambda s, net: [(net.evidence,)])],
    title="planted evidence",
    work=lambda s, net: s.p.evidence_images * len(s.p.evidence_methods),
)
def score(s: Study, net: Net) -> xr.Dataset:
    """One network's `score (method, metric, image)`, and `correct (shown, image)`.

    Scores are NaN for images that the network gets wrong and for those in which the cue does not show.
    """
    model, methods = network(s, net).to(s.p.device), s.p.evidence_methods
    faces = held_out_faces(s, net.evidence).load()
    predicted = [training.predict(model, torch.from_numpy(x)).argmax(1).numpy() for x in faces.pixels.values]
    correct = np.array(predicted) == faces.label.values
    truth = faces.truth.values
    usable = correct[0] & truth.any((1, 2))
    values = np.full((len(methods), len(ground_truth.METRICS), len(usable)), np.nan)
    if usable.any():
        for row, of_method in zip(values, maps(s, model, faces, methods).values, strict=True):
            row[:, usable] = list(ground_truth.scores(of_method[usable], truth[usable]).values())
    return xr.Dataset(
        {"score": (("method", "metric", "image"), values), "correct": (("shown", "image"), correct)},
        coords={
            "method": list(methods),
            "metric": list(ground_truth.METRICS),
            "shown": list(SHOWN),
            "identity": ("image", faces.identity.values),
        },
    )


def scores(s: Study) -> xr.Dataset:
    """`score` of every network, with `evidence` and `seed` on `network`."""
    every = nets(s.p)
    coords = {name: ("network", [getattr(net, name) for net in every]) for name in ("evidence", "seed")}
    return score.all(s, product(every), "network").assign_coords(coords)


def examples(s: Study, methods: tuple[str, ...], count: int = 3) -> tuple[xr.Dataset, xr.DataArray]:
    """Held-out faces of the first set that its first network gets right, and their maps `(method, image, y, x)`."""
    net = nets(s.p)[0]
    faces = held_out_faces(s, net.evidence).load()
    right = score(s, net).correct.sel(shown="original").values & faces.truth.values.any((1, 2))
    chosen = np.flatnonzero(right)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int)]
    shown = maps(s, network(s, net).to(s.p.device), faces, methods)
    return faces.isel(image=chosen), shown.isel(image=chosen)
