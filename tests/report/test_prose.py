"""What a reader is told of a claim."""

import math

import pytest
from bs4 import BeautifulSoup

from report import prose

RECORD = {
    "id": "C3", "section": "generalisation", "title": "Stable", "statement": "Maps are stable.",
    "original": "Maps prove stable.", "reported": True, "part": "seeds", "verdict": "supported", "counted": "images",
    "estimate": 0.9, "ci_low": 0.8, "ci_high": 1.0, "p": 0.01, "n": 60, "detectable": 0.07, "region": "above 0",
    "unit": "correlation", "smallest": None, "p_holm": 0.02, "verdict_holm": "supported", "comparable": True,
    "replications": None,
    "robustness": {
        "analyses": 36, "supported": 17, "inconclusive": 19, "contradicted": 0, "verdict": "supported",
        "share": 17 / 36, "default": "supported", "flips": "fill: blur", "flips_share": 0.25, "source": "stored",
    },
}  # fmt: skip


def text(html):
    return " ".join(BeautifulSoup(html.data, "html.parser").get_text(" ").split())


@pytest.mark.parametrize(
    ("verdict", "reported", "comparable", "words"),
    [
        ("supported", True, True, "same direction as reported"),
        ("supported", True, False, "not comparable"),
        ("contradicted", True, False, "differs"),
        ("inconclusive", True, True, "not settled"),
        ("supported", False, True, "no outcome"),
    ],
)
def test_the_original_stands_beside_what_was_found(verdict, reported, comparable, words):
    record = RECORD | {"verdict": verdict, "reported": reported, "comparable": comparable}
    table = prose.beside_original([record]).data
    assert "Maps prove stable." in table and "0.90 [0.80, 1.00]" in table
    assert words in table
    assert "generalisation.html#claim-C3" in table


def test_the_ledger_counts_the_verdicts_of_other_analyses():
    said = text(prose.ledger([RECORD]))
    assert "of 36 analyses 17 supported, 19 open, 0 contradicted; holds in 25% with fill: blur" in said
    assert "default" not in said and "Holm" not in said and "replications" not in said and "power" not in said
    alone = RECORD | {"robustness": RECORD["robustness"] | {"analyses": 1}}
    assert "no choice of analysis applies" in text(prose.ledger([alone]))


def test_the_ledger_says_where_the_stored_default_has_another_verdict():
    record = RECORD | {"robustness": RECORD["robustness"] | {"default": "inconclusive"}}
    assert "the stored analyses’ own default says inconclusive" in text(prose.ledger([record]))


def test_the_ledger_says_what_many_claims_and_new_studies_leave_of_a_verdict():
    again = {"n": 10, "same": 8, "supported": 8, "inconclusive": 1, "contradicted": 1}
    record = RECORD | {"p_holm": 0.21, "verdict_holm": "inconclusive", "replications": again}
    said = text(prose.ledger([record]))
    assert "inconclusive after Holm’s correction over all claims (p = 0.210)" in said
    assert "same in 8 of 10 replications (8 supported, 1 open, 1 contradicted)" in said


def test_what_is_undecided_says_what_would_have_been_found():
    record = RECORD | {"verdict": "inconclusive", "smallest": -0.1}
    part = {key: record[key] for key in ("estimate", "ci_low", "ci_high", "p", "verdict", "detectable")}
    part |= {"label": "seeds", "p_against": 0.5, "effect_size": 0.3, "decides": True}
    record |= {"parts": [part, part | {"decides": False, "detectable": math.nan}]}
    for shown in (prose.ledger([record]), prose.parts(record), prose.tell_claim(record)):
        assert text(shown).count("would have found 0.07 with 80 % power") == 1
    assert "the smallest effect of interest is −0.10" in text(prose.tell_claim(record))
    assert text(prose.parts(record)).count("decides nothing") == 1


def test_the_test_of_a_part_is_that_of_its_verdict():
    part = {"label": "seeds", "estimate": -1, "ci_low": -2, "ci_high": -0.5, "p": 1.0, "p_against": 0.004}
    part |= {"effect_size": 1.0, "verdict": "contradicted", "detectable": 0.1, "decides": True}
    assert "p = 0.004" in text(prose.parts({"id": "C3", "parts": [part]}))
