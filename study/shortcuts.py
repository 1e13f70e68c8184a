"""Networks trained with a planted shortcut: how far they rely on it, and which probe notices.

Every probe compares networks of one kind and strength with *reference* networks, which saw the shortcut as often but
at random (strength 0.5). Tested networks of strength 0.5 differ from these in seeds alone: what a probe "notices" there
is a false alarm. Test images carry the shortcut as in training, as a user of the network would find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from analysis import attribution as baselines
from analysis import features, inference, masking, matrices, rsa
from analysis import transfer as transfer_
from faces import shortcuts as planted
from study import Study, narrow, observers, parallel, vgg, weights
from study.humans import OBSERVER_WEIGHTS

CODE = (
    "faces.shortcuts",
    "analysis.lrp",
    "analysis.masking",
    "analysis.rsa",
    "analysis.features",
    "analysis.matrices",
    "study.observers",
    "study.ratings",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    "study.narrow",
    "study.shortcuts",
)
NETWORK = (
    "faces.shortcuts",
    "study.vgg",
    "study.weights",
    "study.training",
    "study.narrow",
    "study.shortcuts",
)
NEUTRAL = 0.5
REFERENCE = "reference"
CONDITIONS = ("intact", "broken", "reversed", "region filled")
PROBES = {
    "reliance": "reversing it (the truth)",
    "accuracy": "accuracy on new people",
    "relevance": "relevance in its region",
    "region": "filling its region",
    "masking": "removing relevant pixels",
    "to clean": "its maps, shown to clean networks",
    "from clean": "clean networks' maps, shown to it",
    "observers": "agreement with observers",
}
DRAWS = 500  # bootstrap draws; the calibration of the intervals allows for the few seeds


@dataclass(frozen=True)
class Net:
    """One network. `family`: "reference" or the strength; networks of a family differ in seed alone."""

    kind: str
    strength: float
    seed: int
    family: str


def nets(p, kind: str) -> list[Net]:
    """All networks of a kind of shortcut, the reference networks first."""
    seeds = range(p.shortcut_seeds)
    found = [Net(kind, NEUTRAL, seed, REFERENCE) for seed in seeds]
    for strength in p.shortcut_strengths:
        offset = p.shortcut_seeds if strength == NEUTRAL else 0
        found += [Net(kind, strength, seed + offset, f"{strength:g}") for seed in seeds]
    return found


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """What the networks do and what the probes say.

    Returns:
        `accuracy`: kind, family, condition, accuracy, low, high. `probes`: kind, strength, probe, value, reference (the
        same of the reference networks), difference, low, high, notices (the interval excludes 0), area (the region's
        share of the image). `methods`: like `probes`, the probe "relevance" by each of `shortcut_methods` (named in
        `probe`). `noticed`: kind, probe and, in text, the strengths noticed. `transfer`: kind, source, target
        (families), transfer. `training`: kind, strength, family, seed, accuracy on training images.
    """
    p = study.parameters
    every = [net for kind in p.shortcut_kinds for net in nets(p, kind)]
    _all(study, network, every, p.narrow_samples, "networks with shortcuts")
    _all(study, probe, every, len(test(study)[1]), "probing them")
    _all(study, transfer, every, len(test(study)[1]), "transfer between them")
    found = [_of_kind(study, kind) for kind in p.shortcut_kinds]
    result = {name: pd.concat([f[name] for f in found], ignore_index=True) for name in found[0]}
    return result | {"noticed": _noticed(result["probes"])}


def _all(study: Study, step, every: list[Net], size: float, description: str) -> None:
    p = study.parameters
    parallel.each(
        step, [(study, net) for net in every], [size] * len(every), description, p.workers, p.threads
    )


# ------------------------------------------------------------ what a network sees


def test(study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Test images as drawn: pixels `(N, 3, H, W)`, labels, background `(N, H, W)` bool, identities."""
    return _part(study, "test")


def _part(study: Study, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    faces = narrow.faces(study.parameters, study.store)
    faces = faces.isel(image=faces.split.values == split)
    background = faces.parts.values == faces.attrs["parts"].index("background")
    return faces.pixels.values, faces.label.values, background, faces.identity.values


def training_images(study: Study, net: Net) -> np.ndarray:
    """The training images `(N, 3, H, W)` of a network; the same for all networks of its kind and strength."""
    pixels, labels, background, _ = _part(study, "train")
    agree = planted.agreeing(labels, net.strength, study.parameters.stimulus_seed)
    return planted.plant(pixels, np.where(agree, labels, 1 - labels), background, net.kind)


def test_images(study: Study, kind: str, condition: str) -> np.ndarray:
    """Test images `(N, 3, H, W)` of one of CONDITIONS.

    "intact": every shortcut agrees with the class; "broken": half of them do; "reversed": none; "region filled": the
    region of the intact images in the training images' mean colour.
    """
    pixels, labels, background, _ = test(study)
    if condition == "broken":
        agree = planted.agreeing(labels, NEUTRAL, study.parameters.stimulus_seed)
    else:
        agree = np.full(len(labels), condition != "reversed")
    images = planted.plant(pixels, np.where(agree, labels, 1 - labels), background, kind)
    if condition == "region filled":
        images = narrow.removed(images, torch.from_numpy(planted.region(background, kind)), _colour(study))
    return images


def _colour(study: Study) -> np.ndarray:
    return _part(study, "train")[0].mean((0, 2, 3))


def pictures(study: Study) -> list[list[np.ndarray]]:
    """For every kind of shortcut the first test face as drawn, with side 0, with side 1, and the region in white.

    Each `(y, x, 3)` uint8.
    """
    pixels, _, background, _ = test(study)
    face, behind = pixels[:1], background[:1]
    rows = []
    for kind in planted.KINDS:
        sides = [planted.plant(face, np.array([side]), behind, kind) for side in (0, 1)]
        where = np.where(planted.region(behind, kind)[:, None], 255, face // 3).astype(np.uint8)
        rows.append([image[0].transpose(1, 2, 0) for image in (face, *sides, where)])
    return rows


# ------------------------------------------------------------ steps, one network each


def _inputs(study: Study, net: Net) -> dict:
    shown = {"kind": net.kind, "strength": net.strength, "seed": net.seed}
    return narrow.inputs(study.parameters, study.store) | shown


def network(study: Study, net: Net) -> vgg.VGG16:
    """A trained network, ready to explain."""

    def make(folder: Path) -> None:
        images, labels = training_images(study, net), _part(study, "train")[1]
        weights.save(narrow.train(study.parameters, images, labels, net.seed), folder / narrow.WEIGHTS)
        parallel.progress(study.parameters.narrow_samples)

    path = study.store.folder("shortcut_network", _inputs(study, net), NETWORK, make)
    return weights.load(path / narrow.WEIGHTS).to(study.parameters.device)


def probe(study: Study, net: Net) -> xr.Dataset:
    """What one network does with the test images.

    `correct (condition, image)`; of the intact images `relevance (image, y, x)`, `share (image)` of its positive
    part that lies in the region, `masked (image)`: share of `transfer_percents` at which the decision is right
    without that many of the most relevant pixels, `shares (method, image)`: the share in the region by each of
    `shortcut_methods`, NaN but for one image of each person, and `features (image, feature)` of the last hidden
    layer; `fitted`: the accuracy on training images.
    """
    p = study.parameters

    def make() -> xr.Dataset:
        model = network(study, net)
        labels, background = test(study)[1:3]
        images = {c: test_images(study, net.kind, c) for c in CONDITIONS}
        correct = np.array([narrow.logits(model, images[c]).argmax(1) == labels for c in CONDITIONS])
        intact = images["intact"]
        maps = narrow.explain(p, model, intact, p.composite)
        masks = masking.select(
            masking.rank(torch.from_numpy(maps), p.ranking), p.transfer_percents, seed=narrow.SEED
        )
        masked = [
            narrow.logits(model, narrow.removed(intact, m, _colour(study))).argmax(1) == labels for m in masks
        ]
        region = planted.region(background, net.kind)
        shares = np.full((len(p.shortcut_methods), len(labels)), np.nan)
        for row, method in zip(shares, p.shortcut_methods, strict=True):
            found = narrow.explain(p, model, intact[:: narrow.VIEWS], method)
            read = masking.rank(torch.from_numpy(found), baselines.reading(method, "positive"))
            row[:: narrow.VIEWS] = share(read.numpy(), region[:: narrow.VIEWS])
        hidden = vgg.sequential(model)[:-1]
        with torch.inference_mode():
            features = hidden(vgg.normalise(torch.from_numpy(intact)).to(p.device)).cpu().numpy()
        fitted = narrow.logits(model, training_images(study, net)).argmax(1) == _part(study, "train")[1]
        parallel.progress(len(labels))
        return xr.Dataset(
            {
                "correct": (("condition", "image"), correct),
                "relevance": (("image", "y", "x"), maps),
                "share": ("image", share(maps, region)),
                "shares": (("method", "image"), shares),
                "masked": ("image", np.mean(masked, axis=0)),
                "features": (("image", "feature"), features),
                "fitted": ((), fitted.mean()),
            },
            coords={"condition": list(CONDITIONS), "method": list(p.shortcut_methods)},
        )

    inputs = _inputs(study, net) | p.inputs("composite", "ranking", "transfer_percents", "shortcut_methods")
    return study.store.dataset("shortcut_probe", inputs, CODE, make)


def share(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share `(N,)` of the positive part of maps `(N, y, x)` that lies in a region `(N, y, x)` bool.

    A map without positive relevance points nowhere: it gets the region's share of the area.
    """
    positive = maps.clip(min=0).astype(float)
    total = positive.sum((1, 2))
    inside = (positive * region).sum((1, 2))
    return np.divide(inside, total, out=region.mean((1, 2)), where=total > 0)


def transfer(study: Study, net: Net) -> xr.Dataset:
    """Probability of the true class `(source, image)` when one network sees only what other networks' maps keep.

    Sources: of a reference network all networks of its kind; of another network the reference networks and itself;
    and the control mask ("control"). Means over `transfer_percents`, on intact images.
    """
    p = study.parameters
    sources = [s for s in nets(p, net.kind) if REFERENCE in (net.family, s.family) or s == net]

    def make() -> xr.Dataset:
        model, intact = network(study, net), test_images(study, net.kind, "intact")
        labels, identities = test(study)[1], list(test(study)[3])
        maps = {
            s: masking.rank(torch.from_numpy(probe(study, s).relevance.values), p.ranking) for s in sources
        }
        images = vgg.normalise(torch.from_numpy(intact))
        control = masking.controls(
            p.transfer_control, maps[net], seed=narrow.SEED, images=images, identities=identities
        )
        kept = [_kept(p, model, images, labels, scores) for scores in [*maps.values(), control]]
        parallel.progress(len(labels))
        names = [f"{s.family}/{s.seed}" for s in sources] + ["control"]
        return xr.Dataset({"probability": (("source", "image"), np.array(kept))}, coords={"source": names})

    inputs = _inputs(study, net) | {"sources": [_inputs(study, s) for s in sources], "family": net.family}
    inputs |= p.inputs("composite", "ranking", "fill", "transfer_percents", "transfer_control")
    return study.store.dataset("shortcut_transfer", inputs, CODE, make)


def _kept(p, model: vgg.VGG16, images: torch.Tensor, labels: np.ndarray, scores: torch.Tensor) -> np.ndarray:
    curves = masking.curves(
        model,
        images.to(p.device),
        scores.to(p.device),
        p.transfer_percents,
        filling=masking.fillings(images, p.fill, seed=narrow.SEED).to(p.device),
        labels=torch.from_numpy(labels),
        seed=narrow.SEED,
        modes=("keep",),
    )
    return curves.probability.sel(mode="keep").mean("percent").values


# ------------------------------------------------------------ what the probes say


def _of_kind(study: Study, kind: str) -> dict[str, pd.DataFrame]:
    ours = nets(study.parameters, kind)
    found = [probe(study, net).load() for net in ours]
    families = list(dict.fromkeys(net.family for net in ours))
    one = pd.DataFrame(
        {"kind": kind, "strength": [net.strength for net in ours], "family": [n.family for n in ours]}
    )
    trained = one.assign(seed=[n.seed for n in ours], accuracy=[float(f.fitted) for f in found])
    gain, own = _gains(study, ours)
    rows = [*_image_probes(study, ours, found), *_transfer_probes(study, ours, gain)]
    rows += _observer_probe(study, ours, found)
    area = planted.region(test(study)[2], kind).mean()
    return {
        "accuracy": _accuracies(study, ours, found),
        "probes": pd.DataFrame(rows).assign(kind=kind, area=area),
        "methods": _by_method(study, ours, found).assign(kind=kind),
        "transfer": _matrix(families, ours, gain, own).assign(kind=kind),
        "training": trained,
    }


def _accuracies(study: Study, ours: list[Net], found: list[xr.Dataset]) -> pd.DataFrame:
    rows = []
    for family in dict.fromkeys(net.family for net in ours):
        chosen = [f for f, net in zip(found, ours, strict=True) if net.family == family]
        for condition in CONDITIONS:
            values = np.array([f.correct.sel(condition=condition).values for f in chosen], dtype=float)
            estimate = inference.mean(values, test(study)[3], [family] * len(values), n=DRAWS)
            low, high = estimate.interval(study.parameters.confidence)
            row = {"kind": ours[0].kind, "family": family, "condition": condition}
            rows.append(row | {"accuracy": float(estimate.value), "low": float(low), "high": float(high)})
    return pd.DataFrame(rows)


def _image_probes(study: Study, ours: list[Net], found: list[xr.Dataset]) -> list[dict]:
    correct = np.array([f.correct.values for f in found], dtype=float)
    intact, _, reversed_, filled = (correct[:, CONDITIONS.index(c)] for c in CONDITIONS)
    values = {
        "reliance": intact - reversed_,
        "accuracy": intact,
        "relevance": np.array([f["share"].values for f in found]),
        "region": intact - filled,
        "masking": intact - np.array([f.masked.values for f in found]),
    }
    strata, tested, each = [net.family for net in ours], _tested(ours), _means(ours)
    rows = []
    for name, value in values.items():
        levels = each @ value.mean(1)
        estimate = inference.mean(value, test(study)[3], strata, contrast=each[1:] - each[0], n=DRAWS)
        rows += _rows(study, name, tested, levels, estimate)
    return rows


def _by_method(study: Study, ours: list[Net], found: list[xr.Dataset]) -> pd.DataFrame:
    strata, contrast = [net.family for net in ours], _means(ours)
    rows = []
    for method in study.parameters.shortcut_methods:
        values = np.array([f.shares.sel({"method": method}).values[:: narrow.VIEWS] for f in found])
        people = test(study)[3][:: narrow.VIEWS]
        estimate = inference.mean(values, people, strata, contrast=contrast[1:] - contrast[0], n=DRAWS)
        rows += _rows(study, method, _tested(ours), contrast @ values.mean(1), estimate)
    return pd.DataFrame(rows)


def _means(ours: list[Net]) -> np.ndarray:
    """Weights `(families, M)` of the mean over each family's networks; the reference first."""
    family = np.array([net.family for net in ours])
    each = np.array([family == name for name in [REFERENCE, *_tested(ours)]], dtype=float)
    return each / each.sum(1, keepdims=True)


def _tested(ours: list[Net]) -> list[str]:
    return list(dict.fromkeys(net.family for net in ours if net.family != REFERENCE))


def _rows(
    study: Study, name: str, tested: list[str], levels: np.ndarray, estimate: inference.Estimate
) -> list[dict]:
    low, high = estimate.interval(study.parameters.confidence)
    return [
        {
            "strength": float(family),
            "probe": name,
            "value": levels[k + 1],
            "reference": levels[0],
            "difference": estimate.value[k],
            "low": low[k],
            "high": high[k],
            "notices": bool(low[k] > 0 or high[k] < 0),
        }
        for k, family in enumerate(tested)
    ]


def _gains(study: Study, ours: list[Net]) -> tuple[np.ndarray, np.ndarray]:
    """Gain over the control `(source, target, image)`, 0 where not computed; of own maps `(target, image)`."""
    names = [f"{net.family}/{net.seed}" for net in ours]
    found = [transfer(study, net).probability.load() for net in ours]
    gain = np.zeros((len(ours), len(ours), found[0].sizes["image"]))
    for target, values in enumerate(found):
        above = values - values.sel(source="control")
        for source in set(values.source.values) - {"control"}:
            gain[names.index(source), target] = above.sel(source=source)
    own = np.arange(len(ours))
    return gain, gain[own, own]


def _pairs(ours: list[Net], sources: str, targets: str) -> np.ndarray:
    """Pairs `(M, M)` of different networks of two families, as 0 and 1."""
    family = np.array([net.family for net in ours])
    return ((family == sources)[:, None] & (family == targets)[None] & ~np.eye(len(ours), dtype=bool)).astype(
        float
    )


def _transfer_probes(study: Study, ours: list[Net], gain: np.ndarray) -> list[dict]:
    """Gains over the control, in probability: a quotient of two small gains would have no useful interval."""
    strata, tested = [net.family for net in ours], _tested(ours)
    n, rows = gain.shape[-1], []
    for name in ("to clean", "from clean"):
        families = [REFERENCE, *tested]
        ends = [(f, REFERENCE) if name == "to clean" else (REFERENCE, f) for f in families]
        masks = np.array([_pairs(ours, *pair) for pair in ends])

        def change(w: np.ndarray, v: np.ndarray, masks: np.ndarray = masks) -> np.ndarray:
            values = transfer_.pair_means(gain, masks, w, v)
            return values[:, 1:] - values[:, :1]

        levels = transfer_.pair_means(gain, masks, np.full((1, n), 1 / n), np.ones((1, len(ours))))[0]
        estimate = inference.infer(change, test(study)[3], strata, n=DRAWS, pairs=True)
        rows += _rows(study, name, tested, levels, estimate)
    return rows


def _matrix(families: list[str], ours: list[Net], gain: np.ndarray, own: np.ndarray) -> pd.DataFrame:
    rows = []
    for source in families:
        for target in families:
            pairs = _pairs(ours, source, target).astype(bool)
            if REFERENCE in (source, target):
                scale = np.broadcast_to(own.mean(-1), pairs.shape)[pairs].mean()
                value = gain.mean(-1)[pairs].mean() / scale
                rows.append({"source": source, "target": target, "transfer": value})
    return pd.DataFrame(rows)


def _observer_probe(study: Study, ours: list[Net], found: list[xr.Dataset]) -> list[dict]:
    """Rank correlation of the networks' dissimilarities (features of intact images) with simulated observers'.

    The error has two parts: people, from the bootstrap over them, and seeds, from their spread within families.
    """
    p, identities = study.parameters, test(study)[3]
    names = list(dict.fromkeys(identities))[: p.rated_identities]
    chosen = np.isin(identities, names)
    rdms = [
        features.model_rdm(f.features.values[chosen], identities[chosen], model=f"{net.family}/{net.seed}")
        for f, net in zip(found, ours, strict=True)
    ]
    faces = narrow.faces(p, study.store)
    factors = pd.DataFrame(
        faces.factors.values, index=faces.identity.values, columns=faces.factor.values
    ).loc[names]
    people = observers.simulate_observers(
        factors[~factors.index.duplicated()],
        OBSERVER_WEIGHTS,
        raters=p.raters,
        noise=p.observer_noise,
        seed=p.stimulus_seed,
    )
    result = rsa.compare(
        *matrices.match(matrices.stack(rdms), people),
        draws=DRAWS,
        permutations=100,
        seed=p.stimulus_seed,
    )
    single, family = result.table["estimate"].to_numpy(), np.array([net.family for net in ours])
    draws = result.draws[np.isfinite(result.draws).all(1)]
    of = {name: family == name for name in [REFERENCE, *_tested(ours)]}
    levels = np.array([single[m].mean() for m in of.values()])
    by_people = np.array([draws[:, m].mean(1) for m in of.values()])
    by_seed = np.array([single[m].var(ddof=1) / m.sum() for m in of.values()])
    parts = np.array([np.var(by_people[1:] - by_people[0], axis=1, ddof=1), by_seed[1:] + by_seed[0]])
    df = np.array([[len(names) - 1.0], [2.0 * (p.shortcut_seeds - 1)]]) * np.ones_like(parts)
    estimate = inference.Estimate(levels[1:] - levels[0], np.diag(parts.sum(0)), parts, df)
    return _rows(study, "observers", _tested(ours), levels, estimate)


def _noticed(probes: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (kind, name), found in probes.groupby(["kind", "probe"], sort=False):
        strengths = found.strength[found.notices & (found.strength > NEUTRAL)]
        false = found.notices[found.strength == NEUTRAL]
        rows.append(
            {
                "kind": kind,
                "probe": name,
                "noticed at": ", ".join(f"{s:g}" for s in strengths) or "none",
                "tried": ", ".join(f"{s:g}" for s in found.strength if s > NEUTRAL),
                "false alarm": "not tried" if false.empty else "yes" if false.any() else "no",
            }
        )
    return pd.DataFrame(rows)
