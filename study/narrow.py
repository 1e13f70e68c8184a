"""Narrow networks for the experiments that train many: procedural faces, gender task, seconds each, from scratch."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

import faces as drawn
from analysis import attribution, inference
from study import training, vgg
from study.settings import Settings
from study.steps import Study, step
from study.stimuli import GENDERS

RATE, BATCH, DROPOUT, DECAY = 4e-3, 32, 0.2, 0.05
RECIPE = ("narrow_width", "threads", "device")  # what every training reads
VIEWS = 2  # images of each test person
SEED = 20181031  # of controls and of ties


class Narrow(Settings):
    """Narrow networks and what they are trained on."""

    narrow_size: int = Field(
        32, ge=32, le=224, description="image side in the experiments of 'Shortcuts', pixels"
    )
    narrow_width: float = Field(
        0.125, gt=0, le=1, description="channels of their networks relative to VGG-16"
    )
    narrow_people: int = Field(1000, ge=20, le=100000, description="people they train on, one image each")
    narrow_test_people: int = Field(40, ge=8, le=5000, description="other people they test on, 2 images each")
    narrow_shift: float = Field(
        1.5, gt=0, le=5, description="how far their genders differ, relative to the other procedural faces"
    )
    narrow_samples: int = Field(3000, ge=32, description="images shown in each of their trainings")


@step(
    *("narrow_size", "narrow_people", "narrow_test_people", "narrow_shift", "stimulus_seed"),
    title="faces of narrow networks",
    keep=True,
)
def faces(s: Study) -> xr.Dataset:
    """The faces: one image of each of `narrow_people` to train on, two of each of `narrow_test_people` others.

    As `faces.make_faces` gives them, with `split` ("train", "test") and `label` (int64, 1 = male) on `image`.
    """
    p = s.p
    train, test = (
        drawn.make_faces(
            people, views, p.narrow_size, p.stimulus_seed, first_identity=first, shift=p.narrow_shift
        )
        for people, views, first in ((p.narrow_people, 1, 0), (p.narrow_test_people, VIEWS, p.narrow_people))
    )
    split = ["train"] * train.sizes["image"] + ["test"] * test.sizes["image"]
    both = xr.concat([train, test], "image")
    label = (both.gender.values == GENDERS[1]).astype(np.int64)
    return both.assign_coords(split=("image", split), label=("image", label))


def part(s: Study, split: str) -> xr.Dataset:
    """The faces of a split."""
    dataset = faces(s)
    return dataset.isel(image=np.flatnonzero(dataset.split.values == split))


def train(p: Any, pixels: np.ndarray, labels: np.ndarray, samples: int, seed: int) -> vgg.VGG16:
    """A network trained from scratch, batch norm merged, in evaluation mode, on the CPU.

    Args:
        p: the parameters RECIPE.
        pixels: `(N, 3, H, W)` uint8. labels: `(N,)` int64, 0 or 1.
        samples: images shown.
        seed: of initial weights and data order.
    """
    model = vgg.vgg16(
        len(GENDERS), width=p.narrow_width, size=pixels.shape[-1], batch_norm=True, dropout=DROPOUT, seed=seed
    )
    training.train(
        model.to(p.device),
        torch.from_numpy(pixels),
        torch.from_numpy(labels),
        samples=samples,
        batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=DECAY,
        seed=seed,
    )
    return vgg.merge_batch_norm(model.cpu())


@step(
    *RECIPE,
    "narrow_samples",
    needs=[faces.of(lambda s, seed: [()])],
    title="narrow networks",
    work=lambda s, seed: s.p.narrow_samples,
)
def plain(s: Study, seed: int) -> vgg.VGG16:
    """The network of a seed, trained on the faces as they are."""
    shown = part(s, "train")
    return train(s.p, shown.pixels.values, shown.label.values, s.p.narrow_samples, seed)


def logits(model: vgg.VGG16, pixels: np.ndarray) -> np.ndarray:
    """Logits `(N, 2)` float32 of images `(N, 3, H, W)`, uint8 or float in 0..255."""
    return training.predict(model, torch.from_numpy(pixels)).numpy()


def explain(
    s: Study, model: vgg.VGG16, pixels: np.ndarray, method: str, targets: np.ndarray | None = None
) -> torch.Tensor:
    """Signed maps `(N, y, x)` float32 on the CPU of the predicted classes, or of `targets` `(N,)`.

    `method` is one of `attribution.COMPOSITES` or `attribution.METHODS`.
    """
    targets = logits(model, pixels).argmax(1) if targets is None else targets
    images = vgg.normalise(torch.from_numpy(pixels)).to(s.p.device)
    targets = torch.from_numpy(targets).to(s.p.device)
    return attribution.attribute(model, images, targets, method, **vgg.bounds(method))


def scores(s: Study, model: vgg.VGG16, pixels: np.ndarray, name: str, by: str) -> torch.Tensor:
    """What a method or control ranks pixels by, `(N, y, x)`, for the predicted classes; see `attribution.scores`."""
    images = vgg.normalise(torch.from_numpy(pixels)).to(s.p.device)
    targets = torch.from_numpy(logits(model, pixels).argmax(1)).to(s.p.device)
    options = {"by": by, "seed": SEED, "composite": s.p.composite} | vgg.bounds("epsilon_gamma_box")
    return attribution.scores(model, images, targets, [name], **options)[name]


def removed(pixels: np.ndarray, mask: np.ndarray | torch.Tensor, colour: np.ndarray) -> np.ndarray:
    """Images `(N, 3, H, W)` uint8 with the masked pixels `(N, H, W)` in one colour `(3,)`, 0..255."""
    fill = colour.round().astype(np.uint8)[None, :, None, None]
    return np.where(np.asarray(mask)[:, None], fill, pixels)


def mean_row(s: Study, values: np.ndarray, people: np.ndarray, name: str) -> dict[str, float]:
    """Mean of `values (network, image)` of networks that differ in their seed alone, as {name, low, high}."""
    alike = ["network"] * len(values)
    return inference.mean(values, people, alike, n=inference.QUICK_DRAWS).row(name, s.p.confidence)


def means(s: Study, values: xr.DataArray, people: np.ndarray, name: str, columns: list[str]) -> pd.DataFrame:
    """`mean_row` over `seed` and `image` for every entry of the other dimensions: `columns`, name, low, high."""
    rest = [dim for dim in values.dims if dim not in ("seed", "image")]
    entries = [dict(zip(rest, at, strict=True)) for at in product(*(values[dim].values for dim in rest))]
    values = values.transpose(..., "seed", "image")
    rows = [at | mean_row(s, values.sel(at).values, people, name) for at in entries]
    return pd.DataFrame(rows, columns=[*columns, name, "low", "high"])
