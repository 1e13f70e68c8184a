"""Trained networks of the grid: pretraining, then finetuning; each made once and kept in the store."""

from __future__ import annotations

import copy
import math
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

from study import stimuli, training, vgg
from study.grid import Cell, Scope
from study.settings import Settings, source
from study.steps import Study, step


class Networks(Settings):
    """Architecture, pretraining and finetuning."""

    width: float = Field(0.125, gt=0, le=1, description="channels relative to the full VGG-16")
    batch_norm: bool = Field(True, description="train with batch normalisation (merged before explaining)")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of hidden units dropped in training")
    pretrainings: dict[str, str] = source(
        {"objects": "procedural:objects", "faces": "procedural:faces"},
        min_length=1,
        description="label -> 'procedural:objects', 'procedural:faces', 'none', or a folder under `data`",
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
STAGES = (1.0, 0.8, 0.6)  # share of finetuning after which a network is at stage 0, 1, 2
RECIPE = ("weight_decay", "batch_size", "muon", "augment", "precision", "threads", "device")


@step(
    *("width", "batch_norm", "dropout", "image_size", "pretraining_samples", "pretraining_rate", *RECIPE),
    "pretrainings[pretraining]",
    needs=[
        stimuli.pretraining_set.of(
            lambda s, name, run: [(name,)] if s.settings.pretrainings[name] != "none" else []
        )
    ],
    title="pretraining networks",
    work=lambda s, name, run: s.p.pretraining_samples,
)
def pretrained(s: Study, pretraining: str, run: int) -> dict[str, Any]:
    """A pretrained network: `model`, and `history` (see `training.train`).

    A pretraining from "none" is a network with random weights, and has no history.
    """
    if s.p.pretrainings[pretraining] == "none":
        return {"model": _new(s.p, 2, run), "history": pd.DataFrame(columns=["images"])}
    images = stimuli.pretraining_set(s, pretraining)
    names, labels = np.unique(images.identity.values, return_inverse=True)
    model = _new(s.p, len(names), run)
    return train(s.p, model, images, labels, s.p.pretraining_samples, s.p.pretraining_rate, "all", run)


@step(
    *("finetuning_samples[task]", "finetuning_rate", *RECIPE),
    needs=[pretrained.of(lambda s, cell: [(cell.pretraining, cell.run)]), stimuli.faces],
    title="finetuning networks",
    work=lambda s, cell: s.p.finetuning_samples[cell.task],
)
def stages(s: Study, cell: Cell) -> dict[str, Any]:
    """The finetuning of a network (given at stage 0): `history`, and the networks of STAGES, `stage 0`, ..."""
    p, (faces, labels) = s.p, _learned(s, cell)
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
    trained, (faces, labels) = stages(s, cell.at(stage=0)), _learned(s, cell)
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

    Images whose `split` is "validation", if there are any, are reported on. `options` go to `training.train`.
    """
    pixels = torch.from_numpy(images.pixels.values)
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
        seed=seed,
        augment=p.augment,
        bfloat16=p.precision == "bfloat16",
        validation=(pixels[checked], labels[checked]) if len(checked) else None,
        **options,
    )
    return {"model": model.cpu(), "history": history}


def _learned(s: Study, cell: Cell) -> tuple[xr.Dataset, np.ndarray]:
    """The faces of a network's task and their classes."""
    faces = stimuli.faces(s)
    chosen = stimuli.of_task(faces, cell.task)
    return faces.isel(image=chosen), stimuli.labels(faces, cell.task)[chosen]


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
