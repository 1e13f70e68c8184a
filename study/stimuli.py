"""The images of a study: which there are, and who is trained, validated, tested and explained on them.

People of the *identity* task and people of the *gender* task are different people, so that gender networks are
tested and explained on people they never saw, and every network is explained on the same held-out images.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

import faces as drawn
from study import ratings, vgg
from study.settings import ParameterError, Settings, Share, source
from study.steps import Study, step

GENDERS = ("female", "male")
EXPLAINED = ("explained_images", "explained_people")  # what decides which images are explained
PRETRAINING_SEED_OFFSET = 1_000_003  # people of the pretraining set are nobody in the study


class Stimuli(Settings):
    """Which images there are, and who is held out."""

    faces: str = source(
        "procedural", description="'procedural', or a folder under `data` with one folder per identity"
    )
    gender_table: str | None = source(None, description="CSV under `data`: identity,file,gender")
    image_size: int = Field(64, ge=32, le=224, description="side of the network's input, pixels")
    crop: int | None = Field(
        None, ge=16, description="central square of a photograph that is used, source pixels"
    )
    identities: int = Field(30, ge=2, le=2000, description="people in the identity task (procedural faces)")
    views: int = Field(30, ge=6, le=500, description="images of each of them (procedural faces)")
    gender_people: int = Field(
        300, ge=10, le=20000, description="other people, for the gender task (procedural)"
    )
    gender_views: int = Field(4, ge=1, le=100, description="images of each of those (procedural faces)")
    minimum_images: int = Field(
        20, ge=4, description="images a person needs for the identity task (photographs)"
    )
    maximum_images: int = Field(25, ge=4, description="images used of one person at most (photographs)")
    stimulus_seed: int = Field(0, ge=0, description="seed of procedural stimuli and of the splits")
    validation_share: Share = Field(
        0.15, description="share of images (identity) or people (gender) to validate"
    )
    test_share: Share = Field(0.25, description="share of images (identity) or people (gender) to test")
    pretraining_classes: int = Field(40, ge=2, description="people in procedural face pretraining")
    pretraining_views: int = Field(80, ge=4, description="images per class in procedural pretraining")
    explained_images: int = Field(120, ge=4, le=100000, description="held-out images explained, at most")
    explained_people: Literal["known", "new"] = Field(
        "known",
        description="people on the explained images: those of the identity task, or people whom no network saw",
    )


@step(
    *("faces", "image_size", "stimulus_seed", "validation_share", "test_share"),
    *("identities", "views", "gender_people", "gender_views"),
    *("gender_table", "crop", "minimum_images", "maximum_images", "ratings_names"),
    title="faces",
    keep=True,
)
def faces(s: Study) -> xr.Dataset:
    """All face images of the study.

    Returns:
        The stimulus dataset (`pixels (image, channel, y, x)` uint8; procedural faces also `parts`, `factors`,
        `views`, `landmarks`) with coordinates on `image`: identity, gender, name, `group` ("identity",
        "gender", or "rated": photographs of rated people who have too few images to be trained on) and `split`
        ("train", "validation", "test").
    """
    return _split(_procedural(s.p) if s.p.faces == "procedural" else _photographs(s.p), s.p)


@step(
    *("pretrainings[pretraining]", "image_size", "stimulus_seed", "pretraining_classes", "pretraining_views"),
    title="pretraining images",
    keep=True,
)
def pretraining_set(s: Study, pretraining: str) -> xr.Dataset:
    """Images to pretrain on, with `split` "train" or "validation"; the class is the coordinate `identity`."""
    p = s.p
    name = p.pretrainings[pretraining]
    match name:
        case "procedural:faces":
            seed = p.stimulus_seed + PRETRAINING_SEED_OFFSET
            dataset = drawn.make_faces(p.pretraining_classes, p.pretraining_views, p.image_size, seed)
        case "procedural:objects":
            dataset = drawn.make_objects(p.pretraining_views, p.image_size, p.stimulus_seed)
        case _ if name.startswith("procedural:"):
            raise ParameterError(
                f"pretrainings: {name!r}: procedural sets are procedural:objects, procedural:faces"
            )
        case _:
            dataset = drawn.read_folder(p.path(name), p.image_size)
    dataset = dataset[["pixels"]]
    rng = np.random.default_rng(p.stimulus_seed)
    split = _split_within(dataset.identity.values, {"validation": 0.1}, rng)
    return dataset.assign_coords(split=("image", split))


def explained(s: Study) -> xr.Dataset:
    """The faces that every network is explained on: `faces` at the indices of `explained_index`.

    A step that calls this declares EXPLAINED and needs `faces`.
    """
    dataset = faces(s)
    return dataset.isel(image=explained_index(s, dataset))


def explained_index(s: Study, dataset: xr.Dataset) -> np.ndarray:
    """Indices (int64) of the images every network is explained on.

    They are test images of the identity task, or of the gender task, whose test people no network ever saw; spread
    evenly over people, at most `explained_images`.
    """
    group = {"known": "identity", "new": "gender"}[s.p.explained_people]
    held_out = np.flatnonzero((dataset.group.values == group) & (dataset.split.values == "test"))
    turn = pd.Series(dataset.identity.values[held_out]).groupby(dataset.identity.values[held_out]).cumcount()
    order = np.argsort(turn.to_numpy(), kind="stable")
    return np.sort(held_out[order[: s.p.explained_images]])


def explained_inputs(s: Study, task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The explained images as networks take them, `(N, 3, H, W)` float32, and their true classes `(N,)` int64.

    The class is -1 where new people are shown to a network of the identity task, which has none for them.
    """
    dataset = faces(s)
    index = explained_index(s, dataset)
    images = vgg.normalise(torch.from_numpy(dataset.pixels.values[index]))
    return images.to(s.p.device), torch.from_numpy(labels(dataset, task)[index]).to(s.p.device)


def people(s: Study) -> np.ndarray:
    """Who is on the explained images, `(N,)` of str."""
    return explained(s).identity.values


def classes(dataset: xr.Dataset, task: str) -> list[str]:
    """Class names of a task, in the order of the network's outputs."""
    if task == "gender":
        return list(GENDERS)
    return sorted(set(dataset.identity.values[dataset.group.values == "identity"]))


def labels(dataset: xr.Dataset, task: str) -> np.ndarray:
    """Class index of every image (int64); -1 for people who are no class of the identity task."""
    names = dataset.gender.values if task == "gender" else dataset.identity.values
    return pd.Index(classes(dataset, task)).get_indexer(names).astype(np.int64)


def rated_names(p: Any) -> list[str] | None:
    """Identities that human raters compared and that may be in the photographs; None where simulated."""
    if p.ratings_names is None:
        return None
    return sorted(set(ratings.read_names(p.path(p.ratings_names)).values()))


def _procedural(p: Any) -> xr.Dataset:
    how = p.image_size, p.stimulus_seed
    trained = drawn.make_faces(p.identities, p.views, *how)
    others = drawn.make_faces(p.gender_people, p.gender_views, *how, first_identity=p.identities)
    groups = ["identity"] * trained.sizes["image"] + ["gender"] * others.sizes["image"]
    return xr.concat([trained, others], "image").assign_coords(group=("image", groups))


def _photographs(p: Any) -> xr.Dataset:
    genders = p.path(p.gender_table) if p.gender_table else None
    dataset = drawn.read_folder(
        p.path(p.faces), p.image_size, crop=p.crop, genders=genders, limit=p.maximum_images
    )
    counts = pd.Series(dataset.identity.values).value_counts()
    trained = set(counts.index[counts >= p.minimum_images])
    if len(trained) < 2:
        raise ParameterError(
            f"minimum_images={p.minimum_images}: only {len(trained)} people in {p.faces!r} have that many images"
        )
    names = dataset.identity.values
    group = np.where(np.isin(names, rated_names(p) or []), "rated", "gender")
    group = np.where(np.isin(names, list(trained)), "identity", group)
    return dataset.assign_coords(group=("image", group))


def _split(dataset: xr.Dataset, p: Any) -> xr.Dataset:
    rng = np.random.default_rng(p.stimulus_seed)
    shares = {"test": p.test_share, "validation": p.validation_share}
    split = np.full(dataset.sizes["image"], "test", dtype="<U10")
    trained = dataset.group.values == "identity"
    split[trained] = _split_within(dataset.identity.values[trained], shares, rng)
    others = dataset.group.values == "gender"
    gender = pd.Series(dataset.gender.values[others], dataset.identity.values[others])
    person = gender[~gender.index.duplicated()]
    by_person = pd.Series(_split_within(person.to_numpy(), shares, rng), person.index)
    split[others] = by_person[gender.index]
    return dataset.assign_coords(split=("image", split))


def _split_within(strata: np.ndarray, shares: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Split names, each stratum divided at random by the given shares; the rest is "train"."""
    split = np.full(len(strata), "train", dtype="<U10")
    for stratum in sorted(set(strata)):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        start = 0
        for name, share in shares.items():
            stop = start + max(1, round(share * len(members)))
            split[members[start:stop]] = name
            start = stop
    return split
