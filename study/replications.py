"""The whole study again with everything new: do verdicts come out the same, do intervals hold what they promise?

A replication has other people, views of objects, pretrainings, seeds and observers; photographs stay, their splits are
new. An interval of the study is about just that: where the estimate would lie with another draw of all of these. All
results go through the store, so a run that was stopped goes on where it was; `ANALYSIS_STORE` names another store where
that of the book should not grow by some gigabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.stats import norm, t
from tqdm import tqdm

from study import claims, stored
from study.settings import Settings
from study.steps import Study
from study.verdicts import CONTRADICTED, INCONCLUSIVE, SUPPORTED

APART = 1000  # between the seeds of two replications: more than a study has
NUMBERS = ["estimate", "ci_low", "ci_high"]


class Replications(Settings):
    """How often the study is repeated."""

    replications: int = Field(
        0, ge=0, le=500, description="times that the whole study is repeated, with everything new"
    )


def replication(s: Study, number: int) -> Study:
    """Replication `number` of a study; 0 is the study itself."""
    far = APART * number
    return s.but(stimulus_seed=s.p.stimulus_seed + far, first_seed=s.p.first_seed + far)


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables that are stored: `replications`, one row per replication and part of a claim (see `rows`).

    Replications of the same study that are stored already, and still current, are not made again.
    """
    kept = stored.of_study(s, "replications")
    before = [kept.tables["replications"]] if kept and not kept.outdated(s) else []
    missing = sorted(set(range(s.p.replications + 1)).difference(*(table.replication for table in before)))
    numbers = tqdm(missing, desc="replications", unit="study", disable=not s.p.replications)
    each = [rows(claims.ledger(replication(s, number)), number) for number in numbers]
    whole = pd.concat([*before, *each], ignore_index=True)
    whole.attrs["seconds"] = kept.manifest["seconds"] if kept and before else 0
    return {"replications": whole}


def rows(records: list[dict[str, Any]], number: int) -> pd.DataFrame:
    """The parts of the claims of one ledger.

    Columns: replication, claim, part, estimate, ci_low, ci_high, verdict, shown (whether it is the part that the
    ledger shows, whose verdict is the claim's).
    """
    return pd.DataFrame(
        {"replication": number, "claim": record["id"], "part": part["label"]}
        | {name: part[name] for name in (*NUMBERS, "verdict")}
        | {"shown": part["label"] == record["part"]}
        for record in records
        for part in record["parts"]
    )


def best(s: Study, records: list[dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    """All replications there are of this study, and where they come from; its own claims, number 0, are `records`."""
    kept = stored.of_study(s, "replications")
    if kept:
        again, source = kept.tables["replications"], kept.note(s)
    elif s.p.replications:
        again, source = tables(s)["replications"], "computed with this book"
    else:
        return rows(records, 0), "this study was not repeated; to do so: python -m report store replications"
    return pd.concat([rows(records, 0), again[again.replication > 0]], ignore_index=True), source


def held(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How each claim came out in the replications: `{claim: {n, same, supported, inconclusive, contradicted}}`.

    n: replications; same: how many of them give the verdict of the study itself. Empty where there are none.
    """
    result = {}
    for name, verdicts in table[table.shown].set_index("replication").groupby("claim").verdict:
        again = verdicts.drop(index=0)
        if len(again):
            result[name] = {"n": len(again), "same": int((again == verdicts[0]).sum())}
            result[name] |= {v: int((again == v).sum()) for v in (SUPPORTED, INCONCLUSIVE, CONTRADICTED)}
    return result


def contained(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Whether the interval of each replication contains the mean of the others; the study itself takes no part.

    That mean errs, too. `contains` compares it as it is, which good intervals of ten replications pass a little less
    often than `confidence`; for `widened` each side of the interval is widened by the standard error of that mean, as
    independent errors add: to `sqrt(side**2 + (z * error)**2)`.

    Args:
        table: as `rows` gives it, of several replications.
        confidence: that of the intervals.

    Returns:
        Columns: replication, claim, part, others (the mean), error (its standard error), contains, widened. Parts with
        fewer than three finite intervals are left out.
    """
    z, result = norm.ppf((1 + confidence) / 2), []
    finite = table[(table.replication > 0) & np.isfinite(table[NUMBERS]).all(axis=1)]
    for (claim, part), of_part in finite.groupby(["claim", "part"], sort=False):
        value, low, high = of_part[NUMBERS].to_numpy().T
        n = len(value)
        if n < 3:
            continue
        rest = np.array([np.delete(value, k) for k in range(n)])
        others, error = rest.mean(1), rest.std(1, ddof=1) / np.sqrt(n - 1)
        below, above = (np.hypot(side, z * error) for side in (value - low, high - value))
        found = pd.DataFrame({"replication": of_part.replication, "claim": claim, "part": part})
        found = found.assign(others=others, error=error, contains=(low <= others) & (others <= high))
        result.append(found.assign(widened=(value - below <= others) & (others <= value + above)))
    columns = ["replication", "claim", "part", "others", "error", "contains", "widened"]
    return pd.concat(result, ignore_index=True) if result else pd.DataFrame(columns=columns)


def coverage(found: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """How often intervals contain the mean of the others, over all parts: of `contained`.

    Columns: compared ("contains" or "widened"), intervals (how many), rate, low, high. The interval of the rate comes
    from the variation between replications, as parts of one replication go together.
    """
    result = []
    for name in ("contains", "widened"):
        rates = found[name].astype(float).groupby(found.replication).mean()
        reach = t.ppf((1 + confidence) / 2, len(rates) - 1) * rates.std() / np.sqrt(len(rates))
        ends = {"low": max(rates.mean() - reach, 0.0), "high": min(rates.mean() + reach, 1.0)}
        result.append({"compared": name, "intervals": len(found), "rate": rates.mean(), **ends})
    return pd.DataFrame(result)


def by_claim(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """How the claims came out in the replications, and how their intervals did.

    Columns: claim, verdict (of the study itself), n, same, supported, inconclusive, contradicted (as in `held`),
    contains, widened (shares of `contained` over the claim's parts), spread (standard deviation of estimates over
    replications, in that which the width of the intervals promises: median over parts). Empty without replications.
    """
    verdicts = table[(table.replication == 0) & table.shown].set_index("claim").verdict
    again = table[table.replication > 0]
    again = again.assign(half=(again.ci_high - again.ci_low) / 2)
    parts = again.groupby(["claim", "part"])
    spread = parts.estimate.std() / parts.half.mean() * norm.ppf((1 + confidence) / 2)
    covered = contained(table, confidence).astype({"contains": float, "widened": float})
    result = pd.DataFrame([{"claim": name} | counts for name, counts in held(table).items()])
    if result.empty:
        return result
    result.insert(1, "verdict", result.claim.map(verdicts))
    for name in ("contains", "widened"):
        result[name] = result.claim.map(covered.groupby("claim")[name].mean())
    return result.assign(spread=result.claim.map(spread.groupby("claim").median()))
