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
NUMBERS = ["estimate", "ci_low", "ci_high"]
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
    both = pd.DataFrame({"A": _circumstances(a), "B": _circumstances(b)}, dtype=object)
    return both[both.A.map(str) != both.B.map(str)].rename_axis("what").reset_index()


def _circumstances(run: Run) -> dict[str, str]:
    made = {name: run.manifest.get(name) for name in CIRCUMSTANCES}
    for kind in ("parameter", "version"):
        made |= {f"{kind} {name}": value for name, value in run.manifest[f"{kind}s"].items()}
    return {what: str(value) for what, value in made.items()}


def inputs(a: Run, b: Run) -> pd.DataFrame:
    """Of the images and the weights that both runs have, how many are identical: kind, in both, identical."""
    rows = []
    for kind in ("images", "weights"):
        first, second = (pd.Series(run.manifest["hashes"].get(kind, {}), dtype=str) for run in (a, b))
        first, second = first.align(second, join="inner")
        rows.append({"kind": kind, "in both": len(first), "identical": int((first == second).sum())})
    return pd.DataFrame(rows)


def verdicts(a: Run, b: Run) -> pd.DataFrame:
    """Verdict and estimate of every claim that either run has: claim, A, B, moved."""
    tables = {}
    for letter, run in (("A", a), ("B", b)):
        names = [f"{record['id']} {record['title']}" for record in run.claims]
        table = pd.DataFrame(run.claims, index=names, columns=["verdict", *NUMBERS])
        tables[letter] = table.assign(text=table.verdict + ": " + _in_words(table))
    both = pd.concat(tables, axis=1).rename_axis("claim")
    said, verdict = (both.xs(name, axis=1, level=1) for name in ("text", "verdict"))
    moved = verdict.notna().all(axis=1) & (verdict.A != verdict.B)
    changed = np.where(moved, "verdict changed", "")
    return said.fillna("not in this run").assign(moved=changed).reset_index()


def claims(a: Run, b: Run) -> pd.DataFrame:
    """Every part of a claim that both runs have: claim, part, A and B (estimate with interval), difference (B minus A),
    noise (its standard error), units (one divided by the other), moved.

    The noise is the root of the sum of the two squared standard errors, read from the widths of the intervals. Runs
    that share stimuli differ by less than that, so what moved by many units did not move by chance.
    """
    both = pd.concat({"A": _parts(a), "B": _parts(b)}, axis=1, join="inner")
    difference, noise = both.B.estimate - both.A.estimate, np.hypot(both.A.error, both.B.error)
    units = (difference / noise.where(noise > 0)).mask((noise == 0) & (difference == 0), 0.0)
    moved = (units.abs() > MOVED) | ((noise == 0) & (difference != 0))
    table = pd.DataFrame({"A": both.A.text, "B": both.B.text, "difference": difference, "noise": noise})
    return table.assign(units=units, moved=np.where(moved, "moved", "")).reset_index()


def _parts(run: Run) -> pd.DataFrame:
    """Parts of claims by claim and part: the numbers, the standard error, and the text."""
    rows = [part | {"claim": record["id"]} for record in run.claims for part in record["parts"]]
    table = pd.DataFrame(rows, columns=["claim", "label", *NUMBERS]).rename(columns={"label": "part"})
    table = table.set_index(["claim", "part"]).astype(float)
    z = norm.ppf((1 + run.manifest["parameters"]["confidence"]) / 2)
    return table.assign(error=(table.ci_high - table.ci_low) / (2 * z), text=_in_words(table))


def _in_words(table: pd.DataFrame) -> list[str]:
    return [prose.estimate(*numbers) for numbers in table[NUMBERS].astype(float).to_numpy()]


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `claims` as a reader sees it."""
    return table.assign(
        difference=table.difference.map(prose.number),
        noise=table.noise.map(prose.number),
        units=table.units.map(lambda units: prose.number(units, 1)),
    ).rename(columns={"difference": "B minus A", "units": "in units of the noise"})


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
    alike = [
        np.nanmean(likeness.spearman(*(one.sel(model=[model]).values for one in (first, second))))
        for model in models
    ]
    table = pd.DataFrame({"model": models, "A with B": alike})
    return table.assign(**{"between seeds": table.model.map(_family).map(seeds)}), ""


def _family(model: str) -> str:
    return model.rpartition("/")[0]


def _between_seeds(relevance: xr.DataArray) -> pd.Series:
    """Mean rank correlation between maps of different seeds, by family."""
    families = pd.Series(relevance.model.values).map(_family)
    alike = {}
    for family in families.unique():
        matrix = likeness.spearman(relevance.values[families == family])
        if len(matrix) > 1:
            alike[family] = float(np.nanmean(matrix[~np.eye(len(matrix), dtype=bool)]))
    return pd.Series(alike, dtype=float)
