"""What a build gives beside its pages: the claims, the maps, and hashes of what both rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report.records import write_json
from study import multiverse, networks, relevance, stimuli, store
from study.parameters import Parameters
from study.settings import is_file, is_images
from study.steps import Study


def write(parameters: Parameters, folder: Path) -> dict[str, Any]:
    """Write `claims.json` and `relevance.zarr` into a folder.

    Returns:
        `weights`, by network, those of the files as the store recorded them, and of files that pretrainings name;
        `images`, by set.
    """
    s = Study(parameters)
    write_json(folder / "claims.json", multiverse.ledger(s))
    relevance.export(s, folder / "relevance.zarr")
    ready = [name for name, source in s.p.pretrainings.items() if is_file(source)]
    weights = {f"{name}, file": networks.layout(s, name)["sha256"] for name in ready}
    for cell in s.grid:
        before = networks.pretrained.files(s, cell.pretraining, cell.run)
        weights[f"{cell.pretraining}, run {cell.run}"] = before[networks.WEIGHTS]
        weights[cell.name] = networks.finetuned.files(s, cell)[networks.WEIGHTS]
    labels = [name for name, source in s.p.pretrainings.items() if is_images(source)]
    images = {name: stimuli.pretraining_set(s, name) for name in labels} | {"study": stimuli.faces(s)}
    return {"weights": weights, "images": {name: store.content_digest(data) for name, data in images.items()}}
