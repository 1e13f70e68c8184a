"""What tables say, in sentences computed from them."""

from __future__ import annotations

import pandas as pd

from report import prose


def leads(table: pd.DataFrame) -> str:
    """Where relevance is ahead of every control, and where one is ahead of it: of `study.masking.leads`."""
    text = []
    for mode, rows in table.groupby("mode", sort=False):
        ahead = [f"{q:g}" for q, at in rows.groupby("percent") if (at.low > 0).all()]
        behind = rows[rows.high < 0]
        lost = "; ".join(
            f"“{r.control}” at {r.percent:g} % ({prose.estimate(r.lead, r.low, r.high)})"
            for r in behind.itertuples()
        )
        text.append(
            f"With pixels to {mode}, relevance is ahead of every control "
            + (f"at {', '.join(ahead)} %" if ahead else "at no percent")
            + (f", and behind {lost}." if lost else ", and behind none at any.")
        )
    return " ".join(text)


def contributions(table: pd.DataFrame) -> str:
    """What the parts contribute to an asymmetry: of `study.asymmetry.part_contributions`."""
    if table.empty:
        return "Own maps add too little to the control here for parts to have a share in it."
    whole, parts = table.iloc[0], table.iloc[1:]
    clear = parts[(parts.low > 0) | (parts.high < 0)]
    named = "; ".join(f"{r.part} {prose.estimate(r.difference, r.low, r.high)}" for r in clear.itertuples())
    return (
        f"Exchanged as a whole the maps differ by {prose.estimate(whole.difference, whole.low, whole.high)}; the "
        f"contributions of the parts sum to {prose.number(parts.difference.sum())}. "
        + (f"Apart from zero: {named}." if named else "No part's contribution is apart from zero.")
    )


def coverage(rates: pd.DataFrame, low: float = 0.93, high: float = 0.97) -> str:
    """How many of the settings in `rates` (rate, case) cover as 95 % intervals should, and which does so least."""
    fine, least = rates.rate.between(low, high).sum(), rates.loc[rates.rate.idxmin()]
    return (
        f"{fine} of {len(rates)} settings lie within {100 * low:.0f} to {100 * high:.0f} %; "
        f"the lowest is {100 * least.rate:.1f} % ({least.case})"
    )
