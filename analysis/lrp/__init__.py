"""Layer-wise relevance propagation: rules, composites, and one engine for all of them."""

from analysis.lrp.composites import COMPOSITES, Composite, Row, epsilon_gamma_box
from analysis.lrp.engine import LRP, Explanation, relevance
from analysis.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Rule, WSquare, ZBox, ZPlus

__all__ = [
    "COMPOSITES",
    "LRP",
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Explanation",
    "Flat",
    "Gamma",
    "Pass",
    "Row",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "epsilon_gamma_box",
    "relevance",
]
