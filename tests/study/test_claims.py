"""Verdicts follow from intervals by one rule, and never otherwise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis import inference
from analysis.inference import Estimate
from study import claims, verdicts
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
        (Region(low=0, smallest=0.1), 0.01, 0.3, "supported"),
        (Region(low=0, smallest=0.1), -0.1, 0.09, "contradicted"),  # no effect that matters
        (Region(low=0, smallest=0.1), -0.1, 0.2, "inconclusive"),
        (Region(high=0, smallest=-0.1), -0.09, 0.05, "contradicted"),
        (Region(high=0, smallest=-0.1), -0.3, -0.05, "supported"),
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
    return Part(f"{low}..{high}", (low + high) / 2, low, high, 0.5, 0.5, 10, 1.0, region.verdict(low, high))


@pytest.fixture
def record(monkeypatch):
    def of(region, intervals, need="all"):
        result = answer(region, [part(*i, region) for i in intervals])
        monkeypatch.setitem(claims.STEPS, "C1", lambda _: result)
        monkeypatch.setattr(claims, "words", lambda: {"C1": {"title": "t", "need": need}})
        return claims.claim(None, "C1")

    return of


def test_parts_that_stand_beside_decide_nothing(monkeypatch):
    region = Region(low=0)
    parts = [part(0.1, 0.3, region), replace(part(-0.3, -0.1, region), decides=False)]
    monkeypatch.setitem(claims.STEPS, "C1", lambda _: answer(region, parts))
    record = claims.claim(None, "C1")
    assert record["verdict"] == "supported" and len(record["parts"]) == 2


@pytest.mark.parametrize(
    "region",
    [Region(low=0, smallest=0.1), Region(high=0.2), Region(-0.2, 0.3), Region(-0.2, 0.2, outside=True)],
)
@pytest.mark.parametrize("value", [-0.5, -0.1, 0.05, 0.15, 0.6])
def test_p_is_the_level_at_which_the_interval_would_just_decide(region, value):
    estimate = Estimate(np.array(value), np.array([0.004, 0.002, 0.001]), np.array([29.0, 4.0, 116.0]))
    told = verdicts.part(region, "", estimate, range(30), 0.95)
    for level, decides in ((told.p, region.holds), (told.p_against, region.far.excludes)):
        if level < 1:
            assert decides(*estimate.interval(1 - 1.05 * level))
            assert not decides(*estimate.interval(1 - 0.95 * level))


def test_one_of_several_is_judged_with_all_of_them_in_mind():
    estimate = Estimate(np.array(0.3), np.array([0.01]), np.array([29.0]))
    alone, among = (verdicts.part(Region(low=0), "", estimate, range(30), 0.95, together=k) for k in (1, 3))
    assert among.p == pytest.approx(3 * alone.p)
    assert among.ci_low < alone.ci_low and among.ci_high > alone.ci_high


def test_an_effect_in_standard_deviations_is_over_people_and_ignores_networks():
    rng = np.random.default_rng(0)
    values = (
        0.5 + rng.normal(size=(4, 1)) + 0.2 * rng.normal(size=200)
    )  # networks differ much more than people
    estimate = inference.mean(values, range(200), ["family"] * 4)
    told = verdicts.part(Region(low=0), "", estimate, range(200), 0.95)
    assert told.effect_size == pytest.approx(values.mean() / values.mean(0).std(), rel=0.1)


def test_an_effect_as_large_as_detectable_is_supported_in_four_of_five_studies():
    rng = np.random.default_rng(1)
    estimate = inference.mean(rng.normal(size=40), range(40))
    beyond = verdicts.part(Region(low=0), "", estimate, range(40), 0.95).detectable
    found = [
        inference.mean(beyond + rng.normal(size=40), range(40), n=400).interval()[0] > 0 for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


def test_verdicts_are_corrected_for_the_number_of_claims(tiny, monkeypatch):
    weak = [Part("x", 0.2, 0.01, 0.4, 0.03, 1.0, 10, 1.0, "supported")]
    for name in claims.STEPS:
        monkeypatch.setitem(claims.STEPS, name, lambda _: answer(Region(low=0), weak))
    assert {r["verdict"] for r in claims.ledger(tiny)} == {"supported"}
    assert {r["verdict_holm"] for r in claims.ledger(tiny)} == {"inconclusive"}


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


def test_the_claims_are_complete():
    words = claims.words()
    assert list(words) == list(claims.STEPS) == [f"C{k}" for k in range(1, 10)]
    kinds = {"title", "statement", "statistic", "unit", "section", "original", "need", "reported", "counted"}
    assert all(
        set(said) == kinds and all(v not in ("", None) for v in said.values()) for said in words.values()
    )


def test_all_claims_have_a_verdict(tiny):
    ledger = claims.ledger(tiny)
    assert [record["id"] for record in ledger] == [f"C{k}" for k in range(1, 10)]
    needed = {"id", "statement", "statistic", "estimate", "ci_low", "ci_high", "p", "n", "verdict", "section"}
    for record in ledger:
        assert needed <= set(record)
        assert record["verdict"] in {"supported", "contradicted", "inconclusive"}


def test_a_claim_with_nothing_to_test_is_inconclusive(record):
    empty = record(Region(low=0), [])
    assert empty["verdict"] == "inconclusive" and math.isnan(empty["estimate"])
    assert "no pair of networks" in empty["part"]
