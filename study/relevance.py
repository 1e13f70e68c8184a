"""Relevance maps of every network, and which parts of faces receive the relevance."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from pydantic import Field

from analysis import attribution, lrp, masking
from study import networks, provenance, stimuli, store, vgg
from study.grid import Cell
from study.settings import Composite, Settings
from study.steps import Study, step
from study.stimuli import EXPLAINED

ATTRS = {"long_name": "relevance, summed over colour channels", "units": "logit"}
MEAN_OF = 8  # people in a picture or mean map made of photographs, at least
SEED = 20200629  # of masks and controls: the same for every network, so that networks differ in nothing else


class Relevance(Settings):
    """How networks are explained, and how maps order pixels."""

    composite: Composite = Field("epsilon_gamma_box", description="LRP composite: which rule each layer uses")
    explain: Literal["predicted", "true"] = Field(
        "predicted",
        description="the class whose logit is explained, and whose fate masked images decide: the one the network "
        "names on the whole image, or the true one (where the task knows the person)",
    )
    ranking: Literal["signed", "positive", "absolute"] = Field(
        "positive", description="how relevance orders pixels"
    )


@step(
    *("composite", "explain", *EXPLAINED),
    needs=[networks.finetuned, stimuli.faces],
    title="relevance maps",
    work=lambda s, cell: s.p.explained_images,
)
def explain(s: Study, cell: Cell) -> xr.Dataset:
    """Relevance `(image, y, x)` of one network, with `logit`, `prediction`, `target`; see `dataset`."""
    images, labels = stimuli.explained_inputs(s, cell.task)
    targets = labels if s.p.explain == "true" else None
    return dataset(networks.network(s, cell), images, targets, s.p.composite)


def dataset(
    model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor | None, composite: str
) -> xr.Dataset:
    """Relevance `(image, y, x)` float32 of normalised images, channels summed, and where the rest of the logit went.

    Args:
        model: a network in evaluation mode, batch norm merged.
        images: `(N, 3, H, W)` float32.
        targets: `(N,)` classes to explain; None, or -1 for an image, explains the predicted class.
        composite: name of the rules.

    Returns:
        `relevance`, and per image the `logit` of the `target` class, the `prediction`, and the shares of the logit
        that `biases` and `stabilisers` took: relevance sums to the logit less these two.
    """
    if targets is None or (targets < 0).any():
        with torch.inference_mode():
            predicted = torch.cat([model(batch) for batch in vgg.portions(images, 64)]).argmax(1)
        targets = predicted if targets is None else torch.where(targets < 0, predicted, targets)
    found = lrp.LRP(model, composite, **vgg.bounds(composite)).explain(images, targets)

    def on_image(values: torch.Tensor, name: str, **attrs: str) -> tuple:
        return "image", values.cpu().numpy(), {"long_name": name} | attrs

    return xr.Dataset(
        {
            "relevance": (("image", "y", "x"), found.relevance.sum(1).cpu().numpy(), ATTRS),
            "logit": on_image(found.start, "logit of the target"),
            "biases": on_image(found.biases, "relevance that biases took", units="logit"),
            "stabilisers": on_image(found.epsilon, "relevance that stabilisers took", units="logit"),
            "prediction": on_image(found.logits.argmax(1), "predicted class"),
            "target": on_image(targets, "explained class"),
        }
    )


def explained_class(s: Study, cell: Cell) -> torch.Tensor:
    """The class `(N,)` int64 that a network's maps explain, and that its masked images are followed for.

    A step that calls this needs `explain` of the cell.
    """
    return torch.from_numpy(explain(s, cell).target.values).to(s.p.device)


def scores(s: Study, cell: Cell) -> torch.Tensor:
    """What masking ranks a network's pixels by, `(N, H, W)`: its maps, read by the parameter `ranking`."""
    return masking.rank(torch.from_numpy(explain(s, cell).relevance.values), s.p.ranking)


def rankings(
    s: Study,
    model: vgg.VGG16,
    images: torch.Tensor,
    targets: np.ndarray,
    names: Sequence[str],
    *,
    by: str,
    **known: Any,
) -> dict[str, torch.Tensor]:
    """What each of `names` ranks pixels by, `{name: (N, H, W)}`: `attribution.scores` by the parameter `composite`.

    The network without training, the bounds of the input and the seed are the study's; `known` are its other options.
    """
    return attribution.scores(
        model,
        images,
        torch.from_numpy(targets).to(images.device),
        names,
        by=by,
        seed=SEED,
        composite=s.p.composite,
        untrained=vgg.randomise(model, SEED) if "random_weights" in names else None,
        **vgg.bounds("epsilon_gamma_box"),
        **known,
    )


def maps(s: Study) -> xr.Dataset:
    """The maps of the whole grid: `relevance (model, image, y, x)`, with who is on which image as coordinates."""
    faces = stimuli.explained(s)
    on_image = {
        name: ("image", faces[name].values)
        for name in ("identity", "gender", "split", "name")
        if name in faces
    }
    whole = explain.grid(s).assign_coords(on_image)
    return whole.assign_attrs(provenance=s.settings.as_json(), store_key=_key(s))


def export(s: Study, path: Path) -> None:
    """Copy the maps to `path`, a zarr folder that outlives the store; what is there is replaced."""
    if path.is_dir() and store.read(path).attrs["store_key"] == _key(s):
        return
    temporary = path.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    store.write(maps(s), temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _key(s: Study) -> str:
    return provenance.digest([explain.key(s, cell) for cell in s.grid])


# ------------------------------------------------------------ tables and examples


def part_shares(s: Study) -> pd.DataFrame:
    """Share of the magnitude of relevance in each part of procedural faces, beside the part's share of the pixels.

    Columns: family, part, relevance, area, density (their ratio: 1 means no more than its size).
    """
    faces = stimuli.explained(s)
    if "parts" not in faces:
        raise ValueError("parts are known for procedural faces only")
    whole = maps(s)
    share = shares(whole)
    tables = []
    for index, part in enumerate(faces.attrs["parts"]):
        inside = faces.parts.values == index
        received = pd.Series((share * inside).sum((2, 3)).mean(1), name="relevance")
        received = received.groupby(whole.family.values, sort=False).mean().rename_axis("family")
        tables.append(received.reset_index().assign(part=part, area=inside.mean()))
    return pd.concat(tables).assign(density=lambda t: t.relevance / t.area)


def balance(s: Study) -> pd.DataFrame:
    """Where the explained logit went, summed over images and seeds: family, went to, share of the logit."""
    whole = maps(s)
    names = {"pixels": "relevance", "biases": "biases", "stabilisers": "stabilisers"}
    rows = []
    for family in dict.fromkeys(whole.family.values):
        of_family = whole.isel(model=np.flatnonzero(whole.family.values == family))
        logit = float(of_family.logit.sum())
        rows += [
            {"family": family, "went to": where, "share": float(of_family[name].sum()) / logit}
            for where, name in names.items()
        ]
    return pd.DataFrame(rows)


def mean_maps(s: Study, images: np.ndarray | slice = slice(None)) -> tuple[list[np.ndarray], list[str]]:
    """Mean magnitude of each family's maps, each map scaled to sum 1; `(y, x)` arrays and names.

    Of all explained images, or of some `(N,)` bool. None where `may_be_shown` forbids it.
    """
    if not may_be_shown(s, stimuli.people(s)[images]):
        return [], []
    whole = maps(s).isel(image=images)
    share = shares(whole)
    families = list(dict.fromkeys(whole.family.values))
    return [share[whole.family.values == f].mean((0, 1)) for f in families], families


def may_be_shown(s: Study, people: np.ndarray) -> bool:
    """Whether the mean over images, of whom is in `people` `(N,)`, shows nobody: drawn faces, or `MEAN_OF` people."""
    return s.p.faces == "procedural" or len(set(people)) >= MEAN_OF


def examples(s: Study, count: int = 4) -> list[tuple[str, np.ndarray]]:
    """What stands for single faces in figures: `(label, image indices)` among the explained images.

    Procedural faces are shown one by one. Photographs of people are never shown one by one, only as the mean
    of many people, of one (annotated) gender where it is known. A mean of fewer than `MEAN_OF` people could show who
    they are, and is left out, so there may be nothing at all.
    """
    faces = stimuli.explained(s)
    if s.p.faces == "procedural":
        firsts = pd.Series(range(faces.sizes["image"])).groupby(faces.identity.values).first()
        chosen = firsts.iloc[np.linspace(0, len(firsts) - 1, count).astype(int)]
        return [(f"person {k + 1}", np.array([i])) for k, i in enumerate(chosen)]
    groups = pd.Series(faces.identity.values).groupby(stimuli.kinds(faces))
    return [
        (f"mean of {who.nunique()} people ({gender})", np.array(who.index))
        for gender, who in groups
        if may_be_shown(s, who.to_numpy())
    ]


def picture(pixels: np.ndarray) -> np.ndarray:
    """Pixels `(image, channel, y, x)` uint8 averaged to one `(y, x, channel)` uint8 picture."""
    return pixels.mean(0).transpose(1, 2, 0).round().astype(np.uint8)


def shares(whole: xr.Dataset) -> np.ndarray:
    """Magnitude of relevance `(model, image, y, x)`, each map scaled to sum 1."""
    magnitude = np.abs(whole.relevance.values)
    return magnitude / magnitude.sum((2, 3), keepdims=True)
