"""Numbers in running text, and claims as a reader sees them."""

import html
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown
from myst_nb import glue

from report import templates
from study.relevance import MEAN_OF


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


def plain(text: Any) -> str:
    """Text as it is in Markdown, whatever characters it has: for names of the user's in captions."""
    return re.sub(r"[^\w\s.,;/%-]|_", lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))


def tell(name: str, text: Any) -> None:
    """Make a text available to the page's prose as ``{glue:text}`name` ``."""
    glue(name, str(text), display=False)


def nobody() -> Markdown:
    """What stands in for a picture, or a mean map, that could show who somebody is."""
    return Markdown(
        f"No picture: a mean of photographs shows nobody only if it is of {MEAN_OF} people or more."
    )


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


def table(rows: pd.DataFrame, label: str, digits: int = 3, titled: bool = False) -> HTML:
    """A table, called `label` to those who hear it, or all (`titled`), that scrolls sideways where the page is narrow.

    The one way to show rows with words of the user's in them: all of it is text. (pandas' `.style` would make it HTML.)
    """
    with pd.option_context("display.max_colwidth", None):
        text = rows.rename_axis(columns=None).to_html(
            index=False,
            border=0,
            classes="claim-ledger rows",
            na_rep="n/a",
            float_format=lambda x: number(x, digits),
        )
    label = html.escape(label)
    title = f"<p>{label}</p>" if titled else ""
    return HTML(
        f"{title}<div class='claim-scroll' tabindex='0' role='region' aria-label='{label}'>{text}</div>"
    )


def _claims() -> Any:
    return templates.macros(
        "claims.html", number=number, estimate=estimate, p_value=p_value, percent="{:.0%}".format
    )
