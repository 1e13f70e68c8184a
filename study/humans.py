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
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

from analysis import dissimilarity, lrp, rsa, transfer
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
    "verified": "images weighted for verification",
}
ALL, WITHIN = "all pairs", "within gender"  # which pairs of people count
GAIN = "gain over unweighted images"
VERIFIED = "verification minus decision relevance"
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
JUDGES = (  # and by whom
    *("faces", "ratings", "ratings_columns", "ratings_direction"),
    *("raters", "observer_noise", "stimulus_seed"),
)
# The pairs that are shown, and the signs of the ranks (people's, networks') whose sum is least.
PAIRS = {
    "alike to both": (1, 1),
    "unlike to both": (-1, -1),
    "alike to people alone": (1, -1),
    "alike to networks alone": (-1, 1),
}


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


def explain_cosine(
    model: vgg.VGG16, images: torch.Tensor, own: torch.Tensor, others: torch.Tensor, composite: str
) -> lrp.Explanation:
    """Why faces are similar to a verifying system: LRP of the cosine of two embeddings, from the side of one face.

    With e1 of this face and e2 of the other, both lengths held, cos = e1 . e2 / |e1||e2| is an output of one more
    linear layer on e1, whose weights are e2 / |e1||e2|. Swapped, the same holds for the other face, so a pair is two
    images of one batch. A map sums to the cosine less what biases and stabilisers took. Relevance of pairs of pixels,
    one in each face (BiLRP: Eberle et al. 2022), summed over the other face's pixels, is this map, less what the other
    face's biases and stabilisers took.

    Args:
        images, own: `(N, 3, H, W)` normalised, and their embeddings `(N, K)`: the last hidden layer after its ReLU.
        others: `(N, K)`, or `(N, T, K)` for T others that share the passes up: embeddings of length 1, or means of
            such, for the mean of their cosines.
    """
    lengths = own.norm(dim=1).clamp(min=torch.finfo(own.dtype).tiny)
    weights = others / lengths.view(-1, *[1] * (others.ndim - 1))
    embedder = vgg.sequential(model)[:-1]
    return lrp.LRP(embedder, composite, **vgg.bounds(composite)).explain(images, weights)


@step(
    *("composite", *RATED),
    needs=[networks.finetuned, responses, stimuli.faces],
    title="relevance for verification",
)
def verification(s: Study, cell: Cell) -> xr.Dataset:
    """Why a network finds each rated person's image similar to the other rated people: `relevance (image, y, x)`.

    It explains `cosine (image)`, the mean cosine of the image's embedding and each other person's, who is the mean
    embedding of their images, as people are enrolled. Relevance is linear in the weights that it starts from, so this
    one map is the mean of the maps of all pairs that the image is in, at the price of one. Maps of single pairs would
    be as many times dearer as there are people, and change little: for three networks of the default study and the
    first image of each of 60 people, dissimilarities of images weighted by either correlate at 0.99 or more (ranks).
    """
    faces, own = rated(s), responses(s, cell).features.values
    people, of = _enrolled(own, faces.identity.values)
    others = torch.from_numpy(((people.sum(0) - people) / (len(people) - 1))[of]).to(s.p.device)
    images = vgg.normalise(torch.from_numpy(faces.pixels.values)).to(s.p.device)
    model, own = networks.network(s, cell), torch.from_numpy(own).to(s.p.device)
    found = explain_cosine(model, images, own, others, s.p.composite)
    maps = found.relevance.sum(1).cpu().numpy()
    return xr.Dataset(
        {"relevance": (("image", "y", "x"), maps), "cosine": ("image", found.start.cpu().numpy())}
    )


def _enrolled(embeddings: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each person's mean embedding `(person, K)`, of length 1, in alphabetical order, and whom each image shows."""
    names, of = np.unique(who, return_inverse=True)
    means = np.stack([embeddings[of == k].mean(0) for k in range(len(names))])
    return means / np.linalg.norm(means, axis=1, keepdims=True), of


def verifiers(s: Study) -> list[Cell]:
    """The first networks that learned to tell people apart, as a verifying system does; all where none did."""
    return [cell for cell in s.firsts if cell.task == "identity"] or s.firsts


@step(
    *("grid", "composite", *RATED, *JUDGES),
    needs=[
        networks.finetuned.of(lambda s: [(cell,) for cell in verifiers(s)]),
        responses.of(lambda s: [(cell,) for cell in verifiers(s)]),
        stimuli.faces,
    ],
    title="pairs of faces",
)
def pairs(s: Study) -> xr.Dataset:
    """Pairs of drawn people whom observers and networks judge the same and otherwise, and why the networks do.

    All pairs are ranked from most to least alike by the mean of the observers and by the mean cosine of `verifiers`;
    each kind of PAIRS is the first pair at one corner of these two rankings.

    Returns:
        `relevance (pair, face, y, x)` of the first image of both for the cosine of these two images' embeddings,
        `cosine (pair)`, mean over `verifiers`; `people` and `networks (pair)`, the ranks as shares of all pairs, 0
        most alike; `image (pair, face)`, the images' places in `rated`. `pair` are the kinds.

    ValueError for photographs, of whom no single one is shown.
    """
    if s.p.faces != "procedural":
        raise ValueError("pairs of people are shown for procedural faces only, not for photographs")
    faces, cells = rated(s), verifiers(s)
    who, features = faces.identity.values, [responses(s, cell).features.values for cell in cells]
    distances = np.mean([pdist(_enrolled(own, who)[0], "cosine") for own in features], axis=0)
    models = RDMs(distances[None], pattern_descriptors={"identity": np.unique(who).tolist()})
    models, people = dissimilarity.match(models, _human_rdms(s))
    vectors = [people.get_vectors().mean(0), models.get_vectors()[0]]
    ranks = (rankdata(vectors, axis=1) - 1) / (len(vectors[0]) - 1)
    chosen = [int(np.argmin(signs @ ranks)) for signs in np.array(list(PAIRS.values()))]
    names = np.array(people.pattern_descriptors["identity"])
    both = np.transpose(np.triu_indices(len(names), 1))[chosen]
    image = np.array([[np.flatnonzero(who == name)[0] for name in pair] for pair in names[both]])

    images = vgg.normalise(torch.from_numpy(faces.pixels.values[image.ravel()])).to(s.p.device)
    maps, cosines = [], []
    for cell, embeddings in zip(cells, features, strict=True):
        own = torch.from_numpy(embeddings[image]).to(s.p.device)
        others = torch.nn.functional.normalize(own, dim=-1).flip(1)
        model = networks.network(s, cell)
        found = explain_cosine(model, images, own.flatten(0, 1), others.flatten(0, 1), s.p.composite)
        maps.append(found.relevance.sum(1).cpu().numpy())
        cosines.append(found.start.cpu().numpy())
    size = faces.pixels.shape[-2:]
    return xr.Dataset(
        {
            "relevance": (("pair", "face", "y", "x"), np.mean(maps, axis=0).reshape(-1, 2, *size)),
            "cosine": ("pair", np.mean(cosines, axis=0)[::2]),
            "people": ("pair", ranks[0][chosen]),
            "networks": ("pair", ranks[1][chosen]),
            "image": (("pair", "face"), image),
        },
        coords={"pair": list(PAIRS)},
    )


@step(
    *("grid", *RATED, *JUDGES),
    needs=[
        responses.of(lambda s: [(cell,) for cell in s.firsts] if judged(s.settings) else []),
        verification.of(lambda s: [(cell,) for cell in s.firsts] if judged(s.settings) else []),
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
    models, people = dissimilarity.match(_model_rdms(s), _human_rdms(s))
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

    Beside it, without a say in the verdict: images weighted by verification relevance, and which pretraining's weighted
    images follow people more.
    """
    result, region = agreement(s), Region(low=0, smallest=s.p.smallest_correlation)
    estimates = _estimates(result, ALL)
    pair = np.resize([f"person {k}" for k in range(result["people"])], result["pairs"])
    labels = {"correlation with relevance-weighted images": "weighted", GAIN: GAIN}
    parts = [part(region, label, estimates[name], pair, s.p.confidence) for label, name in labels.items()]
    label = "correlation with images weighted by verification relevance"
    parts.append(part(region, label, estimates["verified"], pair, s.p.confidence, decides=False))
    # Of two weightings, as of two pretrainings, neither is expected to be ahead.
    either = Region(low=0, high=0, outside=True)
    for label in (VERIFIED, *(_difference(a, b) for a, b in combinations(s.p.pretrainings, 2))):
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

    The mean of each level; what weighting adds (GAIN); what it adds for verification rather than decisions (VERIFIED);
    the weighted images of each two pretrainings; each level of each family, as "family: level".
    """
    cell = s.networks.set_index("model")
    pretraining, family = (cell[name].reindex(model).to_numpy() for name in ("pretraining", "family"))

    def mean(chosen: np.ndarray) -> np.ndarray:
        return chosen / chosen.sum()

    levels = {name: mean(level == name) for name in LEVELS}
    weighted = {name: mean((level == "weighted") & (pretraining == name)) for name in s.p.pretrainings}
    return (
        levels
        | {GAIN: levels["weighted"] - levels["pixels"], VERIFIED: levels["verified"] - levels["weighted"]}
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
    rdms = [dissimilarity.model_rdm(pixels - pixels.mean(0), who, level="pixels", model="none")]
    for cell in s.firsts:
        response = responses(s, cell).load()
        magnitude = np.abs(response.relevance.values)
        levels = {"features": response.features.values, "maps": magnitude}
        levels["weighted"] = dissimilarity.weighted_images(pixels, magnitude)
        levels["verified"] = dissimilarity.weighted_images(
            pixels, np.abs(verification(s, cell).relevance.values)
        )
        rdms += [dissimilarity.model_rdm(v, who, level=level, model=cell.name) for level, v in levels.items()]
    return dissimilarity.stack(rdms)


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
