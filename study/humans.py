"""Model and human dissimilarities of the same people, at the levels of features, maps and weighted images.

With procedural faces the observers are simulated: their weights on the faces' factors are known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import xarray as xr
from rsatoolbox.rdm import RDMs

from analysis import features, matrices, rsa
from study import maps, networks, observers, parallel, ratings, stimuli, vgg
from study.grid import Cell
from study.parameters import Parameters
from study.store import Store

CODE = (
    "analysis.lrp",
    "analysis.rsa",
    "analysis.features",
    "analysis.matrices",
    "study.observers",
    "study.ratings",
    "study.humans",
)
LEVELS = {
    "pixels": "images as they are",
    "features": "features of the last hidden layer",
    "maps": "relevance maps",
    "weighted": "images weighted by relevance",
}
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


def rated(p: Parameters, store: Store) -> np.ndarray:
    """Indices (int64) of the images that stand for the rated people: never trained on, at most 10 each."""
    faces = stimuli.faces(p, store)
    names = stimuli.rated_names(p)
    if names is None:
        names = stimuli.classes(faces, "identity")[: p.rated_identities]
    ours = np.isin(faces.identity.values, names) & (faces.split.values == "test")
    ours &= np.isin(faces.group.values, ["identity", "rated"])
    index = np.flatnonzero(ours)
    turn = pd.Series(index).groupby(faces.identity.values[index]).cumcount()
    return index[turn.to_numpy() < IMAGES_PER_PERSON]


def respond(p: Parameters, store: Store, cell: Cell) -> xr.Dataset:
    """One network's `features (image, feature)` and `relevance (image, y, x)` of the rated people's images.

    Features are the last hidden layer after its ReLU. Relevance explains the predicted class.
    """

    def make() -> xr.Dataset:
        images = vgg.normalise(torch.from_numpy(stimuli.faces(p, store).pixels.values[rated(p, store)]))
        images = images.to(p.device)
        model = networks.load(p, store, cell)
        hidden = vgg.sequential(model)[:-1]
        with torch.inference_mode():
            features = torch.cat([hidden(batch) for batch in images.split(64)]).cpu().numpy()
        relevance = maps.relevance_of(model, images, None, p)
        parallel.progress(len(images))
        return relevance.assign(features=(("image", "feature"), features))

    return store.dataset("responses", respond_inputs(p, store, cell), CODE, make)


def respond_inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a network's responses to the rated people depend on."""
    names = p.inputs("composite", "rated_identities")
    network = store.key("network", networks.network_inputs(p, store, cell), networks.CODE)
    return names | {"names": stimuli.rated_names(p), "network": network}


def human_rdms(p: Parameters, store: Store) -> RDMs:
    """Human dissimilarities: the ratings read from files, or those of simulated observers."""
    if p.ratings:
        return ratings.read_ratings(
            [p.path(name) for name in p.ratings],
            direction=p.ratings_direction,
            columns=p.ratings_columns,
            names=p.path(p.ratings_names) if p.ratings_names else None,
        )
    return observers.simulate_observers(
        rated_factors(p, store),
        OBSERVER_WEIGHTS,
        raters=p.raters,
        noise=p.observer_noise,
        seed=p.stimulus_seed,
    )


def rated_factors(p: Parameters, store: Store) -> pd.DataFrame:
    """The procedural factors of the rated people, one row per identity."""
    faces = stimuli.faces(p, store).isel(image=rated(p, store))
    if "factors" not in faces:
        raise ValueError("simulated observers need procedural faces; for photographs name `ratings`")
    table = pd.DataFrame(faces.factors.values, index=faces.identity.values, columns=faces.factor.values)
    return table[~table.index.duplicated()].sort_index()


def model_rdms(p: Parameters, store: Store, grid: list[Cell]) -> RDMs:
    """Dissimilarities at every level of every network; "pixels" once, as it is the same for all.

    Maps and weights are magnitudes of relevance: an image whose winning logit is negative has no positive ones.
    """
    faces = stimuli.faces(p, store).isel(image=rated(p, store))
    who, pixels = faces.identity.values, faces.pixels.values.astype(np.float64)
    rdms = [features.model_rdm(pixels - pixels.mean(0), who, level="pixels", model="none")]
    for cell in grid:
        responses = respond(p, store, cell).load()
        relevance = responses.relevance.values
        levels = {
            "features": responses.features.values,
            "maps": np.abs(relevance),
            "weighted": features.weighted_images(pixels, relevance, part="absolute"),
        }
        rdms += [features.model_rdm(v, who, level=level, model=cell.name) for level, v in levels.items()]
    return matrices.stack(rdms)


def agreement(p: Parameters, store: Store, grid: list[Cell]) -> dict:
    """How well models' dissimilarities follow people's.

    "within" is left out where there are fewer than three rated people of a gender.

    Returns:
        `table`: rows (dicts) per network, level and control ("none", or "within": pairs of one gender only);
        `means`: per level and control, over networks: estimate, ci_low, ci_high, p;
        `gain`: weighted images minus unweighted ones; `ceiling`, `note`, `simulated`, `people`, `pairs`;
        `factors`: for simulated observers, rows of the factors' recovered weights per source.
    """
    inputs = p.inputs("ratings", "ratings_columns", "ratings_direction", "ratings_names", "raters")
    inputs |= p.inputs("observer_noise", "stimulus_seed", "resamples", "permutations", "confidence")
    inputs |= {"responses": [respond_inputs(p, store, cell) for cell in grid], "data": contents(p)}
    networks.train_all(p, store, grid)
    todo = [c for c in grid if not store.has("responses", respond_inputs(p, store, c), CODE)]
    sizes = [len(rated(p, store))] * len(todo)
    jobs = [(p, store, c) for c in todo]
    parallel.each(respond, jobs, sizes, "responses to rated people", p.workers, p.threads)
    return store.json("agreement", inputs, CODE, lambda: _agreement(p, store, grid))


def _agreement(p: Parameters, store: Store, grid: list[Cell]) -> dict:
    ours, theirs = matrices.match(model_rdms(p, store, grid), human_rdms(p, store))
    faces = stimuli.faces(p, store)
    genders = dict(zip(faces.identity.values, faces.gender.values, strict=True))
    groups = {name: genders[name] for name in theirs.pattern_descriptors["identity"]}
    table, means = [], {}
    enough = pd.Series(groups).value_counts().min() >= PEOPLE_PER_GENDER
    for control in (None, "within") if enough else (None,):
        result = rsa.compare(
            ours,
            theirs,
            groups=groups if control else None,
            control=control,
            draws=p.resamples,
            permutations=p.permutations,
            level=p.confidence,
            seed=p.stimulus_seed,
        )
        rows = {level: np.flatnonzero(result.table["level"] == level) for level in LEVELS}
        means[control or "none"] = {level: result.mean(index) for level, index in rows.items()}
        table += result.table.to_dict("records")
        if control is None:
            gain, whole = result.difference(rows["weighted"], rows["pixels"]), result
    return {
        "table": table,
        "means": means,
        "gain": gain,
        "ceiling": whole.ceiling,
        "note": whole.note,
        "simulated": not p.ratings,
        "people": len(groups),
        "pairs": int(whole.table["pairs"].iloc[0]),
        "factors": [] if p.ratings else _factor_weights(p, store, ours, theirs),
    }


def _factor_weights(p: Parameters, store: Store, ours: RDMs, theirs: RDMs) -> list[dict]:
    factors = rated_factors(p, store)[list(OBSERVER_WEIGHTS)]
    sources = {"observers (simulated)": theirs} | {level: ours.subset("level", level) for level in LEVELS}
    rows = []
    for source, rdms in sources.items():
        table = observers.factor_weights(
            rdms.mean(), factors, draws=p.resamples, level=p.confidence, seed=p.stimulus_seed
        )
        rows += table.assign(source=source).to_dict("records")
    total = sum(OBSERVER_WEIGHTS.values())
    rows += [
        {"source": "built in", "factor": name, "share": w / total, "ci_low": w / total, "ci_high": w / total}
        for name, w in OBSERVER_WEIGHTS.items()
    ]
    return rows


def contents(p: Parameters) -> list[str]:
    """The text of every file of ratings."""
    names = [*p.ratings, *([p.ratings_names] if p.ratings_names else [])]
    return [p.path(name).read_text() for name in names]
