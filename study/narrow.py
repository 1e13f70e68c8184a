"""Narrow networks for the experiments that train many: procedural faces, gender task, seconds each, from scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr

import faces as stimuli
from analysis import attribution as baselines
from analysis import lrp, masking
from study import maps, training, vgg, weights
from study.parameters import Parameters
from study.stimuli import GENDERS
from study.store import Store

DRAWN = ("faces", "study.narrow")
WEIGHTS = "weights.safetensors"
RATE, BATCH, DROPOUT, DECAY = 4e-3, 32, 0.2, 0.05
VIEWS = 2  # images of each test person
CONTROLS = ("random", "centre", "average", "edges")
METHODS = (*lrp.COMPOSITES, "epsilon_gamma_box", *baselines.METHODS)
SEED = 20181031  # of controls and of ties


def faces(p: Parameters, store: Store) -> xr.Dataset:
    """The faces: one image of each of `narrow_people` to train on, two of each of `narrow_test_people` others.

    As `faces.make_faces` gives them, with `split` ("train", "test") and `label` (int64, 1 = male) on `image`.
    """
    return store.remember(("narrow", p.as_json()), lambda: _faces(p, store))


def _faces(p: Parameters, store: Store) -> xr.Dataset:
    def make() -> xr.Dataset:
        train, test = (
            stimuli.make_faces(
                n, views, p.narrow_size, p.stimulus_seed, first_identity=at, shift=p.narrow_shift
            )
            for n, views, at in ((p.narrow_people, 1, 0), (p.narrow_test_people, VIEWS, p.narrow_people))
        )
        split = ["train"] * train.sizes["image"] + ["test"] * test.sizes["image"]
        both = xr.concat([train, test], "image").assign_coords(split=("image", split))
        label = (both.gender.values == GENDERS[1]).astype(np.int64)
        return both.assign_coords(label=("image", label))

    names = ("narrow_size", "narrow_people", "narrow_test_people", "narrow_shift", "stimulus_seed")
    return store.dataset("narrow_faces", p.inputs(*names), DRAWN, make).load()


def inputs(p: Parameters, store: Store) -> dict:
    """What every narrow network depends on."""
    names = ("narrow_width", "narrow_samples", "threads", "device")
    return p.inputs(*names) | {"faces": faces(p, store).attrs["store_key"]}


def train(
    p: Parameters, pixels: np.ndarray, labels: np.ndarray, seed: int, samples: int | None = None
) -> vgg.VGG16:
    """A network trained from scratch, batch norm merged, in evaluation mode.

    Args:
        p: `narrow_width` and `narrow_samples` are its channels and the number of images shown.
        pixels: `(N, 3, H, W)` uint8. labels: `(N,)` int64, 0 or 1.
        seed: of initial weights and data order.
        samples: images shown, instead of `narrow_samples`.
    """
    model = vgg.vgg16(
        len(GENDERS), width=p.narrow_width, size=pixels.shape[-1], batch_norm=True, dropout=DROPOUT, seed=seed
    )
    training.fit(
        model.to(p.device),
        torch.from_numpy(pixels),
        torch.from_numpy(labels),
        epochs=max(1, round((samples or p.narrow_samples) / len(labels))),
        batch_size=min(BATCH, len(labels)),
        learning_rate=RATE,
        weight_decay=DECAY,
        seed=seed,
        progress=False,
    )
    return vgg.merge_batch_norm(model.cpu()).to(p.device)


def plain(p: Parameters, store: Store, seed: int) -> vgg.VGG16:
    """The network of a seed, trained on the faces as they are."""

    def make(folder: Path) -> None:
        ours = faces(p, store)
        ours = ours.isel(image=ours.split.values == "train")
        weights.save(train(p, ours.pixels.values, ours.label.values, seed), folder / WEIGHTS)

    path = store.folder("narrow", inputs(p, store) | {"seed": seed}, CODE, make)
    return weights.load(path / WEIGHTS).to(p.device)


def logits(model: vgg.VGG16, pixels: np.ndarray) -> np.ndarray:
    """Logits `(N, 2)` float32 of images `(N, 3, H, W)`, uint8 or float in 0..255."""
    return training.predict(model, torch.from_numpy(pixels)).numpy()


def explain(
    p: Parameters, model: vgg.VGG16, pixels: np.ndarray, method: str, targets: np.ndarray | None = None
) -> np.ndarray:
    """Maps `(N, y, x)` float32, summed over colours, of the predicted classes or of `targets` `(N,)`.

    `method` is a composite of `analysis.lrp` or a method of `analysis.lrp.baselines`. ValueError for another.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    targets = logits(model, pixels).argmax(1) if targets is None else targets
    images, targets = (
        vgg.normalise(torch.from_numpy(pixels)).to(p.device),
        torch.from_numpy(targets).to(p.device),
    )
    return maps.attribute(p, model, images, targets, method).numpy()


def scores(
    p: Parameters, model: vgg.VGG16, pixels: np.ndarray, method: str, identities: list[str]
) -> torch.Tensor:
    """Scores `(N, y, x)`, high where a method or one of CONTROLS finds the pixels that matter.

    Relevance is ranked by the parameter `ranking`, methods without a sign by magnitude. "average" is the mean of the
    other images' maps by the parameter `composite`.
    """
    if method in CONTROLS:
        own = p.composite if method == "average" else None
        maps = (
            explain(p, model, pixels, own) if own else np.zeros((len(pixels), *pixels.shape[2:]), np.float32)
        )
        images = vgg.normalise(torch.from_numpy(pixels))
        ranked = masking.rank(torch.from_numpy(maps), p.ranking)
        return masking.controls(method, ranked, seed=SEED, images=images, identities=identities)
    maps = torch.from_numpy(explain(p, model, pixels, method))
    return masking.rank(maps, baselines.reading(method, p.ranking))


def removed(pixels: np.ndarray, mask: torch.Tensor, colour: np.ndarray) -> np.ndarray:
    """Images `(N, 3, H, W)` uint8 with the masked pixels `(N, H, W)` in one colour `(3,)`, 0..255."""
    fill = colour.round().astype(np.uint8)[None, :, None, None]
    return np.where(mask.numpy()[:, None], fill, pixels)


CODE = ("study.vgg", "study.weights", "study.training", "analysis.lrp", "analysis.masking", "study.narrow")
