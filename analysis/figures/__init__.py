"""Figures of the paper: one look, captions that Sphinx numbers, text alternatives, data to download."""

from analysis.figures.charts import bars, curves, heatmap, intervals, scatter, specification
from analysis.figures.explorer import explorer
from analysis.figures.images import image_grid, map_image
from analysis.figures.show import MIME, Figure, show
from analysis.figures.theme import PALETTE

__all__ = [
    "MIME",
    "PALETTE",
    "Figure",
    "bars",
    "curves",
    "explorer",
    "heatmap",
    "image_grid",
    "intervals",
    "map_image",
    "scatter",
    "show",
    "specification",
]
