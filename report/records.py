"""What is written down about a build: one record per section, the manifest, the claims."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report.sections import LOCK, hashes
from study import provenance
from study.parameters import Parameters

Record = Mapping[str, Any]


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
    settings = {
        "profile": parameters.profile,
        "overrides": dict(overrides),
        "parameters": parameters.model_dump(),
    }
    return {"key": key} | settings | dict(cost) | provenance.environment()


def manifest(
    parameters: Parameters, records: Mapping[str, Record], rests_on: Mapping[str, Any]
) -> dict[str, Any]:
    """What made a whole book: `records` of its sections by name, and hashes of what it rests on."""
    costs = ("key", "seconds", "peak_memory_mb", "commit")
    return provenance.environment() | {
        "profile": parameters.profile,
        "parameters": parameters.model_dump(),
        "device": parameters.device,
        "threads": parameters.threads,
        "lock": hashes([LOCK])[0],
        "hashes": rests_on,
        "sections": {name: {cost: record[cost] for cost in costs} for name, record in records.items()},
        "seconds": round(sum(record["seconds"] for record in records.values()), 1),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records.values()),
    }
