"""Asymmetric transfer, and maps exchanged part by part."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_study import tiny_study

from report import sentences
from study import asymmetry, stimuli

A, B = "objects/gender", "faces/identity"


def test_kept_pixels_differ_by_as_much_as_they_gain_and_lose(tiny):
    there, back = asymmetry.kept_parts(tiny, A, B), asymmetry.kept_parts(tiny, B, A)
    assert set(there.part) == set(stimuli.explained(tiny).attrs["parts"])
    assert there.difference.sum() == pytest.approx(0, abs=1e-9)  # every kept pixel lies in one part
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)


def test_exchanged_parts_turn_with_the_direction(root):
    s = tiny_study(root, measure="accuracy")
    there, back = asymmetry.part_contributions(s, A, B), asymmetry.part_contributions(s, B, A)
    assert list(there.part) == [asymmetry.WHOLE, *stimuli.explained(s).attrs["parts"]]
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)
    np.testing.assert_allclose(there.low, -back.high, atol=1e-12)
    clear = there.assign(low=[-1.0, 0.1] + [-1.0] * (len(there) - 2), high=1.0)
    assert f"Apart from zero: {there.part[1]} " in sentences.contributions(clear)
    assert sentences.contributions(clear.assign(low=-1.0)).endswith(
        "No part's contribution is apart from zero."
    )
    assert "too little" in sentences.contributions(there.iloc[:0])


def test_a_part_that_is_the_whole_face_has_all_of_the_asymmetry(tmp_path, monkeypatch):
    def one(faces):
        return np.zeros(faces.pixels.shape[:1] + faces.pixels.shape[2:], int), ["everything"]

    monkeypatch.setattr(asymmetry, "regions", one)
    s = tiny_study(tmp_path, measure="accuracy")
    table = asymmetry.part_contributions(s, A, B).set_index("part")
    np.testing.assert_allclose(table.loc["everything"], table.loc[asymmetry.WHOLE], atol=1e-9)


def test_a_study_without_gains_still_names_two_families(tiny, monkeypatch):
    def none(*_):
        raise ValueError("no family gains")

    monkeypatch.setattr(asymmetry, "between_families", none)
    assert asymmetry.clearest(tiny) == (A, B)


def test_the_clearest_asymmetry_is_not_the_one_that_is_known_least(tiny, monkeypatch):
    estimate = SimpleNamespace(value=np.array([0.9, -0.4, 0.5]), se=np.array([40.0, 0.1, np.nan]))
    pairs = (("a", "b"), ("a", "c"), ("b", "c"))
    monkeypatch.setattr(
        asymmetry, "between_families", lambda _: SimpleNamespace(pairs=pairs, estimate=estimate)
    )
    assert asymmetry.clearest(tiny) == ("c", "a")
