"""Networks trained with a planted shortcut: how far they rely on it, and which probe notices.

Every probe compares networks of one kind and strength with *reference* networks, which saw the shortcut as often but
at random (strength 0.5). Tested networks of strength 0.5 differ from these in seeds alone: what a probe "notices" there
is a false alarm. Test images carry the shortcut as in training, as a user of the network would find them.
"""

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field, field_validator

from analysis import attribution, dissimilarity, inference, masking, rsa
from analysis import transfer as pairwise
from faces import shortcuts as planted
from study import narrow, observers, training, vgg
from study.humans import OBSERVER_WEIGHTS
from study.settings import Explainer, Settings, ascending, once
from study.steps import Study, step

NEUTRAL = 0.5
REFERENCE = "reference"
CONTROL = "control"
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


class Shortcuts(Settings):
    """Which shortcuts are planted, and what searches for them."""

    shortcut_kinds: tuple[Literal["tint", "mark", "background"], ...] = Field(
        ("mark",), min_length=1, description="shortcuts planted in training images"
    )
    shortcut_strengths: tuple[Annotated[float, Field(ge=0.5, le=1)], ...] = Field(
        (1.0,),
        min_length=1,
        description="share of training images whose shortcut agrees with the class (0.5: none)",
    )
    shortcut_seeds: int = Field(3, ge=2, le=50, description="networks of each kind and strength of shortcut")
    shortcut_methods: tuple[Explainer, ...] = Field(
        ("epsilon_plus", "epsilon_alpha2_beta1", "gradient"),
        min_length=1,
        description="methods whose maps are searched for shortcuts",
    )

    _shortcut_strengths = field_validator("shortcut_strengths")(ascending)
    _shortcut_names = field_validator("shortcut_kinds", "shortcut_methods")(once)


@dataclass(frozen=True)
class Net:
    """One network. `family`: "reference" or the strength; networks of a family differ in seed alone."""

    kind: str
    strength: float
    seed: int
    family: str

    @property
    def name(self) -> str:
        """Unique among networks of its kind."""
        return f"{self.family}/{self.seed}"


def nets(p: Any, kind: str) -> list[Net]:
    """All networks of a kind of shortcut, the reference networks first."""
    seeds = range(p.shortcut_seeds)
    networks = [Net(kind, NEUTRAL, seed, REFERENCE) for seed in seeds]
    for strength in p.shortcut_strengths:
        offset = p.shortcut_seeds if strength == NEUTRAL else 0
        networks += [Net(kind, strength, seed + offset, f"{strength:g}") for seed in seeds]
    return networks


# ------------------------------------------------------------ what a network sees


def background(faces: xr.Dataset) -> np.ndarray:
    """Pixels `(image, y, x)` bool that are not head."""
    return faces.parts.values == faces.attrs["parts"].index("background")


def training_images(s: Study, net: Net) -> tuple[np.ndarray, np.ndarray]:
    """Training images `(N, 3, H, W)` and labels `(N,)` of a network; the same for all of its kind and strength."""
    faces = narrow.part(s, "train")
    labels = faces.label.values
    sides = np.where(planted.agreeing(labels, net.strength, s.p.stimulus_seed), labels, 1 - labels)
    return planted.plant(faces.pixels.values, sides, background(faces), net.kind), labels


def test_images(s: Study, kind: str, condition: str) -> np.ndarray:
    """Test images `(N, 3, H, W)` of one of CONDITIONS.

    "intact": every shortcut agrees with the class; "broken": half of them do; "reversed": none; "region filled": the
    region of the intact images in the training images' mean colour.
    """
    faces = narrow.part(s, "test")
    labels, behind = faces.label.values, background(faces)
    agree = np.full(len(labels), condition != "reversed")
    if condition == "broken":
        agree = planted.agreeing(labels, NEUTRAL, s.p.stimulus_seed)
    images = planted.plant(faces.pixels.values, np.where(agree, labels, 1 - labels), behind, kind)
    if condition == "region filled":
        images = narrow.removed(images, planted.region(behind, kind), _colour(s))
    return images


def _colour(s: Study) -> np.ndarray:
    return narrow.part(s, "train").pixels.values.mean((0, 2, 3))


def pictures(s: Study) -> list[list[np.ndarray]]:
    """For every kind of shortcut the first test face as drawn, with side 0, with side 1, and the region in white.

    Each `(y, x, 3)` uint8.
    """
    first = narrow.part(s, "test").isel(image=slice(1))
    face, behind = first.pixels.values, background(first)
    rows = []
    for kind in planted.KINDS:
        sides = [planted.plant(face, np.array([side]), behind, kind) for side in (0, 1)]
        where = np.where(planted.region(behind, kind)[:, None], 255, face // 3).astype(np.uint8)
        rows.append([image[0].transpose(1, 2, 0) for image in (face, *sides, where)])
    return rows


# ------------------------------------------------------------ what each network does

FACES = narrow.faces.of(lambda s, net: [()])


@step(
    *(*narrow.RECIPE, "narrow_samples", "stimulus_seed"),
    needs=[FACES],
    title="networks with shortcuts",
    work=lambda s, net: s.p.narrow_samples,
)
def network(s: Study, net: Net) -> vgg.VGG16:
    """A trained network, ready to explain."""
    return narrow.train(s.p, *training_images(s, net), s.p.narrow_samples, net.seed)


@step(
    *("composite", "ranking", "transfer_percents", "shortcut_methods", "stimulus_seed"),
    needs=[network, FACES],
    title="probing them",
)
def probe(s: Study, net: Net) -> xr.Dataset:
    """What one network does with the test images.

    `correct (condition, image)`; of the intact images `relevance (image, y, x)`, `share (image)` of its positive
    part that lies in the region, `masked (image)`: share of `transfer_percents` at which the decision is right
    without that many of the most relevant pixels, `shares (method, person)`: the share in the region by each of
    `shortcut_methods`, of one image of each person, and `features (image, feature)` of the last hidden layer.
    """
    p, model, faces = s.p, network(s, net).to(s.p.device), narrow.part(s, "test")

    def correct(images: np.ndarray) -> np.ndarray:
        return narrow.logits(model, images).argmax(1) == faces.label.values

    images = {name: test_images(s, net.kind, name) for name in CONDITIONS}
    intact, region, colour = images["intact"], planted.region(background(faces), net.kind), _colour(s)
    maps = narrow.explain(s, model, intact, p.composite)
    masks = masking.select(masking.rank(maps, p.ranking), p.transfer_percents, seed=narrow.SEED)
    one = slice(None, None, narrow.VIEWS)
    by_method = [narrow.scores(s, model, intact[one], m, "positive").numpy() for m in p.shortcut_methods]
    hidden = training.predict(vgg.sequential(model)[:-1], torch.from_numpy(intact))
    return xr.Dataset(
        {
            "correct": (("condition", "image"), np.array([correct(each) for each in images.values()])),
            "relevance": (("image", "y", "x"), maps.numpy()),
            "share": ("image", share(maps.numpy(), region)),
            "shares": (("method", "person"), np.array([share(m, region[one]) for m in by_method])),
            "masked": ("image", np.mean([correct(narrow.removed(intact, m, colour)) for m in masks], 0)),
            "features": (("image", "feature"), hidden.numpy()),
        },
        coords={"condition": list(CONDITIONS), "method": list(p.shortcut_methods)},
    )


def share(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share `(N,)` of the positive part of maps `(N, y, x)` that lies in a region `(N, y, x)` bool.

    A map without positive relevance points nowhere: it gets the region's share of the area.
    """
    positive = maps.clip(min=0).astype(float)
    total = positive.sum((1, 2))
    return np.divide((positive * region).sum((1, 2)), total, out=region.mean((1, 2)), where=total > 0)


def sources(p: Any, net: Net) -> list[Net]:
    """Whose maps a network is shown: a reference network all of its kind, another one the references' and its own."""
    return [n for n in nets(p, net.kind) if REFERENCE in (net.family, n.family) or n == net]


@step(
    *("ranking", "fill", "transfer_percents", "transfer_control", "stimulus_seed"),
    needs=[
        probe.of(lambda s, net: product(sources(s.settings, net)), "shortcut_strengths", "shortcut_seeds"),
        network,
        FACES,
    ],
    title="transfer between them",
)
def transfer(s: Study, net: Net) -> xr.Dataset:
    """`probability (source, image)` of the true class when one network sees only what others' maps keep.

    A source is a network's name, or "control": the control mask. Means over `transfer_percents`, on intact images; NaN
    for networks that are not among the `sources`.
    """
    p, model, faces = s.p, network(s, net).to(s.p.device), narrow.part(s, "test")
    images = vgg.normalise(torch.from_numpy(test_images(s, net.kind, "intact"))).to(p.device)
    relevance = {n.name: torch.from_numpy(probe(s, n).relevance.values) for n in sources(p, net)}
    scores = {name: masking.rank(maps, p.ranking) for name, maps in relevance.items()}
    given = {"images": images.cpu(), "identities": faces.identity.values}
    scores[CONTROL] = attribution.control(p.transfer_control, scores[net.name], seed=narrow.SEED, **given)
    options = {
        "filling": masking.fillings(images, p.fill, seed=narrow.SEED),
        "labels": torch.from_numpy(faces.label.values),
        "seed": narrow.SEED,
        "modes": ("keep",),
    }
    names = [*(n.name for n in nets(p, net.kind)), CONTROL]
    probability = np.full((len(names), len(images)), np.nan)
    for name, shown in scores.items():
        curves = masking.curves(model, images, shown.to(p.device), p.transfer_percents, **options)
        probability[names.index(name)] = curves.probability.mean(("mode", "percent")).values
    return xr.Dataset({"probability": (("source", "image"), probability)}, coords={"source": names})


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """What the networks do and what the probes say.

    Returns:
        `accuracy`: kind, family, condition, accuracy, low, high. `probes`: kind, strength, probe, value, reference (the
        same of the reference networks), difference, low, high, notices (the interval excludes 0). `methods`: like
        `probes`, the probe "relevance" by each of `shortcut_methods` (named in `probe`). `noticed`: kind, probe and, in
        text, the strengths noticed. `transfer`: kind, source, target (families), transfer.
    """
    transfer.each(s, [(net,) for kind in s.p.shortcut_kinds for net in nets(s.p, kind)])
    of_kinds = {kind: _of_kind(s, kind) for kind in s.p.shortcut_kinds}
    whole = {}
    for name in ("accuracy", "probes", "methods", "transfer"):
        rows = [{"kind": kind} | row for kind, tables in of_kinds.items() for row in tables[name]]
        whole[name] = pd.DataFrame(rows)
    return whole | {"noticed": _noticed(whole["probes"])}


def _of_kind(s: Study, kind: str) -> dict[str, list[dict]]:
    networks, people = nets(s.p, kind), narrow.part(s, "test").identity.values
    jobs = list(product(networks))
    probed, transferred = probe.all(s, jobs, "network"), transfer.all(s, jobs, "network").probability
    transferred = transferred.transpose("source", "network", "image").fillna(0.0)  # 0 where not computed
    gain = (transferred - transferred.sel(source=CONTROL)).values[:-1]
    right = {name: probed.correct.sel(condition=name).values.astype(float) for name in CONDITIONS}
    values = {
        "reliance": right["intact"] - right["reversed"],
        "accuracy": right["intact"],
        "relevance": probed.share.values,
        "region": right["intact"] - right["region filled"],
        "masking": right["intact"] - probed.masked.values,
    }
    shares = {name: probed.shares.sel({"method": name}).values for name in s.p.shortcut_methods}
    return {
        "accuracy": [
            {"family": family, "condition": name} | narrow.mean_row(s, right[name][of], people, "accuracy")
            for (family, of), name in product(_families(networks).items(), CONDITIONS)
        ],
        "probes": [
            *_compared(s, networks, values, people),
            *_transfer_probes(s, networks, gain, people),
            *_observer_probe(s, networks, probed.features.values),
        ],
        "methods": _compared(s, networks, shares, people[:: narrow.VIEWS]),
        "transfer": _matrix(networks, gain),
    }


def _families(networks: list[Net]) -> dict[str, np.ndarray]:
    """Which networks `(M,)` bool each family has, the reference first."""
    family = np.array([net.family for net in networks])
    return {name: family == name for name in dict.fromkeys(net.family for net in networks)}


def _compared(s: Study, networks: list[Net], probes: dict[str, np.ndarray], people: np.ndarray) -> list[dict]:
    """Rows of `probes`: the mean of `(network, image)` values of each strength against that of the reference."""
    strata, rows = [net.family for net in networks], []
    means = np.array([members / members.sum() for members in _families(networks).values()])
    options = {"contrast": means[1:] - means[0], "n": inference.QUICK_DRAWS}
    for name, values in probes.items():
        estimate = inference.mean(values, people, strata, **options)
        rows += _rows(s, name, networks, means @ values.mean(1), estimate)
    return rows


def _rows(
    s: Study, name: str, networks: list[Net], levels: np.ndarray, estimate: inference.Estimate
) -> list[dict]:
    """Rows of `probes` from the `levels` of every family, the reference first, and their differences from it."""
    rows = []
    for k, family in enumerate(list(_families(networks))[1:]):
        row = {"strength": float(family), "probe": name, "value": levels[k + 1], "reference": levels[0]}
        row |= estimate[k].row("difference", s.p.confidence)
        rows.append(row | {"notices": row["low"] > 0 or row["high"] < 0})
    return rows


def _pairs(networks: list[Net], source: str, target: str) -> np.ndarray:
    """Pairs `(M, M)` bool of different networks of two families."""
    families = _families(networks)
    return np.outer(families[source], families[target]) & ~np.eye(len(networks), dtype=bool)


def _transfer_probes(s: Study, networks: list[Net], gain: np.ndarray, people: np.ndarray) -> list[dict]:
    """Gains over the control, in probability: a quotient of two small gains would have no useful interval."""
    strata, rows = [net.family for net in networks], []
    equal = np.full((1, len(people)), 1 / len(people)), np.ones((1, len(networks)))
    for name in ("to clean", "from clean"):
        ends = [(f, REFERENCE) if name == "to clean" else (REFERENCE, f) for f in _families(networks)]
        masks = np.array([_pairs(networks, *pair) for pair in ends], dtype=float)

        def change(w: np.ndarray, v: np.ndarray, masks: np.ndarray = masks) -> np.ndarray:
            values = pairwise.pair_means(gain, masks, w, v, strata)
            return values[:, 1:] - values[:, :1]

        levels = pairwise.pair_means(gain, masks, *equal, strata)[0]
        estimate = inference.infer(change, people, strata, n=inference.QUICK_DRAWS, pairs=True)
        rows += _rows(s, name, networks, levels, estimate)
    return rows


def _matrix(networks: list[Net], gain: np.ndarray) -> list[dict]:
    mean, rows = gain.mean(-1), []
    scale = np.broadcast_to(np.diag(mean), mean.shape)
    for source, target in product(_families(networks), repeat=2):
        if REFERENCE in (source, target):
            pairs = _pairs(networks, source, target)
            value = mean[pairs].mean() / scale[pairs].mean()
            rows.append({"source": source, "target": target, "transfer": value})
    return rows


def _observer_probe(s: Study, networks: list[Net], hidden: np.ndarray) -> list[dict]:
    """Rank correlation of the networks' dissimilarities (features of intact images) with simulated observers'.

    `hidden` `(network, image, feature)`. People and seeds vary.
    """
    p, faces = s.p, narrow.part(s, "test")
    names = list(dict.fromkeys(faces.identity.values))[: p.rated_identities]
    chosen = np.flatnonzero(np.isin(faces.identity.values, names))
    faces = faces.isel(image=chosen)
    rdms = [dissimilarity.model_rdm(of_net[chosen], faces.identity.values) for of_net in hidden]
    factors, options = observers.factors(faces), {"raters": p.raters, "noise": p.observer_noise}
    people = observers.simulate_observers(factors, OBSERVER_WEIGHTS, seed=p.stimulus_seed, **options)
    result = rsa.compare(*dissimilarity.match(dissimilarity.stack(rdms), people))
    means = np.array([members / members.sum() for members in _families(networks).values()])
    estimate = result.estimate(means[1:] - means[0], [net.family for net in networks])
    levels = means @ result.table["estimate"].to_numpy()
    return _rows(s, "observers", networks, levels, estimate)


def _noticed(probes: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (kind, name), tried in probes.groupby(["kind", "probe"], sort=False):
        real, false = tried[tried.strength > NEUTRAL], tried.notices[tried.strength == NEUTRAL]
        rows.append(
            {
                "kind": kind,
                "probe": name,
                "noticed at": ", ".join(f"{s:g}" for s in real.strength[real.notices]) or "none",
                "tried": ", ".join(f"{s:g}" for s in real.strength),
                "false alarm": "not tried" if false.empty else "yes" if false.any() else "no",
            }
        )
    return pd.DataFrame(rows)
