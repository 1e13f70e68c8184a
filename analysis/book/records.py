"""What is written down about a build: one record per section, the manifest, the claims."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import provenance
from analysis.book.sections import LOCK, Section
from analysis.params import Parameters


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, default=str) + "\n")
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if it is missing or damaged, so that what it records is made again."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def record(key: str, parameters: Parameters, overrides: Mapping[str, Any], cost: Mapping[str, float]) -> dict[str, Any]:
    """What made one executed section."""
    return {
        "key": key,
        "profile": parameters.profile,
        "overrides": dict(overrides),
        "parameters": parameters.model_dump(),
        **cost,
        **provenance.environment(),
    }


def manifest(
    parameters: Parameters, records: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """What made a whole book.

    Args:
        records: section -> its record.
        inputs: hashes of stimuli and pretrained weights, from the study.
    """
    return {
        **provenance.environment(),
        "profile": parameters.profile,
        "parameters": parameters.model_dump(),
        "device": parameters.device,
        "threads": parameters.threads,
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "inputs": dict(inputs),
        "sections": {
            name: {k: r[k] for k in ("key", "seconds", "peak_memory_mb", "commit")} for name, r in records.items()
        },
        "seconds": round(sum(r["seconds"] for r in records.values()), 1),
        "peak_memory_mb": max(r["peak_memory_mb"] for r in records.values()),
    }


def ending(section: Section, record: Mapping[str, Any]) -> str:
    """Markdown for the end of a page: how to make it again, and what that takes."""
    data = " DATA=path/to/your/data" if record["parameters"]["data"] else ""
    changed = "".join(f" -p {name}={json.dumps(value)!r}" for name, value in record["overrides"].items())
    option = " --data path/to/your/data" if data else ""
    again = f"python -m analysis run {section.name} --profile {record['profile']}{option}{changed}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"""## Reproduce this page

```console
$ make book PROFILE={record["profile"]}{data}
$ {again}
```

The first command makes the whole book, the second this page alone; `-p name=value` changes a parameter.

| | |
|:--|:--|
| Took | {duration(record["seconds"])}, {record["peak_memory_mb"]} MB of memory at most, given what sections before it had stored |
| Seeds | stimuli {record["parameters"]["stimulus_seed"]}; networks 0 to {record["parameters"]["seeds"] - 1} |
| Data | {record["parameters"]["data"] and "photographs" or "procedural faces and objects, made by the code"} |
| Machine | {record["platform"]}, {record["cores"]} cores, device {record["parameters"]["device"]} |
| Commit | `{record["commit"]}` |
| Versions | Python {record["python"]}, {versions} |
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

Every section is a notebook that was executed for this book. A section uses what earlier ones have stored, so the
one that first needs a result bears its cost. In all: {total}.

| Section | Time | Peak memory, MB | Commit |
|:--|--:|--:|:--|
{rows}
"""


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
