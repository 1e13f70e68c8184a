"""Remove and retrain (ROAR: Hooker et al. 2019, arXiv:1806.10758): what a network can still learn without the pixels.

A masked image is unlike any that the network was trained on, so a drop in accuracy may be due to the strangeness of
the image rather than to the loss of information. Therefore the pixels are removed from all training and test images
and a new network is trained from scratch. Every network explains its own training and test images (the predicted
class); the new network has the same seed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from analysis import inference, masking
from study import Study, narrow, parallel

CODE = (
    "analysis.masking",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    "study.narrow",
    "study.retrain",
)
CONTROL = "random"
KINDS = {"retrained": "retrained without the pixels", "masked": "not retrained"}
DRAWS = 500


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """The accuracy left when the top pixels of every ranking are removed.

    Returns:
        `accuracy`: ranking, percent (0: nothing removed), network ("retrained", "masked": not retrained), accuracy,
        low, high. `difference`: ranking, network, the accuracy lost beyond random removal, mean over percents
        (positive: the ranking finds what networks need), low, high; without the rows of "random".
    """
    p = study.parameters
    seeds = range(p.retrain_seeds)
    parallel.each(
        plain, [(study, s) for s in seeds], [p.narrow_samples] * len(seeds), "networks", p.workers, p.threads
    )
    jobs = [(study, method, seed) for method in methods(study) for seed in seeds]
    size = p.narrow_samples * len(p.retrain_percents)
    parallel.each(retrain, jobs, [size] * len(jobs), "networks without the pixels", p.workers, p.threads)
    return {"accuracy": _accuracies(study), "difference": _differences(study)}


def methods(study: Study) -> tuple[str, ...]:
    """The rankings: `retrain_methods`, and random pixels in any case."""
    return tuple(dict.fromkeys((*study.parameters.retrain_methods, CONTROL)))


def plain(study: Study, seed: int) -> None:
    """Make the network of a seed; see `narrow.plain`."""
    narrow.plain(study.parameters, study.store, seed)
    parallel.progress(study.parameters.narrow_samples)


def without(pixels: np.ndarray, scores, percent: float, colour: np.ndarray) -> np.ndarray:
    """Images `(N, 3, H, W)` uint8 whose `masking.count(percent, H * W)` top pixels have one colour `(3,)`."""
    return narrow.removed(pixels, masking.select(scores, percent, seed=narrow.SEED), colour)


def retrain(study: Study, method: str, seed: int) -> xr.Dataset:
    """Is each test image classified correctly, `retrained` and `masked` `(percent, image)`?"""
    p = study.parameters

    def make() -> xr.Dataset:
        model = narrow.plain(p, study.store, seed)
        train, test = (_part(study, split) for split in ("train", "test"))
        scores = [
            narrow.scores(p, model, part.pixels.values, method, list(part.identity.values))
            for part in (train, test)
        ]
        colour = train.pixels.values.mean((0, 2, 3))
        found: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
        for percent in p.retrain_percents:
            seen, shown = (
                without(part.pixels.values, s, percent, colour)
                for part, s in zip((train, test), scores, strict=True)
            )
            again = narrow.train(p, seen, train.label.values, seed)
            for name, network in (("retrained", again), ("masked", model)):
                found[name].append(narrow.logits(network, shown).argmax(1) == test.label.values)
            parallel.progress(p.narrow_samples)
        return xr.Dataset(
            {name: (("percent", "image"), np.array(rows)) for name, rows in found.items()},
            coords={"percent": list(p.retrain_percents)},
        )

    inputs = narrow.inputs(p, study.store) | p.inputs("retrain_percents", "ranking")
    inputs |= {"method": method, "seed": seed} | ({"composite": p.composite} if method == "average" else {})
    return study.store.dataset("retrained", inputs, CODE, make)


def _part(study: Study, split: str) -> xr.Dataset:
    faces = narrow.faces(study.parameters, study.store)
    return faces.isel(image=faces.split.values == split)


def _accuracies(study: Study) -> pd.DataFrame:
    p, test = study.parameters, _part(study, "test")
    untouched = np.array(
        [
            narrow.logits(narrow.plain(p, study.store, seed), test.pixels.values).argmax(1)
            == test.label.values
            for seed in range(p.retrain_seeds)
        ]
    )
    rows = []
    for method in methods(study):
        found = _found(study, method)
        for name in KINDS:
            curve = {0.0: untouched} | {q: found[name].sel(percent=q).values for q in p.retrain_percents}
            for percent, values in curve.items():
                row = {"ranking": method, "percent": percent, "network": name}
                rows.append(row | _interval(study, values.astype(float), "accuracy"))
    return pd.DataFrame(rows)


def _differences(study: Study) -> pd.DataFrame:
    rows, control = [], _found(study, CONTROL).mean("percent")
    for method in methods(study):
        if method != CONTROL:
            lost = control - _found(study, method).mean("percent")
            for name in KINDS:
                rows.append(
                    {"ranking": method, "network": name} | _interval(study, lost[name].values, "lost")
                )
    return pd.DataFrame(rows, columns=["ranking", "network", "lost", "low", "high"])


def _found(study: Study, method: str) -> xr.Dataset:
    seeds = range(study.parameters.retrain_seeds)
    found = xr.concat([retrain(study, method, seed).load() for seed in seeds], "seed")
    return found.astype(float).transpose("percent", "seed", "image")


def _interval(study: Study, values: np.ndarray, name: str) -> dict[str, float]:
    people = _part(study, "test").identity.values
    estimate = inference.mean(values, people, ["network"] * len(values), n=DRAWS)
    low, high = estimate.interval(study.parameters.confidence)
    return {name: float(estimate.value), "low": float(low), "high": float(high)}
