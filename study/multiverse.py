"""Every claim recomputed under every combination of analytic choices, and how often its verdict holds.

Steegen, Tuerlinckx, Gelman & Vanpaemel 2016, "Increasing transparency through a multiverse analysis", Perspectives on
Psychological Science 11(5); Simonsohn, Simmons & Nelson 2020, "Specification curve analysis", Nature Human Behaviour 4.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pandas as pd

from study import Study, archive, claims, parallel
from study.parameters import COMPUTE, Parameters
from study.store import Store

CODE = ("study.multiverse", "study.claims", "study", "study.networks", "study.stimuli", "faces")
# The choices each claim depends on; the others would give the same numbers again.
MASKING = ("composite", "ranking", "fill", "measure", "percent_range")
DEPENDS = {
    "C1": (),
    "C2": MASKING,
    "C3": (*MASKING, "likeness"),
    "C4": MASKING,
    "C5": MASKING,
    "C6": MASKING,
    "C7": MASKING,
    "C8": ("composite",),
}
COSTLY = ("composite", "ranking", "fill")  # choices that need maps or masked images of their own
# Parameters, by how their names begin, that do not change what a claim's default analysis gives: those of experiments
# beside the study.
BESIDE = (
    "multiverse",
    "calibration",
    "evidence",
    "intervention",
    "narrow",
    "shortcut",
    "sanity",
    "retrain",
    "explorer",
)


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """The tables that are stored: `analyses`."""
    return {"analyses": analyses(study)}


def analyses(study: Study) -> pd.DataFrame:
    """One row per claim and combination of the choices it depends on.

    Columns: claim, the choices (NaN where the claim does not depend on one), estimate, ci_low, ci_high, verdict, part,
    is_default (all choices as in the study's own analysis).
    """
    inputs = {"settings": study.parameters.settings()} | study.input_hashes()
    modules = ("study.multiverse", "study.claims", "study")
    return pd.DataFrame(study.store.json("multiverse", inputs, modules, lambda: _analyses(study)))


def _analyses(study: Study) -> list[dict[str, Any]]:
    own = study.parameters
    p = own.model_copy(update={"resamples": own.multiverse_resamples})
    todo = [(name, choices) for name, depends in DEPENDS.items() for choices in _combinations(p, depends)]
    defaults = [all(getattr(own, key) == value for key, value in choices.items()) for _, choices in todo]
    # The default analysis has as many resamples as the ledger, so that its verdict is the ledger's.
    universes = [
        (own if default else p.model_copy(update=choices), name)
        for (name, choices), default in zip(todo, defaults, strict=True)
    ]
    together: dict[tuple, list] = {}
    for universe, name in universes:  # those that share maps and masks are one job, which reads these once
        together.setdefault(tuple(getattr(universe, choice) for choice in COSTLY), []).append(
            (universe, name)
        )
    for group in together.values():
        maps = Study(group[0][0], study.store)
        maps.curves(), maps.transfer(), maps.consensus(), maps.agreement(), maps.similarity()
    hashes = study.input_hashes()
    jobs = [(study.store, hashes, group) for group in together.values()]
    sizes = [len(group) for group in together.values()]
    parallel.each(decide, jobs, sizes, "analyses", p.workers, p.threads, unit="analysis")
    rows = []
    for (name, choices), (universe, _), default in zip(todo, universes, defaults, strict=True):
        record = claims.claim(_Universe(universe, study.store, hashes), name)
        found = {key: record[key] for key in ("estimate", "ci_low", "ci_high", "verdict", "part")}
        rows.append({"claim": name} | choices | found | {"is_default": default})
    return rows


def decide(store: Store, hashes: dict[str, Any], universes: list[tuple[Parameters, str]]) -> None:
    """Compute claims, each of its own parameters, into the store; `hashes` are `Study.input_hashes` of them all."""
    for p, name in universes:
        claims.claim(_Universe(p, store, hashes), name)
        parallel.progress(1)


class _Universe(Study):
    """A study that differs from others in its analysis alone, so that its images need not be read to know them."""

    def __init__(self, parameters: Parameters, store: Store, hashes: dict[str, Any]):
        super().__init__(parameters, store)
        self._hashes = hashes

    def input_hashes(self) -> dict[str, Any]:
        return self._hashes


def stored(study: Study) -> archive.Kept | None:
    """The stored multiverse, if it is of this very study (whatever its own size), else None."""
    try:
        kept = archive.recall("multiverse")
    except FileNotFoundError:
        return None
    ours, theirs = (
        {
            name: value
            for name, value in settings.items()
            if name not in COMPUTE and not name.startswith(BESIDE)
        }
        for settings in (json.loads(study.parameters.model_dump_json()), kept.manifest["parameters"])
    )
    return kept if ours == theirs else None


def robustness(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How far each claim's verdict holds: `{claim: {analyses, share, verdict, flips, flips_share}}`.

    share: of the analyses whose verdict is the default analysis's. flips: the choice ("fill: grey") under which it
    holds least often, and flips_share how often it holds there; None where no choice matters.
    """
    return {name: _robustness(rows) for name, rows in table.groupby("claim")}


def by_choice(table: pd.DataFrame) -> pd.DataFrame:
    """How often the verdict holds under each value of each choice: claim, choice, value, share, analyses."""
    rows = []
    for name, ours in table.groupby("claim"):
        holds = ours.verdict == _default(ours).verdict
        for choice in DEPENDS[name]:
            if choice in ours and len(set(ours[choice])) > 1:
                for value, group in holds.groupby(ours[choice]):
                    row = {"claim": name, "choice": choice, "value": value}
                    rows.append(row | {"share": float(group.mean()), "analyses": len(group)})
    return pd.DataFrame(rows, columns=["claim", "choice", "value", "share", "analyses"])


def ledger(study: Study) -> list[dict[str, Any]]:
    """All claims (`claims.ledger`), each with `robustness`: as `robustness` gives it, and `source`, whose analyses."""
    table, source = best(study)
    found = robustness(table)
    return [
        record | {"robustness": found[record["id"]] | {"source": source}} for record in claims.ledger(study)
    ]


def best(study: Study) -> tuple[pd.DataFrame, str]:
    """The largest multiverse there is of this study, and where it comes from."""
    kept = stored(study)
    return (
        (analyses(study), "computed with this book") if kept is None else (kept.tables["analyses"], str(kept))
    )


def _default(rows: pd.DataFrame) -> pd.Series:
    return rows[rows.is_default].iloc[0]


def _robustness(rows: pd.DataFrame) -> dict[str, Any]:
    verdict = _default(rows).verdict
    worst = by_choice(rows).sort_values("share", kind="stable").head(1)
    flips = None if worst.empty or worst.share.item() == 1 else worst.iloc[0]
    return {
        "analyses": len(rows),
        "share": float((rows.verdict == verdict).mean()),
        "verdict": verdict,
        "flips": None if flips is None else f"{flips.choice}: {flips.value}".replace("_", " "),
        "flips_share": None if flips is None else float(flips.share),
    }


def _combinations(p: Parameters, names: tuple[str, ...]) -> list[dict[str, str]]:
    """All combinations of the values of the named choices; a choice that is not varied keeps its value."""
    values = {name: p.multiverse.get(name) or [getattr(p, name)] for name in names}
    # The study's own value belongs to the multiverse even if the profile's list leaves it out.
    values = {name: list(dict.fromkeys([getattr(p, name), *found])) for name, found in values.items()}
    return [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]
