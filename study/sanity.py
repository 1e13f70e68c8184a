"""Sanity checks of attribution maps (Adebayo et al. 2018, arXiv:1810.03292): do maps depend on what was learned?

Weights are randomised layer by layer from the top, and networks are trained on permuted labels. A map that hardly
changes explains the image, not the network; rules with z+ are known to (Sixt et al. 2020, arXiv:1912.09818).
"""

import copy
from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field, field_validator

from analysis import likeness, masking
from study import narrow, vgg
from study.settings import Explainer, Settings, ascending, once
from study.steps import Study, step

LAYERS = 16
EDGES = "edges"
MEASURES = {"spearman": "rank correlation of signed maps", "overlap": "overlap of the top pixels"}
LABELS = {
    "other seed": "same labels, other seed",
    "permuted": "permuted labels, other seed",
    "fall": "the fall",
}
COMPARISONS = ("other seed", "permuted")


class Sanity(Settings):
    """Which methods are checked, and on how many networks."""

    sanity_methods: tuple[Explainer, ...] = Field(
        ("epsilon_plus", "epsilon_alpha2_beta1", "gradient"),
        min_length=1,
        description="methods put to the sanity checks",
    )
    sanity_depths: tuple[Annotated[int, Field(ge=1, le=LAYERS)], ...] = Field(
        (1, 3, 16), min_length=1, description="how many of the 16 layers, from the top, have random weights"
    )
    sanity_seeds: int = Field(2, ge=2, le=50, description="networks in the sanity checks")
    sanity_label_people: int = Field(
        200,
        ge=20,
        le=100000,
        description="people whose labels are permuted, few enough to be learned by heart",
    )
    sanity_label_epochs: int = Field(15, ge=1, le=1000, description="times that each of them is shown")

    _sanity_depths = field_validator("sanity_depths")(ascending)
    _sanity_methods = field_validator("sanity_methods")(once)


def images(s: Study) -> xr.Dataset:
    """The faces explained: one image of each test person."""
    return narrow.part(s, "test").isel(image=slice(None, None, narrow.VIEWS))


def alike(first: torch.Tensor, others: torch.Tensor, percent: float) -> np.ndarray:
    """Likeness `(2, D, N)` of maps `(N, y, x)` to D others `(D, N, y, x)`: Spearman's rho, overlap of the top.

    The overlap is that of the `percent` of pixels with the most positive relevance. A constant map ranks no pixel
    above another and has no correlation: 0.
    """
    rho = np.nan_to_num(likeness.spearman(first[None].numpy(), others.numpy())[0])
    top, tops = (
        torch.stack([masking.rank(m, "positive") for m in maps]).numpy() for maps in (first[None], others)
    )
    return np.stack([rho, likeness.top_overlap(top, tops, percent=percent, seed=narrow.SEED)[0]])


# ------------------------------------------------------------ weights


@step(
    *("sanity_depths", "overlap_percent", "composite"),
    needs=[narrow.plain.of(lambda s, method, seed: [(seed,)]), narrow.faces.of(lambda s, method, seed: [()])],
    title="cascades",
)
def cascade(s: Study, method: str, seed: int) -> xr.Dataset:
    """Likeness `(measure, depth, image)` of maps to the trained network's, of the class that it predicts."""
    p, pixels = s.p, images(s).pixels.values
    model, depths = narrow.plain(s, seed).to(s.p.device), [0, *s.p.sanity_depths]
    targets = narrow.logits(model, pixels).argmax(1)
    if method == EDGES:  # beside the default method's maps: what a map that knows no network gets
        first = narrow.explain(s, model, pixels, p.composite, targets)
        maps = narrow.scores(s, model, pixels, EDGES, "signed").expand(len(depths), *first.shape)
    else:
        networks = [randomised(model, depth, seed) for depth in depths]
        maps = torch.stack([narrow.explain(s, network, pixels, method, targets) for network in networks])
        first = maps[0]
    return xr.Dataset(
        {"likeness": (("measure", "depth", "image"), alike(first, maps, p.overlap_percent))},
        coords={"depth": depths, "measure": list(MEASURES)},
    )


def randomised(model: vgg.VGG16, depth: int, seed: int) -> vgg.VGG16:
    """A copy whose last `depth` (0..16) layers with weights are random, as in `vgg.randomise`, the rest as learned."""
    result, random = copy.deepcopy(model), vgg.randomise(model, seed)
    learned, drawn = (
        [m for m in vgg.sequential(network) if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for network in (result, random)
    )
    for layer, other in zip(learned[LAYERS - depth :], drawn[LAYERS - depth :], strict=True):
        layer.load_state_dict(other.state_dict())
    return result.eval()


# ------------------------------------------------------------ labels


@step(
    *(*narrow.RECIPE, "sanity_label_people", "sanity_label_epochs"),
    needs=[narrow.faces.of(lambda s, seed, permuted: [()])],
    title="networks by heart",
    work=lambda s, seed, permuted: s.p.sanity_label_people * s.p.sanity_label_epochs,
)
def learned(s: Study, seed: int, permuted: bool) -> vgg.VGG16:
    """A network that has learned the labels of few people by heart, their own or permuted ones."""
    pixels, labels = few(s, seed, permuted)
    return narrow.train(s.p, pixels, labels, len(labels) * s.p.sanity_label_epochs, seed)


def few(s: Study, seed: int, permuted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Training images `(N, 3, H, W)` of the first `sanity_label_people` and their labels, or these permuted."""
    faces = narrow.faces(s).isel(image=slice(s.p.sanity_label_people))
    labels = faces.label.values
    return faces.pixels.values, np.random.default_rng(seed).permutation(labels) if permuted else labels


@step(
    *("sanity_seeds", "overlap_percent"),
    needs=[
        learned.of(lambda s, method: product(range(s.settings.sanity_seeds), (False, True))),
        narrow.faces.of(lambda s, method: [()]),
    ],
    title="permuted labels",
)
def labels(s: Study, method: str) -> xr.Dataset:
    """Likeness `(comparison, measure, seed, image)` of each true-label network's maps to others' maps.

    Others: the networks of the next seed, with true labels and with permuted ones; so they differ in labels alone.
    """
    p, pixels = s.p, images(s).pixels.values
    right, wrong = (
        [learned(s, seed, permuted).to(p.device) for seed in range(p.sanity_seeds)]
        for permuted in (False, True)
    )
    values = []
    for seed, network in enumerate(right):
        targets, other = narrow.logits(network, pixels).argmax(1), (seed + 1) % p.sanity_seeds
        compared = (network, right[other], wrong[other])
        maps = torch.stack([narrow.explain(s, each, pixels, method, targets) for each in compared])
        values.append(alike(maps[0], maps[1:], p.overlap_percent))
    return xr.Dataset(
        {"likeness": (("seed", "measure", "comparison", "image"), np.array(values))},
        coords={"comparison": list(COMPARISONS), "measure": list(MEASURES)},
    )


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """How alike maps are to those of the trained network, as that is randomised or was trained on nonsense.

    Returns:
        `cascade`: method ("edges": the map of edges, which needs no network), depth (layers randomised from the top; 0:
        the network itself), measure ("spearman" of signed maps, "overlap" of the top `overlap_percent`), likeness,
        low, high. `labels`: method, comparison ("other seed", "permuted"), measure, likeness, low, high; and as
        comparison "fall" the first minus the second. `training`: labels, seed, accuracy on its own training images,
        accuracy on test images.
    """
    methods, seeds, people = s.p.sanity_methods, range(s.p.sanity_seeds), images(s).identity.values
    every = [*methods, EDGES]
    cascade.each(s, product(every, seeds))
    cascades = [cascade.all(s, product([method], seeds), "seed").likeness for method in every]
    cascades = xr.concat(cascades, xr.Variable("method", every)).transpose("method", "measure", "depth", ...)
    compared = labels.all(s, product(methods), "method").likeness.assign_coords(method=list(methods))
    same, permuted = (compared.sel(comparison=name) for name in COMPARISONS)
    compared = xr.concat([compared, (same - permuted).assign_coords(comparison="fall")], "comparison")
    compared = compared.transpose("method", "measure", "comparison", ...)
    return {
        "cascade": narrow.means(s, cascades, people, "likeness", ["method", "depth", "measure"]),
        "labels": narrow.means(s, compared, people, "likeness", ["method", "comparison", "measure"]),
        "training": _training(s),
    }


def _training(s: Study) -> pd.DataFrame:
    test, rows = narrow.part(s, "test"), []
    for permuted, seed in product((False, True), range(s.p.sanity_seeds)):
        row, model = {"labels": "permuted" if permuted else "true", "seed": seed}, learned(s, seed, permuted)
        shown = {"training": few(s, seed, permuted), "test": (test.pixels.values, test.label.values)}
        for name, (pixels, targets) in shown.items():
            row[name] = (narrow.logits(model.to(s.p.device), pixels).argmax(1) == targets).mean()
        rows.append(row)
    return pd.DataFrame(rows)
