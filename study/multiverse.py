"""Every claim recomputed under other analytic choices, and how often its verdict holds.

Choices that read the same masked images are crossed in full. Those that need maps or masked images of their own leave
the study's analysis one at a time: all of their combinations would take several times as long. What only two of these
together would change is therefore not seen.

Steegen, Tuerlinckx, Gelman & Vanpaemel 2016, "Increasing transparency through a multiverse analysis", Perspectives on
Psychological Science 11(5); Simonsohn, Simmons & Nelson 2020, "Specification curve analysis", Nature Human Behaviour 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from pydantic import Field

from study import claims, parallel, replications, stored
from study.settings import Settings
from study.steps import Study
from study.verdicts import CONTRADICTED, INCONCLUSIVE, SUPPORTED

# Choices that need maps or masked images of their own, which take time.
Costly = Literal["composite", "explain", "explained_people", "ranking", "fill"]
Choice = Literal[Costly, "measure", "percent_range", "likeness"]
COSTLY, CHOICES = get_args(Costly), get_args(Choice)
NUMBERS = ("estimate", "ci_low", "ci_high", "verdict", "part")


class Multiverse(Settings):
    """Which analyses are tried."""

    multiverse: dict[Choice, list[str]] = Field(
        {
            "measure": ["accuracy", "probability", "logit"],
            "percent_range": ["all", "few", "many"],
            "likeness": ["spearman", "overlap"],
        },
        description="choices that every claim is recomputed under: those of measures in all combinations, those that "
        "need maps or masked images of their own one at a time",
    )
    multiverse_resamples: int = Field(
        400, ge=100, le=100000, description="bootstrap resamples of each of those"
    )


def choices(claim: str) -> tuple[str, ...]:
    """The choices a claim depends on; the others would give the same numbers again."""
    decisive = claims.STEPS[claim].depends_on()
    return tuple(name for name in CHOICES if name in decisive)


def tried(p: Any, names: tuple[str, ...]) -> list[dict[str, str]]:
    """The combinations that are tried of the named choices, the study's own first.

    Costly choices leave the study's value one at a time, the others are crossed with these and with each other.
    """
    # The study's own value belongs to the multiverse even if the profile's list leaves it out.
    values = {name: list(dict.fromkeys([getattr(p, name), *p.multiverse.get(name, ())])) for name in names}
    usual = {name: of_name[0] for name, of_name in values.items()}
    costly = [usual] + [usual | {name: v} for name in names if name in COSTLY for v in values[name][1:]]
    cheap = {name: of_name for name, of_name in values.items() if name not in COSTLY}
    crossed = [dict(zip(cheap, combination, strict=True)) for combination in product(*cheap.values())]
    return [one | other for one in costly for other in crossed]


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables that are stored: `analyses`."""
    return {"analyses": analyses(s)}


def analyses(s: Study) -> pd.DataFrame:
    """One row per claim and combination (`tried`) of the choices it depends on.

    Columns: claim, the choices (NaN where the claim does not depend on one), estimate, ci_low, ci_high, verdict, part,
    is_default (all choices as in the study's own analysis).
    """
    rows, missing = [], defaultdict(list)
    for name in claims.STEPS:
        for chosen in tried(s.p, choices(name)):
            is_default = all(getattr(s.p, key) == value for key, value in chosen.items())
            # The default analysis has as many resamples as the ledger, so that its verdict is the ledger's.
            universe = s if is_default else s.but(resamples=s.p.multiverse_resamples, **chosen)
            rows.append((name, chosen, is_default, universe))
            if not claims.STEPS[name].has(universe):
                # Those that share maps and masks are one job, which reads these once.
                missing[tuple(getattr(universe.p, key) for key in COSTLY)].append((universe, name))
    for universe, name in chain.from_iterable(missing.values()):
        claims.STEPS[name].prepare(universe, [()])
    each = max(1, s.p.workers // max(1, len(missing)))  # jobs of a group, so that no worker is idle
    groups = [
        group[k * len(group) // each : (k + 1) * len(group) // each]
        for group in missing.values()
        for k in range(each)
    ]
    jobs = [(s.store.root, [(u.settings, name) for u, name in group]) for group in groups]
    parallel.each(
        decide, jobs, [len(group) for group in groups], "analyses", s.p.workers, s.p.threads, unit="analysis"
    )
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


def robustness(table: pd.DataFrame, shown: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """How far each claim's verdict holds under other analyses.

    Args:
        table: as `analyses` gives it.
        shown: the verdict of each claim that is asked about; None: that of the table's own default analysis.

    Returns:
        `{claim: {analyses, supported, inconclusive, contradicted, verdict, share, default, flips, flips_share}}`.
        analyses: how many there are, and then how many give which verdict. verdict, share: the one shown, and how many
        of them give it. default: the verdict of the table's default analysis. flips: the choice ("fill: grey") under
        which the verdict shown holds least often, and flips_share how often it holds there; None where no choice
        matters.
    """
    options, result = by_choice(table, shown), {}
    for name, rows in table.groupby("claim"):
        default = _default(rows).verdict
        verdict = (shown or {}).get(name, default)
        worst = options[options.claim == name].sort_values("share", kind="stable").head(1)
        flips = None if worst.empty or worst.share.item() == 1 else worst.iloc[0]
        result[name] = {
            "analyses": len(rows),
            **{each: int((rows.verdict == each).sum()) for each in (SUPPORTED, INCONCLUSIVE, CONTRADICTED)},
            "verdict": verdict,
            "share": float((rows.verdict == verdict).mean()),
            "default": default,
            "flips": None if flips is None else f"{flips.choice}: {flips.value}".replace("_", " "),
            "flips_share": None if flips is None else float(flips.share),
        }
    return result


def by_choice(table: pd.DataFrame, shown: Mapping[str, str] | None = None) -> pd.DataFrame:
    """How often the verdict `shown` (see `robustness`) holds under each value of each choice.

    Columns: claim, choice, value, share, analyses. A costly choice is judged where the other costly ones are as usual.
    """
    rows = []
    for name, of_claim in table.groupby("claim"):
        default = _default(of_claim)
        varied = [c for c in choices(name) if c in of_claim and len(set(of_claim[c])) > 1]
        holds = of_claim.verdict == (shown or {}).get(name, default.verdict)
        for choice in varied:
            others = [c for c in varied if c in COSTLY and c != choice] if choice in COSTLY else []
            usual = (of_claim[others] == default[others]).all(axis=1)
            for value, group in holds[usual].groupby(of_claim[choice]):
                row = {"claim": name, "choice": choice, "value": value}
                rows.append(row | {"share": float(group.mean()), "analyses": len(group)})
    return pd.DataFrame(rows, columns=["claim", "choice", "value", "share", "analyses"])


def ledger(s: Study) -> list[dict[str, Any]]:
    """All claims (`claims.ledger`), each with `robustness` and `replications`.

    robustness: of the verdict shown, as `robustness` gives it, and `source`, whose analyses these are. replications:
    as `replications.held` gives it, or None where the study was not repeated.
    """
    records = claims.ledger(s)
    table, source = best(s)
    robust = robustness(table, {record["id"]: record["verdict"] for record in records})
    again = replications.held(replications.best(s, records)[0])
    return [
        record
        | {"robustness": robust[record["id"]] | {"source": source}, "replications": again.get(record["id"])}
        for record in records
    ]


def best(s: Study) -> tuple[pd.DataFrame, str]:
    """The largest multiverse there is of this study, and where it comes from."""
    kept = stored.of_study(s, "multiverse")
    return (kept.tables["analyses"], kept.note(s)) if kept else (analyses(s), "computed with this book")


def _default(rows: pd.DataFrame) -> pd.Series:
    return rows[rows.is_default].iloc[0]
