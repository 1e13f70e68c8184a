"""Canaries: small fixed inputs and the numbers they give, kept beside every stored experiment.

A stored result is current while the code that made it still gives these numbers, however that code is arranged. Inputs
and weights are drawn by numpy, so that they are the same on every machine. Integers and text must be equal; fractions
may differ by a share, the canary's tolerance, of the largest beside them, as processors and numbers of threads add in
other orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

import faces
from analysis import attribution as attributing
from analysis import dissimilarity, inference, likeness, lrp, masking, rsa, transfer
from analysis import evidence as ground_truth
from faces import factors
from faces import shortcuts as cues
from study import (
    calibration,
    certainty,
    claims,
    consensus,
    narrow,
    observers,
    planted,
    retrain,
    sanity,
    shortcuts,
    training,
    truth,
    vgg,
)
from study import masking as masked
from study.grid import Cell
from study.humans import OBSERVER_WEIGHTS
from study.relevance import SEED
from study.steps import Study, step
from study.verdicts import CONTRADICTED, INCONCLUSIVE, SUPPORTED, Region
from study.verdicts import combined as verdict

Numbers = dict[str, list]  # what a canary gives, by key

# Seen between AVX-512, AVX2 and SSE, 1 and 2 threads: 1e-12, 2e-6, 4e-6, and for drawn pixels nothing.
DOUBLE = 1e-6  # float64 throughout; seven digits are kept
SINGLE = 1e-4  # float32 through up to 16 layers, some of which divide
STEPS = 1e-4  # float64, but losses and images are float32, and AdamW makes small gradients large
# Means over 16 pixels or more; one pixel rounded to the next grey level moves them by 3e-4 or less.
DRAWN = 5e-4
TRAINED = ("truth", "shortcuts", "sanity", "retrain", "multiverse")  # these train and explain networks
EVERY = (*TRAINED, "calibration")
CANARIES: dict[str, Callable[[], dict]] = {}
TOLERANCES: dict[str, float] = {}
OF: dict[str, list[str]] = {experiment: [] for experiment in EVERY}  # the canaries that stand for each
OF["replications"] = OF["multiverse"]  # both are ledgers of claims


def canary(tolerance: float, *experiments: str) -> Callable:
    """Registers a function that gives things by name: arrays, tables, estimates, networks, or such by name."""

    def register(function: Callable[[], dict]) -> Callable[[], dict]:
        name = function.__name__
        CANARIES[name], TOLERANCES[name] = function, tolerance
        for experiment in experiments:
            OF[experiment].append(name)
        return function

    return register


def given(name: str) -> Numbers:
    """What a canary gives now, as JSON can hold it; None for what is not finite."""
    return {key: _listed(values) for key, values in _told("", CANARIES[name]())}


@step(title="canaries")
def numbers(s: Study) -> dict[str, Numbers]:
    """What every canary gives, `{canary: {key: numbers}}`: computed once for every state of the code."""
    return {name: given(name) for name in CANARIES}


def of_experiment(s: Study, experiment: str) -> dict[str, Numbers]:
    """The numbers of the canaries that stand for a stored experiment."""
    now = numbers(s)
    return {name: now[name] for name in OF[experiment]}


def disagreements(kept: dict[str, Numbers], now: dict[str, Numbers]) -> list[str]:
    """What the numbers kept and those of now disagree on, in words; empty if in nothing.

    Keys that are new now, such as that of another control, change no old result.
    """
    said = [f"{name}: no numbers are kept" for name in now if name not in kept]
    for name, before in kept.items():
        if name not in now:
            said.append(f"{name}: there is no such canary")
            continue
        for key, values in before.items():
            if difference := _difference(values, now[name].get(key, []), TOLERANCES[name]):
                said.append(f"{name}: {key} {difference}")
    return said


def _difference(kept: list, now: list, tolerance: float) -> str:
    if len(kept) != len(now):
        return f"was {len(kept)} numbers and is {len(now)}"
    allowed = tolerance * (max((abs(x) for x in kept if isinstance(x, float)), default=0.0) or 1.0)
    for place, (a, b) in enumerate(zip(kept, now, strict=True)):
        if isinstance(a, float) and isinstance(b, float):
            if abs(a - b) > allowed:
                return f"[{place}] was {a:g} and is {b:g}; it may differ by {allowed:.2g}"
        elif a != b:
            return f"[{place}] was {a!r} and is {b!r}; it must be equal"
    return ""


def _told(key: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """The arrays by which a thing is known, each with its key."""
    if isinstance(thing, nn.Module):  # two values of each weight and their root mean square
        weights = [p.detach() for p in thing.parameters()]
        thing = {"few": torch.stack([w.flatten()[:2].sum() for w in weights])}
        thing |= {"size": torch.stack([w.square().mean().sqrt() for w in weights])}
    elif isinstance(thing, inference.Estimate):
        ends = [thing.interval(), thing.interval(0.9)]
        thing = {"value": thing.value, "parts": thing.parts, "df": thing.df, "ends": ends, "p": thing.p(0.05)}
    elif isinstance(thing, pd.DataFrame):
        thing = dict(thing.items())
    if isinstance(thing, dict):
        for name, part in thing.items():
            yield from _told(f"{key} {name}".strip(), part)
    else:
        yield key, thing


def _listed(values: Any) -> list:
    flat = np.ravel(values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)).tolist()
    return [x if not isinstance(x, float) else float(f"{x:.7g}") if math.isfinite(x) else None for x in flat]


# ------------------------------------------------------------ inputs


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _pixels(n: int, size: int) -> np.ndarray:
    """`(n, 3, size, size)` uint8: noise, lighter with every image."""
    noise = np.random.default_rng(0).integers(0, 160, (n, 3, size, size))
    return (noise + np.linspace(0, 90, n).astype(int)[:, None, None, None]).astype(np.uint8)


def _scores(n: int, side: int) -> Tensor:
    """Scores `(n, side, side)` float32 of at least 0, of which a third are 0."""
    return torch.from_numpy(_normal(5, n, side, side).clip(-0.4) + 0.4).float()


def _blocks(values: Any, fields: int = 4) -> np.ndarray:
    """Means over `fields` x `fields` fields of the last two axes, whose lengths are multiples of that."""
    values = np.asarray(values, dtype=float)
    y, x = values.shape[-2:]
    return values.reshape(*values.shape[:-2], fields, y // fields, fields, x // fields).mean((-3, -1))


def _filled(network: nn.Module, bias: float) -> nn.Module:
    """The network, in evaluation mode, with weights that keep a signal's size, and biases of size `bias`."""
    rng = np.random.default_rng(1)
    for name, tensor in network.state_dict().items():
        draws = rng.standard_normal(tuple(tensor.shape))
        if tensor.ndim > 1:
            draws *= math.sqrt(2 / tensor[0].numel())
        elif name.endswith(("running_var", "weight")):
            draws = 1 + 0.2 * np.tanh(draws)
        else:
            draws *= bias if tensor.is_floating_point() else 0
        tensor.copy_(torch.from_numpy(np.asarray(draws)))
    return network.eval()


def _vgg(classes: int = 3) -> vgg.VGG16:
    return _filled(vgg.empty(vgg.Architecture(classes, 1 / 16, 32, 12, True, narrow.DROPOUT)), 0.02)


def _small() -> nn.Sequential:
    """A float64 network for images `(N, 3, 12, 12)` with every kind of layer that relevance meets."""
    features = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()
    top = nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(8, 5), nn.ReLU()
    return _filled(nn.Sequential(*features, *top, nn.Linear(5, 3)), 0.1).double()


def _explained(
    network: nn.Module, composite: str | lrp.Composite, images: Tensor, fields: int = 4, **bounds: Any
) -> dict:
    """Maps of two targets for each of two images, and where the rest of their logits went."""
    told = lrp.LRP(network, composite, **bounds).explain(images, torch.tensor([[0, 2], [1, 0]]))
    # Rounding is in what stabilisers absorb, too: in float32 it says nothing.
    absorbed = {"absorbed": told.epsilon} if images.dtype == torch.float64 else {}
    maps = {"map": _blocks(told.relevance.sum(-3), fields)}
    return absorbed | maps | {"start": told.start, "biases": told.biases}


def _study(**parameters: Any) -> Any:
    """Stands for a study where only these parameters are read."""
    return SimpleNamespace(p=SimpleNamespace(confidence=0.95, stimulus_seed=3, **parameters))


# ------------------------------------------------------------ stimuli


@canary(DOUBLE, *TRAINED)
def people() -> dict:
    table, gender = factors.sample_identities(4, 7, first_identity=3, shift=1.5)
    evident, _ = factors.sample_identities(3, 7, evidence=["brows", "jaw"])
    return {"factors": table, "gender": gender, "planted": evident, "views": factors.sample_views(2, 2, 7)}


@canary(DRAWN, *TRAINED)
def drawn_faces() -> dict:
    made = faces.make_faces(2, 2, 32, 7)
    return {
        "pixels": _blocks(made.pixels.values[::3], 8),
        "means": made.pixels.values.mean((2, 3)),
        "parts": [(made.parts.values == k).mean() for k in range(len(made.attrs["parts"]))],
        "landmarks": made.landmarks.values[::2],
    }


@canary(DRAWN, "truth", "multiverse")
def drawn_objects() -> dict:
    made = faces.make_objects(1, 32, 3).pixels.values
    return {"grey": _blocks(made.mean(1), 2), "colour": made.mean((2, 3))}


@canary(DRAWN, "truth")
def planted_evidence() -> dict:
    """Faces whose class lies in two parts, moved to the other class, and what that changes."""
    parts, seed = ["brows", "jaw"], 7 + planted.PEOPLE_APART
    made = faces.make_faces(3, 1, 32, seed, first_identity=4, evidence=parts, shift=1.5)
    change = np.array([1.5 * f.shift if f.part in parts else 0.0 for f in faces.FACTORS], np.float32)
    other = made.factors.values + np.where(made.gender.values == "male", -1, 1)[:, None] * change
    moved = faces.render(other, made["views"].values, 32, seed).pixels.numpy()
    return {"change": _blocks(ground_truth.change(made.pixels.values, moved)), "means": moved.mean((2, 3))}


@canary(DOUBLE, "shortcuts")
def planted_shortcuts() -> dict:
    pixels, background, sides = _pixels(4, 16), _normal(3, 4, 16, 16) > 0, np.array([0, 1, 1, 0])
    agreeing = [cues.agreeing(np.arange(30) % 2, strength, 7) for strength in (shortcuts.NEUTRAL, 0.9)]
    told: dict[str, Any] = {"agreeing": np.flatnonzero(agreeing)}
    for kind in cues.KINDS:
        image, region = cues.plant(pixels, sides, background, kind), cues.region(background, kind)
        share = shortcuts.share(_normal(4, 4, 16, 16), region)
        told[kind] = {"image": _blocks(image), "region": region.sum((1, 2)), "share": share}
    return told


# ------------------------------------------------------------ networks


@canary(SINGLE, *TRAINED)
def networks() -> dict:
    """What a fixed network answers, with batch norm and with it merged, and weights drawn at random."""
    model, pixels = _vgg(), torch.from_numpy(_pixels(3, 32))
    merged, images = vgg.merge_batch_norm(model), vgg.normalise(pixels)
    with torch.inference_mode():
        hidden = vgg.sequential(merged)[:-1](images)
    return {
        "logits": training.predict(model, pixels),
        "merged": training.predict(merged, pixels),
        "hidden": hidden,
        "image": images[:, :, 0, 0],
        "new": vgg.vgg16(3, width=1 / 16, size=32, batch_norm=True, dropout=narrow.DROPOUT, seed=5),
        "classifier": vgg.new_classifier(merged, 2, 6).classifier,
        "random": vgg.randomise(merged, SEED),
        "half random": sanity.randomised(merged, 4, 3),
    }


@canary(STEPS, *TRAINED)
def first_steps() -> dict:
    """Losses of the first steps and how far they move the weights, along fixed directions.

    In float64: in float32 AdamW turns the sign of a gradient that is only rounding into a whole step.
    """
    pixels, told = torch.from_numpy(_pixels(24, 32)), {}
    for scope, augment in (("all", False), ("all", True), ("classifier", False), ("last_block", False)):
        model = _vgg(2).double()
        for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
        before = [p.detach().clone().numpy() for p in model.parameters()]
        options = {"learning_rate": narrow.RATE, "weight_decay": narrow.DECAY, "seed": 3}
        options |= {"samples": 48, "batch_size": 12, "scope": scope, "augment": augment}
        history = training.train(model, pixels, torch.arange(24) // 12, **options)
        moves = [p.detach().numpy() - b for p, b in zip(model.parameters(), before, strict=True)]
        along: dict[str, list] = {"weights": [], "biases": []}
        for k, move in enumerate(moves):
            along["weights" if move.ndim > 1 else "biases"].append((move * _normal(k, *move.shape)).sum())
        told[f"{scope} {augment}"] = {"loss": history.train_loss, **along}
    return told


# ------------------------------------------------------------ maps


@canary(DOUBLE, *TRAINED)
def rules() -> dict:
    box = lrp.ZBox(-2.0, 2.5), lrp.ZBox((-2.0, -1.5, -3.0), (2.0, 2.5, 3.0))
    usual = lrp.Epsilon(), lrp.AlphaBeta(), lrp.ZPlus(), lrp.Gamma(), lrp.Flat(), lrp.WSquare()
    other = lrp.Epsilon(0.1), lrp.AlphaBeta(1.5, 0.5), lrp.Gamma(1.0), lrp.ZPlus(bias=False)
    images, told = torch.from_numpy(_normal(6, 2, 3, 12, 12)), {}
    for number, rule in enumerate((*box, *usual, *other)):
        row = lrp.Row(*(("convolution", "first") if rule in box else ("weighted", "any")), rule)
        table = lrp.Composite("one rule", (row, lrp.Row("any", "any", lrp.Epsilon())))
        told[f"{type(rule).__name__} {number}"] = _explained(_small(), table, images, 3)
    return told


@canary(SINGLE, *TRAINED)
def composites() -> dict:
    model, images = vgg.merge_batch_norm(_vgg()), vgg.normalise(torch.from_numpy(_pixels(2, 32)))
    told = {name: _explained(model, name, images) for name in lrp.COMPOSITES}
    box = "epsilon_gamma_box"
    return told | {"box": _explained(model, box, images, **vgg.bounds(box))}


@canary(DOUBLE, "truth", "shortcuts", "sanity", "retrain")
def attribution() -> dict:
    """The methods beside LRP, and how the maps of every method are read."""
    images, targets = torch.from_numpy(_normal(6, 2, 3, 12, 12)), torch.tensor([0, 2])
    methods, readings = attributing.METHODS, ("positive", "absolute")
    maps = {name: attributing.attribute(_small(), images, targets, name) for name in methods}
    every = (*attributing.COMPOSITES, *methods)
    read = {f"{name} read": [attributing.reading(name, by) for by in readings] for name in every}
    return {name: _blocks(values) for name, values in maps.items()} | read


@canary(DOUBLE, *TRAINED)
def masks() -> dict:
    """Which pixels are chosen, of scores with many ties, and what takes their place."""
    images, relevance = torch.from_numpy(_pixels(2, 8)), torch.from_numpy(_normal(7, 2, 3, 8, 8))
    chosen = masking.select(_scores(2, 8), (10.0, 31.0, 50.0, 94.0), seed=narrow.SEED)
    gone = narrow.removed(images.numpy(), chosen[2], np.array([10.5, 99.6, 200.2]))
    left = {mode: masking.apply(images, chosen[1], mode, 255 - images) for mode in masking.MODES}
    return {
        "rank": {by: _blocks(masking.rank(relevance, by)) for by in masking.RANKINGS},
        "count": [masking.count(p, n) for p in (0.0, 2.5, 12.5, 33.3, 99.9) for n in (20, 100, 4096)],
        "chosen": np.flatnonzero(chosen),
        "gone": _blocks(gone, 2),
        "left": {mode: _blocks(image, 2) for mode, image in left.items()},
    }


@canary(SINGLE, *TRAINED)
def controls() -> dict:
    scores, images = _scores(4, 16) - 0.7, vgg.normalise(torch.from_numpy(_pixels(4, 16)))
    options = {"seed": SEED, "images": images, "identities": list("aabc")}
    kinds = ("mean", "blur", "noise", "grey")
    return {
        "control": {n: _blocks(attributing.control(n, scores, **options), 2) for n in attributing.CONTROLS},
        "filling": {k: _blocks(masking.fillings(images, k, seed=SEED)[:2], 2) for k in kinds},
        "partner": [attributing.derangement(7, seed, list("aabbbcd")) for seed in range(4)],
        "ranks": _blocks(consensus.pixel_ranks(scores[:1])),
    }


@canary(SINGLE, "shortcuts", "multiverse")
def curves() -> dict:
    """What masks leave of the decisions of a linear network, and the area below."""
    images, weights = (torch.from_numpy(_normal(*shape)).float() for shape in ((8, 6, 3, 8, 8), (9, 192, 3)))
    options = {"filling": 0 * images + 0.3, "labels": torch.arange(6) % 3, "seed": SEED}
    percents, scores = (0.0, 10.0, 40.0, 100.0), _scores(6, 8)
    told = masking.curves(lambda x: x.flatten(1) @ weights, images, scores, percents, **options)
    areas = {"area": masking.area(told.probability.sel(percent=[10.0, 40.0, 100.0]))}
    return areas | {name: told[name] for name in ("correct", "prediction", "probability", "logit")}


@canary(DOUBLE, "truth")
def evidence() -> dict:
    """Scores of maps with ties, and of one that is 0, against graded evidence and against a mask."""
    maps = _scores(4, 16).numpy() * [[[1]], [[1]], [[1]], [[0]]]
    graded = _normal(10, 4, 16, 16).clip(0.5) - 0.5
    truths = {"graded": graded, "mask": (graded > 0.5).astype(float)}
    return {kind: ground_truth.scores(maps, true) for kind, true in truths.items()}


@canary(DOUBLE, "sanity", "multiverse")
def alike() -> dict:
    """Likeness of maps with ties and of a constant one, and how reliable a family's map is."""
    stack = (_normal(11, 1, 3, 12, 12) + _normal(12, 5, 3, 12, 12)).clip(-0.5)
    flat = np.concatenate([stack[1:], np.zeros_like(stack[:1])]).astype(np.float32)
    first = torch.from_numpy(stack[0].astype(np.float32))
    return {
        "spearman": likeness.spearman(flat),
        "top": likeness.top_overlap(stack[:3], percent=15.0, seed=SEED),
        "split half": [likeness.split_half(stack, seed=5)],
        "randomised": sanity.alike(first, torch.from_numpy(flat), 15.0),
    }


# ------------------------------------------------------------ statistics


@canary(DOUBLE, *EVERY)
def intervals() -> dict:
    people, strata = np.repeat(np.arange(7), [1, 3, 2, 2, 4, 2, 2]), list("aaabbb")
    values = _normal(13, 6, 16) + 0.3 * _normal(14, 6, 1) + 0.4
    contrast = np.array([[1, 1, 1, -1, -1, -1], [1, 0, 0, 0, 0, 1]]) / 3
    draws = {"n": inference.QUICK_DRAWS}
    return {
        "people": inference.mean(values[0], people, **draws),
        "both": inference.mean(values, people, strata, **draws),
        "contrast": inference.mean(values, people, strata, contrast=contrast, **draws),
        "runs": inference.mean(values, people, ["a"] * 6, units=list("uuvvww"), seed=3, **draws),
    }


@canary(DOUBLE, "shortcuts", "calibration", "multiverse")
def generalisation() -> dict:
    """Transfer by relation, a contrast and asymmetries, with one pretraining run and with several."""
    runs = [Cell(name, "gender", 0, run) for name in ("objects", "faces") for run in (0, 1)]
    groups, draws = np.repeat(np.arange(7), 2), {"n": 200, "seed": 3}
    grid, several = (calibration.Design(seeds, runs=seeds - 1).networks for seeds in (2, 3))
    # Maps of the first two families gain hardly anything to have shares of.
    gains = np.repeat([0.015, 0.026, 0.2, 0.3], 2)[:, None] + 0.01 * _normal(15, 8, 14)
    performance = 0.5 + gains * (1 + 0.1 * _normal(16, 8, 8, 1)) + 0.01 * _normal(17, 8, 8, 14)
    control = 0.5 + 0.01 * _normal(18, 8, 14)
    gain, scale = transfer.gains(performance, control)
    options = {"scale": scale, **draws}
    relations = transfer.relations(grid)
    masks = [relations == name for name in transfer.RELATIONS if (relations == name).any()]
    ways = [transfer.between(grid, "task", *way) for way in (("gender", "identity"), ("identity", "gender"))]
    return {
        "relations": transfer.relations([*grid[:3], *runs]),
        "resampling": [transfer.resampling(grid[:4]), transfer.resampling(runs)],
        "transfer": transfer.shares(gain, masks, grid, groups, **options),
        "contrast": transfer.shares(gain, masks[:2], grid, groups, contrast=[[1, -1]], **options),
        "asymmetry": transfer.shares(gain, ways, grid, groups, contrast=[[1, -1]], **options),
        "likeness": transfer.shares(gain, masks, grid, groups, **draws),
        "several runs": transfer.shares(
            _normal(30, 12, 12, 14), [transfer.relations(several) == "task"], several, groups, **draws
        ),
    }


@canary(DOUBLE, "shortcuts", "multiverse")
def dissimilarities() -> dict:
    """Matrices of models and of simulated observers, and how well they agree."""
    names = [f"id{k}" for k in range(10)]
    table = pd.DataFrame(_normal(20, 10, len(OBSERVER_WEIGHTS)), names, list(OBSERVER_WEIGHTS))
    judged = observers.simulate_observers(table, OBSERVER_WEIGHTS, raters=3, noise=0.3, seed=3)
    images, relevance = 100 + 30 * _normal(21, 20, 3, 6, 6), _normal(22, 20, 6, 6)
    levels = [
        images,
        *(dissimilarity.weighted_images(images, r) for r in (relevance.clip(0), np.abs(relevance))),
    ]
    rdms = [dissimilarity.model_rdm(level, np.repeat(names, 2)) for level in levels]
    models, judged = dissimilarity.match(dissimilarity.stack(rdms), judged)
    told: dict[str, Any] = {"models": models.get_vectors(), "people": judged.get_vectors()}
    for control, groups in ((None, None), ("within", dict(zip(names, "xxxxxyyyyy", strict=True)))):
        result = rsa.compare(models, judged, groups=groups)
        several = result.estimate([[0.5, 0.5, 0], [-1, 0.5, 0.5]], ["", "map", "map"])
        told[f"control {control}"] = {"": result.table, "ceiling": result.ceiling, "several": several.parts}
    weights = observers.factor_weights(judged.mean(), table.iloc[:, :4])
    return told | {"weights weight": weights}


@canary(DOUBLE, "calibration")
def simulated_studies() -> dict:
    """Simulated studies, and how often intervals cover and tests find in a few of them."""
    design, variations = calibration.Design(4, 6, 2, runs=2), calibration.VARIATIONS
    varied = {name: calibration.scores(design, v, 2, 3)[..., 0] for name, v in variations.items()}
    gain, control = calibration.performances(design, calibration.Pairs(calibration.SHARE), 3)
    first = calibration.scores(design, calibration.Variation(), 2, 3)
    hits = calibration.correct(first, design, calibration.Variation(), certainty.ACCURACY)[..., 0]
    faces, values = calibration.dissimilarities(design, 8, 3), _normal(13, 16, 12)

    def mean(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (w @ values.T * v).mean(1)

    intervals = [method(mean, design, 0.95, 3) for method in calibration.METHODS.values()]
    return {
        "scores": varied,
        "hits": hits.astype(int),
        "transfer": [gain[:, :, 0], control[:, 0] * np.ones_like(gain[:, :, 0])],
        "intervals": np.ravel(intervals),
        "people": {rdms.n_rdm: rdms.get_vectors() for rdms in faces},
        "agreement": calibration._agreement(*faces, design),
        "coverage": calibration.coverage([design], experiments=6, seed=3),
        "pair coverage": calibration.pair_coverage(
            [calibration.Design(3, 6, 1, runs=1)], experiments=2, seed=3
        ),
        "false positives": calibration.false_positives([design], experiments=4, alpha=0.3, seed=3),
    }


@canary(DOUBLE, "multiverse")
def verdicts() -> dict:
    """The rule from intervals and regions to verdicts, and from those on parts to that on a claim."""
    regions = Region(0), Region(high=0), Region(-1, 1), Region(-1, 1, outside=True)
    regions += Region(0, smallest=0.75), Region(high=0, smallest=-0.75)
    estimates = [inference.Estimate(np.array(x), np.ones(1), np.array([9.0])) for x in (-1.5, 0.25, 1.2)]
    ends = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
    spans = [(a, b) for a in ends for b in ends if a < b] + [(math.nan, 1.0), (-math.inf, 0.5)]
    three = SUPPORTED, CONTRADICTED, INCONCLUSIVE
    return {
        "all": [verdict([a, b], "all") for a in three for b in three],
        "any": [verdict([a, b], "any") for a in three for b in three],
        "one": [" ".join(region.verdict(*span)[0] for span in spans) for region in regions],
        "levels": [[region.levels(estimate) for estimate in estimates] for region in regions],
        "strength": [[region.strength(*span) for span in spans] for region in regions],
    }


# ------------------------------------------------------------ tables


@canary(DOUBLE, "truth")
def evidence_tables() -> dict:
    """Tables on planted evidence: two sets with two networks each, which get some images wrong."""
    sets, methods = ("brows", "jaw"), ["epsilon", "epsilon_plus", "gradient", "random"]
    correct, level = _normal(23, 4, 3, 10) > -0.8, np.array([0.55, 0.6, 0.5, 0.2])[:, None, None]
    score = np.where(correct[:, :1, None], level + 0.1 * _normal(24, 4, 4, 4, 10), np.nan)
    coords = {"method": methods, "metric": list(ground_truth.METRICS), "shown": list(planted.SHOWN)}
    coords |= {"evidence": ("network", np.repeat(sets, 2)), "seed": ("network", [0, 1, 0, 1])}
    coords |= {"identity": ("image", np.repeat(np.arange(5), 2))}
    dims = ("network", "method", "metric", "image"), ("network", "shown", "image")
    whole = xr.Dataset({"score": (dims[0], score), "correct": (dims[1], correct)}, coords)
    return {f.__name__: f(_study(evidence=sets), whole) for f in (truth.learned, truth.scores, truth.ranking)}


@canary(DOUBLE, "shortcuts")
def probe_tables() -> dict:
    """What probes for shortcuts say of the networks of two strengths, beside the references."""
    s, people = _study(shortcut_seeds=3, shortcut_strengths=(0.5, 1.0)), np.repeat(np.arange(5), 2)
    nets, moved = shortcuts.nets(s.p, "mark"), np.array([0, 0, 0, 0.05, 0, 0, 0.5, 0.6, 0.7])
    values = {
        name: moved[:, None] + 0.2 * _normal(seed, 9, 10) for name, seed in (("share", 25), ("map", 26))
    }
    gain = 0.3 - 0.2 * np.abs(moved[:, None] - moved)[..., None] + 0.05 * _normal(27, 9, 9, 10)
    rows = shortcuts._compared(s, nets, values, people) + shortcuts._transfer_probes(s, nets, gain, people)
    told = {"networks": [net.name for net in nets], "probes": pd.DataFrame(rows)}
    told["transfer"] = pd.DataFrame(shortcuts._matrix(nets, gain))
    return told | {"noticed": shortcuts._noticed(told["probes"].assign(kind="mark"))}


@canary(DOUBLE, "shortcuts", "sanity", "retrain")
def seed_means() -> dict:
    """Means over networks that differ in their seed alone, and images without their top pixels."""
    values, people = 0.5 + 0.2 * _normal(28, 2, 3, 8), np.repeat(np.arange(4), 2)
    of_percent = xr.DataArray(values, {"percent": [10.0, 30.0]}, ("percent", "seed", "image"))
    gone = retrain.without(_pixels(2, 8), _scores(2, 8), 30.0, np.array([10.5, 99.6, 200.2]))
    means = narrow.means(_study(), of_percent, people, "accuracy", ["percent"])
    return {"means": means, "without": _blocks(gone, 2)}


@canary(DOUBLE, "calibration")
def simulated_tables() -> dict:
    """Every table by every design that studies are simulated with, in a few of them."""
    every = enumerate(certainty.plans(_study(calibration_seeds=(3,))))
    options = {"experiments": 2, "seed": 3}
    return {f"{name} {k}": certainty.SIMULATED[name]([design], **options) for k, (name, design) in every}


@canary(DOUBLE, "multiverse")
def analyses() -> dict:
    """Which choices claims depend on, what a choice makes of a curve, and how often verdicts hold."""
    from study import multiverse  # which reads stored results, and these ask this module

    dims = ("ranking", "mode", "percent", "model", "image")
    curves = (
        xr.DataArray(_normal(29, 2, 2, 4, 2, 6), dims=dims)
        .to_dataset(name="logit")
        .assign_coords(
            ranking=["relevance", "random"], mode=list(masking.MODES), percent=[5.0, 10.0, 50.0, 80.0]
        )
    )
    gains: dict[str, Any] = {}
    for counted in ("all", "few", "many"):
        p = _study(measure="logit", percents=(5.0, 10.0, 50.0, 80.0), percent_range=counted).p
        of_range = masked.gains_over_controls(p, curves, "relevance", ("random",))
        gains |= {f"{counted} {mode}": values for (mode, _), values in of_range.items()}
    table = pd.DataFrame({"fill": ["mean", "mean", "grey", "grey"], "measure": ["logit", "accuracy"] * 2})
    verdicts = [SUPPORTED, SUPPORTED, INCONCLUSIVE, SUPPORTED]
    table = table.assign(claim="C2", verdict=verdicts, is_default=[True, False, False, False])
    choices = {name: ", ".join(multiverse.choices(name)) for name in claims.STEPS}
    held = {"holds": multiverse.robustness(table)["C2"], "by choice": multiverse.by_choice(table)}
    return {"choices": choices, "gains": gains, **held}
