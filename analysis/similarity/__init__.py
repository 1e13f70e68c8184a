"""Human judgements of face similarity, dissimilarity matrices, and their comparison with models.

Everything is an :class:`rsatoolbox.rdm.RDMs` whose patterns carry the descriptor `identity`
(Nili et al. 2014; Schütt et al. 2023), so any tool of rsatoolbox can be used on it directly.
"""

from analysis.similarity.comparison import METHODS, Comparison, compare
from analysis.similarity.features import average, model_rdm, weighted_images
from analysis.similarity.matrices import match, stack
from analysis.similarity.observers import factor_weights, simulate_observers, simulate_triplets
from analysis.similarity.ratings import read_ratings, read_triplets, triplet_counts, triplet_rdm

__all__ = [
    "METHODS",
    "Comparison",
    "average",
    "compare",
    "factor_weights",
    "match",
    "model_rdm",
    "read_ratings",
    "read_triplets",
    "simulate_observers",
    "simulate_triplets",
    "stack",
    "triplet_counts",
    "triplet_rdm",
    "weighted_images",
]
