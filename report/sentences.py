"""What tables say, in sentences computed from them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from analysis import evidence
from report import prose
from study import interventions, truth
from study.settings import is_file, is_images
from study.weights import REGISTRY


def leads(table: pd.DataFrame) -> str:
    """Where relevance is ahead of every control, and where one is ahead of it: of `study.masking.leads`."""
    text = []
    for mode, rows in table.groupby("mode", sort=False):
        ahead = [f"{q:g}" for q, at in rows.groupby("percent") if (at.low > 0).all()]
        lost = "; ".join(
            f"“{r.control}” at {r.percent:g} % ({prose.estimate(r.lead, r.low, r.high)})"
            for r in rows[rows.high < 0].itertuples()
        )
        text.append(
            f"With pixels to {mode}, relevance is ahead of every control "
            + (f"at {', '.join(ahead)} %" if ahead else "at no percent")
            + (f", and behind {lost}." if lost else ", and behind none at any.")
        )
    return " ".join(text)


def contributions(table: pd.DataFrame) -> str:
    """What the parts contribute to an asymmetry: of `study.asymmetry.part_contributions`."""
    if table.difference.isna().all():
        return "Own maps add too little to the control here for parts to have a share in it."
    whole, parts = table.iloc[0], table.iloc[1:]
    clear = parts[(parts.low > 0) | (parts.high < 0)]
    named = "; ".join(f"{r.part} {prose.estimate(r.difference, r.low, r.high)}" for r in clear.itertuples())
    return (
        f"Exchanged as a whole the maps differ by {prose.estimate(whole.difference, whole.low, whole.high)}; the "
        f"contributions of the parts sum to {prose.number(parts.difference.sum())}. "
        + (f"Apart from zero: {named}." if named else "No part's contribution is apart from zero.")
    )


def groups(table: pd.DataFrame) -> str:
    """Which differences between groups of people are apart from zero: of `study.demographics`."""
    if table.empty:
        return "No two groups are large enough to be compared."
    clear = table[(table.low > 0) | (table.high < 0)]
    told = "; ".join(
        f"{', '.join(r[name] for name in ('task', 'region', 'groups') if name in r)} "
        f"{prose.estimate(r['difference'], r['low'], r['high'])}"
        for r in clear.to_dict("records")
    )
    return f"Apart from zero with all {len(table)} intervals holding together: {told or 'no difference'}."


def depths(table: pd.DataFrame) -> str:
    """How much less maps pass between pretrainings than between tasks, and runs: of `study.depth.contrasts`."""
    if table.empty:
        return (
            "Nothing can be compared: that takes two pretrainings, and beside them two tasks or several runs."
        )
    text = []
    for minus, rows in table.groupby("minus", sort=False):
        each = "; ".join(f"{r.depth} {prose.estimate(r.value, r.low, r.high)}" for r in rows.itertuples())
        text.append(f"Between pretrainings minus {minus}: {each}.")
    return " ".join(text)


def pretrained(p: Any) -> str:
    """Where pretrained networks come from, by the parameters."""
    of_images = [name for name, source in p.pretrainings.items() if is_images(source)]
    ready = [
        f"“{name}” ({public.source})"
        if (public := REGISTRY.get(source.removeprefix("public:")))
        else f"“{name}”"
        for name, source in p.pretrainings.items()
        if is_file(source)
    ]
    text = []
    if of_images:
        text.append(
            f"For every pretraining the same {p.pretraining_samples:,} images were shown, so neither set has an "
            f"advantage of training time, and each was run independently as often ({p.pretraining_runs})."
        )
    if ready:
        text.append(
            f"Trained already, by others: {'; '.join(ready)}. Each is a single run, so what differs between two of "
            "them may come from their images or from anything else that differed between their trainings."
        )
    return " ".join(text)


def coverage(rates: pd.DataFrame, low: float = 0.93, high: float = 0.97) -> str:
    """How many of the settings in `rates` (rate, case) cover as 95 % intervals should, and which does so least."""
    fine, least = rates.rate.between(low, high).sum(), rates.loc[rates.rate.idxmin()]
    return (
        f"{fine} of {len(rates)} settings lie within {100 * low:.0f} to {100 * high:.0f} %; "
        f"the lowest is {100 * least.rate:.1f} % ({least.case})"
    )


def composites(ranked: pd.DataFrame) -> str:
    """The best composite of LRP, and the best of what it is compared with: of `study.truth.ranking`."""
    rows = ranked.assign(method=ranked.method.str.replace("_", " "))
    first, others = rows[rows.kind == "LRP"].iloc[0], rows[rows.kind == "LRP"].iloc[1:]
    text = f"Of the composites “{first.method}” scores best: {prose.estimate(first.estimate, first.low, first.high)}."
    for what, compared in (
        ("next composite", others),
        ("best other method", rows[rows.kind == "other method"]),
        ("best control", rows[rows.kind == "control"]),
    ):
        if len(compared):
            row = compared.iloc[0]
            lead = prose.estimate(row.behind, row.behind_low, row.behind_high)
            side = _ahead(row.behind_low, row.behind_high)
            text += f" The {what} is “{row.method}”; the winning composite is {side}: {lead}."
    return text


def default_composite(ranked: pd.DataFrame, name: str) -> str:
    """Where the default stands among the composites: of `study.truth.ranking`."""
    rows = ranked[ranked.kind == "LRP"].reset_index(drop=True)
    place = int(rows.index[rows.method == name][0])
    row, words = rows.iloc[place], name.replace("_", " ")
    text = f"The default of the whole project is “{words}”, here number {place + 1} of {len(rows)} composites"
    behind = prose.estimate(row.behind, row.behind_low, row.behind_high)
    return f"{text}, {behind} behind the first." if place else f"{text}."


def _ahead(low: float, high: float) -> str:
    """What the interval of a lead says of who leads."""
    return (
        "ahead of it"
        if low > 0
        else "behind it"
        if high < 0
        else "neither ahead of it nor behind for certain"
    )


def best_by_score(table: pd.DataFrame) -> str:
    """Which composite of LRP each score would have chosen, over all sets: of `study.truth.scores`."""
    rows = table[(table.evidence == table.evidence.iloc[-1]) & (table.kind == "LRP")]
    best = rows.loc[rows.groupby("metric").estimate.idxmax()].set_index("metric").method.str.replace("_", " ")
    chosen = best.pop(truth.DECIDING)
    apart = [f"“{name}” by {evidence.METRICS[metric]}" for metric, name in best.items() if name != chosen]
    return (
        f"Other scores put another composite first: {', '.join(apart)}."
        if apart
        else "The other scores put the same composite first."
    )


def learned(table: pd.DataFrame) -> str:
    """Accuracy by what is shown, lowest and highest over the sets: of `study.truth.learned`."""
    text = []
    for shown, accuracy in table.groupby("shown", sort=False).accuracy:
        ends = dict.fromkeys(prose.number(end) for end in (accuracy.min(), accuracy.max()))
        text.append(f"{' to '.join(ends)} with faces {shown}")
    return f"Accuracy over the sets is {', '.join(text)}."


def retrained(lost: pd.DataFrame, composite: str) -> str:
    """What the top pixels of a composite cost beyond random ones, after retraining: of `study.retrain.tables`."""

    def told(row: Any) -> str:
        return f"{prose.number(row.lost, 3)} {prose.interval(row.low, row.high, 3)}"

    again, before = (lost[lost.network == name].set_index("ranking") for name in ("retrained", "masked"))
    if composite not in again.index:
        return f"No networks were retrained without the top pixels of “{composite.replace('_', ' ')}”."
    rule, costly = again.loc[composite], again[again.low > 0]
    verdict = (
        "more" if rule.low > 0 else "less" if rule.high < 0 else "no difference that can be told from zero"
    )
    named = "; ".join(f"“{row.Index.replace('_', ' ')}” {told(row)}" for row in costly.itertuples())
    others = f"cost more ({named})" if len(costly) else "cost more"
    return (
        f"When networks are trained anew without the top pixels of “{composite.replace('_', ' ')}”, this costs "
        f"{told(rule)} of accuracy beyond what losing as many random pixels costs: {verdict}. Of {len(again)} rankings "
        f"{len(costly) or 'none'} {others}; intervals hold one at a time. Not trained anew, networks lose "
        f"{told(before.loc[composite])} beyond random removal."
    )


def ledger(records: list[Mapping[str, Any]]) -> str:
    """What is left of the verdicts after Holm's correction, and in replications: of `study.multiverse.ledger`."""
    lost = [r["id"] for r in records if r["verdict_holm"] != r["verdict"]]
    text = f"Corrected for testing {len(records)} claims (Holm), "
    text += f"{', '.join(lost)} would be inconclusive." if lost else "every verdict stays."
    again = {r["id"]: r["replications"] for r in records if r["replications"]}
    if not again:
        return text
    n = max(counts["n"] for counts in again.values())
    steady = [name for name, counts in again.items() if counts["same"] == counts["n"]]
    others = [f"{name} in {counts['same']}" for name, counts in again.items() if name not in steady]
    text += f" The whole study was repeated {n} times with everything new. "
    text += (
        f"In all of them {', '.join(steady)} came out as here"
        if steady
        else "No claim came out as here in all of them"
    )
    return text + (f"; {', '.join(others)}." if others else ".")


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """`study.truth.scores` as a reader sees them: a row per method, best first, and a column per metric, as text."""
    rows = table[table.evidence == table.evidence.iloc[-1]]
    text = [prose.estimate(r.estimate, r.low, r.high) for r in rows.itertuples(index=False)]
    wide = rows.assign(text=text).pivot(index="method", columns="metric", values="text")
    deciding = rows[rows.metric == truth.DECIDING]
    wide = wide.loc[deciding.sort_values("estimate", ascending=False).method, list(evidence.METRICS)]
    wide = wide.rename(columns=evidence.METRICS, index=lambda name: name.replace("_", " "))
    return wide.rename_axis(index=None, columns=None)


def effects_told(table: pd.DataFrame) -> str:
    """Relevance against its best rival on how much regions matter: of `study.interventions.table`."""
    effects, size = interventions.EFFECTS, interventions.QUESTIONS["size"]
    changed = effects["swap"] if effects["swap"] in set(table.changed) else effects["fill"]
    rows = table[(table.question == size) & (table.changed == changed)].set_index("ranking")
    own, rivals = rows.loc["relevance"], rows.drop(index=["relevance", "fill"], errors="ignore")
    best = rivals.loc[rivals.correlation.idxmax()]
    return (
        f"With the effect of {changed}, the magnitude of relevance correlates at "
        f"{prose.estimate(own.correlation, own.low, own.high)}; the best rival, “{best.name.replace('_', ' ')}”, at "
        f"{prose.estimate(best.correlation, best.low, best.high)}. The difference is "
        f"{prose.estimate(best.ahead, best.ahead_low, best.ahead_high)}."
    )


def defaults(records: list[Mapping[str, Any]]) -> str:
    """Where the default among the analyses has another verdict than the ledger: of `study.multiverse.ledger`."""
    told = [(r["id"], r["robustness"]["default"], r["verdict"]) for r in records]
    apart = [f"{name} ({there} there, {here} here)" for name, there, here in told if there != here]
    if not apart:
        return "The default among these analyses gives the verdict of the ledger for every claim."
    return (
        f"The stored analyses’ own default says otherwise of {', '.join(apart)}: the same analysis on another machine, "
        "or before the code changed. Counts below are for the verdict of the ledger."
    )


def pairs(shown: xr.Dataset) -> str:
    """How far people and networks disagree on the pairs that are shown: of `study.humans.pairs`."""
    told = [
        f"{100 * float(pair.people):.0f} % of pairs are more alike than it to observers and "
        f"{100 * float(pair.networks):.0f} % to networks"
        for pair in (shown.sel(pair=kind) for kind in shown.pair.values[-2:])
    ]
    return f"They disagree most on the third and the fourth: of the one {told[0]}, of the other {told[1]}"


def verdicts_again(table: pd.DataFrame) -> str:
    """How many claims came out the same in new studies, and which least: of `study.replications.by_claim`."""
    if table.empty:
        return "There are no replications of this study; only the study itself is shown."
    n, share = int(table.n.max()), table.same / table.n
    steady = int((share == 1).sum())
    text = f"Of {len(table)} claims, {steady} came out as here in every one of {n} replications"
    if steady == len(table):
        return text + "."
    told = [
        f"{r.claim} ({r.verdict} here; {r.supported} supported, {r.inconclusive} open, {r.contradicted} contradicted)"
        for r in table[share < 1].sort_values("same", kind="stable").itertuples()
    ]
    return text + f"; the others, the least steady first, are {', '.join(told)}."


def coverage_again(table: pd.DataFrame, overall: pd.DataFrame) -> str:
    """How often intervals contain the mean of the other replications: of `study.replications`."""
    if table.empty or not overall.intervals.sum():
        return "There is nothing to compare intervals with."
    plain, widened = overall.itertuples()
    least = table.loc[table.widened.idxmin()]
    percent = "{:.1f} % [{:.1f}, {:.1f}]".format
    return (
        f"Of {plain.intervals} intervals, {percent(100 * plain.rate, 100 * plain.low, 100 * plain.high)} contain the "
        f"mean of the other replications as it is, and "
        f"{percent(100 * widened.rate, 100 * widened.low, 100 * widened.high)} do with the error of that mean allowed "
        f"for; least often those of {least.claim} ({100 * least.widened:.0f} %). Over the parts of a claim, estimates "
        f"vary {prose.number(table.spread.min(), 1)} to {prose.number(table.spread.max(), 1)} times as much as the "
        "width of the intervals promises."
    )
