"""The images of a study: which there are, and who is trained, validated, tested and explained on them.

People of the *identity* task and people of the *gender* task are different people, so that gender networks are
tested and explained on people they never saw, and every network is explained on the same held-out images.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr

import faces as stimuli
from faces import photographs as folders
from study.parameters import ParameterError, Parameters
from study.provenance import digest
from study.store import Store

GENDERS = ("female", "male")
DRAWN, PHOTOGRAPHED = ("faces", "study.stimuli"), ("faces.photographs", "study.stimuli")
PRETRAINING_SEED_OFFSET = 1_000_003  # people of the pretraining set are nobody in the study


def faces(p: Parameters, store: Store) -> xr.Dataset:
    """All face images of the study.

    Returns:
        The stimulus dataset (`pixels (image, channel, y, x)` uint8; procedural faces also `parts`, `factors`,
        `views`, `landmarks`) with coordinates on `image`: identity, gender, name, `group` ("identity",
        "gender", or "rated": photographs of rated people who have too few images to be trained on) and `split`
        ("train", "validation", "test").
    """
    return store.remember(("faces", p.as_json()), lambda: _faces(p, store))


def _faces(p: Parameters, store: Store) -> xr.Dataset:
    names = ["faces", "image_size", "stimulus_seed", "validation_share", "test_share"]
    if p.faces == "procedural":
        inputs = p.inputs(*names, "identities", "views", "gender_people", "gender_views")
        return store.dataset("faces", inputs, DRAWN, lambda: _split(_procedural(p), p)).load()
    inputs = p.inputs(*names, "gender_table", "crop", "minimum_images", "maximum_images")
    inputs |= {"content": _fingerprint(p, store, p.faces), "rated": rated_names(p)}
    return store.dataset("faces", inputs, PHOTOGRAPHED, lambda: _split(_photographs(p), p)).load()


def pretraining_set(p: Parameters, store: Store, label: str) -> xr.Dataset:
    """Images to pretrain on, with `split` "train" or "validation"; the class is the coordinate `identity`."""
    return store.remember(("pretraining", label, p.as_json()), lambda: _pretraining_set(p, store, label))


def _pretraining_set(p: Parameters, store: Store, label: str) -> xr.Dataset:
    source = p.pretrainings[label]
    inputs = {"source": source} | p.inputs("image_size", "stimulus_seed")
    if source.startswith("procedural:"):
        inputs |= p.inputs("pretraining_classes", "pretraining_views")
    else:
        inputs |= {"content": _fingerprint(p, store, source)}

    def make() -> xr.Dataset:
        if source == "procedural:faces":
            dataset = stimuli.make_faces(
                p.pretraining_classes,
                p.pretraining_views,
                p.image_size,
                p.stimulus_seed + PRETRAINING_SEED_OFFSET,
            )
        elif source == "procedural:objects":
            dataset = stimuli.make_objects(p.pretraining_views, p.image_size, p.stimulus_seed)
        elif source.startswith("procedural:"):
            raise ParameterError(
                f"pretrainings: {source!r}: procedural sets are procedural:objects, procedural:faces"
            )
        else:
            dataset = stimuli.read_folder(p.path(source), p.image_size)
        dataset = dataset[["pixels"]]
        rng = np.random.default_rng(p.stimulus_seed)
        split = _split_within(dataset.identity.values, {"validation": 0.1}, rng)
        return dataset.assign_coords(split=("image", split))

    code = DRAWN if source.startswith("procedural:") else PHOTOGRAPHED
    return store.dataset("pretraining_set", inputs, code, make).load()


def explained(p: Parameters, dataset: xr.Dataset) -> np.ndarray:
    """Indices (int64) of the images every network is explained on.

    They are test images of the identity task, spread evenly over people, at most `explained_images`.
    """
    held_out = np.flatnonzero((dataset.group.values == "identity") & (dataset.split.values == "test"))
    turn = pd.Series(dataset.identity.values[held_out]).groupby(dataset.identity.values[held_out]).cumcount()
    order = np.argsort(turn.to_numpy(), kind="stable")
    return np.sort(held_out[order[: p.explained_images]])


def classes(dataset: xr.Dataset, task: str) -> list[str]:
    """Class names of a task, in the order of the network's outputs."""
    if task == "gender":
        return list(GENDERS)
    return sorted(set(dataset.identity.values[dataset.group.values == "identity"]))


def labels(dataset: xr.Dataset, task: str) -> np.ndarray:
    """Class index of every image (int64); -1 for people who are no class of the identity task."""
    names = dataset.gender.values if task == "gender" else dataset.identity.values
    return pd.Index(classes(dataset, task)).get_indexer(names).astype(np.int64)


def rated_names(p: Parameters) -> list[str] | None:
    """Identities that human raters compared and that may be in the photographs; None where simulated."""
    if not p.ratings or p.ratings_names is None:
        return None
    table = pd.read_csv(p.path(p.ratings_names))
    return sorted(table.iloc[:, 1].dropna().astype(str))


def _procedural(p: Parameters) -> xr.Dataset:
    trained = stimuli.make_faces(p.identities, p.views, p.image_size, p.stimulus_seed)
    others = stimuli.make_faces(
        p.gender_people, p.gender_views, p.image_size, p.stimulus_seed, first_identity=p.identities
    )
    groups = ["identity"] * trained.sizes["image"] + ["gender"] * others.sizes["image"]
    return xr.concat([trained, others], "image").assign_coords(group=("image", groups))


def _photographs(p: Parameters) -> xr.Dataset:
    if p.gender_table is None and "gender" in p.tasks:
        raise ParameterError("gender_table: needed for the gender task on photographs")
    genders = p.path(p.gender_table) if p.gender_table else None
    dataset = stimuli.read_folder(
        p.path(p.faces), p.image_size, crop=p.crop, genders=genders, limit=p.maximum_images
    )
    counts = pd.Series(dataset.identity.values).value_counts()
    trained = set(counts.index[counts >= p.minimum_images])
    if len(trained) < 2:
        raise ParameterError(
            f"minimum_images={p.minimum_images}: only {len(trained)} people in {p.faces!r} have that many images"
        )
    rated = set(rated_names(p) or ()) - trained
    group = [
        "identity" if name in trained else "rated" if name in rated else "gender"
        for name in dataset.identity.values
    ]
    return dataset.assign_coords(group=("image", group))


def _split(dataset: xr.Dataset, p: Parameters) -> xr.Dataset:
    rng = np.random.default_rng(p.stimulus_seed)
    shares = {"test": p.test_share, "validation": p.validation_share}
    split = np.full(dataset.sizes["image"], "test", dtype="<U10")
    ours = dataset.group.values == "identity"
    split[ours] = _split_within(dataset.identity.values[ours], shares, rng)
    others = dataset.group.values == "gender"
    people = pd.DataFrame(
        {"identity": dataset.identity.values[others], "gender": dataset.gender.values[others]}
    )
    people = people.drop_duplicates("identity")
    by_person = dict(zip(people.identity, _split_within(people.gender.to_numpy(), shares, rng), strict=True))
    split[others] = [by_person[name] for name in dataset.identity.values[others]]
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


def _fingerprint(p: Parameters, store: Store, folder: str) -> str:
    """Content hash of a folder; read again only when a name, size or time in it changed."""
    root = p.path(folder)
    listing = sorted(
        (str(f.relative_to(root)), f.stat().st_size, f.stat().st_mtime_ns) for f in root.rglob("*")
    )
    path = store.folder(
        "fingerprint",
        {"listing": digest(listing)},
        ("faces.photographs",),
        lambda temporary: (temporary / "content.json").write_text(json.dumps(folders.fingerprint(root))),
    )
    return json.loads((path / "content.json").read_text())
