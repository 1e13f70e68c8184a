"""The look shared by all charts.

What follows the page (text, grid and background colours) is not set here: `book/_static/charts.js` reads it
from the page, so that a chart is legible in light and in dark mode. `PRINT` holds those colours for the
static picture, which is printed, and shown where scripts do not run.
"""

import altair as alt

# Okabe & Ito (2008), distinguishable with every common colour vision deficiency. Their black is left out, as
# it is not legible in dark mode, and their yellow comes last, which is hard to see on white. The three after
# it are for charts that cannot do with fewer.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#999999"]
PALETTE += ["#A6761D", "#8F7FEF"]
# Entries that come back on several pages keep their colour, whichever others a chart has.
VERDICTS = {"supported": "#009E73", "inconclusive": "#8A94A6", "contradicted": "#D55E00"}
RANKINGS = {
    "relevance": "#0072B2",
    "consensus": "#0072B2",
    "own": "#D55E00",
    "average": "#009E73",
    "other image": "#CC79A7",
    "centre": "#56B4E9",
    "blobs": "#E69F00",
    "random": "#999999",
    "edges": "#A6761D",
    "average aligned": "#117733",
    "random weights": "#8F7FEF",
}
SEQUENTIAL = "viridis"
DIVERGING = "blueorange"
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
WIDTH = 640
HEIGHT = 300

_DARK = {"labelColor": "#222", "titleColor": "#222"}
PRINT = {
    "background": "white",
    "axis": _DARK | {"gridColor": "#ddd", "domainColor": "#777", "tickColor": "#777"},
    "legend": _DARK,
    "header": _DARK,
    "title": {"color": "#222"},
    "text": {"color": "#222"},
    "rule": {"color": "#555"},
}


@alt.theme.register("paper", enable=True)
def _paper() -> alt.theme.ThemeConfig:
    text = {"labelFontSize": 13, "titleFontSize": 14, "titleFontWeight": "normal"}
    legend = {"labelLimit": 320, "symbolOpacity": 1, "orient": "top", "columns": 3, "gradientLength": 200}
    sequential = {"scheme": SEQUENTIAL}
    return {
        "config": {
            "font": FONT,
            "view": {"continuousWidth": WIDTH, "continuousHeight": HEIGHT, "stroke": None},
            "axis": text | {"titlePadding": 8},
            "axisX": {"grid": False},
            "legend": text | legend,
            "header": text,
            "range": {
                "category": PALETTE,
                "heatmap": sequential,
                "ramp": sequential,
                "diverging": {"scheme": DIVERGING},
            },
            "line": {"strokeWidth": 2},
            "point": {"filled": True, "size": 60},
            "text": {"fontSize": 13},
        }
    }
