"""Remove and retrain (ROAR: Hooker et al. 2019, arXiv:1806.10758): what a network can still learn without the pixels.

A masked image is unlike any that the network was trained on, so a drop in accuracy may be due to the strangeness of
the image rather than to the loss of information. Therefore the pixels are removed from all training and test images
and a new network is trained from scratch. Every network explains its own training and test images (the predicted
class); the new network has the same seed.
"""

from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, field_validator

from analysis import masking
from study import narrow
from study.settings import Explainer, Percent, Settings, ascending, once
from study.steps import Study, step

CONTROL = "random"
KINDS = {"retrained": "retrained without the pixels", "masked": "not retrained"}


class Retrain(Settings):
    """Which pixels are removed, and how many networks are trained without them."""

    retrain_methods: tuple[Literal[Explainer, "random", "centre", "average", "edges"], ...] = Field(
        ("epsilon_plus", "random"),
        min_length=1,
        description="rankings by which pixels are removed to retrain",
    )
    retrain_percents: tuple[Percent, ...] = Field(
        (30.0,), min_length=1, description="share of pixels removed to retrain, %"
    )
    retrain_seeds: int = Field(2, ge=2, le=50, description="retrained networks for each ranking and share")

    _retrain_percents = field_validator("retrain_percents")(ascending)
    _retrain_methods = field_validator("retrain_methods")(once)


@step(
    *(*narrow.RECIPE, "narrow_samples", "retrain_percents", "ranking", "composite"),
    needs=[narrow.plain.of(lambda s, method, seed: [(seed,)]), narrow.faces.of(lambda s, method, seed: [()])],
    title="networks without the pixels",
    work=lambda s, method, seed: s.p.narrow_samples * len(s.p.retrain_percents),
)
def retrain(s: Study, method: str, seed: int) -> xr.Dataset:
    """Is each test image classified correctly, `retrained` and `masked` `(percent, image)`?"""
    p, model = s.p, narrow.plain(s, seed).to(s.p.device)
    train, test = (narrow.part(s, split) for split in ("train", "test"))
    parts = [
        (part.pixels.values, narrow.scores(s, model, part.pixels.values, method, p.ranking))
        for part in (train, test)
    ]
    colour = train.pixels.values.mean((0, 2, 3))
    correct: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
    for percent in p.retrain_percents:
        seen, shown = (without(pixels, scores, percent, colour) for pixels, scores in parts)
        again = narrow.train(p, seen, train.label.values, p.narrow_samples, seed).to(p.device)
        for name, network in (("retrained", again), ("masked", model)):
            correct[name].append(narrow.logits(network, shown).argmax(1) == test.label.values)
    return xr.Dataset(
        {name: (("percent", "image"), np.array(rows)) for name, rows in correct.items()},
        coords={"percent": list(p.retrain_percents)},
    )


def without(pixels: np.ndarray, scores, percent: float, colour: np.ndarray) -> np.ndarray:
    """Images `(N, 3, H, W)` uint8 whose `masking.count(percent, H * W)` top pixels have one colour `(3,)`."""
    return narrow.removed(pixels, masking.select(scores, percent, seed=narrow.SEED), colour)


def methods(s: Study) -> tuple[str, ...]:
    """The rankings: `retrain_methods`, and random pixels in any case."""
    return tuple(dict.fromkeys((*s.p.retrain_methods, CONTROL)))


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The accuracy left when the top pixels of every ranking are removed.

    Returns:
        `accuracy`: ranking, percent (0: nothing removed), network ("retrained", "masked": not retrained), accuracy,
        low, high. `difference`: ranking, network, the accuracy lost beyond random removal, mean over percents
        (positive: the ranking finds what networks need), low, high; without the rows of "random".
    """
    names, seeds = list(methods(s)), range(s.p.retrain_seeds)
    test = narrow.part(s, "test")
    retrain.each(s, product(names, seeds))
    correct = [retrain.all(s, product([method], seeds), "seed") for method in names]
    left = xr.concat(correct, xr.Variable("ranking", names))[list(KINDS)].to_array("network").astype(float)
    left = left.transpose("ranking", "network", "percent", "seed", "image")
    plain = [narrow.logits(narrow.plain(s, k).to(s.p.device), test.pixels.values).argmax(1) for k in seeds]
    whole = xr.full_like(left.isel(percent=[0]), 0.0).assign_coords(percent=[0.0])
    whole = xr.concat([whole + (np.array(plain) == test.label.values), left], "percent")
    left, people = left.mean("percent"), test.identity.values
    lost = left.sel(ranking=CONTROL) - left.drop_sel(ranking=CONTROL)
    return {
        "accuracy": narrow.means(s, whole, people, "accuracy", ["ranking", "percent", "network"]),
        "difference": narrow.means(s, lost.transpose("ranking", ...), people, "lost", ["ranking", "network"]),
    }
