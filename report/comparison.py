"""What moved between two builds: parameters, versions, claims and maps, and by how much against the noise."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from nbformat import NotebookNode
from nbformat import v4 as notebook_format
from scipy.stats import norm

from analysis import likeness
from report import figures, prose
from study.store import read

MOVED = 2.0  # standard errors of the difference


@dataclass(frozen=True)
class Run:
    """One build: what it is called, its manifest, its claims, and its maps where it has any."""

    name: str
    manifest: Mapping[str, Any]
    claims: list[dict[str, Any]]
    maps: xr.Dataset | None


def open_run(name: str, build: Path) -> Run:
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
    found = {}
    for file in ("manifest.json", "claims.json"):
        try:
            found[file] = json.loads((folder / file).read_text())
        except FileNotFoundError:
            raise ValueError(f"run {name!r}: {folder} has no {file}; build it to the end") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"run {name!r}: {folder / file} is damaged ({error}); build it again") from None
    maps = folder / "relevance.zarr"
    return Run(
        folder.name, found["manifest.json"], found["claims.json"], read(maps) if maps.is_dir() else None
    )


def settings(a: Run, b: Run) -> pd.DataFrame:
    """Parameters and circumstances that differ: what, A, B."""
    rows = []
    for name, pick in {
        "parameter": lambda run: run.manifest["parameters"],
        "version": lambda run: run.manifest["versions"],
        "": lambda run: {
            k: run.manifest.get(k) for k in ("commit", "python", "platform", "cores", "device", "seconds")
        },
    }.items():
        first, second = pick(a), pick(b)
        for key in dict.fromkeys([*first, *second]):
            if first.get(key) != second.get(key):
                rows.append(
                    {"what": f"{name} {key}".strip(), "A": str(first.get(key)), "B": str(second.get(key))}
                )
    return pd.DataFrame(rows, columns=["what", "A", "B"])


def claims(a: Run, b: Run) -> pd.DataFrame:
    """Every part of a claim that both runs have: claim, part, A and B (estimate with interval), difference (B minus A),
    noise (its standard error), units (one divided by the other).

    The noise is the root of the sum of the two squared standard errors, read from the widths of the intervals. Runs
    that share stimuli differ by less than that, so what moved by many units did not move by chance.
    """
    first, second = (_parts(run) for run in (a, b))
    rows = []
    for claim, part in first:
        if (claim, part) in second:
            (one, one_se), (other, other_se) = first[claim, part], second[claim, part]
            difference, noise = other["estimate"] - one["estimate"], float(np.hypot(one_se, other_se))
            units = difference / noise if noise > 0 else 0.0 if difference == 0 else np.nan
            texts = {letter: _estimate(record) for letter, record in (("A", one), ("B", other))}
            numbers = {"difference": difference, "noise": noise, "units": units}
            rows.append({"claim": claim, "part": part, **texts, **numbers})
    return pd.DataFrame(rows, columns=["claim", "part", "A", "B", "difference", "noise", "units"])


def _parts(run: Run) -> dict[tuple[str, str], tuple[dict[str, float], float]]:
    """`(claim, part) -> (estimate with interval, standard error)`."""
    z = norm.ppf((1 + run.manifest["parameters"].get("confidence", 0.95)) / 2)
    found = {}
    for record in run.claims:
        for part in record.get("parts") or [record | {"label": record.get("part", "")}]:
            numbers = {name: _number(part[name]) for name in ("estimate", "ci_low", "ci_high")}
            found[record["id"], part["label"]] = numbers, (numbers["ci_high"] - numbers["ci_low"]) / (2 * z)
    return found


def maps(a: Run, b: Run) -> pd.DataFrame:
    """Rank correlation of the maps of every network that both runs have: model, family, likeness (A with B), seeds
    (between the seeds of the family, mean of both runs: as alike as chance in training lets maps be).

    Raises:
        ValueError: the maps cannot be compared; the message says why.
    """
    for run in (a, b):
        if run.maps is None:
            raise ValueError(f"{run.name} has no relevance.zarr")
    first, second = (run.maps.set_index(image="name") for run in (a, b))
    if (first.sizes["y"], first.sizes["x"]) != (second.sizes["y"], second.sizes["x"]):
        raise ValueError(f"maps of {first.sizes['x']} and of {second.sizes['x']} pixels cannot be compared")
    images = [name for name in first.image.values if name in set(second.image.values)]
    models = [name for name in first.model.values if name in set(second.model.values)]
    if not images or not models:
        raise ValueError("the runs share no network or no image")
    first, second = (one.relevance.sel(image=images).load() for one in (first, second))
    noise = [_between_seeds(one) for one in (first, second)]
    rows = []
    for model in models:
        pair = [one.sel(model=[model]).values for one in (first, second)]
        family = model.rpartition("/")[0]
        seeds = np.mean([known.get(family, np.nan) for known in noise])
        alike = float(np.nanmean(likeness.spearman(*pair)))
        rows.append({"model": model, "family": family, "likeness": alike, "seeds": float(seeds)})
    return pd.DataFrame(rows)


def _between_seeds(relevance: xr.DataArray) -> dict[str, float]:
    """Mean rank correlation between maps of different seeds, by family."""
    family = np.array([name.rpartition("/")[0] for name in relevance.model.values])
    found = {}
    for name in dict.fromkeys(family):
        ours = relevance.values[family == name]
        if len(ours) > 1:
            alike = likeness.spearman(ours)
            found[name] = float(np.nanmean(alike[~np.eye(len(ours), dtype=bool)]))
    return found


# ------------------------------------------------------------ the page


def page(a: Run, b: Run) -> NotebookNode:
    """The comparison as an executed notebook, to be rendered like a section."""
    return notebook_format.new_notebook(cells=list(_cells(a, b)))


def _cells(a: Run, b: Run) -> Iterator[NotebookNode]:
    yield _text(
        f"# {a.name} (A) and {b.name} (B) compared\n\nA was made at commit `{a.manifest['commit'][:10]}`, B at "
        f"`{b.manifest['commit'][:10]}`. Noise is the standard error of the "
        f"difference, from the intervals of both runs; what moved by more than {MOVED:g} of it is marked."
    )
    yield _text("## Claims")
    yield _output(_html(_verdicts(a, b), "Verdicts in A and in B"))
    found = claims(a, b)
    yield _text("Every part of every claim that both runs have, as B minus A in units of the noise.")
    if found.units.notna().any():
        yield _output(_chart(found.dropna(subset="units")))
    yield _output(_html(_moved(found), "Differences against the noise"))
    yield _text("## Maps")
    try:
        alike = maps(a, b)
    except ValueError as problem:
        yield _text(f"Not compared: {problem}.")
    else:
        yield _text(
            "Rank correlation of a network's map in A with its map in B, averaged over the images that both runs "
            "explain, beside that between networks of one family that differ in their seed alone. A likeness below "
            "that of seeds is more than another seed would do."
        )
        table = alike.assign(**{"A with B": alike.likeness.round(3), "between seeds": alike.seeds.round(3)})
        yield _output(_html(table[["model", "A with B", "between seeds"]], "Likeness of maps"))
    yield _text("## Parameters and circumstances")
    differ = settings(a, b)
    yield _output(_html(differ, "What differs")) if len(differ) else _text("None differs.")
    yield _text(_same_inputs(a, b))


def _verdicts(a: Run, b: Run) -> pd.DataFrame:
    first, second = ({record["id"]: record for record in run.claims} for run in (a, b))
    rows = []
    for name in dict.fromkeys([*first, *second]):
        row = {"claim": f"{name} {(first.get(name) or second[name]).get('title', '')}".strip()}
        for letter, known in (("A", first), ("B", second)):
            row[letter] = _in_words(known[name]) if name in known else "not in this run"
        verdicts = {known[name]["verdict"] for known in (first, second) if name in known}
        rows.append(row | {"moved": "verdict changed" if len(verdicts) > 1 else ""})
    return pd.DataFrame(rows)


def _in_words(record: Mapping[str, Any]) -> str:
    return f"{record['verdict']}: {_estimate(record)}"


def _estimate(record: Mapping[str, Any]) -> str:
    return prose.estimate(*(_number(record[name]) for name in ("estimate", "ci_low", "ci_high")))


def _chart(found: pd.DataFrame) -> Any:
    rows = found.assign(
        part=found.claim + ": " + found.part, low=found.units - MOVED, high=found.units + MOVED
    )
    chart = figures.intervals(
        rows, label="part", estimate="units", low="low", high="high", colour="claim",
        title="B minus A, in units of the noise",
    )  # fmt: skip
    return figures.show(
        chart, name="fig-moved", alt="Difference between the runs for every part of every claim, against the noise.",
        caption=f"What moved: differences in units of the noise, with whiskers of {MOVED:g} units.",
    )  # fmt: skip


def _moved(found: pd.DataFrame) -> pd.DataFrame:
    moved = (found.units.abs() > MOVED) | ((found.noise == 0) & (found.difference != 0))
    numbers = {
        "B minus A": found.difference.map(prose.number),
        "noise": found.noise.map(prose.number),
        "in units of the noise": found.units.map(lambda units: prose.number(units, 1)),
    }
    return found[["claim", "part", "A", "B"]].assign(**numbers, moved=np.where(moved, "moved", ""))


def _same_inputs(a: Run, b: Run) -> str:
    lines = []
    for kind in ("images", "weights"):
        first, second = (run.manifest.get("hashes", {}).get(kind, {}) for run in (a, b))
        common = first.keys() & second.keys()
        same = sum(first[key] == second[key] for key in common)
        lines.append(f"- {kind}: {same} of {len(common)} that both runs have are identical")
    return "\n".join(lines)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _text(source: str) -> NotebookNode:
    return notebook_format.new_markdown_cell(source)


def _output(figure: Any) -> NotebookNode:
    data = figure._repr_mimebundle_() if hasattr(figure, "_repr_mimebundle_") else {"text/html": figure}
    output = notebook_format.new_output("display_data", data=data)
    return notebook_format.new_code_cell(
        "# python -m report compare", outputs=[output], metadata={"tags": ["remove-input", "show-input"]}
    )


def _html(table: pd.DataFrame, label: str) -> str:
    shown = table.to_html(index=False, border=0, classes="claim-ledger", escape=True)
    return f'<div class="claim-scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">{shown}</div>'
