"""Trained networks of the grid: pretraining, finetuning, predictions; each made once and kept in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from study import parallel, stimuli, training, vgg, weights
from study.grid import Cell
from study.parameters import Parameters
from study.store import Store, write

CODE = ("study.vgg", "study.weights", "study.training", "study.networks")
WEIGHTS = "weights.safetensors"


def pretraining_size(p: Parameters, label: str) -> int:
    """Images shown during a pretraining."""
    return 0 if p.pretrainings[label] == "none" else p.pretraining_samples


def pretraining_inputs(p: Parameters, store: Store, label: str, run: int) -> dict:
    """What a pretrained network depends on."""
    inputs = p.inputs("width", "batch_norm", "dropout", "image_size", "threads", "device") | {"run": run}
    if p.pretrainings[label] == "none":
        return inputs | {"source": "none"}
    names = ("pretraining_samples", "pretraining_rate", "weight_decay", "batch_size", "augment", "bfloat16")
    return inputs | p.inputs(*names) | {"images": stimuli.pretraining_set(p, store, label).attrs["store_key"]}


def pretrain(p: Parameters, store: Store, label: str, run: int) -> Path:
    """The folder of a pretrained network: its weights and `history.csv`."""

    def make(folder: Path) -> None:
        if p.pretrainings[label] == "none":
            model = _new(p, 2, run)
            pd.DataFrame().to_csv(folder / "history.csv")
            weights.save(model, folder / WEIGHTS)
            return
        images = stimuli.pretraining_set(p, store, label)
        classes, labels = np.unique(images.identity.values, return_inverse=True)
        model = _new(p, len(classes), run)
        _fit(p, model, images, labels, p.pretraining_samples, p.pretraining_rate, "all", run, folder)

    return store.folder("pretrained", pretraining_inputs(p, store, label, run), CODE, make)


def network_inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a finetuned network depends on."""
    names = (
        "scope",
        "finetuning_rate",
        "weight_decay",
        "batch_size",
        "augment",
        "bfloat16",
        "threads",
        "device",
    )
    return p.inputs(*names) | {
        "pretrained": store.key("pretrained", pretraining_inputs(p, store, cell.pretraining, cell.run), CODE),
        "faces": stimuli.faces(p, store).attrs["store_key"],
        "samples": p.finetuning_samples[cell.task],
        "task": cell.task,
        "seed": cell.seed,
    }


def finetune(p: Parameters, store: Store, cell: Cell) -> Path:
    """The folder of a finetuned network: weights, `history.csv` and `predictions.zarr` on all faces of its task."""

    def make(folder: Path) -> None:
        faces = stimuli.faces(p, store)
        model = weights.load(pretrain(p, store, cell.pretraining, cell.run) / WEIGHTS)
        model = vgg.new_head(model, len(stimuli.classes(faces, cell.task)), cell.seed)
        ours = faces.isel(image=np.flatnonzero(faces.group.values == cell.task))
        labels = stimuli.labels(ours, cell.task)
        samples = p.finetuning_samples[cell.task]
        _fit(p, model, ours, labels, samples, p.finetuning_rate, p.scope, cell.seed, folder)
        logits = training.predict(vgg.merge_batch_norm(model), torch.from_numpy(ours.pixels.values))
        write(_predictions(ours, labels, logits), folder / "predictions.zarr")

    return store.folder("network", network_inputs(p, store, cell), CODE, make)


def train_all(p: Parameters, store: Store, grid: list[Cell]) -> None:
    """Train what is missing of the grid: first all pretrainings, then all cells, several at a time."""
    runs = sorted({(cell.pretraining, cell.run) for cell in grid})
    missing = [
        (label, run)
        for label, run in runs
        if not store.has("pretrained", pretraining_inputs(p, store, label, run), CODE)
    ]
    jobs, sizes = [(p, store, *job) for job in missing], [pretraining_size(p, label) for label, _ in missing]
    parallel.each(pretrain, jobs, sizes, "pretraining networks", p.workers, p.threads)
    todo = [cell for cell in grid if not store.has("network", network_inputs(p, store, cell), CODE)]
    sizes = [p.finetuning_samples[cell.task] for cell in todo]
    parallel.each(finetune, [(p, store, c) for c in todo], sizes, "finetuning networks", p.workers, p.threads)


def load(p: Parameters, store: Store, cell: Cell) -> torch.nn.Module:
    """The network of a cell, ready to explain: batch norm merged, evaluation mode."""
    return vgg.merge_batch_norm(weights.load(finetune(p, store, cell) / WEIGHTS)).to(p.device)


def _new(p: Parameters, classes: int, seed: int) -> vgg.VGG16:
    return vgg.vgg16(
        classes, width=p.width, size=p.image_size, batch_norm=p.batch_norm, dropout=p.dropout, seed=seed
    )


def _fit(
    p: Parameters,
    model: torch.nn.Module,
    images: xr.Dataset,
    labels: np.ndarray,
    samples: int,
    rate: float,
    scope: str,
    seed: int,
    folder: Path,
) -> None:
    train, validation = (np.flatnonzero(images.split.values == name) for name in ("train", "validation"))
    pixels, labels = (
        torch.from_numpy(images.pixels.values),
        torch.from_numpy(np.asarray(labels, dtype=np.int64)),
    )
    epochs = max(1, round(samples / len(train)))
    history = training.fit(
        model.to(p.device),
        pixels[train],
        labels[train],
        epochs=epochs,
        batch_size=min(p.batch_size, len(train)),
        learning_rate=rate,
        weight_decay=p.weight_decay,
        scope=scope,
        seed=seed,
        augment=p.augment,
        bfloat16=p.bfloat16,
        validation=(pixels[validation], labels[validation]),
        progress=False,  # the bar of `parallel.each` shows it
        on_epoch=lambda: parallel.progress(samples / epochs),
    )
    history.to_csv(folder / "history.csv", index=False)
    weights.save(model.cpu(), folder / WEIGHTS)


def _predictions(faces: xr.Dataset, labels: np.ndarray, logits: torch.Tensor) -> xr.Dataset:
    probability = torch.softmax(logits, 1).cpu().numpy()
    dataset = xr.Dataset(
        {
            "label": ("image", labels, {"long_name": "true class"}),
            "prediction": ("image", probability.argmax(1), {"long_name": "predicted class"}),
            "probability": (
                "image",
                probability[np.arange(len(labels)), labels],
                {"long_name": "probability of the true class", "units": "1"},
            ),
        },
        coords={name: ("image", faces[name].values) for name in ("name", "identity", "gender", "split")},
    )
    return dataset.assign(correct=dataset.prediction == dataset.label)
