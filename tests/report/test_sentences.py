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


def test_where_the_default_of_stored_analyses_has_another_verdict():
    def record(name, there, here):
        return {"id": name, "verdict": here, "robustness": {"default": there}}

    same = [record("C4", "supported", "supported")]
    assert "the verdict of the ledger for every claim" in sentences.defaults(same)
    text = sentences.defaults([*same, record("C5", "supported", "inconclusive")])
    assert (
        "own default says otherwise of C5 (supported there, inconclusive here)" in text and "C4" not in text
    )


def test_replications_in_words():
    rows = [
        ("C1", "supported", 10, 10, 10, 0, 0, 0.9, 0.95, 1.0),
        ("C5", "supported", 10, 4, 4, 6, 0, 0.7, 0.8, 1.6),
    ]
    columns = [
        "claim",
        "verdict",
        "n",
        "same",
        "supported",
        "inconclusive",
        "contradicted",
        "contains",
        "widened",
    ]
    table = pd.DataFrame(rows, columns=[*columns, "spread"])
    text = sentences.verdicts_again(table)
    assert "Of 2 claims, 1 came out as here in every one of 10 replications" in text
    assert "C5 (supported here; 4 supported, 6 open, 0 contradicted)" in text
    overall = pd.DataFrame(
        [("contains", 40, 0.8, 0.7, 0.9), ("widened", 40, 0.875, 0.8, 0.95)],
        columns=["compared", "intervals", "rate", "low", "high"],
    )
    text = sentences.coverage_again(table, overall)
    assert "Of 40 intervals, 80.0 % [70.0, 90.0] contain" in text and "87.5 % [80.0, 95.0]" in text
    assert "those of C5 (80 %)" in text and "1.0 to 1.6 times" in text
    assert "no replications" in sentences.verdicts_again(table.iloc[:0])
    assert "nothing to compare" in sentences.coverage_again(table.iloc[:0], overall)
