"""What moved between two builds: parameters, versions, claims and maps, and by how much against the noise.

`book/compare.md` shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from analysis import likeness
from report import prose
from report.sections import BUILD
from study.store import read

MOVED = 2.0  # standard errors of the difference
CIRCUMSTANCES = ("commit", "python", "platform", "cores", "device", "seconds")


@dataclass(frozen=True)
class Run:
    """One build: its folder, its manifest, its claims, and its maps where it has any."""

    folder: Path
    manifest: Mapping[str, Any]
    claims: list[dict[str, Any]]
    maps: xr.Dataset | None

    @property
    def name(self) -> str:
        return self.folder.name


def open_run(name: str, build: Path = BUILD) -> Run:
    """The build of a profile, or the one in a folder, or the one that a `claims.json` or `manifest.json` belongs to.

    Args:
        name: a profile that was built, or a path.
        build: the folder that holds the builds of profiles.

    Raises:
        ValueError: there is no such build, or a file of it is missing or damaged.
    """
    given = Path(name).expanduser()
    folder = next((f for f in (build / name, given) if f.is_dir()), given.parent if given.is_file() else None)
    if folder is None:
        raise ValueError(
            f"run {name!r}: there is no {build / name}, and no such path; make book PROFILE={name}"
        )
    files = {}
    for file in ("manifest.json", "claims.json"):
        try:
            files[file] = json.loads((folder / file).read_text())
        except FileNotFoundError:
            raise ValueError(f"run {name!r}: {folder} has no {file}; build it to the end") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"run {name!r}: {folder / file} is damaged ({error}); build it again") from None
    maps = folder / "relevance.zarr"
    return Run(folder.resolve(), *files.values(), read(maps) if maps.is_dir() else None)


def settings(a: Run, b: Run) -> pd.DataFrame:
    """Parameters and circumstances that differ: what, A, B."""
    rows = []
    for kind in ("parameter", "version", ""):
        first, second = (
            run.manifest[f"{kind}s"] if kind else {name: run.manifest.get(name) for name in CIRCUMSTANCES}
            for run in (a, b)
        )
        for name in dict.fromkeys([*first, *second]):
            values = {letter: str(known.get(name)) for letter, known in (("A", first), ("B", second))}
            if first.get(name) != second.get(name):
                rows.append({"what": f"{kind} {name}".strip()} | values)
    return pd.DataFrame(rows, columns=["what", "A", "B"])


def inputs(a: Run, b: Run) -> pd.DataFrame:
    """Of the images and the weights that both runs have, how many are identical: kind, in both, identical."""
    rows = []
    for kind in ("images", "weights"):
        first, second = (run.manifest.get("hashes", {}).get(kind, {}) for run in (a, b))
        common = first.keys() & second.keys()
        same = sum(first[name] == second[name] for name in common)
        rows.append({"kind": kind, "in both": len(common), "identical": same})
    return pd.DataFrame(rows)


def verdicts(a: Run, b: Run) -> pd.DataFrame:
    """Verdict and estimate of every claim that either run has: claim, A, B, moved."""
    first, second = ({record["id"]: record for record in run.claims} for run in (a, b))
    rows = []
    for name in dict.fromkeys([*first, *second]):
        known = {letter: run[name] for letter, run in (("A", first), ("B", second)) if name in run}
        said = {letter: f"{record['verdict']}: {_estimate(record)}" for letter, record in known.items()}
        title = next(iter(known.values())).get("title", "")
        changed = len({record["verdict"] for record in known.values()}) > 1
        row = {"claim": f"{name} {title}".strip(), "A": "not in this run", "B": "not in this run"} | said
        rows.append(row | {"moved": "verdict changed" if changed else ""})
    return pd.DataFrame(rows, columns=["claim", "A", "B", "moved"])


def claims(a: Run, b: Run) -> pd.DataFrame:
    """Every part of a claim that both runs have: claim, part, A and B (estimate with interval), difference (B minus A),
    noise (its standard error), units (one divided by the other), moved.

    The noise is the root of the sum of the two squared standard errors, read from the widths of the intervals. Runs
    that share stimuli differ by less than that, so what moved by many units did not move by chance.
    """
    first, second = (_parts(run) for run in (a, b))
    rows = []
    for claim, part in (key for key in first if key in second):
        (one, one_se), (other, other_se) = first[claim, part], second[claim, part]
        difference, noise = _numbers(other)[0] - _numbers(one)[0], float(np.hypot(one_se, other_se))
        units = difference / noise if noise > 0 else 0.0 if difference == 0 else np.nan
        texts = {"claim": claim, "part": part, "A": _estimate(one), "B": _estimate(other)}
        rows.append(texts | {"difference": difference, "noise": noise, "units": units})
    numbers = dict.fromkeys(("difference", "noise", "units"), float)
    table = pd.DataFrame(rows, columns=["claim", "part", "A", "B", *numbers]).astype(numbers)
    moved = (table.units.abs() > MOVED) | ((table.noise == 0) & (table.difference != 0))
    return table.assign(moved=np.where(moved, "moved", ""))


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `claims` as a reader sees it."""
    return table.assign(
        difference=table.difference.map(prose.number),
        noise=table.noise.map(prose.number),
        units=table.units.map(lambda units: prose.number(units, 1)),
    ).rename(columns={"difference": "B minus A", "units": "in units of the noise"})


def _parts(run: Run) -> dict[tuple[str, str], tuple[dict[str, Any], float]]:
    """`(claim, part) -> (record, standard error)`."""
    z = norm.ppf((1 + run.manifest["parameters"].get("confidence", 0.95)) / 2)
    parts = {}
    for record in run.claims:
        for part in record.get("parts") or [record | {"label": record.get("part", "")}]:
            _, low, high = _numbers(part)
            parts[record["id"], part["label"]] = part, (high - low) / (2 * z)
    return parts


def _numbers(record: Mapping[str, Any]) -> list[float]:
    """Estimate and ends of the interval; NaN for what JSON holds as null."""
    values = (record[name] for name in ("estimate", "ci_low", "ci_high"))
    return [np.nan if value is None else float(value) for value in values]


def _estimate(record: Mapping[str, Any]) -> str:
    return prose.estimate(*_numbers(record))


def maps(a: Run, b: Run) -> tuple[pd.DataFrame, str]:
    """Rank correlation of the maps of every network that both runs have, and why there is none where there is none.

    Columns: model, A with B, between seeds (of the family, mean of both runs: as alike as chance in training lets maps
    be).
    """
    nothing = pd.DataFrame(columns=["model", "A with B", "between seeds"])
    for run in (a, b):
        if run.maps is None:
            return nothing, f"{run.name} has no relevance.zarr"
    first, second = (run.maps.set_index(image="name").relevance for run in (a, b))
    if first.sizes["x"] != second.sizes["x"] or first.sizes["y"] != second.sizes["y"]:
        return nothing, f"maps of {first.sizes['x']} and of {second.sizes['x']} pixels cannot be compared"
    images, models = (np.intersect1d(first[name], second[name]) for name in ("image", "model"))
    if not len(images) or not len(models):
        return nothing, "the runs share no network or no image"
    first, second = (one.sel(image=images).load() for one in (first, second))
    seeds = pd.concat([_between_seeds(one) for one in (first, second)]).groupby(level=0).mean()
    rows = []
    for model in (name for name in first.model.values if name in models):
        alike = likeness.spearman(*(one.sel(model=[model]).values for one in (first, second)))
        between = seeds.get(_family(model), np.nan)
        rows.append({"model": model, "A with B": float(np.nanmean(alike)), "between seeds": between})
    return pd.DataFrame(rows), ""


def _family(model: str) -> str:
    return model.rpartition("/")[0]


def _between_seeds(relevance: xr.DataArray) -> pd.Series:
    """Mean rank correlation between maps of different seeds, by family."""
    family = np.array([_family(name) for name in relevance.model.values])
    alike = {}
    for name in dict.fromkeys(family):
        matrix = likeness.spearman(relevance.values[family == name])
        if len(matrix) > 1:
            alike[name] = float(np.nanmean(matrix[~np.eye(len(matrix), dtype=bool)]))
    return pd.Series(alike, dtype=float)
