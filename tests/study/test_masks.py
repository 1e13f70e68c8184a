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
    values = performance(tiny, masking.curves.grid(tiny))
    for mode, percent in itertools.product(("keep", "remove"), (0.0, 100.0)):
        ends = values.sel(mode=mode, percent=percent)
        assert (ends == ends.isel(ranking=0)).all()
    whole = values.sel(mode="keep", percent=100.0)
    np.testing.assert_allclose(whole, values.sel(mode="remove", percent=0.0), atol=1e-6)


def test_own_masks_agree_between_masking_and_transfer(root):
    s = tiny_study(root, percents=[20.0, 50.0])
    own = performance(s, masking.curves.grid(s)).sel(ranking="relevance", mode="keep", percent=20.0)
    transfer = performance(s, generalisation.exchanged.grid(s)).sel(mode="keep", percent=20.0)
    for k, cell in enumerate(s.grid):
        np.testing.assert_allclose(
            own.isel(model=k).values, transfer.isel(model=k).sel(ranking=cell.name).values, atol=1e-5
        )


def test_the_masks_that_are_shown_are_those_that_were_measured(tiny):
    """They were drawn with another seed: ties at 0, of which positive parts have thousands, fell elsewhere."""
    cell = tiny.grid[0]
    images, labels = stimuli.explained_inputs(tiny, cell.task)
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


def test_intervals_of_shares_stay_between_0_and_1(tiny):
    curves = masking.curve_table(tiny, masking.curves.grid(tiny), ["relevance"])
    for table in (models.accuracy(tiny), curves):
        assert table.low.between(0, 1).all() and table.high.between(0, 1).all()
        assert (table.high > table.low).any()


def test_leads_are_the_differences_between_curves(tiny):
    table, values = masking.leads(tiny), performance(tiny, masking.curves.grid(tiny))
    row = table.query("mode == 'remove' and control == 'centre' and percent == 50").iloc[0]
    at = values.sel(mode="remove", percent=50).mean(("model", "image"))
    assert row.lead == pytest.approx(float(at.sel(ranking="centre") - at.sel(ranking="relevance")), abs=1e-6)
    assert len(table) == 2 * len(tiny.p.percents) * len(masking.CONTROLS)


@pytest.mark.parametrize("half", ["few", "many"])
def test_the_range_of_percents_changes_what_counts(tiny, half):
    curves = masking.curves.grid(tiny)
    whole, part = (
        masking.gains_over_controls(p, curves, "relevance", ("random",))
        for p in (tiny.p, tiny.but(percent_range=half).p)
    )
    assert abs(part["keep", "random"] - whole["keep", "random"]).max() > 0


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
