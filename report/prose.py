"""Numbers in running text, and claims as a reader sees them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import HTML
from myst_nb import glue

from report import templates


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
    return HTML(_claims().box(record))


def ledger(records: list[Mapping[str, Any]]) -> HTML:
    """The claims as one table, each linked to the section that computes it."""
    return HTML(_claims().ledger(records))


def beside_original(records: list[Mapping[str, Any]]) -> HTML:
    """What the original's abstract says, what this run finds, and whether the two agree, claim by claim."""
    return HTML(_claims().beside_original(records))


def parts(record: Mapping[str, Any]) -> HTML:
    """The parts of a claim as a table."""
    return HTML(_claims().parts(record))


def table(rows: pd.DataFrame, label: str) -> HTML:
    """A table, called `label` to those who hear it, that scrolls sideways where the page is narrow."""
    text = rows.to_html(index=False, border=0, classes="claim-ledger")
    return HTML(f"<div class='claim-scroll' tabindex='0' role='region' aria-label='{label}'>{text}</div>")


def _claims() -> Any:
    return templates.macros(
        "claims.html", number=number, estimate=estimate, p_value=p_value, percent="{:.0%}".format
    )
