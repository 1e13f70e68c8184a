"""What a reader is told of a claim."""

import pytest

from report import prose

RECORD = {
    "id": "C3", "section": "generalisation", "original": "Maps prove stable.", "reported": True, "part": "seeds",
    "estimate": 0.9, "ci_low": 0.8, "ci_high": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "reported", "words"),
    [
        ("supported", True, "as reported"),
        ("contradicted", True, "differs"),
        ("inconclusive", True, "not settled"),
        ("supported", False, "no outcome"),
    ],
)
def test_the_original_stands_beside_what_was_found(verdict, reported, words):
    table = prose.beside_original([RECORD | {"verdict": verdict, "reported": reported}]).data
    assert "Maps prove stable." in table and "0.90 [0.80, 1.00]" in table
    assert words in table
    assert "generalisation.html#claim-C3" in table
