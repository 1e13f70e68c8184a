"""Claims on generalisation in designs with one pretraining run and with several."""

import numpy as np
import pytest
from tiny_study import tiny_study

from analysis import transfer
from study import claims, depth, generalisation, stimuli
from study.generalisation import exchanged


@pytest.fixture(scope="module")
def runs(root):
    """Three pretraining runs of each set, two seeds of each run."""
    return tiny_study(root, seeds=6, pretraining_runs=3)


@pytest.fixture
def gaining(monkeypatch):
    """Own maps of untrained networks gain nothing; here every control image does worse than any other."""
    gains = transfer.gains
    monkeypatch.setattr(transfer, "gains", lambda kept, control: gains(kept, control - 3))


def labels(s, name):
    return [part["label"] for part in claims.STEPS[name].function(s)["parts"]]


def test_several_pretraining_runs_have_every_claim(runs, gaining):
    """With several runs the claim on seeds used to have no pairs, or numbers that are none."""
    for name in ("C3", "C4", "C5", "C6", "C9"):
        parts = claims.STEPS[name].function(runs)["parts"]
        assert parts
        for part in parts:
            assert np.isfinite([part["estimate"], part["ci_low"], part["ci_high"], part["p"]]).all(), part


def test_between_runs_decides_on_pretrainings_where_there_are_runs(runs, tiny, gaining):
    parts = claims.STEPS["C5"].function(runs)["parts"]
    assert [(part["label"], part["decides"]) for part in parts] == [
        ("between pretrainings minus between runs", True),
        ("between pretrainings minus between tasks", False),
        ("between pretrainings minus between seeds", False),
        ("between pretrainings minus between runs, at matched accuracy", True),
    ]
    assert labels(tiny, "C5") == [
        "between pretrainings minus between tasks",
        "between pretrainings minus between seeds",
    ]


def test_tasks_and_directions_are_told_apart(tiny):
    assert labels(tiny, "C4") == ["transfer from gender to identity", "transfer from identity to gender"]
    assert labels(tiny, "C6") == [
        "objects to faces, minus the reverse",
        "gender to identity, minus the reverse",
    ]


def test_a_study_of_one_task_or_one_pretraining_has_what_can_be_asked(root):
    one = tiny_study(root, pretrainings={"faces": "procedural:faces"}).but(tasks=("identity",))
    assert [claims.claim(one, name)["verdict"] for name in ("C1", "C4", "C5", "C6", "C9")] == [
        "inconclusive"
    ] * 5
    assert labels(one, "C3")


def test_networks_are_tested_on_the_class_that_their_own_map_explains(tiny):
    """On untrained networks many images are misnamed; without a mask the explained class is always named."""
    s = tiny.but(transfer_percents=(99.9,), explain="predicted", measure="accuracy")
    curves = exchanged.grid(s)
    assert curves.correct.sel(ranking=s.grid[0].name).mean() > 0.95


def test_the_stage_matched_is_the_one_nearest_to_the_weaker_pretraining(runs, monkeypatch):
    rates = {
        ("objects", 0): 0.5,
        ("objects", 1): 0.4,
        ("faces", 0): 0.9,
        ("faces", 1): 0.55,
        ("faces", 2): 0.2,
    }
    monkeypatch.setattr(
        generalisation, "_accuracy", lambda s, cell, split: rates.get((cell.pretraining, cell.stage), 0.1)
    )
    assert generalisation.matched(runs) == {
        "objects/gender": 0,
        "objects/identity": 0,
        "faces/gender": 1,
        "faces/identity": 1,
    }


def test_a_network_is_tested_with_maps_of_its_own_depth(runs):
    cell = depth.cells(runs, "classifier")[0]
    rankings = set(exchanged(runs, cell).ranking.values) & {
        each.at(scope=scope).name for each in runs.grid for scope in ("classifier", "all")
    }
    assert rankings == {
        f"{pretraining}/{task}/{seed}/classifier"
        for pretraining, task, seed in (
            *(("objects", "gender", seed) for seed in range(3)),
            ("objects", "identity", 0),
            *(("faces", "gender", seed) for seed in range(3)),
        )
    }


def test_every_first_seed_and_its_own_other_seeds_lend_their_maps(runs):
    cell = runs.grid[0]
    rankings = set(exchanged(runs, cell).ranking.values) & {each.name for each in runs.grid}
    assert rankings == {each.name for each in runs.firsts} | {"objects/gender/3"}
    _, _, measured = generalisation.gains(runs)
    assert measured[:, 0].sum() == len(runs.firsts) + 1
    assert not measured[:, len(runs.firsts) // 4].any()  # the second seed of run 0 is not tested


def test_controls_stand_beside_what_networks_do_for_each_other(tiny, gaining):
    table = generalisation.relation_table(tiny)
    transfers = table[table.measure == "transfer"].set_index("differ in").value
    assert {"seed", "task", "pretraining", *generalisation.BESIDE.values()} <= set(transfers.index)
    assert len(stimuli.people(tiny)) and np.isfinite(transfers).all()
