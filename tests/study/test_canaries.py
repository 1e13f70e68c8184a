"""Stored results are current; a change of what decides their numbers is noticed by the canaries that it concerns."""

import functools

import numpy as np
import pytest
import torch

from analysis import inference, likeness, lrp, masking, transfer
from faces import drawing
from faces import shortcuts as cues
from study import canaries, stored
from study.verdicts import Region

SLOW = {"first_steps", "simulated_studies", "simulated_tables"}
QUICK = [name for name in canaries.CANARIES if name not in SLOW]
THREADED = ("drawn_faces", "networks", "composites", "curves")


@pytest.fixture(scope="module")
def before():
    return {name: canaries.given(name) for name in QUICK}


def test_every_experiment_has_canaries_and_every_canary_an_experiment():
    assert set(canaries.OF) == set(stored.EXPERIMENTS)
    assert set().union(*canaries.OF.values()) == set(canaries.CANARIES)


# Made before the statistics were mended and training changed; pages that show them say so. Each is to be made again by
# `python -m report store NAME` and then to leave this list, which the test insists on.
OUTDATED = {"calibration", "multiverse"}
STORED = sorted(name for name in stored.EXPERIMENTS if (stored.FOLDER / name).is_dir())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True)) if name in OUTDATED else name
        for name in STORED
    ],
)
def test_the_stored_result_is_current(name, tiny):
    """What is listed here decides numbers of `book/stored/<name>`: store that again, or take the change back."""
    assert not stored.recall(name).outdated(tiny)


def test_canaries_depend_on_code_alone(tiny):
    assert canaries.numbers.key(tiny) == canaries.numbers.key(tiny.but(seeds=9, composite="epsilon"))


CHANGES = {
    "epsilon": (
        lrp.Epsilon.__init__,
        "__defaults__",
        (1e-5, *lrp.Epsilon.__init__.__defaults__[1:]),
        "rules composites",
    ),
    "area": (masking, "area", lambda curve, *_: curve.mean("percent"), "curves analyses"),
    "filling": (
        masking,
        "fillings",
        lambda images, *_, **__: images.mean((2, 3), keepdim=True).expand_as(images),
        "controls",
    ),
    "Spearman": (
        likeness,
        "_ranks",
        functools.partial(likeness.rankdata, axis=-1, method="min"),
        "alike",
    ),
    "interval": (
        inference,
        "_quantile",
        lambda spread, confidence, quantile=inference._quantile: quantile(spread, 0.99 * confidence),
        "intervals generalisation evidence_tables probe_tables seed_means",
    ),
    "degrees of freedom": (
        inference,
        "degrees_of_freedom",
        lambda variances, df: np.full(variances.shape[1], float(df.sum())),
        "intervals generalisation evidence_tables probe_tables",
    ),
    "share of strata": (
        transfer,
        "pair_means",
        lambda values, masks, w, v, strata: transfer._means(values, masks, w, v),
        "generalisation",
    ),
    "smallest effect": (Region, "far", property(lambda self: self), "verdicts"),
    "verdict": (Region, "verdict", lambda self, low, high: "supported", "verdicts"),
    "shortcut": (cues, "TINT", 13, "planted_shortcuts"),
    "drawing": (
        drawing,
        "_film",
        lambda image, film=drawing._film: film(0.98 * image),
        "drawn_faces drawn_objects planted_evidence",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_planted_change_is_noticed_by_its_canaries_alone(what, before, monkeypatch):
    place, name, replacement, noticed_by = CHANGES[what]
    monkeypatch.setattr(place, name, replacement)
    said = canaries.disagreements(before, {name: canaries.given(name) for name in QUICK})
    assert {line.partition(":")[0] for line in said} == set(noticed_by.split())


def test_numbers_agree_under_another_number_of_threads(before):
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        kept, now = ({name: of(name) for name in THREADED} for of in (before.get, canaries.given))
        assert not canaries.disagreements(kept, now)
    finally:
        torch.set_num_threads(threads)


def test_what_is_missing_or_unknown_is_said(before):
    now = {"masks": before["masks"]}
    assert canaries.disagreements({}, now) == ["masks: no numbers are kept"]
    assert canaries.disagreements(now | {"gone": {}}, now) == ["gone: there is no such canary"]
    kept = {"masks": before["masks"] | {"other": [1.0]}}
    assert canaries.disagreements(kept, now) == ["masks: other was 1 numbers and is 0"]
    assert not canaries.disagreements(now, {"masks": now["masks"] | {"new": [1.0]}})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([2.0, 1e-9, 3, "a", None], ""),
        ([2.0 + 1e-6, 1e-6, 3, "a", None], ""),
        ([2.0, 3e-6, 3, "a", None], "[1] was 0 and is 3e-06; it may differ by 2e-06"),
        ([2.0, 0.0, 4, "a", None], "[2] was 3 and is 4; it must be equal"),
        ([2.0, 0.0, 3, "b", None], "[3] was 'a' and is 'b'; it must be equal"),
        ([2.0, 0.0, 3, "a", 1.0], "[4] was None and is 1.0; it must be equal"),
    ],
)
def test_fractions_may_differ_by_the_tolerance_and_nothing_else(now, said):
    kept = {"masks": {"key": [2.0, 0.0, 3, "a", None]}}
    expected = [f"masks: key {said}"] if said else []
    assert canaries.disagreements(kept, {"masks": {"key": now}}) == expected
