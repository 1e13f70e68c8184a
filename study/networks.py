"""Trained networks of the grid: pretraining, then finetuning; each made once and kept in the store."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

from study import provenance, stimuli, store, training, vgg, weights
from study.grid import Cell, Scope
from study.settings import ParameterError, Settings, is_built_in, is_file, is_images, source
from study.steps import Study, step


class Networks(Settings):
    """Architecture, pretraining and finetuning."""

    width: float = Field(0.125, gt=0, le=1, description="channels relative to the full VGG-16")
    batch_norm: bool = Field(
        True,
        description="train with batch normalisation (merged before explaining); networks from files are as they are",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="share of hidden units dropped in training")
    pretrainings: dict[str, str] = source(
        {"objects": "procedural:objects", "faces": "procedural:faces"},
        min_length=1,
        description="label -> 'procedural:objects', 'procedural:faces', 'none', a folder under `data`, or a network "
        "that is trained already: 'public:imagenet', 'public:vgg-face', or 'weights:<file>', a VGG-16 under `data`",
    )
    weights_files: dict[str, str] = Field(
        {},
        description="label -> the file of its public weights under `data`, which else are downloaded",
    )
    pretraining_samples: int = Field(
        40000,
        ge=64,
        description="images shown during each pretraining, the same number for every pretraining",
    )
    pretraining_rate: float = Field(2e-3, gt=0, le=1, description="peak learning rate of pretraining")
    pretraining_runs: int = Field(
        1, ge=1, le=20, description="independent pretraining runs; seed k finetunes run k modulo this number"
    )
    tasks: tuple[Annotated[str, Field(pattern=r"^\w[\w .-]*$")], ...] = Field(
        ("gender", "identity"),
        min_length=1,
        description="finetuning tasks: identity, gender, or any other column of `attribute_tables`, in lower case",
    )
    seeds: int = Field(
        3, ge=2, le=50, description="random initialisations (classifier, data order) of each cell"
    )
    first_seed: int = Field(
        0, ge=0, description="number of the first seed and pretraining run; others give a replication"
    )
    scope: Scope = Field("all", description="layers that finetuning changes")
    finetuning_samples: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {"gender": 10000, "identity": 12000}, description="images shown during finetuning, per task"
    )
    finetuning_rate: float = Field(1e-3, gt=0, le=1, description="peak learning rate of finetuning")
    weight_decay: float = Field(0.05, ge=0, le=10, description="AdamW weight decay")
    batch_size: int = Field(64, ge=2, le=4096, description="images per gradient step")
    muon: bool = Field(False, description="train by Muon instead of AdamW")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="of training: bfloat16 (mixed) is twice as fast where the machine has it and far slower where not; "
        "auto: what the machine has, and this is the value that is kept",
    )
    augment: bool = Field(False, description="mirror, shift and scale training images at random")
    threads: int = Field(
        1, ge=1, le=64, description="threads of each process; results can differ in last digits"
    )


def fastest_precision(device: str) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the machine computes in it (AVX-512 BF16, AMX, or a GPU of its kind); float32 elsewhere."""
    if device == "cuda":
        has = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # old versions cannot tell
        has = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return "bfloat16" if has else "float32"


WEIGHTS = "model.safetensors"  # the file of a network
BUILT_IN = ("procedural:objects", "procedural:faces", "none")
STAGES = (1.0, 0.8, 0.6)  # share of finetuning after which a network is at stage 0, 1, 2
RECIPE = ("weight_decay", "batch_size", "muon", "augment", "precision", "threads", "device")


@step(
    *("width", "batch_norm", "dropout", "image_size", "pretraining_samples", "pretraining_rate", *RECIPE),
    "pretrainings[pretraining]",
    needs=[
        stimuli.pretraining_set.of(
            lambda s, name, run: [(name,)] if is_images(s.settings.pretrainings[name]) else []
        )
    ],
    title="pretraining networks",
    work=lambda s, name, run: s.p.pretraining_samples if is_images(s.p.pretrainings[name]) else 1,
)
def pretrained(s: Study, pretraining: str, run: int) -> dict[str, Any]:
    """A pretrained network: `model`, and `history` (see `training.train`).

    A pretraining from "none" is a network with random weights, one from a file is that; they have no history.
    """
    if not is_images(s.p.pretrainings[pretraining]):
        model = _read(s.p, pretraining) if is_file(s.p.pretrainings[pretraining]) else _new(s.p, 2, run)
        return {"model": model, "history": pd.DataFrame(columns=["images"])}
    images = stimuli.pretraining_set(s, pretraining)
    names, labels = np.unique(images.identity.values, return_inverse=True)
    model = _new(s.p, len(names), run)
    return train(s.p, model, images, labels, s.p.pretraining_samples, s.p.pretraining_rate, "all", run)


@step("threads", "device", needs=[pretrained.of(lambda s, name, run, task: [(name, run)]), stimuli.faces])
def features(s: Study, pretraining: str, run: int, task: str) -> xr.Dataset:
    """What the convolutions make of a task's images, `features (image, feature)`, with `label` and `split`.

    Once for all networks whose finetuning leaves them as they are. Training images come first, then validation images.
    """
    faces, labels = _learned(s, task)
    model = pretrained(s, pretraining, run)["model"].to(s.p.device, memory_format=torch.channels_last)
    trunk, pixels = training.split(model, "classifier")[0], torch.from_numpy(faces.pixels.values)
    parts = [np.flatnonzero(faces.split.values == name) for name in ("train", "validation")]
    outputs = torch.cat([training.predict(trunk, pixels[part]) for part in parts if len(part)])
    index = np.concatenate(parts)
    on_image = {"label": ("image", labels[index]), "split": ("image", faces.split.values[index])}
    return xr.Dataset({"features": (("image", "feature"), outputs.numpy())}, on_image)


@step(
    *("finetuning_samples[task]", "finetuning_rate", *RECIPE),
    needs=[
        pretrained.of(lambda s, cell: [(cell.pretraining, cell.run)]),
        features.of(
            lambda s, cell: [(cell.pretraining, cell.run, cell.task)] if _frozen(s.settings, cell) else []
        ),
        stimuli.faces,
    ],
    title="finetuning networks",
    work=lambda s, cell: s.p.finetuning_samples[cell.task],
)
def stages(s: Study, cell: Cell) -> dict[str, Any]:
    """The finetuning of a network (given at stage 0): `history`, and the networks of STAGES, `stage 0`, ..."""
    p, (faces, labels) = s.p, _learned(s, cell.task)
    if _frozen(p, cell):
        faces = features(s, cell.pretraining, cell.run, cell.task)
        labels = faces.label.values
    model = pretrained(s, cell.pretraining, cell.run)["model"]
    model = vgg.new_classifier(model, len(stimuli.classes(stimuli.faces(s), cell.task)), cell.seed)
    samples, earlier = p.finetuning_samples[cell.task], {}

    def keep(done: float) -> None:
        for stage, share in enumerate(STAGES[1:], 1):
            if f"stage {stage}" not in earlier and done >= share:
                earlier[f"stage {stage}"] = (
                    copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)
                )

    result = train(
        p, model, faces, labels, samples, p.finetuning_rate, cell.scope, cell.seed, after_step=keep
    )
    return {"history": result["history"], "stage 0": result["model"]} | earlier


@step(
    needs=[stages.of(lambda s, cell: [(cell.at(stage=0),)]), stimuli.faces],
    title="predictions of networks",
)
def finetuned(s: Study, cell: Cell) -> dict[str, Any]:
    """A finetuned network at its stage: `model`, `history` up to there, and `predictions` (see `_predictions`).

    Predictions are of all validation and test images of the task and of about as many training images as test images.
    """
    trained, (faces, labels) = stages(s, cell.at(stage=0)), _learned(s, cell.task)
    learned, tested = (np.flatnonzero(faces.split.values == name) for name in ("train", "test"))
    left_out = np.delete(learned, np.s_[:: max(1, round(len(learned) / len(tested)))])
    shown = np.delete(np.arange(len(labels)), left_out)
    faces, labels = faces.isel(image=shown), labels[shown]
    model = trained[f"stage {cell.stage}"]
    logits = training.predict(vgg.merge_batch_norm(model), torch.from_numpy(faces.pixels.values))
    predictions, history = _predictions(faces, labels, logits), trained["history"]
    history = history[: math.ceil(STAGES[cell.stage] * len(history))].copy()
    checked = predictions.correct.values[faces.split.values == "validation"]
    history.loc[history.index[-1], "validation_accuracy"] = checked.mean() if len(checked) else math.nan
    return {"model": model, "history": history, "predictions": predictions}


def network(s: Study, cell: Cell) -> vgg.VGG16:
    """The network of a cell, ready to explain: batch norm merged, evaluation mode, on the study's device."""
    return vgg.merge_batch_norm(finetuned(s, cell)["model"]).to(s.p.device)


def train(
    p: Any,
    model: vgg.VGG16,
    images: xr.Dataset,
    labels: np.ndarray,
    samples: int,
    rate: float,
    scope: Scope,
    seed: int,
    **options: Any,
) -> dict[str, Any]:
    """Train by the parameters' recipe on the images whose `split` is "train"; `model` (on the CPU) and `history`.

    Images whose `split` is "validation", if there are any, are reported on. `images` may be `features`. `options` go to
    `training.train`.
    """
    done = "features" in images
    pixels = torch.from_numpy((images.features if done else images.pixels).values)
    labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    learned, checked = (np.flatnonzero(images.split.values == name) for name in ("train", "validation"))
    history = training.train(
        model.to(p.device),
        pixels[learned],
        labels[learned],
        samples=samples,
        batch_size=p.batch_size,
        muon=p.muon,
        learning_rate=rate,
        weight_decay=p.weight_decay,
        scope=scope,
        trunk_done=done,
        seed=seed,
        augment=p.augment,
        bfloat16=p.precision == "bfloat16",
        validation=(pixels[checked], labels[checked]) if len(checked) else None,
        **options,
    )
    return {"model": model.cpu(), "history": history}


# ------------------------------------------------------------ networks from files


@step("pretrainings[pretraining]")
def layout(s: Study, pretraining: str) -> dict[str, Any]:
    """What the file of a pretraining holds: `sha256`, `source`, `classes`, `width`, `side`, `hidden`, `batch_norm`.

    `side` is that of the square of features that the linear layers take. WeightsError for a file that is no VGG-16.
    """
    name = s.p.pretrainings[pretraining]
    shape = dataclasses.asdict(_open(s.p, pretraining).architecture)
    shape |= {
        "side": min(7, shape["size"] // 32),
        "sha256": provenance.file_hash(s.p.path(name)),
        "source": name,
    }
    return {key: value for key, value in shape.items() if key not in ("size", "dropout")}


def fits(p: Any) -> None:
    """See that the parameters name networks that can be had and go with them. ValueError, in words, if not."""
    for label, name in p.pretrainings.items():
        public = name.removeprefix("public:")
        if name.startswith("public:") and public not in weights.REGISTRY:
            known = ", ".join(f"'public:{each}'" for each in weights.REGISTRY)
            raise ValueError(f"pretrainings: {name!r}: there are no such public weights; there are {known}")
        if is_built_in(name) and name not in BUILT_IN:
            raise ValueError(
                f"pretrainings: {name!r}: nothing is built in by that name; there are {', '.join(BUILT_IN)}"
            )
        if is_file(name) and p.pretraining_runs > 1:
            raise ValueError(
                f"pretraining_runs={p.pretraining_runs}: {label!r} is one network from a file, a single run; set "
                "pretraining_runs=1"
            )
        if name.startswith("public:"):
            entry = weights.REGISTRY[public]
            _same_shape(p, label, entry.width, min(7, entry.size // 32))
    for label in p.weights_files:
        if not p.pretrainings.get(label, "").startswith("public:"):
            raise ValueError(
                f"weights_files: {label!r} is no pretraining from public weights; name others as 'weights:<file>'"
            )


def check(s: Study) -> None:
    """See that files of networks are there and as they should be, before anything is computed.

    Downloads public weights. A file that was seen before is read for its hash only.

    Raises:
        ParameterError: there is no such file, or the parameters do not fit the network in it.
        WeightsError: weights cannot be had, or a file is not what it should be.
    """
    p = s.settings
    for label, name in p.pretrainings.items():
        if is_file(name):
            new = not layout.has(s, label)
            found = layout(s, label)
            try:
                _same_shape(p, label, found["width"], found["side"])
            except ValueError as error:
                raise ParameterError(str(error)) from None
            if new:
                _tell_other_file(s, found)


def files(p: Any) -> list[Path]:
    """Where the files of pretrainings lie, or will lie once downloaded."""
    folder, found = Path(p.data or ".").expanduser(), []
    for label, name in p.pretrainings.items():
        if name.startswith("public:") and label not in p.weights_files:
            found.append(weights.cached(name.removeprefix("public:")))
        elif is_file(name):
            found.append(folder / p.weights_files.get(label, name.removeprefix("weights:")))
    return found


def _tell_other_file(s: Study, found: dict[str, Any]) -> None:
    """Say so if results that are kept rest on another file of the same public weights."""
    others = set()
    for file in (s.store.root / layout.kind).glob(f"*/{store.WHOLE}.json"):
        with suppress(ValueError, KeyError):  # damaged: no use here, and told when it is needed
            record = json.loads(file.read_text())
            others |= {record["sha256"]} if record["source"] == found["source"] else set()
    others -= {found["sha256"]}
    if others and found["source"].startswith("public:"):
        print(
            f"{found['source']}: the file has SHA-256 {found['sha256']}, earlier results used {', '.join(others)}; "
            "its networks are made anew",
            file=sys.stderr,
        )


def _same_shape(p: Any, label: str, width: float, side: int) -> None:
    if (p.width, min(7, p.image_size // 32)) != (width, side):
        raise ValueError(
            f"width={p.width:g}, image_size={p.image_size}: the network {label!r} ({p.pretrainings[label]}) is trained "
            f"already and has width={width:g}, image_size={32 * side}; set these"
        )


def _open(p: Any, pretraining: str) -> vgg.VGG16:
    name = p.pretrainings[pretraining]
    public = name.removeprefix("public:") if name.startswith("public:") else None
    return weights.load(p.path(name), public)


def _read(p: Any, pretraining: str) -> vgg.VGG16:
    """The network of a file, with the dropout and for the images of the parameters."""
    model = _open(p, pretraining)
    model.architecture = dataclasses.replace(model.architecture, dropout=p.dropout, size=p.image_size)
    return model


# ------------------------------------------------------------


def _frozen(p: Any, cell: Cell) -> bool:
    """Whether a network's convolutions stay as they are, and see the same images again and again."""
    return cell.scope == "classifier" and not p.augment


def _learned(s: Study, task: str) -> tuple[xr.Dataset, np.ndarray]:
    """The faces of a task and their classes."""
    faces = stimuli.faces(s)
    chosen = stimuli.of_task(faces, task)
    return faces.isel(image=chosen), stimuli.labels(faces, task)[chosen]


def _new(p: Any, classes: int, seed: int) -> vgg.VGG16:
    return vgg.vgg16(
        classes, width=p.width, size=p.image_size, batch_norm=p.batch_norm, dropout=p.dropout, seed=seed
    )


def _predictions(faces: xr.Dataset, labels: np.ndarray, logits: torch.Tensor) -> xr.Dataset:
    """On `image`: `label`, `prediction`, `probability` of the true class and `correct`; who it is as coordinates."""
    probability = torch.softmax(logits, 1).cpu().numpy()
    of_true = probability[np.arange(len(labels)), labels]
    attrs = {"long_name": "probability of the true class", "units": "1"}
    dataset = xr.Dataset(
        {
            "label": ("image", labels, {"long_name": "true class"}),
            "prediction": ("image", probability.argmax(1), {"long_name": "predicted class"}),
            "probability": ("image", of_true, attrs),
        },
        coords={
            name: ("image", faces[name].values)
            for name in ("name", "identity", "gender", "split")
            if name in faces
        },
    )
    return dataset.assign(correct=dataset.prediction == dataset.label)
