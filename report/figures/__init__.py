"""Figures of the paper: one look, captions that Sphinx numbers, text alternatives, data to download."""

from report.figures.charts import bars, curves, heatmap, intervals, specification
from report.figures.explorer import explorer
from report.figures.images import image_grid, map_image
from report.figures.show import MIME, Figure, show

__all__ = [
    "MIME",
    "Figure",
    "bars",
    "curves",
    "explorer",
    "heatmap",
    "image_grid",
    "intervals",
    "map_image",
    "show",
    "specification",
]
