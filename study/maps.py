"""Relevance maps of the grid and what masking by them does: to their own network, and to every other."""

from __future__ import annotations

from collections.abc import Callable

import torch
import xarray as xr
from scipy.stats import rankdata

from analysis import attribution as baselines
from analysis import lrp, masking
from study import grid as grids
from study import networks, parallel, provenance, stimuli, vgg
from study.grid import Cell
from study.parameters import Parameters
from study.store import Store

RIVALS = ("random", "blobs", "centre", "least", "other_image", "average", "edges")  # need no further network
CONTROLS = (*RIVALS, "random_weights")
EXPLAIN = ("analysis.lrp", "study.maps", "study.networks")
MASK = ("analysis.lrp", "analysis.masking", "study.maps", "study.networks")
SEED = 20200629  # of masks and controls: the same for every network, so that networks differ in nothing else


# ------------------------------------------------------------ relevance


def relevance_inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a network's maps depend on."""
    network = store.key("network", networks.network_inputs(p, store, cell), networks.CODE)
    return p.inputs("composite", "explain", "explained_images", "stimulus_seed") | {"network": network}


def explain(p: Parameters, store: Store, cell: Cell) -> xr.Dataset:
    """Relevance `(image, y, x)` of one network, with `logit`, `prediction`, `target`."""

    def make() -> xr.Dataset:
        images, targets = explained_images(p, store, cell.task)
        model = networks.load(p, store, cell)
        dataset = relevance_of(model, images, targets if p.explain == "true" else None, p)
        parallel.progress(len(images))
        return dataset

    return store.dataset("relevance", relevance_inputs(p, store, cell), EXPLAIN, make)


def relevance_of(
    model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor | None, p: Parameters
) -> xr.Dataset:
    """Relevance `(image, y, x)` float32 of normalised images, channels summed, and where the rest of the logit went.

    Args:
        model: a network in evaluation mode, batch norm merged.
        images: `(N, 3, H, W)` float32.
        targets: `(N,)` classes to explain; None explains the predicted class.
        p: its `composite` chooses the rules.

    Returns:
        `relevance`, and per image the `logit` of the `target` class, the `prediction`, and the shares of the logit
        that `biases` and `stabilisers` took: relevance sums to the logit less these two.
    """
    if targets is None:
        with torch.inference_mode():
            targets = torch.cat([model(batch) for batch in images.split(64)]).argmax(1)
    found = lrp.LRP(model, p.composite, **lrp_bounds(p)).explain(images, targets)

    def on_image(values: torch.Tensor, name: str, **attrs: str) -> tuple:
        return "image", values.cpu().numpy(), {"long_name": name} | attrs

    return xr.Dataset(
        {
            "relevance": (("image", "y", "x"), found.relevance.sum(1).cpu().numpy(), RELEVANCE_ATTRS),
            "logit": on_image(found.start, "logit of the target"),
            "biases": on_image(found.biases, "relevance that biases took", units="logit"),
            "stabilisers": on_image(found.epsilon, "relevance that stabilisers took", units="logit"),
            "prediction": on_image(found.logits.argmax(1), "predicted class"),
            "target": on_image(targets, "explained class"),
        }
    )


def attribute(
    p: Parameters, model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, method: str
) -> torch.Tensor:
    """Relevance `(N, H, W)` on the CPU, channels summed, of normalised `images` for classes `targets` `(N,)`.

    `method` is a composite of `analysis.lrp` or a method of `analysis.lrp.baselines`. ValueError for another.
    """
    if method in baselines.METHODS:
        return baselines.attribute(model, images, targets, method).sum(1).cpu()
    dataset = relevance_of(model, images, targets, p.model_copy(update={"composite": method}))
    return torch.from_numpy(dataset.relevance.values)


def scores(p: Parameters, store: Store, cell: Cell) -> torch.Tensor:
    """A network's maps `(N, H, W)` as masking ranks them: by the parameter `ranking`."""
    return masking.rank(torch.from_numpy(explain(p, store, cell).relevance.values), p.ranking)


RELEVANCE_ATTRS = {"long_name": "relevance, summed over colour channels", "units": "logit"}


def lrp_bounds(p: Parameters) -> dict:
    """Keyword arguments `low` and `high` for composites that need the range of network inputs."""
    if not p.composite.endswith("box"):
        return {}
    ends = vgg.normalise(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))[..., 0, 0]
    return {"low": ends[0].tolist(), "high": ends[1].tolist()}


def explained_images(p: Parameters, store: Store, task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised images `(N, 3, H, W)` that every network is explained on, and their true classes `(N,)`."""
    faces = stimuli.faces(p, store)
    index = stimuli.explained(p, faces)
    images = vgg.normalise(torch.from_numpy(faces.pixels.values[index]))
    return images.to(p.device), torch.from_numpy(stimuli.labels(faces, task)[index]).to(p.device)


def explain_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """The maps of the whole grid: `relevance (model, image, y, x)` as DESIGN's contract has it."""
    networks.train_all(p, store, grid)
    inputs = {"cells": [relevance_inputs(p, store, cell) for cell in grid], "names": [c.name for c in grid]}
    todo = [c for c in grid if not store.has("relevance", relevance_inputs(p, store, c), EXPLAIN)]
    sizes = [p.explained_images] * len(todo)
    parallel.each(explain, [(p, store, c) for c in todo], sizes, "relevance maps", p.workers, p.threads)

    def make() -> xr.Dataset:
        faces = stimuli.faces(p, store)
        faces = faces.isel(image=stimuli.explained(p, faces))
        maps = xr.concat([explain(p, store, cell).load().drop_attrs() for cell in grid], "model")
        maps["relevance"].attrs = RELEVANCE_ATTRS
        rows = grids.table(grid)
        on_model = {name: ("model", rows[name].to_numpy()) for name in rows}
        on_image = {name: ("image", faces[name].values) for name in ("identity", "gender", "split", "name")}
        return maps.assign_coords(on_model | on_image).assign_attrs(provenance=p.as_json())

    return store.dataset("relevance_grid", inputs, EXPLAIN, make)


# ------------------------------------------------------------ masking a network by its own maps


def curves_inputs(p: Parameters, store: Store, cell: Cell) -> dict:
    """What a network's masking curves depend on."""
    return p.inputs("ranking", "fill", "percents") | {"relevance": relevance_inputs(p, store, cell)}


def mask(p: Parameters, store: Store, cell: Cell) -> xr.Dataset:
    """Masking curves of one network: `correct`, `probability`, `logit` `(ranking, mode, percent, image)`.

    Rankings are the network's own relevance and every control, each followed for the true class.
    """

    def make() -> xr.Dataset:
        images, labels = explained_images(p, store, cell.task)
        model = networks.load(p, store, cell)
        own, target = scores(p, store, cell), torch.from_numpy(explain(p, store, cell).target.values)
        untrained = relevance_of(vgg.randomise(model, SEED), images, target, p).relevance.values
        rankings = rivals(own, images, identities(p, store))
        rankings["random_weights"] = masking.rank(torch.from_numpy(untrained), p.ranking)
        return masked_curves(
            p, model, images, labels, {"relevance": own} | rankings, p.percents, masking.MODES
        )

    return store.dataset("curves", curves_inputs(p, store, cell), MASK, make)


def rivals(scores: torch.Tensor, images: torch.Tensor, identities: list[str]) -> dict[str, torch.Tensor]:
    """Every control that needs no further network, for scores `(N, H, W)`."""
    return {
        name: masking.controls(name, scores, seed=SEED, images=images.cpu(), identities=identities)
        for name in RIVALS
    }


def mask_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Masking curves of every network, `(model, ranking, mode, percent, image)`."""
    explain_all(p, store, grid)
    inputs = [curves_inputs(p, store, cell) for cell in grid]
    return _grid_of(mask, inputs, "curves", p, store, grid, "masking", len(CONTROLS) + 1)


# ------------------------------------------------------------ masking a network by other networks' maps


def transfer_inputs(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> dict:
    """What a network's performance on other networks' masks depends on."""
    sources = [relevance_inputs(p, store, source) for source in grid]
    names = p.inputs("ranking", "fill", "transfer_percents")
    return names | {"target": relevance_inputs(p, store, cell), "sources": sources}


def transfer(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> xr.Dataset:
    """One network on images masked (keep) by every network's relevance and by controls.

    Dimensions `(ranking, mode, percent, image)`; a ranking is a network's name, or a control made from the
    target's own maps.
    """

    def make() -> xr.Dataset:
        images, labels = explained_images(p, store, cell.task)
        model = networks.load(p, store, cell)
        rankings = {source.name: scores(p, store, source) for source in grid}
        rankings |= rivals(rankings[cell.name], images, identities(p, store))
        return masked_curves(p, model, images, labels, rankings, p.transfer_percents, ("keep",))

    return store.dataset("transfer", transfer_inputs(p, store, cell, grid), MASK, make)


def transfer_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Every network on every network's masks: `(model, ranking, mode, percent, image)`, model = target."""
    explain_all(p, store, grid)
    inputs = [transfer_inputs(p, store, cell, grid) for cell in grid]
    return _grid_of(
        transfer, inputs, "transfer", p, store, grid, "transfer between networks", len(grid), (grid,)
    )


# ------------------------------------------------------------ consensus


def consensus(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> xr.Dataset:
    """One network on the consensus mask of all *other* families, on its own masks, and on controls.

    The consensus of an image is the mean over families of the mean over their networks of the map's pixel ranks (0..1).
    Controls are made from the consensus maps, so "average" is one fixed mask for (nearly) all faces.
    """

    def make() -> xr.Dataset:
        images, labels = explained_images(p, store, cell.task)
        model = networks.load(p, store, cell)
        families: dict[str, list[torch.Tensor]] = {}
        for source in grid:
            if source.family != cell.family:
                families.setdefault(source.family, []).append(pixel_ranks(scores(p, store, source)))
        shared = torch.stack([torch.stack(maps).mean(0) for maps in families.values()]).mean(0)
        rankings = {"consensus": shared, "own": scores(p, store, cell)} | rivals(
            shared, images, identities(p, store)
        )
        return masked_curves(p, model, images, labels, rankings, p.percents, masking.MODES)

    return store.dataset("consensus", consensus_inputs(p, store, cell, grid), MASK, make)


def consensus_inputs(p: Parameters, store: Store, cell: Cell, grid: list[Cell]) -> dict:
    """What a network's performance on consensus masks depends on."""
    sources = [relevance_inputs(p, store, source) for source in grid if source.family != cell.family]
    return curves_inputs(p, store, cell) | {"sources": sources}


def consensus_all(p: Parameters, store: Store, grid: list[Cell]) -> xr.Dataset:
    """Every network on the consensus of the other families, `(model, ranking, mode, percent, image)`."""
    explain_all(p, store, grid)
    inputs = [consensus_inputs(p, store, cell, grid) for cell in grid]
    return _grid_of(
        consensus, inputs, "consensus", p, store, grid, "consensus masks", len(CONTROLS) + 1, (grid,)
    )


def pixel_ranks(scores: torch.Tensor) -> torch.Tensor:
    """Scores `(N, H, W)` as ranks in 0..1 within each image, ties shared alike (average rank)."""
    ranks = rankdata(scores.flatten(1).numpy(), axis=1)
    return torch.from_numpy((ranks - 1) / max(1, ranks.shape[1] - 1)).float().view_as(scores)


# ------------------------------------------------------------ shared


def masked_curves(
    p: Parameters,
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    rankings: dict[str, torch.Tensor],
    percents: tuple[float, ...],
    modes: tuple[str, ...],
) -> xr.Dataset:
    """`masking.curves` of several rankings `(N, H, W)` with the study's filling: `(ranking, mode, percent, image)`."""
    model = model.to(memory_format=torch.channels_last)
    filling = masking.fillings(images, p.fill, seed=SEED)

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return model(batch.contiguous(memory_format=torch.channels_last))

    def masked(scores: torch.Tensor, shares: tuple[float, ...]) -> xr.Dataset:
        return masking.curves(
            predict, images, scores, shares, filling=filling, labels=labels, seed=SEED, modes=modes
        )

    # Areas need the ends of a curve, all or nothing masked, which are the same for every ranking.
    ends = [masked(next(iter(rankings.values())), (0.0, 100.0))] if len(modes) > 1 else []
    curves = []
    for scores in rankings.values():
        curves.append(xr.concat([*ends, masked(scores, percents)], "percent").sortby("percent"))
        parallel.progress(len(images))
    return xr.concat(curves, xr.Variable("ranking", list(rankings)))


def make_missing(
    step: Callable,
    inputs: list[dict],
    kind: str,
    p: Parameters,
    store: Store,
    grid: list[Cell],
    description: str,
    rankings: int,
    extra: tuple = (),
    modules: tuple[str, ...] = MASK,
) -> None:
    """`step(p, store, cell, *extra)`, in parallel, for every network whose `inputs` have no result of this kind yet."""
    todo = [cell for cell, needs in zip(grid, inputs, strict=True) if not store.has(kind, needs, modules)]
    sizes = [p.explained_images * rankings] * len(todo)
    jobs = [(p, store, cell, *extra) for cell in todo]
    parallel.each(step, jobs, sizes, description, p.workers, p.threads)


def _grid_of(
    step: Callable,
    inputs: list[dict],
    kind: str,
    p: Parameters,
    store: Store,
    grid: list[Cell],
    description: str,
    rankings: int,
    extra: tuple = (),
) -> xr.Dataset:
    make_missing(step, inputs, kind, p, store, grid, description, rankings, extra)

    def make() -> xr.Dataset:
        rows = grids.table(grid)
        whole = xr.concat([step(p, store, cell, *extra).load().drop_attrs() for cell in grid], "model")
        return whole.assign_coords({name: ("model", rows[name].to_numpy()) for name in rows})

    return store.remember((kind, provenance.digest(inputs)), make)


def identities(p: Parameters, store: Store) -> list[str]:
    """Who is on the explained images."""
    faces = stimuli.faces(p, store)
    return list(faces.identity.values[stimuli.explained(p, faces)])
