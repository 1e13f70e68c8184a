"""Accuracy of the networks, and what the page on them shows."""

from itertools import pairwise

import numpy as np
import pytest
from tiny_study import tiny_study

from study import masking, models, networks, relevance, stimuli
from study.grid import Cell


def test_accuracy_of_runs_is_as_uncertain_as_the_runs_are_few(tiny):
    """Two networks of one pretraining run are no independent evidence."""
    alike = np.repeat([0.2, 0.5, 0.8], 2)[:, None] * np.ones(20)
    cells = [Cell("faces", "gender", seed, run) for run in range(3) for seed in (run, run + 3)]
    singles = [Cell("faces", "gender", seed, 0) for seed in range(6)]
    widths = []
    for grid in (cells, singles):
        row = masking.mean_row(tiny, alike, np.arange(20), "accuracy", grid)
        widths.append(row["high"] - row["low"])
    assert widths[0] > 1.5 * widths[1]


def test_histories_and_examples_without_any_pretraining(root):
    s = tiny_study(root, pretrainings={"random": "none", "faces": "procedural:faces"})
    assert list(models.image_sets(s)) == ["faces", "pretraining: faces"]
    table = models.histories(s)
    assert set(table.stage) == {"pretraining", "gender", "identity"}
    assert set(table[table.stage == "pretraining"].pretraining) == {"faces"}
    assert set(table[table.stage == "gender"].pretraining) == {"random", "faces"}
    assert (table.least <= table.most).all()
    nothing = tiny_study(root, pretrainings={"random": "none"})
    assert list(models.image_sets(nothing)) == ["faces"] and len(models.histories(nothing))


def test_photographs_to_pretrain_on_are_shown_as_a_mean_of_many_people(root, photographs):
    """Also where the faces themselves are drawn."""
    s = tiny_study(
        root, photographs, pretrainings={"many": "people", "few": "others", "drawn": "procedural:faces"}
    )
    shown = models.pictures(s)
    assert list(shown) == ["faces", "pretraining: many (mean)", "pretraining: drawn"]
    assert shown["pretraining: many (mean)"].shape == (32, 32, 3)


@pytest.mark.parametrize("scope", ["all", "classifier"])
def test_snapshots_are_earlier_networks_of_the_same_training(tiny, scope):
    cell = tiny.grid[0].at(scope=scope)
    ends = [networks.finetuned(tiny, cell.at(stage=stage)) for stage in range(len(networks.STAGES))]
    assert [len(end["history"]) for end in ends] == [5, 4, 3]
    weights = [end["model"].classifier[6].weight for end in ends]
    assert not any((a == b).all() for a, b in pairwise(weights))
    for end in ends:
        said, table = end["history"].validation_accuracy.iloc[-1], end["predictions"]
        assert said == pytest.approx(table.correct.values[table.split.values == "validation"].mean())
    assert len({cell.at(stage=stage).name for stage in range(3)} | {cell.at("last_block").name}) == 4


def test_accuracy_on_the_explained_images(tiny):
    table = models.explained_accuracy(tiny)
    assert len(table) == 4 and table.accuracy.between(table.low, table.high).all()
    cells = [cell for cell in tiny.grid if cell.family == "faces/gender"]
    truth = stimuli.labels(stimuli.faces(tiny), "gender")[stimuli.explained_index(tiny, stimuli.faces(tiny))]
    right = np.mean([relevance.explain(tiny, cell).prediction.values == truth for cell in cells])
    row = table[(table.pretraining == "faces") & (table.task == "gender")]
    assert row.accuracy.item() == pytest.approx(right)
    assert set(models.explained_accuracy(tiny.but(explained_people="new")).task) == {"gender"}


def test_first_networks_are_one_of_each_run():
    s = tiny_study("unused", pretraining_runs=3, seeds=6, first_seed=30)
    assert [(c.seed, c.run) for c in s.grid[:6]] == [(30 + k, 30 + k % 3) for k in range(6)]
    assert [(c.seed, c.run) for c in s.firsts[:4]] == [(30, 30), (31, 31), (32, 32), (30, 30)]
