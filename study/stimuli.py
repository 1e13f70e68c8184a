"""The images of a study: which there are, and who is trained, validated, tested and explained on them.

People of the *identity* task and the *others*, who serve all other tasks, are different people, so that those tasks'
networks are tested and explained on people they never saw, and every network is explained on the same held-out images.
Who goes where follows from names and tables alone (`listed`); `study.design` checks it before anything is computed.
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
# Names that a table's column cannot have as a task: they name something else in results.
TAKEN = {"name", "path", "file", "group", "split", "image", "channel", "x", "y", "pixels"}
PRETRAINING_SEED_OFFSET = 1_000_003  # people of the pretraining set are nobody in the study


class Stimuli(Settings):
    """Which images there are, and who is held out."""

    faces: str = source(
        "procedural",
        description="'procedural', or a folder under `data`: one folder per identity, or all files with a table",
    )
    attribute_tables: tuple[str, ...] = source(
        (),
        description="tables under `data` that say of files, or of people, whatever is a task: identity,file,gender; "
        "those of CelebA and FairFace as they are",
    )
    landmarks_table: str | None = source(
        None,
        description="table under `data` by which faces are turned and cut (then without `crop`): CelebA's, or "
        "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y",
    )
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
    identity_people: int | None = Field(
        None,
        ge=2,
        description="people in the identity task, drawn from those with enough images (photographs); the rest serve "
        "the other tasks; none: all with enough images",
    )
    maximum_images: int = Field(25, ge=4, description="images used of one person at most (photographs)")
    stimulus_seed: int = Field(0, ge=0, description="seed of procedural stimuli and of the splits")
    validation_share: Share = Field(
        0.15, description="share of images (identity) or people (other tasks) to validate"
    )
    test_share: Share = Field(0.25, description="share of images (identity) or people (other tasks) to test")
    pretraining_classes: int = Field(40, ge=2, description="people in procedural face pretraining")
    pretraining_views: int = Field(80, ge=4, description="images per class in procedural pretraining")
    explained_images: int = Field(120, ge=4, le=100000, description="held-out images explained, at most")
    explained_people: Literal["known", "new"] = Field(
        "known",
        description="people on the explained images: those of the identity task, or people whom no network saw",
    )


@step(
    *("faces", "image_size", "stimulus_seed", "validation_share", "test_share", "tasks"),
    *("identities", "views", "gender_people", "gender_views"),
    *("attribute_tables", "landmarks_table", "crop", "ratings_names"),
    *("identity_people", "minimum_images", "maximum_images"),
    title="faces",
    keep=True,
)
def faces(s: Study) -> xr.Dataset:
    """All face images of the study.

    Returns:
        The stimulus dataset (`pixels (image, channel, y, x)` uint8; procedural faces also `parts`, `factors`,
        `views`, `landmarks`) with coordinates on `image`: identity, name, gender where it is known, the attribute of
        every other task, `group` ("identity", "others", or "rated": photographs of rated people who have too few
        images to be trained on) and `split` ("train", "validation", "test").
    """
    p, images = s.p, listed(s.p)
    dataset = _drawn(p) if p.faces == "procedural" else drawn.read_images(images, p.image_size, p.crop)
    return dataset.assign_coords({name: ("image", images[name].to_numpy(str)) for name in ("group", "split")})


def listed(p: Any) -> pd.DataFrame:
    """The images of `faces`, in order, without making or decoding any: identity, attributes, group and split.

    Of photographs also name and path, and in `attrs["left_out"]` (name, reason) of what is left out.
    ParameterError naming the parameter, where folder or tables cannot be used.
    """
    images = _people_drawn(p) if p.faces == "procedural" else _photographs(p)
    return images.assign(split=_splits(images, p))


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

    They are test images of the identity task, or of the other tasks, whose test people no network ever saw; spread
    evenly over people, at most `explained_images`.
    """
    group = {"known": "identity", "new": "others"}[s.p.explained_people]
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


def of_task(dataset: xr.Dataset | pd.DataFrame, task: str) -> np.ndarray:
    """Which images `(N,)` bool are a task's: to learn, validate or test it."""
    return np.asarray(dataset["group"] == ("identity" if task == "identity" else "others"))


def classes(dataset: xr.Dataset | pd.DataFrame, task: str) -> list[str]:
    """Class names of a task, in the order of the network's outputs."""
    if task == "gender":
        return list(GENDERS)
    return sorted(set(np.asarray(dataset[task])[of_task(dataset, task)]))


def labels(dataset: xr.Dataset, task: str) -> np.ndarray:
    """Class index of every image (int64); -1 for those of no class, as people who are not in the identity task."""
    return pd.Index(classes(dataset, task)).get_indexer(dataset[task].values).astype(np.int64)


def kinds(dataset: xr.Dataset) -> np.ndarray:
    """What a mean of photographs is of, `(N,)` of str: a gender, or everyone where gender is not known."""
    return dataset.gender.values if "gender" in dataset else np.full(dataset.sizes["image"], "everyone")


def rated_names(p: Any) -> list[str] | None:
    """Identities that human raters compared and that may be in the photographs; None where simulated."""
    if p.ratings_names is None:
        return None
    try:
        return sorted(set(ratings.read_names(p.path(p.ratings_names)).values()))
    except ValueError as error:
        raise ParameterError(f"ratings_names={p.ratings_names!r}: {error}") from None


def _drawn(p: Any) -> xr.Dataset:
    how = p.image_size, p.stimulus_seed
    trained = drawn.make_faces(p.identities, p.views, *how)
    others = drawn.make_faces(p.gender_people, p.gender_views, *how, first_identity=p.identities)
    return xr.concat([trained, others], "image")


def _people_drawn(p: Any) -> pd.DataFrame:
    """What `_drawn` draws."""
    sets = [(0, p.identities, p.views, "identity"), (p.identities, p.gender_people, p.gender_views, "others")]
    parts = []
    for first, people, views, group in sets:
        _, gender = drawn.sample_identities(people, p.stimulus_seed, first_identity=first)
        names = [f"id{first + k:04d}" for k in range(people)]
        parts.append(
            pd.DataFrame({"identity": names, "gender": gender, "group": group}).iloc[
                np.arange(people).repeat(views)
            ]
        )
    return pd.concat(parts, ignore_index=True)


def _photographs(p: Any) -> pd.DataFrame:
    tables = [p.path(name) for name in p.attribute_tables]
    landmarks = p.path(p.landmarks_table) if p.landmarks_table else None
    needed = [task for task in p.tasks if task != "identity"]
    try:
        images = drawn.list_images(p.path(p.faces), tables, needed, landmarks)
    except ValueError as error:
        raise ParameterError(
            f"faces={p.faces!r}, attribute_tables={list(p.attribute_tables)}: {error}"
        ) from None
    trained = _for_identity(images, p)
    group = np.where(images.identity.isin(rated_names(p) or []), "rated", "others")
    images["group"] = np.where(images.identity.isin(trained), "identity", group)
    used = images.groupby("identity").cumcount() < p.maximum_images
    beyond = [(name, f"beyond maximum_images={p.maximum_images} of a person") for name in images.name[~used]]
    rest = images[used].reset_index(drop=True)
    rest.attrs = images.attrs | {"beyond": beyond, "counts": images.identity.value_counts().to_dict()}
    return rest


def _for_identity(images: pd.DataFrame, p: Any) -> pd.Index:
    """The people of the identity task: drawn at random, from each class of the first other task in proportion."""
    counts = images.identity.value_counts()
    person = images.drop_duplicates("identity").set_index("identity").sort_index()
    person = person[counts[person.index] >= p.minimum_images]
    if p.identity_people is None or p.identity_people >= len(person):
        return person.index
    by = _strata(person.sample(frac=1, random_state=p.stimulus_seed), p)
    place = (by.groupby(by).cumcount() + 0.5) / by.map(by.value_counts())
    return place.sort_values(kind="stable").index[: p.identity_people]


def _strata(images: pd.DataFrame, p: Any) -> pd.Series:
    """The classes of the first task other than identity; else gender, where it is known."""
    known = [task for task in (*p.tasks, "gender") if task != "identity" and task in images]
    return images[known[0]] if known else pd.Series("all", images.index)


def _splits(images: pd.DataFrame, p: Any) -> np.ndarray:
    """Of the identity task each person's images are split, of the others people, by the first other task's classes."""
    rng = np.random.default_rng(p.stimulus_seed)
    shares = {"test": p.test_share, "validation": p.validation_share}
    split = np.full(len(images), "test", dtype="<U10")
    trained = of_task(images, "identity")
    split[trained] = _split_within(images.identity.to_numpy(str)[trained], shares, rng)
    others = images[images.group == "others"]
    person = _strata(others.drop_duplicates("identity").set_index("identity"), p)
    by_person = pd.Series(_split_within(person.to_numpy(str), shares, rng), person.index)
    split[images.group == "others"] = by_person[others.identity]
    return split


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
