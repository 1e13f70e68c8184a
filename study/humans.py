"""Model and human dissimilarities of the same people, at the levels of features, maps and weighted images.

With procedural faces the observers are simulated: their weights on the faces' factors are known.
"""

from dataclasses import asdict
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field
from rsatoolbox.rdm import RDMs

from analysis import rsa, transfer
from analysis.inference import Estimate
from study import networks, observers, ratings, relevance, stimuli, vgg
from study.grid import Cell
from study.settings import Settings, source
from study.steps import Study, step
from study.verdicts import Region, answer, part

LEVELS = {
    "pixels": "images as they are",
    "features": "features of the last hidden layer",
    "maps": "relevance maps",
    "weighted": "images weighted by relevance",
}
ALL, WITHIN = "all pairs", "within gender"  # which pairs of people count
GAIN = "gain over unweighted images"
IMAGES_PER_PERSON = 10
PEOPLE_PER_GENDER = 3  # fewer have too few pairs of one gender to compare
# The simulated observers' weights on the factors, in arbitrary units: features of the inner face above all.
OBSERVER_WEIGHTS = {
    "brow_thickness": 1.0,
    "brow_arch": 0.5,
    "eye_size": 1.5,
    "eye_spacing": 1.0,
    "nose_width": 1.0,
    "nose_length": 0.5,
    "lip_thickness": 1.0,
    "jaw_width": 1.0,
    "beard": 1.0,
    "skin_tone": 1.0,
    "hair_length": 0.5,
    "hair_lightness": 0.5,
}


class Humans(Settings):
    """Whose judgements networks are compared with."""

    ratings: tuple[str, ...] = source(
        (), description="CSVs under `data` with pairwise ratings; none: simulated"
    )
    ratings_columns: tuple[str, str, str] = Field(("a", "b", "value"), description="item, item, rating")
    ratings_direction: Literal["dissimilarity", "similarity"] = Field(
        "dissimilarity", description="what a high rating means"
    )
    ratings_names: str | None = source(None, description="CSV under `data`: rated stimulus, identity")
    raters: int = Field(12, ge=2, le=1000, description="simulated observers")
    rated_identities: int = Field(20, ge=4, le=500, description="people the simulated observers compare")
    observer_noise: float = Field(0.5, ge=0, le=10, description="noise of a simulated rating, in its own SD")
    smallest_correlation: float = Field(
        0.1, gt=0, lt=1, description="smallest effect of interest, rank correlation with people"
    )


RATED = ("ratings_names", "rated_identities")  # what decides who is compared


def judged(p: Any) -> bool:
    """Whether anybody judged the faces: observers are simulated for drawn faces alone."""
    return bool(p.ratings) or p.faces == "procedural"


def rated(s: Study) -> xr.Dataset:
    """The images that stand for the rated people: never trained on, at most 10 of each.

    A step that calls this declares RATED and needs `stimuli.faces`.
    """
    faces = stimuli.faces(s)
    names = stimuli.rated_names(s.p)
    if names is None:
        names = stimuli.classes(faces, "identity")[: s.p.rated_identities]
    chosen = np.isin(faces.identity.values, names) & (faces.split.values == "test")
    chosen &= np.isin(faces.group.values, ["identity", "rated"])
    index = np.flatnonzero(chosen)
    turn = pd.Series(index).groupby(faces.identity.values[index]).cumcount()
    return faces.isel(image=index[turn.to_numpy() < IMAGES_PER_PERSON])


@step(
    *("composite", *RATED),
    needs=[networks.finetuned, stimuli.faces],
    title="responses to rated people",
)
def responses(s: Study, cell: Cell) -> xr.Dataset:
    """One network's `features (image, feature)` and `relevance (image, y, x)` of the rated people's images.

    Features are the last hidden layer after its ReLU. Relevance explains the predicted class.
    """
    images = vgg.normalise(torch.from_numpy(rated(s).pixels.values)).to(s.p.device)
    model = networks.network(s, cell)
    with torch.inference_mode():
        hidden = [vgg.sequential(model)[:-1](batch) for batch in vgg.portions(images, 64)]
        features = torch.cat(hidden).cpu().numpy()
    maps = relevance.dataset(model, images, None, s.p.composite)
    return maps.assign(features=(("image", "feature"), features))


@step(
    *("grid", *RATED, "faces", "ratings", "ratings_columns", "ratings_direction"),
    *("raters", "observer_noise", "stimulus_seed"),
    needs=[
        responses.of(lambda s: [(cell,) for cell in s.firsts] if judged(s.settings) else []),
        stimuli.faces,
    ],
    title="agreement with people",
)
def agreement(s: Study) -> dict[str, Any]:
    """How well models' dissimilarities follow people's, for the networks of the first seed of each pretraining run.

    Returns:
        `networks`: rows (dicts) per network and level: model, level, pairs, estimate, share (see `rsa.compare`).
        `pairs` is ALL, or WITHIN where there are at least three rated people of each gender.
        `means`: rows of what is compared over networks (`of`, see `_contrasts`), pairs, and their `Estimate`.
        `ceiling`: (lower, upper) noise ceiling, or None, and a `note` why. `share`: what weighted images reach of it.
        `simulated`: whether the people are. `people`, `pairs`: how many.
        `factors`: for simulated observers, rows of the factors' recovered weights: source, factor, share.
        Where nobody judged the faces, estimates are NaN and `people` and `pairs` 0.
    """
    p = s.p
    if not judged(p):
        return _unjudged(s)
    models, people = rsa.match(_model_rdms(s), _human_rdms(s))
    faces, names = rated(s), people.pattern_descriptors["identity"]
    gender = pd.Series(dict(zip(faces.identity.values, stimuli.kinds(faces), strict=True)))[names]
    groups = {ALL: None, WITHIN: gender.to_dict()}
    if gender.nunique() < 2 or gender.value_counts().min() < PEOPLE_PER_GENDER:
        del groups[WITHIN]
    compared = {pairs: rsa.compare(models, people, groups=of_pairs) for pairs, of_pairs in groups.items()}
    levels, cells = (np.array(models.rdm_descriptors[name]) for name in ("level", "model"))
    whole, contrasts, drawn = compared[ALL], _contrasts(s, levels, cells), _drawn(s, models)
    means = []
    for pairs, result in compared.items():
        estimates = result.estimate(list(contrasts.values()), *drawn)
        means += [
            {"of": name, "pairs": pairs, **{key: v.tolist() for key, v in asdict(estimates[k]).items()}}
            for k, name in enumerate(contrasts)
        ]
    rows = [result.table.assign(pairs=pairs) for pairs, result in compared.items()]
    weighted = whole.table.query("level == 'weighted'")
    return {
        "networks": pd.concat(rows)[["model", "level", "pairs", "estimate", "share"]].to_dict("records"),
        "means": means,
        "ceiling": whole.ceiling,
        "note": whole.note,
        "share": float(weighted["share"].mean()),
        "simulated": not p.ratings,
        "people": len(names),
        "pairs": int(weighted["pairs"].iloc[0]),
        "factors": [] if p.ratings else _factor_shares(s, models, people),
    }


@step("confidence", "smallest_correlation", "pretrainings", needs=[agreement], title="claim C8")
def claim(s: Study) -> dict[str, Any]:
    """Claim C8: images weighted by relevance are alike where people are, and more so than unweighted ones.

    Beside it, without a say in the verdict: which pretraining's weighted images follow people more.
    """
    result, region = agreement(s), Region(low=0, smallest=s.p.smallest_correlation)
    estimates = _estimates(result, ALL)
    pair = np.resize([f"person {k}" for k in range(result["people"])], result["pairs"])
    labels = {"correlation with relevance-weighted images": "weighted", GAIN: GAIN}
    parts = [part(region, label, estimates[name], pair, s.p.confidence) for label, name in labels.items()]
    either = Region(low=0, high=0, outside=True)  # of two pretrainings neither is expected to be ahead
    for label in (_difference(a, b) for a, b in combinations(s.p.pretrainings, 2)):
        parts.append(part(either, label, estimates[label], pair, s.p.confidence, decides=False))
    return answer(region, parts)


def _difference(a: str, b: str) -> str:
    return f"weighted images: {a} minus {b}"


def _estimates(result: dict[str, Any], pairs: str) -> dict[str, Estimate]:
    """What `agreement` compared over networks, by name."""
    return {
        row["of"]: Estimate(*(np.array(row[key]) for key in ("value", "parts", "df")))
        for row in result["means"]
        if row["pairs"] == pairs
    }


def _unjudged(s: Study) -> dict[str, Any]:
    """What `agreement` is where nobody judged the faces."""
    rows = [("pixels", "none")] + [(name, c.name) for c in s.firsts for name in LEVELS if name != "pixels"]
    unknown = {"value": np.nan, "parts": [np.nan] * 3, "df": [np.nan] * 3}
    means = [
        {"of": name, "pairs": ALL} | unknown
        for name in _contrasts(s, *map(np.array, zip(*rows, strict=True)))
    ]
    nothing = {"networks": [], "ceiling": None, "factors": [], "simulated": False, "people": 0, "pairs": 0}
    return nothing | {"means": means, "note": "there are no ratings of these photographs", "share": np.nan}


def _contrasts(s: Study, level: np.ndarray, model: np.ndarray) -> dict[str, np.ndarray]:
    """Weights `(rdm,)` of what is compared over networks; of each matrix the level and the model are given.

    The mean of each level; what weighting adds (GAIN); the weighted images of each two pretrainings; each level of each
    family, as "family: level".
    """
    cell = s.networks.set_index("model")
    pretraining, family = (cell[name].reindex(model).to_numpy() for name in ("pretraining", "family"))

    def mean(chosen: np.ndarray) -> np.ndarray:
        return chosen / chosen.sum()

    levels = {name: mean(level == name) for name in LEVELS}
    weighted = {name: mean((level == "weighted") & (pretraining == name)) for name in s.p.pretrainings}
    return (
        levels
        | {GAIN: levels["weighted"] - levels["pixels"]}
        | {_difference(a, b): weighted[a] - weighted[b] for a, b in combinations(weighted, 2)}
        | {
            f"{of}: {name}": mean((level == name) & (family == of))
            for of in dict.fromkeys(cell.family)
            for name in LEVELS
            if name != "pixels"
        }
    )


def _drawn(s: Study, models: RDMs) -> tuple[np.ndarray, np.ndarray]:
    """Strata and units of the networks `(rdm,)` each, "" for images as they are."""
    strata, units = transfer.resampling(s.firsts)
    table = pd.DataFrame({"strata": strata, "units": units}, [cell.name for cell in s.firsts])
    table = table.reindex(models.rdm_descriptors["model"], fill_value="")
    return table.strata.to_numpy(dtype=str), table.units.to_numpy(dtype=str)


def _human_rdms(s: Study) -> RDMs:
    """Human dissimilarities: the ratings read from files, or those of simulated observers."""
    p = s.p
    if p.ratings:
        names = p.path(p.ratings_names) if p.ratings_names else None
        options = {"direction": p.ratings_direction, "columns": p.ratings_columns, "names": names}
        return ratings.read_ratings([p.path(name) for name in p.ratings], **options)
    options = {"raters": p.raters, "noise": p.observer_noise, "seed": p.stimulus_seed}
    return observers.simulate_observers(_rated_factors(s), OBSERVER_WEIGHTS, **options)


def _rated_factors(s: Study) -> pd.DataFrame:
    """The procedural factors of the rated people, one row per identity."""
    return observers.factors(rated(s))


def _model_rdms(s: Study) -> RDMs:
    """Dissimilarities at every level of every network; "pixels" once, as it is the same for all.

    Maps and weights are magnitudes of relevance: an image whose winning logit is negative has no positive ones.
    """
    faces = rated(s)
    who, pixels = faces.identity.values, faces.pixels.values.astype(np.float64)
    rdms = [rsa.model_rdm(pixels - pixels.mean(0), who, level="pixels", model="none")]
    for cell in s.firsts:
        response = responses(s, cell).load()
        magnitude = np.abs(response.relevance.values)
        levels = {"features": response.features.values, "maps": magnitude}
        levels["weighted"] = rsa.weighted_images(pixels, magnitude)
        rdms += [rsa.model_rdm(v, who, level=level, model=cell.name) for level, v in levels.items()]
    return rsa.stack(rdms)


def _factor_shares(s: Study, models: RDMs, people: RDMs) -> list[dict[str, Any]]:
    factors = _rated_factors(s)[list(OBSERVER_WEIGHTS)]
    sources = {"observers (simulated)": people} | {level: models.subset("level", level) for level in LEVELS}
    weights = {name: observers.factor_weights(rdms.mean(), factors) for name, rdms in sources.items()}
    weights["built in"] = pd.Series(OBSERVER_WEIGHTS)
    return [
        {"source": name, "factor": factor, "share": float(share)}
        for name, of_factors in weights.items()
        for factor, share in (of_factors / of_factors.sum()).items()
    ]


def by_level(s: Study) -> pd.DataFrame:
    """Agreement with people, means over networks: level (as LEVELS words it), pairs, estimate, low, high, p."""
    result = agreement(s)
    return pd.DataFrame(
        {
            "level": LEVELS[level],
            "pairs": pairs,
            **of[level].row("estimate", s.p.confidence),
            "p": float(of[level].p()),
        }
        for pairs in (ALL, WITHIN)
        if (of := _estimates(result, pairs))
        for level in LEVELS
    )


def by_family(s: Study) -> pd.DataFrame:
    """Agreement with people over all pairs, means over a family's networks: family, level, estimate, low, high."""
    of = _estimates(agreement(s), ALL)
    return pd.DataFrame(
        {"family": family, "level": LEVELS[level], **of[f"{family}: {level}"].row("estimate", s.p.confidence)}
        for family in dict.fromkeys(s.networks.family)
        for level in LEVELS
        if level != "pixels"
    )


def factor_shares(s: Study) -> pd.DataFrame:
    """Share of each factor in dissimilarities: source, factor, share. One empty row where factors are unknown."""
    rows = agreement(s)["factors"] or [{"factor": "unknown for photographs", "source": "none", "share": 0.0}]
    return pd.DataFrame(rows).fillna({"share": 0.0})
