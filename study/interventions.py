"""Interventions: what a part of a face does to a network's logit, and the relevance that the part received.

On procedural faces a part is given another person's factors and the face is rendered again: the change of the explained
class's logit is the causal effect of that part. Photographs cannot be rendered again, so their regions, the fields of a
square grid, are filled with the mean colour instead. Parts are filled too, to see how good a stand-in that is.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import rankdata

import faces as stimuli
from analysis import inference, masking, transfer
from study import maps, parallel, training, vgg
from study import stimuli as study_stimuli
from study.grid import Cell
from study.parameters import Parameters
from study.regions import regions
from study.store import Store

CODE = (
    "analysis.lrp",
    "analysis.masking",
    "study.maps",
    "study.networks",
    "study.regions",
    "study.interventions",
)
RIVALS = ("area", "random", "centre", "edges", "other_image", "average", "random_weights")
QUESTIONS = {"size": "how much does it matter?", "direction": "is it for or against the class?"}
EFFECTS = {"swap": "swapping the part", "fill": "filling the region"}
DRAWS = 500  # bootstrap resamples, as for the many intervals of `summaries`


def chosen(p: Parameters, store: Store) -> np.ndarray:
    """Which of the explained images are intervened on: `intervention_images` of them, spread evenly."""
    count = len(study_stimuli.explained(p, study_stimuli.faces(p, store)))
    return np.unique(np.linspace(0, count - 1, min(count, p.intervention_images)).astype(int))


def chosen_regions(p: Parameters, store: Store) -> tuple[np.ndarray, list[str]]:
    """`regions` of the chosen images, without the background of procedural faces, whose pixels are of no region: -1."""
    faces = study_stimuli.faces(p, store)
    labels, names = regions(faces.isel(image=study_stimuli.explained(p, faces)[chosen(p, store)]))
    return (labels - 1, names[1:]) if "parts" in faces else (labels, names)


def swapped_faces(p: Parameters, store: Store) -> xr.DataArray:
    """The chosen procedural faces with one part of another person: `(donor, part, image, channel, y, x)` uint8.

    The donor is someone else among the chosen; view and noise stay.
    """
    inputs = p.inputs("explained_images", "intervention_images", "intervention_donors", "stimulus_seed")
    inputs |= {"faces": study_stimuli.faces(p, store).attrs["store_key"]}

    def make() -> xr.Dataset:
        faces = study_stimuli.faces(p, store)
        faces = faces.isel(image=study_stimuli.explained(p, faces)[chosen(p, store)])
        factors, views = faces.factors.values, faces["views"].values
        pixels = []
        for donor in range(p.intervention_donors):
            other = factors[masking.derangement(len(factors), p.stimulus_seed + donor, faces.identity.values)]
            tables = [stimuli.swap_parts(factors, other, [part]) for part in stimuli.PART_FACTORS]
            pixels.append(
                [stimuli.render(t, views, p.image_size, p.stimulus_seed).pixels.numpy() for t in tables]
            )
        dims = ("donor", "part", "image", "channel", "y", "x")
        return xr.Dataset({"pixels": (dims, np.array(pixels))}, coords={"part": list(stimuli.PART_FACTORS)})

    return store.dataset(
        "swapped_faces", inputs, ("faces", "analysis.masking", "study.interventions"), make
    ).pixels


def inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a network's effects depend on."""
    names = p.inputs("intervention_images", "intervention_donors", "stimulus_seed")
    return names | {"relevance": maps.relevance_inputs(p, store, cell)}


def intervene(p: Parameters, store: Store, cell: Cell) -> xr.Dataset:
    """Effects and relevance of one network by image and region.

    Returns:
        `effect (changed, image, region)`: the logit of the explained class with the region as it is, less that with the
        region changed, averaged over donors. `size (changed, image, region)`: the same with the magnitude of each
        change. `received (ranking, question, image, region)`: for "direction" the sum of the map over the region, for
        "size" that of its magnitude; `ranking` is "relevance" or one of `RIVALS`.
    """

    def make() -> xr.Dataset:
        index, (labels, names) = chosen(p, store), chosen_regions(p, store)
        own = maps.explain(p, store, cell).isel(image=index)
        images = maps.explained_images(p, store, cell.task)[0][index]
        model, target = maps.networks.load(p, store, cell), torch.from_numpy(own.target.values)
        before = own.logit.values

        def drops(changed: torch.Tensor) -> np.ndarray:
            logits = training.predict(model, changed, normalised=True)
            return before - logits.gather(1, target[:, None])[:, 0].numpy()

        inside = torch.from_numpy(
            labels[:, None] == np.arange(len(names))[:, None, None]
        )  # image, region, y, x
        filling = masking.fillings(images, "mean")
        filled = [masking.apply(images, m, "remove", filling) for m in inside.unbind(1)]
        found = {"fill": np.array([[drops(x) for x in filled]])}
        if "parts" in study_stimuli.faces(p, store):
            swapped = torch.from_numpy(swapped_faces(p, store).values)
            found["swap"] = np.array([[drops(vgg.normalise(x)) for x in d.unbind(0)] for d in swapped])
        rankings = _rankings(p, store, model, own, images, target)
        received = [
            [(np.abs(m)[:, None] * inside.numpy()).sum((2, 3)), (m[:, None] * inside.numpy()).sum((2, 3))]
            for m in rankings.values()
        ]
        parallel.progress(len(index))
        dims = ("changed", "image", "region")
        return xr.Dataset(
            {
                "effect": (dims, np.array([v.mean(0).T for v in found.values()])),
                "size": (dims, np.array([np.abs(v).mean(0).T for v in found.values()])),
                "received": (("ranking", "question", "image", "region"), np.array(received)),
            },
            coords={
                "changed": list(found),
                "region": names,
                "ranking": list(rankings),
                "question": list(QUESTIONS),
            },
        )

    return store.dataset("interventions", inputs(p, store, cell), CODE, make)


def _rankings(
    p: Parameters,
    store: Store,
    model: torch.nn.Module,
    own: xr.Dataset,
    images: torch.Tensor,
    target: torch.Tensor,
) -> dict[str, np.ndarray]:
    """The network's maps and their rivals, `(image, y, x)` each."""
    relevance = torch.from_numpy(own.relevance.values)
    faces = study_stimuli.faces(p, store)
    identities = faces.identity.values[study_stimuli.explained(p, faces)[chosen(p, store)]]
    found = {"relevance": relevance, "area": torch.ones_like(relevance)}
    for name in ("random", "centre", "edges", "other_image", "average"):
        found[name] = masking.controls(
            name, relevance, seed=maps.SEED, images=images.cpu(), identities=list(identities)
        )
    found["centre"] = found["centre"] - found["centre"].amin((1, 2), keepdim=True)
    untrained = maps.relevance_of(vgg.randomise(model, maps.SEED), images, target, p)
    found["random_weights"] = torch.from_numpy(untrained.relevance.values)
    return {name: values.numpy() for name, values in found.items()}


def intervene_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Effects and relevance of every network, stacked on `model`."""
    maps.explain_all(p, store, grid)
    todo = [cell for cell in grid if not store.has("interventions", inputs(p, store, cell), CODE)]
    if todo and "parts" in study_stimuli.faces(p, store):
        swapped_faces(p, store)
    sizes = [len(chosen(p, store))] * len(todo)
    parallel.each(intervene, [(p, store, c) for c in todo], sizes, "interventions", p.workers, p.threads)
    whole = [intervene(p, store, cell).load().drop_attrs() for cell in grid]
    return xr.concat(whole, xr.Variable("model", [cell.name for cell in grid]))


def correlations(found: xr.Dataset) -> xr.DataArray:
    """Rank correlation over regions of what they received with their effect.

    Dimensions `(question, changed, ranking, model, image)`. A rival called "fill" is the other effect: what filling the
    part says about what swapping it does. Where nothing varies over regions the correlation is 0.
    """
    effect = xr.concat([found["size"], found.effect], xr.Variable("question", list(QUESTIONS)))
    fill = effect.sel(changed="fill", drop=True).expand_dims(ranking=["fill"])
    received = xr.concat([found.received, fill], "ranking")
    return xr.apply_ufunc(_spearman, received, effect, input_core_dims=[["region"], ["region"]]).transpose(
        "question", "changed", "ranking", "model", "image"
    )


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the last axis, with average ranks for ties; 0 where one of them is constant."""
    a, b = (rankdata(x, axis=-1) for x in (a, b))
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    norm = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(norm > 0, (a * b).sum(-1) / np.where(norm > 0, norm, 1), 0.0)


def table(study) -> pd.DataFrame:
    """How well maps and rivals tell the effects of regions: means over images and networks of the rank correlation.

    Columns: question, changed, ranking, correlation, low, high (intervals over people and seeds), ahead, ahead_low,
    ahead_high (correlation of relevance minus that of the rival, on the same images and networks), images, networks.
    """
    p = study.parameters
    found = correlations(intervene_all(p, study.store, study.grid))
    people = study.explained().identity.values[chosen(p, study.store)]
    strata, units = transfer.resampling(study.grid)

    def mean(values: np.ndarray, name: str) -> dict[str, float]:
        estimate = inference.mean(values, people, strata, units=units, n=DRAWS, seed=p.stimulus_seed)
        low, high = estimate.interval(p.confidence)
        prefix = "" if name == "correlation" else f"{name}_"
        return {name: float(estimate.value), f"{prefix}low": float(low), f"{prefix}high": float(high)}

    rows = []
    for question, changed in product(found.question.values, found.changed.values):
        own = found.sel(question=question, changed=changed)
        relevance = own.sel(ranking="relevance").values
        for ranking in found.ranking.values:
            if ranking == changed:
                continue
            values = own.sel(ranking=ranking).values
            row = {"question": QUESTIONS[question], "changed": EFFECTS[changed], "ranking": ranking}
            row |= mean(values, "correlation") | mean(relevance - values, "ahead")
            rows.append(row | {"images": values.shape[1], "networks": values.shape[0]})
    return pd.DataFrame(rows)


def effects(study) -> pd.DataFrame:
    """Mean effect of every region by task: task, changed, region, size (logits), area (share of the pixels)."""
    p = study.parameters
    found = intervene_all(p, study.store, study.grid)
    labels, names = chosen_regions(p, study.store)
    area = [float((labels == k).mean()) for k in range(len(names))]
    task = xr.DataArray([cell.task for cell in study.grid], dims="model", name="task")
    mean = found["size"].groupby(task).mean().mean("image").to_dataframe("size").reset_index()
    mean = mean.replace({"changed": EFFECTS})
    return mean.assign(area=mean.region.map(dict(zip(names, area, strict=True))))
