"""Chart builders for tidy pandas DataFrames: one row per mark, one column per variable."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from analysis.figures.theme import DIVERGING, HEIGHT, SEQUENTIAL

alt.data_transformers.disable_max_rows()  # `show` limits the size of a chart instead


def curves(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    low: str | None = None,
    high: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    x_title: str | None = None,
    y_title: str | None = None,
    rule: float | None = None,
    log_x: bool = False,
) -> alt.TopLevelMixin:
    """Lines with points, and a band from `low` to `high` where those columns are named.

    Args:
        facet: one panel per value of this column, `columns` panels side by side.
        rule: draw a dashed horizontal line here, for example chance.
    """
    _need(df, x, y, colour, low, high, facet)
    horizontal = alt.X(x, type="quantitative", title=x_title or x, scale=alt.Scale(type="log" if log_x else "linear"))
    base = alt.Chart(df).encode(horizontal)
    if colour:
        base = base.encode(_colour(df, colour))
    value = alt.Y(y, type="quantitative", title=y_title or y, scale=alt.Scale(zero=False))
    layers = [base.mark_line(point=True).encode(value, tooltip=_tooltip(df, facet, colour, x, y, low, high))]
    if low and high:
        band = base.mark_area(opacity=0.2).encode(alt.Y(low, type="quantitative", title=y_title or y), alt.Y2(high))
        layers.insert(0, band)
    if rule is not None:
        layers.append(_horizontal_rule(df, rule))
    return _assemble(layers, df, facet, columns, colour)


def intervals(
    df: pd.DataFrame,
    label: str,
    estimate: str,
    low: str,
    high: str,
    colour: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    title: str | None = None,
    rule: float | None = 0.0,
    margin: float | None = None,
) -> alt.TopLevelMixin:
    """One row per `label`: a dot with its interval as whiskers.

    Args:
        rule: draw a vertical line here; None for no line.
        margin: shade from `rule - margin` to `rule + margin`, the region of practical equivalence.
    """
    _need(df, label, estimate, low, high, colour, facet)
    row = alt.Y(label, type="nominal", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(df).encode(row)
    if colour:
        base = base.encode(_colour(df, colour), yOffset=alt.YOffset(colour, sort=None))
    tip = _tooltip(df, facet, label, colour, estimate, low, high)
    whiskers = base.mark_rule(strokeWidth=2).encode(alt.X(low, type="quantitative", title=title or estimate), alt.X2(high),
                                                    tooltip=tip)
    dots = base.mark_point(size=90).encode(alt.X(estimate, type="quantitative", title=title or estimate), tooltip=tip)
    if not colour:
        whiskers, dots = whiskers.mark_rule(strokeWidth=2, color=_FIRST), dots.mark_point(size=90, color=_FIRST)
    layers: list[alt.Chart] = []
    if margin is not None and rule is not None:
        zone = alt.Chart(df).mark_rect(opacity=0.12, color="grey").encode(x=alt.datum(rule - margin), x2=alt.datum(rule + margin))
        layers.append(zone)
    if rule is not None:
        layers.append(alt.Chart(df).mark_rule(strokeDash=[4, 4]).encode(x=alt.datum(rule)))
    groups = df[colour].nunique() if colour else 1
    height = alt.Step(16 + 14 * groups)
    return _assemble([*layers, whiskers, dots], df, facet, columns, colour, height)


def bars(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    low: str | None = None,
    high: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    x_title: str | None = None,
    y_title: str | None = None,
    rule: float | None = None,
) -> alt.TopLevelMixin:
    """Vertical bars from zero, side by side where `colour` is given, with whiskers from `low` to `high`."""
    _need(df, x, y, colour, low, high, facet)
    base = alt.Chart(df).encode(alt.X(x, type="nominal", sort=None, title=x_title or x, axis=alt.Axis(labelAngle=0)))
    if colour:
        base = base.encode(xOffset=alt.XOffset(colour, sort=None))
    tip = _tooltip(df, facet, x, colour, y, low, high)
    value = alt.Y(y, type="quantitative", title=y_title or y)
    layers = [base.mark_bar().encode(value, tooltip=tip, **({"color": _colour(df, colour)} if colour else {}))]
    if low and high:
        layers.append(base.mark_rule().encode(alt.Y(low, type="quantitative", title=y_title or y), alt.Y2(high)))
    if rule is not None:
        layers.append(_horizontal_rule(df, rule))
    return _assemble(layers, df, facet, columns, colour)


def scatter(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    label: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    x_title: str | None = None,
    y_title: str | None = None,
    diagonal: bool = False,
) -> alt.TopLevelMixin:
    """Points; `label` names each on hover; `diagonal` draws y = x."""
    _need(df, x, y, colour, label, facet)
    points = alt.Chart(df).mark_point(opacity=0.75).encode(
        alt.X(x, type="quantitative", title=x_title or x, scale=alt.Scale(zero=False)),
        alt.Y(y, type="quantitative", title=y_title or y, scale=alt.Scale(zero=False)),
        tooltip=_tooltip(df, facet, label, colour, x, y),
    )  # fmt: skip
    points = points.encode(_colour(df, colour)) if colour else points.mark_point(opacity=0.75, color=_FIRST)
    layers = [points]
    if diagonal:
        ends = [float(min(df[x].min(), df[y].min())), float(max(df[x].max(), df[y].max()))]
        line = alt.Chart(df).mark_rule(strokeDash=[4, 4]).encode(
            x=alt.datum(ends[0]), y=alt.datum(ends[0]), x2=alt.datum(ends[1]), y2=alt.datum(ends[1])
        )  # fmt: skip
        layers.insert(0, line)
    return _assemble(layers, df, facet, columns, colour)


def heatmap(
    df: pd.DataFrame,
    row: str,
    column: str,
    value: str,
    facet: str | None = None,
    columns: int = 2,
    title: str | None = None,
    row_title: str | None = None,
    column_title: str | None = None,
    centre: float | None = None,
    digits: int = 2,
) -> alt.TopLevelMixin:
    """A matrix of coloured cells with their value as text.

    Args:
        centre: use a diverging scale around this value; without it, a sequential one.
        digits: decimals of the text in each cell.
    """
    _need(df, row, column, value, facet)
    smallest, largest = float(df[value].min()), float(df[value].max())
    if centre is None:
        scale = alt.Scale(scheme=SEQUENTIAL, domain=[smallest, largest])
        # viridis is dark below its middle
        pale = f"datum[{value!r}] < {smallest + 0.55 * (largest - smallest)}"
    else:
        reach = max(abs(largest - centre), abs(smallest - centre)) or 1.0
        scale = alt.Scale(scheme=DIVERGING, domain=[centre - reach, centre + reach])
        pale = f"abs(datum[{value!r}] - {centre}) > {0.7 * reach}"
    base = alt.Chart(df).encode(
        alt.X(column, type="nominal", sort=None, title=column_title or column, axis=alt.Axis(labelAngle=-40, labelLimit=160)),
        alt.Y(row, type="nominal", sort=None, title=row_title or row, axis=alt.Axis(labelLimit=160)),
    )  # fmt: skip
    cells = base.mark_rect().encode(
        alt.Color(value, type="quantitative", title=title or value, scale=scale, legend=alt.Legend(gradientLength=200)),
        tooltip=_tooltip(df, facet, row, column, value),
    )  # fmt: skip
    text = base.mark_text(fontSize=11).encode(
        alt.Text(value, type="quantitative", format=f".{digits}f"),
        color=alt.condition(pale, alt.value("white"), alt.value("black")),
    )
    return _assemble([cells, text], df, facet, columns, None, alt.Step(26))


_FIRST = "#0072B2"


def _need(df: pd.DataFrame, *names: str | None) -> None:
    if missing := [name for name in names if name is not None and name not in df.columns]:
        raise ValueError(f"no column {missing[0]!r} in the data; there are {', '.join(map(str, df.columns))}")
    if df.empty:
        raise ValueError("no rows to draw")


def _colour(df: pd.DataFrame, name: str) -> alt.Color:
    return alt.Color(name, type="nominal", sort=list(dict.fromkeys(df[name])), title=name)


def _tooltip(df: pd.DataFrame, *names: str | None) -> list[alt.Tooltip]:
    tips = []
    for name in dict.fromkeys(n for n in names if n):
        number = pd.api.types.is_float_dtype(df[name])
        tips.append(alt.Tooltip(name, format=".3~g") if number else alt.Tooltip(name))
    return tips


def _horizontal_rule(df: pd.DataFrame, at: float) -> alt.Chart:
    return alt.Chart(df).mark_rule(strokeDash=[4, 4]).encode(y=alt.datum(at))


def _assemble(
    layers: Sequence[alt.Chart],
    df: pd.DataFrame,
    facet: str | None,
    columns: int,
    colour: str | None,
    height: float | alt.Step = HEIGHT,
) -> alt.TopLevelMixin:
    if colour:
        # a click on the legend picks out one entry, here and in every other chart of the page that has it
        pick = alt.selection_point(name="pick", fields=[colour], bind="legend")
        shade = alt.condition(pick, alt.value(1), alt.value(0.15))
        coloured = [layer for layer in layers if not isinstance(layer.encoding.color, alt.utils.schemapi.UndefinedType)]
        layers = [layer.encode(opacity=shade) if layer in coloured and layer.mark != "area" else layer for layer in layers]
        layers[-1] = layers[-1].add_params(pick)
    chart = alt.layer(*layers)
    if facet is None:
        return chart.properties(width="container", height=height)
    panels = min(columns, df[facet].nunique())
    chart = chart.properties(width=560 // panels - 40, height=height if isinstance(height, alt.Step) else 200)
    return chart.facet(alt.Facet(facet, type="nominal", sort=None, title=None), columns=panels, data=df)
