"""What is written down about a build: one record per section, the manifest, the claims."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report.sections import LOCK, Section
from study import provenance
from study.parameters import Parameters

if TYPE_CHECKING:
    from study import Study


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(_finite(value), indent=1, default=str, allow_nan=False) + "\n")
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if missing or damaged, so that what it records is made again."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def record(
    key: str, parameters: Parameters, overrides: Mapping[str, Any], cost: Mapping[str, float]
) -> dict[str, Any]:
    """What made one executed section."""
    return {
        "key": key,
        "profile": parameters.profile,
        "overrides": dict(overrides),
        "parameters": parameters.model_dump(),
        **cost,
        **provenance.environment(),
    }


def manifest(study: Study, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What made a whole book.

    Args:
        records: section -> its record.
    """
    parameters = study.parameters
    return {
        **provenance.environment(),
        "profile": parameters.profile,
        "parameters": parameters.model_dump(),
        "device": parameters.device,
        "threads": parameters.threads,
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "hashes": _hashes(study),
        "sections": {
            name: {k: r[k] for k in ("key", "seconds", "peak_memory_mb", "commit")}
            for name, r in records.items()
        },
        "seconds": round(sum(r["seconds"] for r in records.values()), 1),
        "peak_memory_mb": max(r["peak_memory_mb"] for r in records.values()),
    }


def _hashes(study: Study) -> dict[str, Any]:
    """Hashes of the images and of all weights, those of the files as the store recorded them."""
    from study import networks
    from study.store import content_digest

    weights = {}
    for cell in study.grid:
        pretrained = networks.pretrain(study.parameters, study.store, cell.pretraining, cell.run)
        finetuned = networks.finetune(study.parameters, study.store, cell)
        for name, folder in ((f"{cell.pretraining}, run {cell.run}", pretrained), (cell.name, finetuned)):
            weights[name] = read_json(folder / "provenance.json")["files"][networks.WEIGHTS][1]
    labels = study.parameters.pretrainings
    images = {label: study.pretraining_set(label) for label, source in labels.items() if source != "none"}
    images["study"] = study.faces()
    return {"weights": weights, "images": {name: content_digest(dataset) for name, dataset in images.items()}}


def mark(record: Mapping[str, Any]) -> str:
    """What the caption of every figure of a section must say of its stimuli; empty for photographs."""
    return "Synthetic faces." if record["parameters"]["faces"] == "procedural" else ""


def ending(section: Section, record: Mapping[str, Any]) -> str:
    """Markdown for the end of a page: how to make it again, and what that takes."""
    data = " DATA=path/to/your/data" if record["parameters"]["data"] else ""
    changes = (shlex.quote(f"{name}={json.dumps(value)}") for name, value in record["overrides"].items())
    changed = "".join(f" -p {change}" for change in changes)
    option = " --data path/to/your/data" if data else ""
    again = f"python -m report run {section.name} --profile {record['profile']}{option}{changed}"
    stimuli = "photographs" if data else "procedural faces and objects, made by the code"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"""## Reproduce this page

```console
$ make book PROFILE={record["profile"]}{data}
$ {again}
```

The first command makes the whole book, the second this page alone; `-p name=value` changes a parameter.

Cost
: {duration(record["seconds"])}, {record["peak_memory_mb"]} MB at most, with what earlier sections had stored

Seeds
: stimuli {record["parameters"]["stimulus_seed"]}; networks 0 to {record["parameters"]["seeds"] - 1}

Data
: {stimuli}

Machine
: {record["platform"]}, {record["cores"]} cores, device {record["parameters"]["device"]}

Commit
: `{record["commit"]}`

Versions
: Python {record["python"]}, {versions}
"""


def status_page(sections: Sequence[Section], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of the page that lists what each section took."""
    rows = "\n".join(
        f"| [{s.title}]({s.name}.ipynb) | {duration(records[s.name]['seconds'])} "
        f"| {records[s.name]['peak_memory_mb']} | `{records[s.name]['commit'][:10]}` |"
        for s in sections
    )
    total = duration(sum(records[s.name]["seconds"] for s in sections))
    return f"""# How this book was made

Every section is a notebook executed for this book. A section uses what earlier ones have stored, so the one
that first needs a result bears its cost. In all: {total}.

| Section | Time | Peak memory, MB | Commit |
|:--|--:|--:|:--|
{rows}
"""


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
