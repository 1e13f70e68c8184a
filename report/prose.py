"""Numbers in running text, and claims as a reader sees them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from IPython.display import HTML
from myst_nb import glue

MARKS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign; "n/a" where it is not defined."""
    return "n/a" if value != value else f"{value:.{digits}f}".replace("-", "−")


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval in brackets."""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def estimate(value: float, low: float, high: float) -> str:
    """A number with its interval."""
    return f"{number(value)} {interval(low, high)}"


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    return "n/a" if p != p else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def tell(name: str, text: Any) -> None:
    """Make a text available to the page's prose as ``{glue:text}`name` ``."""
    glue(name, str(text), display=False)


def tell_claim(record: Mapping[str, Any]) -> HTML:
    """Glue a claim's `ID-verdict`, `ID-estimate`, `ID-interval`, `ID-part`; show it as a box."""
    tell(f"{record['id']}-verdict", record["verdict"])
    tell(f"{record['id']}-estimate", number(record["estimate"]))
    tell(f"{record['id']}-interval", interval(record["ci_low"], record["ci_high"]))
    tell(f"{record['id']}-part", record["part"])
    return HTML(_box(record))


def ledger(records: list[Mapping[str, Any]]) -> HTML:
    """The claims as one table, each linked to the section that computes it."""
    rows = "".join(
        f"<tr><th scope='row'><a href='{r['section']}.html'>{r['id']}</a></th>"
        f"<td><strong>{html.escape(r['title'])}.</strong> {html.escape(r['statement'])}</td>"
        f"<td>{_badge(r['verdict'])}<br><span class='claim-part'>{_robustness(r['robustness'])}</span></td>"
        f"<td>{_numbers(r)}<br><span class='claim-part'>{html.escape(r['part'])}</span></td>"
        f"<td>{p_value(r['p'])}<br>n = {r['n']} {r['counted']}</td></tr>"
        for r in records
    )
    return _table("Ledger of claims", ("", "Claim", "Verdict", "Estimate and interval", "Test"), rows)


def beside_original(records: list[Mapping[str, Any]]) -> HTML:
    """What the original's abstract says, what this run finds, and whether the two agree, claim by claim."""
    rows = "".join(
        f"<tr><th scope='row'><a href='{r['section']}.html#claim-{r['id']}'>{r['id']}</a></th>"
        f"<td>{html.escape(r['original'])}</td>"
        f"<td>{_badge(r['verdict'])}: {_numbers(r)}<br><span class='claim-part'>{html.escape(r['part'])}</span></td>"
        f"<td>{compared(r)}</td></tr>"
        for r in records
    )
    columns = ("", "The original's abstract, in short", "This run", "Side by side")
    return _table("The original and this run", columns, rows)


def compared(record: Mapping[str, Any]) -> str:
    """Whether a claim came out as the original's abstract has it."""
    if not record["reported"]:
        return "the abstract gives no outcome"
    return {"supported": "as reported", "contradicted": "differs"}.get(
        record["verdict"], "not settled by this run"
    )


def parts(record: Mapping[str, Any]) -> HTML:
    """The parts of a claim as a table."""
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(r['label'])}</th><td>{_numbers(r)}</td><td>{p_value(r['p'])}</td>"
        f"<td>{number(r['effect_size'])}</td><td>{_badge(r['verdict'])}</td></tr>"
        for r in record["parts"]
    )
    columns = ("Part", "Estimate and interval", "Test", "Effect, SD over people", "Verdict")
    return _table(f"Parts of claim {record['id']}", columns, rows)


def _table(label: str, columns: tuple[str, ...], rows: str) -> HTML:
    """A table of claims that scrolls sideways where the page is narrow."""
    head = "".join(f"<th scope='col'>{column}</th>" for column in columns)
    return HTML(
        f"<div class='claim-scroll' tabindex='0' role='region' aria-label='{label}'>"
        f"<table class='claim-ledger'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _box(r: Mapping[str, Any]) -> str:
    return (
        f"<div class='claim claim-{r['verdict']}' id='claim-{r['id']}'>"
        f"<p><strong>{r['id']}. {html.escape(r['title'])}</strong> {_badge(r['verdict'])}</p>"
        f"<p>{html.escape(r['statement'])}</p>"
        f"<p>{_numbers(r)} ({html.escape(r['part'])}; {p_value(r['p'])}; n = {r['n']} {r['counted']}). "
        f"Supported if {html.escape(r['region']).replace('-', '−')}, in {html.escape(r['unit'])}. "
        f"The original's abstract, in short: {html.escape(r['original'])}</p></div>"
    )


def _robustness(r: Mapping[str, Any]) -> str:
    """In how many analyses the verdict holds, and what flips it most."""
    if r["analyses"] == 1:
        return "no choice of analysis applies"
    text = f"holds in {r['share']:.0%} of {r['analyses']} analyses"
    return text if r["flips"] is None else f"{text}, in {r['flips_share']:.0%} with {html.escape(r['flips'])}"


def _numbers(r: Mapping[str, Any]) -> str:
    return estimate(r["estimate"], r["ci_low"], r["ci_high"])


def _badge(verdict: str) -> str:
    return f"<span class='verdict verdict-{verdict}'><span aria-hidden='true'>{MARKS[verdict]}</span> {verdict}</span>"
