"""Remove and retrain (ROAR: Hooker et al. 2019, arXiv:1806.10758): what a network can still learn without the pixels.

A masked image is unlike any that the network was trained on, so a drop in accuracy may be due to the strangeness of
the image rather than to the loss of information. Therefore the pixels are removed from all training and test images
and a new network is trained from scratch. Every network explains its own training and test images (the predicted
class); the new network has the same seed.
"""

from __future__ import annotations

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


# ------------------------------------------------------------ tables


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The accuracy left when the top pixels of every ranking are removed.

    Returns:
        `accuracy`: ranking, percent (0: nothing removed), network ("retrained", "masked": not retrained), accuracy,
        low, high. `difference`: ranking, network, the accuracy lost beyond random removal, mean over percents
        (positive: the ranking finds what networks need), low, high; without the rows of "random".
    """
    retrain.each(s, product(methods(s), range(s.p.retrain_seeds)))
    return {"accuracy": _accuracies(s), "difference": _differences(s)}


def _accuracies(s: Study) -> pd.DataFrame:
    test, rows = narrow.part(s, "test"), []
    plain = [narrow.plain(s, seed).to(s.p.device) for seed in range(s.p.retrain_seeds)]
    untouched = [narrow.logits(model, test.pixels.values).argmax(1) == test.label.values for model in plain]
    for method, name in product(methods(s), KINDS):
        removed = _correct(s, method)[name]
        curve = {0.0: np.array(untouched, dtype=float)}
        curve |= {percent: removed.sel(percent=percent).values for percent in s.p.retrain_percents}
        for percent, values in curve.items():
            row = {"ranking": method, "percent": percent, "network": name}
            rows.append(row | narrow.mean_row(s, values, test.identity.values, "accuracy"))
    return pd.DataFrame(rows)


def _differences(s: Study) -> pd.DataFrame:
    people, rows = narrow.part(s, "test").identity.values, []
    control = _correct(s, CONTROL).mean("percent")
    for method, name in product(methods(s), KINDS):
        if method != CONTROL:
            lost = (control - _correct(s, method).mean("percent"))[name].values
            rows.append({"ranking": method, "network": name} | narrow.mean_row(s, lost, people, "lost"))
    return pd.DataFrame(rows, columns=["ranking", "network", "lost", "low", "high"])


def _correct(s: Study, method: str) -> xr.Dataset:
    """`retrain` of every seed, as numbers: dimensions `(percent, seed, image)`."""
    whole = retrain.all(s, [(method, seed) for seed in range(s.p.retrain_seeds)], "seed")
    return whole.astype(float).transpose("percent", "seed", "image")
