"""Masking of the study's networks, by their own maps, by the consensus of others, and what tables say of it."""

import itertools

import numpy as np
import pytest
import torch
from tiny_study import tiny_study

from analysis import masking as masks
from study import consensus, generalisation, masking, models, networks, relevance, stimuli


def performance(s, curves):
    return masking.performance(s.p, curves)


def test_curves_start_and_end_alike_for_every_ranking(tiny):
    values = performance(tiny, consensus.curves.grid(tiny, tiny.firsts))
    for mode, percent in itertools.product(("keep", "remove"), (0.0, 100.0)):
        ends = values.sel(mode=mode, percent=percent)
        assert (ends == ends.isel(ranking=0)).all()
    whole = values.sel(mode="keep", percent=100.0)
    np.testing.assert_allclose(whole, values.sel(mode="remove", percent=0.0), atol=1e-6)


def test_own_masks_agree_between_masking_and_transfer(root):
    s = tiny_study(root, percents=[20.0, 50.0])
    own = performance(s, masking.curves.grid(s, s.firsts)).sel(ranking="relevance", mode="keep", percent=20.0)
    transfer = performance(s, generalisation.exchanged.grid(s, s.firsts)).sel(mode="keep", percent=20.0)
    for k, cell in enumerate(s.firsts):
        np.testing.assert_allclose(
            own.isel(model=k).values, transfer.isel(model=k).sel(ranking=cell.name).values, atol=1e-5
        )


def test_the_masks_that_are_shown_are_those_that_were_measured(tiny):
    """They were drawn with another seed: ties at 0, of which positive parts have thousands, fell elsewhere."""
    cell = tiny.grid[0]
    images, labels = stimuli.explained_inputs(tiny, cell.task)[0], relevance.explained_class(tiny, cell)
    model, filling = networks.network(tiny, cell), masks.fillings(images, tiny.p.fill)
    measured = masking.curves(tiny, cell).sel(ranking="relevance", mode="keep").probability
    with torch.inference_mode():
        for percent, mask in zip(tiny.p.percents, masking.kept_pixels(tiny, cell), strict=True):
            shown = model(masks.apply(images, mask, "keep", filling)).softmax(1)
            shown = shown.gather(1, labels[:, None])[:, 0]
            assert np.allclose(shown, measured.sel(percent=percent), atol=1e-4)


def test_consensus_leaves_the_family_out(tiny):
    """The maps of the held-out family may be anything: its networks see the same consensus."""
    cell, names = tiny.grid[0], set(consensus.curves(tiny, tiny.grid[0]).ranking.values)
    assert {"consensus", "own", "average", "random", "blobs", "centre"} <= names
    needed = [args[0] for step, args in consensus.curves.needed(tiny, cell) if step is relevance.explain]
    assert cell in needed
    assert {c.family for c in needed if c != cell} == {c.family for c in tiny.grid} - {cell.family}


def test_costly_curves_are_of_one_network_per_pretraining_run(root):
    s = tiny_study(root, seeds=6, pretraining_runs=3)
    for step in (masking.claim, consensus.claim):
        measured = [args[0] for need, args in step.needed(s) if need.kind.endswith(".curves")]
        assert measured == s.firsts and len(measured) == len(s.grid) / 2
        assert {cell.run for cell in measured} == {0, 1, 2}


@pytest.mark.parametrize("curves", [masking.curves, consensus.curves], ids=["own", "consensus"])
def test_masked_images_are_followed_for_the_class_that_was_explained(tiny, curves):
    """They were followed for the true class, though maps explained what the network had taken the face for."""
    wrong = 0
    for cell in tiny.firsts:
        images, truth = stimuli.explained_inputs(tiny, cell.task)
        named = relevance.explained_class(tiny, cell)
        wrong += int((named != truth).sum())
        with torch.inference_mode():
            whole = networks.network(tiny, cell)(images).softmax(1)
        assert (whole.argmax(1) == named).all()
        kept = masking.masked(
            networks.network(tiny, cell), images, named, {"all": images[:, 0]}, (99.99,), "mean"
        )
        np.testing.assert_allclose(
            kept.probability.sel(mode="keep").squeeze(), whole.max(1).values, atol=1e-5
        )
        again = curves(tiny, cell).sel(mode="keep", percent=50.0)
        assert (again.correct == (again.prediction == named.numpy())).all()
    assert wrong, "no image is misnamed: nothing was tested"


def test_true_classes_are_followed_where_they_are_explained(tiny):
    s, cell = tiny.but(explain="true"), tiny.firsts[0]
    truth = stimuli.explained_inputs(s, cell.task)[1]
    followed = masking.curves(s, cell)
    assert (followed.correct == (followed.prediction == truth.numpy())).all()
    assert (truth != relevance.explained_class(tiny, cell)).any()


def test_people_who_are_no_class_of_the_task_have_the_predicted_one_explained(tiny):
    s = tiny.but(explain="true", explained_people="new")
    cell = next(c for c in s.firsts if c.task == "identity")
    assert (stimuli.explained_inputs(s, cell.task)[1] == -1).all()
    maps = relevance.explain(s, cell)
    assert (maps.target == maps.prediction).all()


def test_photographs_have_no_aligned_average(tiny, monkeypatch):
    dataset = masking.curves.grid(tiny, tiny.firsts)
    labels = {part["label"] for part in masking.claim(tiny)["parts"]}
    assert {"keep: against average aligned", "remove: against average aligned"} <= labels
    without = dataset.drop_sel(ranking=masking.ALIGNED)
    parts = masking.against_controls(tiny, without, "relevance", masking.CONTROLS)["parts"]
    assert len(parts) == 2 * (len(masking.CONTROLS) - 1)
    faces = stimuli.explained(tiny).drop_vars("landmarks")
    monkeypatch.setattr(stimuli, "explained", lambda _: faces)
    assert masking.aligned(tiny, torch.rand(faces.sizes["image"], 32, 32)) == {}


def test_intervals_of_shares_stay_between_0_and_1(tiny):
    curves = masking.curve_table(tiny, masking.curves.grid(tiny, tiny.firsts), ["relevance"])
    for table in (models.accuracy(tiny), curves):
        assert table.low.between(0, 1).all() and table.high.between(0, 1).all()
        assert (table.high > table.low).any()


def test_leads_are_the_differences_between_curves(tiny):
    table, values = masking.leads(tiny), performance(tiny, masking.curves.grid(tiny, tiny.firsts))
    row = table.query("mode == 'remove' and control == 'centre' and percent == 50").iloc[0]
    at = values.sel(mode="remove", percent=50).mean(("model", "image"))
    assert row.lead == pytest.approx(float(at.sel(ranking="centre") - at.sel(ranking="relevance")), abs=1e-6)
    assert len(table) == 2 * len(tiny.p.percents) * len(masking.CONTROLS)


def test_the_range_of_percents_changes_what_counts(root):
    s = tiny_study(root, percents=[5.0, 20.0, 50.0])
    curves = masking.curves.grid(s, s.firsts)
    few, whole, many = (
        masking.gains_over_controls(s.but(percent_range=half).p, curves, "relevance", ("random",))[
            "keep", "random"
        ]
        for half in ("few", "all", "many")
    )
    width = np.log([4.0, 10.0, 2.5])  # from 5 to 20, from 5 to 50, from 20 to 50 %
    np.testing.assert_allclose(few * width[0] + many * width[2], whole * width[1], atol=1e-9)
    assert abs(few - many).max() > 0
    halves = {"few": [5.0], "many": [20.0], "all": [5.0, 20.0]}
    assert {h: masking.counted(s.but(percents=(5.0, 20.0), percent_range=h).p) for h in halves} == halves


def test_a_gain_too_small_to_matter_contradicts_the_claim(tiny):
    level = masking.claim(tiny.but(smallest_gain=1.0))
    assert level["region"]["smallest"] == 1.0
    said = {part["verdict"] for part in level["parts"] if part["ci_low"] <= 0}
    assert said == {"contradicted"}, "a probability cannot gain 1"


def test_scattered_pixels_have_more_borders(tiny, monkeypatch):
    count, size = stimuli.explained(tiny).sizes["image"], tiny.p.image_size
    chessboard = torch.from_numpy(
        np.indices((size, size)).sum(0) % 2
    ).float()  # half of all, none side by side
    monkeypatch.setattr(relevance, "scores", lambda *_: chessboard.expand(count, -1, -1))
    assert masking.borders(tiny)["relevance"] == 1
    half = (torch.arange(size)[:, None] < size // 2).float().expand(count, size, size)
    monkeypatch.setattr(relevance, "scores", lambda *_: half)
    assert masking.borders(tiny)["relevance"] == pytest.approx(2 / size)


def test_fewer_pixels_are_needed_to_come_less_far(tiny):
    near, far = consensus.pixels_needed(tiny, 0.2), consensus.pixels_needed(tiny, 0.8)
    known = near.percent.notna()
    assert (near.percent[known] <= far.percent[known] + 1e-9).all()
    assert far.percent.dropna().between(0, 100).all()
