"""Chart builders for tidy pandas DataFrames: one row per mark, one column per variable.

In all of them `facet` gives one panel per value of a column, `columns` panels side by side; an entry of `colour` can be
picked by a click; and `rule` draws a dashed line, for example at chance.
"""

import json
from typing import Any

import altair as alt
import pandas as pd

from report.figures.theme import DIVERGING, HEIGHT, PALETTE, RANKINGS, SEQUENTIAL, VERDICTS

alt.data_transformers.disable_max_rows()  # `show` limits the size of a chart instead


def curves(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str,
    low: str | None = None,
    high: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    x_title: str | None = None,
    y_title: str | None = None,
    rule: float | None = None,
    emphasis: str | None = None,
    detail: str | None = None,
    doublings: bool = False,
) -> alt.TopLevelMixin:
    """Lines with points, and a band from `low` to `high` where those columns are named.

    Args:
        emphasis: the entry of `colour` that matters most: its line is thick, and no other entry has a band unless it
            is picked, because more than a few bands hide each other.
        detail: one line for each value of this column, all lines of one `colour` alike.
        doublings: whether x has a logarithmic axis, on which every doubling is as wide, with ticks at its values.
    """
    _need(df, x, y, colour, low, high, facet, detail)
    if emphasis is not None and emphasis not in set(df[colour]):
        raise ValueError(f"emphasis={emphasis!r}: no such entry of {colour!r}")
    steps = {"values": sorted(set(df[x])), "format": "~g"}
    axis = (
        {"scale": alt.Scale(type="log", nice=False, padding=10), "axis": alt.Axis(**steps)}
        if doublings
        else {}
    )
    base = alt.Chart(df).encode(_amount(alt.X, x, x_title, **axis), _colour(df, colour))
    if detail:
        base = base.encode(detail=alt.Detail(detail, type="nominal"))
    value = _amount(alt.Y, y, y_title, scale=alt.Scale(zero=False))
    line = base.mark_line().encode(value, opacity=_fade(colour))
    if emphasis is not None:
        # every row of a line has its colour, and so its width
        line = line.encode(size=alt.condition(_is(colour, emphasis), alt.value(3.5), alt.value(1.2)))
    tip = _tooltip(df, facet, colour, detail, x, y, low, high)
    layers = [line, base.mark_point().encode(value, opacity=_fade(colour), tooltip=tip)]
    if low and high:
        opacity = _fade(colour, 0.2) if emphasis is None else _only(colour, emphasis, 0.2)
        # a panel without a single interval would have no extent: there the band is as thin as the line
        drawn = "isValid(datum[{0!r}]) ? datum[{0!r}] : datum[{1!r}]"
        band = base.transform_calculate(**{f"{end} drawn": drawn.format(end, y) for end in (low, high)})
        ends = _amount(alt.Y, f"{low} drawn", y_title or y), alt.Y2(f"{high} drawn")
        layers.insert(0, band.mark_area().encode(*ends, opacity=opacity))
    if rule is not None:
        layers.append(_dashed(df, facet, y=rule))
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
    within: tuple[float, float] | None = None,
) -> alt.TopLevelMixin:
    """One row per `label`: a dot with its interval as whiskers; rows without an estimate are left out.

    Args:
        margin: shade from `rule - margin` to `rule + margin`, the region of practical equivalence.
        within: cut the axis here, so that one very wide interval does not squeeze all others; an interval that
            goes further ends in an arrowhead.
    """
    _need(df, label, estimate, low, high, colour, facet)
    df = df.dropna(subset=[estimate])
    if df.empty:
        return _nothing()
    row = alt.Y(label, type="nominal", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(df).encode(row, opacity=_fade(colour))
    side_by_side = 1
    if colour:
        base = base.encode(_colour(df, colour))
        rows = df.groupby([label, facet] if facet else label, observed=True)
        side_by_side = int(rows[colour].nunique().max())
    if side_by_side > 1:
        base = base.encode(yOffset=alt.YOffset(colour, sort=None))
    tip = _tooltip(df, facet, label, colour, estimate, low, high)
    scale, mark = alt.Scale(zero=False), {} if colour else {"color": PALETTE[0]}
    least, most = df[[low, high]].min(axis=None), df[[low, high]].max(axis=None)
    arrows: list[alt.Chart] = []
    if within and (least < within[0] or most > within[1]):
        shown = [max(least, within[0]), min(most, within[1])]
        scale = alt.Scale(domain=shown, zero=False)
        for cut, edge, beyond, shape in (
            (least < shown[0], shown[0], alt.datum[low] < shown[0], "triangle-left"),
            (most > shown[1], shown[1], alt.datum[high] > shown[1], "triangle-right"),
        ):
            if cut:
                head = base.transform_filter(beyond).mark_point(shape=shape, filled=True, size=90, **mark)
                arrows.append(head.encode(x=alt.datum(edge), tooltip=tip))
        mark["clip"] = True
    # more numbers do not fit, and Vega would drop every other
    few, title = alt.Axis(tickCount=6 if facet is None else 4), title or estimate
    ends = _amount(alt.X, low, title, scale=scale, axis=few), alt.X2(high)
    whiskers = base.mark_rule(strokeWidth=2, **mark).encode(*ends, tooltip=tip)
    dots = base.mark_point(size=90, **mark).encode(_amount(alt.X, estimate, title), tooltip=tip)
    layers: list[alt.Chart] = []
    if margin is not None and rule is not None:
        region = {"x": alt.datum(rule - margin), "x2": alt.datum(rule + margin)}
        layers.append(_once(df, facet).mark_rect(opacity=0.15, color="grey").encode(**region))
    if rule is not None:
        layers.append(_dashed(df, facet, x=rule))
    height = df[label].nunique() * (14 + 14 * side_by_side)
    return _assemble([*layers, whiskers, dots, *arrows], df, facet, columns, colour, height)


def bars(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    facet: str | None = None,
    columns: int = 2,
    x_title: str | None = None,
    y_title: str | None = None,
    rule: float | None = None,
) -> alt.TopLevelMixin:
    """Vertical bars from zero, side by side where `colour` is given."""
    _need(df, x, y, colour, facet)
    lines = alt.Axis(labelAngle=0, labelExpr=_IN_LINES)
    base = alt.Chart(df).encode(alt.X(x, type="nominal", sort=None, title=x_title or x, axis=lines))
    if colour:
        base = base.encode(xOffset=alt.XOffset(colour, sort=None))
    fill = _colour(df, colour) if colour else alt.value(PALETTE[0])
    look = {"color": fill, "opacity": _fade(colour), "tooltip": _tooltip(df, facet, x, colour, y)}
    layers = [base.mark_bar().encode(_amount(alt.Y, y, y_title), **look)]
    if rule is not None:
        layers.append(_dashed(df, facet, y=rule))
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
    """A matrix of coloured cells with their value as text; one without a value is left empty.

    Args:
        centre: use a diverging scale around this value; without it, a sequential one.
        digits: decimals of the text in each cell.
    """
    _need(df, row, column, value, facet)
    if df[value].isna().all():
        return _nothing()
    smallest, largest = float(df[value].min()), float(df[value].max())
    if centre is None:
        scale = alt.Scale(scheme=SEQUENTIAL, domain=[smallest, largest])
        # viridis is dark below its middle
        pale = f"datum[{value!r}] < {smallest + 0.55 * (largest - smallest)}"
    else:
        reach = max(abs(largest - centre), abs(smallest - centre)) or 1.0
        scale = alt.Scale(scheme=DIVERGING, domain=[centre - reach, centre + reach])
        pale = f"abs(datum[{value!r}] - {centre}) > {0.7 * reach}"
    slanted, wide = alt.Axis(labelAngle=-40, labelLimit=160), alt.Axis(labelLimit=230)
    base = alt.Chart(df).encode(
        alt.X(column, type="nominal", sort=None, title=column_title or column, axis=slanted),
        alt.Y(row, type="nominal", sort=None, title=row_title or row, axis=wide),
    )
    fill, tip = _amount(alt.Color, value, title, scale=scale), _tooltip(df, facet, row, column, value)
    cells = base.mark_rect().encode(fill, tooltip=tip)
    text = base.mark_text(fontSize=11).encode(
        alt.Text(value, type="quantitative", format=f".{digits}f"),
        color=alt.condition(pale, alt.value("white"), alt.value("black")),
    )
    return _assemble([cells, text], df, facet, columns, None, 26 * df[row].nunique())


def specification(
    df: pd.DataFrame, estimate: str, low: str, high: str, colour: str, facet: str, tips: tuple[str, ...] = ()
) -> alt.TopLevelMixin:
    """Specification curves: every analysis as a dot with its interval, ascending, one panel and scale per `facet`.

    tips: columns shown on hover. Source: Simonsohn, Simmons & Nelson 2020, Nature Human Behaviour 4.
    """
    _need(df, estimate, low, high, colour, facet, *tips)
    df = df.dropna(subset=[estimate])
    if df.empty:
        return _nothing()
    df = df.sort_values([facet, estimate]).assign(rank=lambda rows: rows.groupby(facet).cumcount() + 1)
    rank = _amount(alt.X, "rank", "analyses, by estimate", axis=alt.Axis(tickMinStep=1))
    base = alt.Chart(df).encode(rank, _colour(df, colour), opacity=_fade(colour))
    tip = _tooltip(df, facet, *tips, estimate, low, high, colour)
    ends = _amount(alt.Y, low, estimate), alt.Y2(high)
    whiskers = base.mark_rule(strokeWidth=1).encode(*ends, tooltip=tip)
    dots = base.mark_point(size=14, filled=True).encode(_amount(alt.Y, estimate), tooltip=tip)
    chart = _assemble([whiskers, dots], df, facet, 2, colour, 150)
    return chart.resolve_scale(x="independent", y="independent")


def _nothing() -> alt.Chart:
    """What stands in for a chart of rows none of which has a value."""
    # as the title of an axis, whose colour follows the mode
    title = "Nothing here could be computed from this run."
    x = alt.X("value", type="quantitative", title=title, scale=alt.Scale(domain=[-1, 1]))
    return alt.Chart(pd.DataFrame({"value": [0.0]})).mark_point(opacity=0).encode(x)


# "faces/gender" in two lines
_IN_LINES = "split(replace(datum.label, regexp('([/ ])', 'g'), '$1\\n'), '\\n')"


def _need(df: pd.DataFrame, *names: str | None) -> None:
    if missing := [name for name in names if name is not None and name not in df.columns]:
        raise ValueError(f"no column {missing[0]!r} in the data; there are {', '.join(map(str, df.columns))}")
    if df.empty:
        raise ValueError("no rows to draw")


def _amount(channel: type, column: str, title: str | None = None, **options: Any) -> Any:
    """A quantitative encoding."""
    return channel(column, type="quantitative", title=title or column, **options)


def _colour(df: pd.DataFrame, name: str) -> alt.Color:
    entries = list(dict.fromkeys(df[name]))
    known = next((colours for colours in (VERDICTS, RANKINGS) if set(entries) <= set(colours)), None)
    scale = alt.Scale(domain=entries, range=[known[entry] for entry in entries]) if known else alt.Undefined
    return alt.Color(name, type="nominal", sort=entries, title=name, scale=scale)


def _tooltip(df: pd.DataFrame, *names: str | None) -> list[alt.Tooltip]:
    formats = {name: {"format": ".3~g"} for name in df if pd.api.types.is_float_dtype(df[name])}
    return [alt.Tooltip(name, **formats.get(name, {})) for name in dict.fromkeys(names) if name]


def _once(df: pd.DataFrame, facet: str | None) -> alt.Chart:
    """A chart with one row per panel, for marks that depend on no row."""
    return alt.Chart(df).transform_aggregate(rows="count()", groupby=[facet] if facet else [])


def _dashed(df: pd.DataFrame, facet: str | None, **at: float) -> alt.Chart:
    """A dashed line across every panel, at a value of `x` or `y`."""
    ends = {channel: alt.datum(value) for channel, value in at.items()}
    return _once(df, facet).mark_rule(strokeDash=[4, 4]).encode(**ends)


def _pick(colour: str) -> alt.Parameter:
    """A click on the legend or on a mark picks one entry, in this chart and (charts.js) in all others of the page."""
    return alt.selection_point(name="pick", fields=[colour], bind="legend", on="click")


def _fade(colour: str | None, full: float = 1.0) -> Any:
    """Opacity that falls when another entry of the legend is picked."""
    return alt.condition(_pick(colour), alt.value(full), alt.value(full / 6)) if colour else alt.value(full)


def _is(colour: str, entry: str) -> str:
    return f"datum[{json.dumps(colour)}] === {json.dumps(entry)}"


def _only(colour: str, entry: str, full: float) -> alt.OpacityValue:
    """Opacity 0 but for picked entries and, while none is picked, for one entry."""
    picked = {"param": "pick", "empty": False, "value": full}
    usual = {"test": {"and": [_is(colour, entry), {"param": "pick"}]}, "value": full}
    return alt.OpacityValue(0, condition=[picked, usual])


def _assemble(
    layers: list[alt.Chart],
    df: pd.DataFrame,
    facet: str | None,
    columns: int,
    colour: str | None,
    height: float = HEIGHT,
) -> alt.TopLevelMixin:
    if colour:
        coloured = [getattr(layer.encoding, "color", alt.Undefined) is not alt.Undefined for layer in layers]
        first = coloured.index(True)
        layers[first] = layers[first].add_params(_pick(colour))
    chart = alt.layer(*layers)
    if facet is None:
        fit = alt.AutoSizeParams(type="fit-x", contains="padding")
        return chart.properties(width="container", height=height, autosize=fit)
    for part in (chart, *chart.layer):
        part.data = alt.Undefined  # a panel's own rows come from the facet
    panels = min(columns, df[facet].nunique())
    chart = chart.properties(width=560 // panels - 40, height=200 if height == HEIGHT else height)
    order = list(dict.fromkeys(df[facet]))  # Vega sorts panels by name unless told otherwise
    return chart.facet(alt.Facet(facet, type="nominal", sort=order, title=None), columns=panels, data=df)
