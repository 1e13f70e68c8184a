"""Verdicts follow from intervals by one rule, and never otherwise."""

import math

import pytest

from study import claims
from study.verdicts import Part, Region, answer, combined

INF = math.inf


@pytest.mark.parametrize(
    ("region", "low", "high", "verdict"),
    [
        (Region(low=0), 0.1, 0.3, "supported"),
        (Region(low=0), -0.1, 0.3, "inconclusive"),
        (Region(low=0), -0.3, -0.1, "contradicted"),
        (Region(low=0), 0.0, 0.3, "inconclusive"),
        (Region(high=0), -0.3, -0.1, "supported"),
        (Region(-0.05, 0.05), -0.04, 0.04, "supported"),
        (Region(-0.05, 0.05), -0.06, 0.04, "inconclusive"),
        (Region(-0.05, 0.05), 0.06, 0.4, "contradicted"),
        (Region(-0.05, 0.05, outside=True), 0.06, 0.4, "supported"),
        (Region(-0.05, 0.05, outside=True), -0.04, 0.04, "contradicted"),
        (Region(-0.05, 0.05, outside=True), -0.04, 0.4, "inconclusive"),
        (Region(low=0), math.nan, 1.0, "inconclusive"),
        (Region(low=0), 0.1, INF, "inconclusive"),
    ],
)
def test_one_rule(region, low, high, verdict):
    assert region.verdict(low, high) == verdict


@pytest.mark.parametrize(
    ("verdicts", "need", "whole"),
    [
        (["supported", "supported"], "all", "supported"),
        (["supported", "inconclusive"], "all", "inconclusive"),
        (["supported", "contradicted"], "all", "contradicted"),
        (["contradicted", "supported"], "any", "supported"),
        (["contradicted", "contradicted"], "any", "contradicted"),
        (["contradicted", "inconclusive"], "any", "inconclusive"),
        ([], "all", "inconclusive"),
    ],
)
def test_parts_combine(verdicts, need, whole):
    assert combined(verdicts, need) == whole


def part(low, high, region):
    return Part(f"{low}..{high}", (low + high) / 2, low, high, 0.5, 10, 1.0, region.verdict(low, high))


@pytest.fixture
def record(monkeypatch):
    def of(region, intervals, need="all"):
        result = answer(region, [part(*i, region) for i in intervals])
        monkeypatch.setitem(claims.STEPS, "C1", lambda _: result)
        monkeypatch.setattr(claims, "words", lambda: {"C1": {"title": "t", "need": need}})
        return claims.claim(None, "C1")

    return of


def test_numbers_at_the_top_are_of_the_part_that_decides(record):
    region = Region(low=0)
    assert record(region, [(0.5, 0.9), (0.1, 0.3)])["part"] == "0.1..0.3"  # all hold: the weakest
    assert (
        record(region, [(0.5, 0.9), (-0.3, -0.1), (-0.9, -0.5)])["part"] == "-0.9..-0.5"
    )  # the clearest failure
    assert record(region, [(0.5, 0.9), (-0.1, 0.2)])["part"] == "-0.1..0.2"
    apart = Region(-0.05, 0.05, outside=True)
    assert (
        record(apart, [(0.1, 0.2), (-0.9, -0.5), (-0.1, 0.1)], "any")["part"] == "-0.9..-0.5"
    )  # the clearest pair


def test_the_eight_claims_are_complete():
    words = claims.words()
    assert list(words) == list(claims.STEPS) == [f"C{k}" for k in range(1, 9)]
    kinds = {"title", "statement", "statistic", "unit", "section", "original", "need", "reported", "counted"}
    assert all(
        set(said) == kinds and all(v not in ("", None) for v in said.values()) for said in words.values()
    )


def test_all_claims_have_a_verdict(tiny):
    ledger = claims.ledger(tiny)
    assert [record["id"] for record in ledger] == [f"C{k}" for k in range(1, 9)]
    needed = {"id", "statement", "statistic", "estimate", "ci_low", "ci_high", "p", "n", "verdict", "section"}
    for record in ledger:
        assert needed <= set(record)
        assert record["verdict"] in {"supported", "contradicted", "inconclusive"}


def test_a_claim_with_nothing_to_test_is_inconclusive(record):
    empty = record(Region(low=0), [])
    assert empty["verdict"] == "inconclusive" and math.isnan(empty["estimate"])
    assert "no pair of networks" in empty["part"]
