"""Statistics of the study, one module per kind of question.

`bootstrap` (intervals), `permutation` (tests), `maps` (similarity of relevance maps), `transfer`
(generalisation between networks), `correction` (many tests, equivalence), `calibration` (do the intervals and
tests hold?).
"""

from analysis.statistics import bootstrap, correction, maps, permutation, transfer

__all__ = ["bootstrap", "correction", "maps", "permutation", "transfer"]
