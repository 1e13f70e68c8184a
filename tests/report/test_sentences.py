"""Sentences are computed from tables."""

import pandas as pd

from report import sentences


def test_coverage_in_words():
    rates = pd.DataFrame({"rate": [0.95, 0.8, 0.97], "case": ["a", "b", "c"]})
    assert sentences.coverage(rates) == "2 of 3 settings lie within 93 to 97 %; the lowest is 80.0 % (b)"


def test_leads_in_words():
    rows = [
        ("keep", 5.0, "edges", 0.1, 0.2),
        ("keep", 70.0, "edges", -0.3, -0.1),
        ("remove", 5.0, "edges", -0.1, 0.1),
    ]
    table = pd.DataFrame(rows, columns=["mode", "percent", "control", "low", "high"]).assign(lead=0.0)
    text = sentences.leads(table)
    assert "to keep, relevance is ahead of every control at 5 %, and behind “edges” at 70 %" in text
    assert "to remove, relevance is ahead of every control at no percent, and behind none" in text
