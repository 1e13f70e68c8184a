"""Sanity checks of attribution maps (Adebayo et al. 2018, arXiv:1810.03292): do maps depend on what was learned?

Weights are randomised layer by layer from the top, and networks are trained on permuted labels. A map that hardly
changes explains the image, not the network; rules with z+ are known to (Sixt et al. 2020, arXiv:1912.09818).
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from analysis import inference, likeness, masking
from study import Study, narrow, parallel, vgg, weights

CODE = (
    "analysis.lrp",
    "analysis.masking",
    "study.vgg",
    "study.weights",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    "study.narrow",
    "study.sanity",
)
LAYERS = 16
EDGES = "edges"
MEASURES = {"spearman": "rank correlation of signed maps", "overlap": "overlap of the top pixels"}
LABELS = {
    "other seed": "same labels, other seed",
    "permuted": "permuted labels, other seed",
    "fall": "the fall",
}
COMPARISONS = ("other seed", "permuted")
DRAWS = 500


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """How alike maps are to those of the trained network, as that is randomised or was trained on nonsense.

    Returns:
        `cascade`: method ("edges": the map of edges, which needs no network), depth (layers randomised from the top; 0:
        the network itself), measure ("spearman" of signed maps, "overlap" of the top `overlap_percent`), similarity,
        low, high. `labels`: method, comparison ("other seed", "permuted"), measure, similarity, low, high; and as
        comparison "fall" the first minus the second. `training`: labels, seed, accuracy on its own training images,
        accuracy on test images.
    """
    p = study.parameters
    jobs = [(study, method, seed) for method in (*p.sanity_methods, EDGES) for seed in range(p.sanity_seeds)]
    trained = [(study, seed, permuted) for seed in range(p.sanity_seeds) for permuted in (False, True)]
    size = p.sanity_label_people * p.sanity_label_epochs
    seeds = [(study, seed) for seed in range(p.sanity_seeds)]
    parallel.each(plain, seeds, [p.narrow_samples] * len(seeds), "networks", p.workers, p.threads)
    parallel.each(learned, trained, [size] * len(trained), "networks by heart", p.workers, p.threads)
    parallel.each(cascade, jobs, [len(p.sanity_depths) + 1] * len(jobs), "cascades", p.workers, p.threads)
    methods = [(study, method) for method in p.sanity_methods]
    parallel.each(labels, methods, [1.0] * len(methods), "permuted labels", p.workers, p.threads)
    return {"cascade": _cascades(study), "labels": _labels(study), "training": _training(study)}


def plain(study: Study, seed: int) -> None:
    """Make the network of a seed; see `narrow.plain`."""
    narrow.plain(study.parameters, study.store, seed)
    parallel.progress(study.parameters.narrow_samples)


def images(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """The images explained: one of each test person, `(N, 3, H, W)` uint8, and identities `(N,)`."""
    faces = narrow.faces(study.parameters, study.store)
    faces = faces.isel(image=np.flatnonzero(faces.split.values == "test")[:: narrow.VIEWS])
    return faces.pixels.values, faces.identity.values


# ------------------------------------------------------------ weights


def randomised(model: vgg.VGG16, depth: int, seed: int) -> vgg.VGG16:
    """A copy whose last `depth` layers with weights are random, as in `vgg.randomise`; the rest is as learned.

    ValueError unless depth is in 0..16.
    """
    if not 0 <= depth <= LAYERS:
        raise ValueError(f"depth is {depth}; VGG-16 has 0..{LAYERS} layers to randomise")
    result, random = copy.deepcopy(model), vgg.randomise(model, seed)
    learned, drawn = (
        [m for m in vgg.sequential(network) if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for network in (result, random)
    )
    for layer, other in zip(learned[LAYERS - depth :], drawn[LAYERS - depth :], strict=True):
        layer.load_state_dict(other.state_dict())
    return result.eval()


def cascade(study: Study, method: str, seed: int) -> xr.Dataset:
    """Similarity `(measure, depth, image)` of maps of the class that the trained network predicts."""
    p = study.parameters

    def make() -> xr.Dataset:
        pixels, identities = images(study)
        model = narrow.plain(p, study.store, seed)
        targets = narrow.logits(model, pixels).argmax(1)
        if method == EDGES:  # beside the default method's maps: what a map that knows no network gets
            maps = [narrow.scores(p, model, pixels, EDGES, list(identities)).numpy()] * (
                len(p.sanity_depths) + 1
            )
            first = narrow.explain(p, model, pixels, p.composite, targets)
        else:
            networks = [randomised(model, depth, seed) for depth in (0, *p.sanity_depths)]
            maps = [narrow.explain(p, network, pixels, method, targets) for network in networks]
            first = maps[0]
        parallel.progress(len(maps))
        return xr.Dataset(
            {"similarity": (("measure", "depth", "image"), alike(first, np.array(maps), p.overlap_percent))},
            coords={"depth": [0, *p.sanity_depths], "measure": list(MEASURES)},
        )

    inputs = narrow.inputs(p, study.store) | {"method": method, "seed": seed}
    inputs |= p.inputs("sanity_depths", "overlap_percent") | (
        {"composite": p.composite} if method == EDGES else {}
    )
    return study.store.dataset("sanity_cascade", inputs, CODE, make)


def alike(first: np.ndarray, others: np.ndarray, percent: float) -> np.ndarray:
    """Similarity `(2, D, N)` of maps `(N, y, x)` with D others `(D, N, y, x)`: Spearman's rho, overlap of the top.

    The overlap is that of the `percent` of pixels with the most positive relevance. A constant map ranks no pixel
    above another and has no correlation: 0.
    """
    rho = np.nan_to_num(likeness.spearman(first[None], others)[0])
    top = [masking.rank(torch.from_numpy(maps), "positive").numpy() for maps in (first, *others)]
    overlap = likeness.top_overlap(np.array(top[:1]), np.array(top[1:]), percent=percent, seed=narrow.SEED)[0]
    return np.stack([rho, overlap])


# ------------------------------------------------------------ labels


def learned(study: Study, seed: int, permuted: bool) -> vgg.VGG16:
    """A network that has learned the labels of few people by heart, their own or permuted ones."""
    p = study.parameters

    def make(folder: Path) -> None:
        pixels, labels = few(study, seed, permuted)
        model = narrow.train(p, pixels, labels, seed, samples=len(labels) * p.sanity_label_epochs)
        weights.save(model, folder / narrow.WEIGHTS)
        parallel.progress(len(labels) * p.sanity_label_epochs)

    inputs = narrow.inputs(p, study.store) | {"seed": seed, "permuted": permuted}
    inputs |= p.inputs("sanity_label_people", "sanity_label_epochs")
    path = study.store.folder(
        "sanity_network",
        inputs,
        ("study.vgg", "study.weights", "study.training", "study.narrow", "study.sanity"),
        make,
    )
    return weights.load(path / narrow.WEIGHTS).to(p.device)


def few(study: Study, seed: int, permuted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Training images `(N, 3, H, W)` of the first `sanity_label_people` and their labels, or these permuted."""
    faces = narrow.faces(study.parameters, study.store)
    faces = faces.isel(image=slice(study.parameters.sanity_label_people))
    labels = faces.label.values
    return faces.pixels.values, np.random.default_rng(seed).permutation(labels) if permuted else labels


def labels(study: Study, method: str) -> xr.Dataset:
    """Similarity `(comparison, measure, seed, image)` of each true-label network's maps with others' maps.

    Others: the networks of the next seed, with true labels and with permuted ones; so they differ in labels alone.
    """
    p = study.parameters

    def make() -> xr.Dataset:
        pixels, _ = images(study)
        seeds = range(p.sanity_seeds)
        right, wrong = ([learned(study, seed, permuted) for seed in seeds] for permuted in (False, True))
        found = np.empty((len(COMPARISONS), len(MEASURES), p.sanity_seeds, len(pixels)))
        for seed in seeds:
            targets = narrow.logits(right[seed], pixels).argmax(1)
            other = (seed + 1) % p.sanity_seeds
            networks = (right[seed], right[other], wrong[other])
            first, *others = (narrow.explain(p, network, pixels, method, targets) for network in networks)
            found[:, :, seed] = alike(first, np.array(others), p.overlap_percent).swapaxes(0, 1)
        parallel.progress(1.0)
        dims = ("comparison", "measure", "seed", "image")
        return xr.Dataset(
            {"similarity": (dims, found)}, coords={"comparison": list(COMPARISONS), "measure": list(MEASURES)}
        )

    inputs = narrow.inputs(p, study.store) | {"method": method}
    inputs |= p.inputs("sanity_seeds", "sanity_label_people", "sanity_label_epochs", "overlap_percent")
    return study.store.dataset("sanity_labels", inputs, CODE, make)


# ------------------------------------------------------------ tables


def _cascades(study: Study) -> pd.DataFrame:
    p = study.parameters
    rows = []
    for method in (*p.sanity_methods, EDGES):
        found = xr.concat([cascade(study, method, seed).load() for seed in range(p.sanity_seeds)], "seed")
        for measure in MEASURES:
            for depth in found.depth.values:
                values = found.similarity.sel(measure=measure, depth=depth).transpose("seed", "image").values
                row = {"method": method, "depth": int(depth), "measure": measure}
                rows.append(row | _interval(study, values))
    return pd.DataFrame(rows)


def _labels(study: Study) -> pd.DataFrame:
    rows = []
    for method in study.parameters.sanity_methods:
        found = labels(study, method).similarity.load()
        for measure in MEASURES:
            same, permuted = (found.sel(comparison=c, measure=measure).values for c in COMPARISONS)
            for name, values in (("other seed", same), ("permuted", permuted), ("fall", same - permuted)):
                row = {"method": method, "comparison": name, "measure": measure}
                rows.append(row | _interval(study, values))
    return pd.DataFrame(rows)


def _interval(study: Study, values: np.ndarray) -> dict[str, float]:
    estimate = inference.mean(values, images(study)[1], ["network"] * len(values), n=DRAWS)
    low, high = estimate.interval(study.parameters.confidence)
    return {"similarity": float(estimate.value), "low": float(low), "high": float(high)}


def _training(study: Study) -> pd.DataFrame:
    p = study.parameters
    faces = narrow.faces(p, study.store)
    faces = faces.isel(image=faces.split.values == "test")
    rows = []
    for permuted in (False, True):
        for seed in range(p.sanity_seeds):
            model = learned(study, seed, permuted)
            pixels, targets = few(study, seed, permuted)
            rows.append(
                {
                    "labels": "permuted" if permuted else "true",
                    "seed": seed,
                    "training": (narrow.logits(model, pixels).argmax(1) == targets).mean(),
                    "test": (
                        narrow.logits(model, faces.pixels.values).argmax(1) == faces.label.values
                    ).mean(),
                }
            )
    return pd.DataFrame(rows)
