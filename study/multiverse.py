"""Every claim recomputed under every combination of analytic choices, and how often its verdict holds.

Steegen, Tuerlinckx, Gelman & Vanpaemel 2016, "Increasing transparency through a multiverse analysis", Perspectives on
Psychological Science 11(5); Simonsohn, Simmons & Nelson 2020, "Specification curve analysis", Nature Human Behaviour 4.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from pydantic import Field

from study import claims, parallel, stored
from study.settings import Settings
from study.steps import Study

Choice = Literal["composite", "ranking", "fill", "measure", "percent_range", "likeness"]
CHOICES = get_args(Choice)
COSTLY = ("composite", "ranking", "fill")  # choices that need maps or masked images of their own
NUMBERS = ("estimate", "ci_low", "ci_high", "verdict", "part")


class Multiverse(Settings):
    """Which analyses are tried."""

    multiverse: dict[Choice, list[str]] = Field(
        {
            "measure": ["accuracy", "probability", "logit"],
            "percent_range": ["all", "few", "many"],
            "likeness": ["spearman", "overlap"],
        },
        description="choices that every claim is recomputed under, in all combinations",
    )
    multiverse_resamples: int = Field(
        400, ge=100, le=100000, description="bootstrap resamples of each of those"
    )


def choices(claim: str) -> tuple[str, ...]:
    """The choices a claim depends on; the others would give the same numbers again."""
    decisive = claims.STEPS[claim].depends_on()
    return tuple(name for name in CHOICES if name in decisive)


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables that are stored: `analyses`."""
    return {"analyses": analyses(s)}


def analyses(s: Study) -> pd.DataFrame:
    """One row per claim and combination of the choices it depends on.

    Columns: claim, the choices (NaN where the claim does not depend on one), estimate, ci_low, ci_high, verdict, part,
    is_default (all choices as in the study's own analysis).
    """
    rows, missing = [], defaultdict(list)
    for name in claims.STEPS:
        for chosen in _combinations(s.p, choices(name)):
            is_default = all(getattr(s.p, key) == value for key, value in chosen.items())
            # The default analysis has as many resamples as the ledger, so that its verdict is the ledger's.
            universe = s if is_default else s.but(resamples=s.p.multiverse_resamples, **chosen)
            rows.append((name, chosen, is_default, universe))
            if not claims.STEPS[name].has(universe):
                # Those that share maps and masks are one job, which reads these once.
                missing[tuple(getattr(universe.p, key) for key in COSTLY)].append((universe, name))
    for universe, name in chain.from_iterable(missing.values()):
        claims.STEPS[name].prepare(universe, [()])
    jobs = [(s.store.root, [(u.settings, name) for u, name in group]) for group in missing.values()]
    sizes = [len(group) for group in missing.values()]
    parallel.each(decide, jobs, sizes, "analyses", s.p.workers, s.p.threads, unit="analysis")
    records = [claims.claim(universe, name) for name, _, _, universe in rows]
    return pd.DataFrame(
        {"claim": name} | chosen | {key: record[key] for key in NUMBERS} | {"is_default": is_default}
        for (name, chosen, is_default, _), record in zip(rows, records, strict=True)
    )


def decide(root: Path, universes: list[tuple[Any, str]]) -> None:
    """Compute claims, each of its own parameters, into the store."""
    for settings, name in universes:
        claims.STEPS[name](Study(settings, root))
        parallel.progress(1)


def robustness(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How far each claim's verdict holds: `{claim: {analyses, share, verdict, flips, flips_share}}`.

    share: of the analyses whose verdict is the default analysis's. flips: the choice ("fill: grey") under which it
    holds least often, and flips_share how often it holds there; None where no choice matters.
    """
    result = {}
    for name, rows in table.groupby("claim"):
        verdict = _default(rows).verdict
        worst = by_choice(rows).sort_values("share", kind="stable").head(1)
        flips = None if worst.empty or worst.share.item() == 1 else worst.iloc[0]
        result[name] = {
            "analyses": len(rows),
            "share": float((rows.verdict == verdict).mean()),
            "verdict": verdict,
            "flips": None if flips is None else f"{flips.choice}: {flips.value}".replace("_", " "),
            "flips_share": None if flips is None else float(flips.share),
        }
    return result


def by_choice(table: pd.DataFrame) -> pd.DataFrame:
    """How often the verdict holds under each value of each choice: claim, choice, value, share, analyses."""
    rows = []
    for name, of_claim in table.groupby("claim"):
        holds = of_claim.verdict == _default(of_claim).verdict
        for choice in choices(name):
            if choice in of_claim and len(set(of_claim[choice])) > 1:
                for value, group in holds.groupby(of_claim[choice]):
                    row = {"claim": name, "choice": choice, "value": value}
                    rows.append(row | {"share": float(group.mean()), "analyses": len(group)})
    return pd.DataFrame(rows, columns=["claim", "choice", "value", "share", "analyses"])


def ledger(s: Study) -> list[dict[str, Any]]:
    """All claims (`claims.ledger`), each with `robustness`: as `robustness` gives it, and `source`, whose analyses."""
    table, source = best(s)
    robust = robustness(table)
    return [record | {"robustness": robust[record["id"]] | {"source": source}} for record in claims.ledger(s)]


def best(s: Study) -> tuple[pd.DataFrame, str]:
    """The largest multiverse there is of this study, and where it comes from."""
    kept = of_this_study(s)
    return (kept.tables["analyses"], kept.note(s)) if kept else (analyses(s), "computed with this book")


def of_this_study(s: Study) -> stored.Stored | None:
    """The stored multiverse, if every parameter that a claim depends on is what it was there, else None."""
    try:
        kept = stored.recall("multiverse")
    except FileNotFoundError:
        return None
    decisive = set().union(*(step.depends_on() for step in claims.STEPS.values())) - {"device"}
    here, there = json.loads(s.settings.model_dump_json()), kept.manifest["parameters"]
    return kept if all(name in there and there[name] == here[name] for name in decisive) else None


def _default(rows: pd.DataFrame) -> pd.Series:
    return rows[rows.is_default].iloc[0]


def _combinations(p: Any, names: tuple[str, ...]) -> list[dict[str, str]]:
    """All combinations of the values of the named choices; a choice that is not varied keeps its value."""
    # The study's own value belongs to the multiverse even if the profile's list leaves it out.
    values = {name: list(dict.fromkeys([getattr(p, name), *p.multiverse.get(name, ())])) for name in names}
    return [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]
