"""Asymmetric transfer, and maps exchanged part by part."""

import math

import numpy as np
import pytest
from tiny_study import tiny_study

from analysis import transfer
from report import sentences
from study import asymmetry, stimuli

SIDES = "pretraining", "objects", "faces"
BACK = "pretraining", "faces", "objects"


def test_kept_pixels_differ_by_as_much_as_they_gain_and_lose(tiny):
    there, back = asymmetry.kept_parts(tiny, *SIDES), asymmetry.kept_parts(tiny, *BACK)
    assert set(there.part) == set(stimuli.explained(tiny).attrs["parts"])
    assert there.difference.sum() == pytest.approx(0, abs=1e-9)  # every kept pixel lies in one part
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)


@pytest.fixture
def gaining(monkeypatch):
    """Own maps of untrained networks gain nothing; here every control image does worse than any other."""
    gains = transfer.gains
    monkeypatch.setattr(transfer, "gains", lambda kept, control: gains(kept, control - 3))


def test_exchanged_parts_turn_with_the_direction(root, gaining):
    s = tiny_study(root, measure="accuracy")
    there, back = asymmetry.part_contributions(s, *SIDES), asymmetry.part_contributions(s, *BACK)
    assert list(there.part) == [asymmetry.WHOLE, *stimuli.explained(s).attrs["parts"]]
    assert np.isfinite(there.difference).all()
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)
    np.testing.assert_allclose(there.low, -back.high, atol=1e-12)
    clear = there.assign(low=[-1.0, 0.1] + [-1.0] * (len(there) - 2), high=1.0)
    assert f"Apart from zero: {there.part[1]} " in sentences.contributions(clear)
    assert sentences.contributions(clear.assign(low=-1.0)).endswith(
        "No part's contribution is apart from zero."
    )
    assert "too little" in sentences.contributions(there.assign(difference=np.nan))


def test_a_part_that_is_the_whole_face_has_all_of_the_asymmetry(tmp_path, monkeypatch, gaining):
    def one(faces):
        return np.zeros(faces.pixels.shape[:1] + faces.pixels.shape[2:], int), ["everything"]

    monkeypatch.setattr(asymmetry, "regions", one)
    s = tiny_study(tmp_path, measure="accuracy")
    table = asymmetry.part_contributions(s, *SIDES).set_index("part")
    np.testing.assert_allclose(table.loc["everything"], table.loc[asymmetry.WHOLE], atol=1e-9)


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.9, -30, 32), (-0.4, -0.6, -0.2)], ("task", "identity", "gender")),  # not the one known least
        ([(0.2, 0.1, 0.3), (math.nan, math.nan, math.nan)], ("pretraining", "objects", "faces")),
        ([(math.nan,) * 3] * 2, ("pretraining", "objects", "faces")),  # nothing gains: still two names
    ],
)
def test_the_clearest_asymmetry(tiny, monkeypatch, intervals, expected):
    names = ("estimate", "ci_low", "ci_high")
    parts = [dict(zip(names, numbers, strict=True)) for numbers in intervals]
    monkeypatch.setattr(asymmetry, "claim", lambda _: {"parts": parts})
    assert asymmetry.clearest(tiny) == expected
