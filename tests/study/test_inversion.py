"""Faces turned by 180 degrees: what networks still name, and whether their maps turn with the face."""

import numpy as np
import pytest
import torch

from study import inversion, networks, stimuli, training


def test_accuracy_is_that_of_turned_images(tiny):
    table = inversion.accuracy(tiny).set_index(["shown", "pretraining"])
    assert set(table.index) == {
        (k, p) for k in ("identity", "gender", "pretraining") for p in ("objects", "faces")
    }
    np.testing.assert_allclose(table.loss, table.upright - table.inverted)
    assert ((table.low <= table.loss) & (table.loss <= table.high)).all()
    faces = stimuli.faces(tiny)
    faces = faces.isel(image=(faces.split.values == "test") & (faces.group.values == "identity"))
    pixels = torch.from_numpy(faces.pixels.values[:, :, ::-1, ::-1].copy())
    labels = torch.from_numpy(stimuli.labels(stimuli.faces(tiny), "identity"))
    labels = labels[
        (stimuli.faces(tiny).split.values == "test") & (stimuli.faces(tiny).group.values == "identity")
    ]
    cells = [c for c in tiny.firsts if (c.task, c.pretraining) == ("identity", "faces")]
    expected = np.mean([training.accuracy(networks.network(tiny, cell), pixels, labels) for cell in cells])
    assert table.inverted["identity", "faces"] == pytest.approx(expected)


def test_maps_of_a_network_without_up_and_down_turn_with_the_face(tiny, monkeypatch):
    # Relevance that follows the pixels alone: turned back, the map is the upright one.
    def follows(model, images, targets, composite):
        return type("Maps", (), {"relevance": type("Values", (), {"values": images[:, 0].numpy()})})

    cell = tiny.firsts[0]
    upright = inversion.relevance.explain(tiny, cell)
    pixels = stimuli.explained_inputs(tiny, cell.task)[0][:, 0].numpy()
    monkeypatch.setattr(inversion.relevance, "dataset", follows)
    monkeypatch.setattr(
        inversion.relevance,
        "explain",
        lambda s, cell: upright.assign(relevance=upright.relevance * 0 + pixels),
    )
    found = inversion.turned.function(tiny, cell)
    np.testing.assert_allclose(found.likeness.sel(compared="turned back"), 1)
    assert (found.likeness.sel(compared="in place") < 0.99).all()
    np.testing.assert_allclose(
        *(found.share.sel(orientation=name) for name in inversion.ORIENTATIONS), rtol=1e-5
    )


def test_maps_are_compared_for_each_task_and_shares_sum_to_1(tiny):
    maps = inversion.maps(tiny)
    assert len(maps) == 2 * len(inversion.COMPARED)
    assert maps.likeness.abs().le(1).all() and (maps.low <= maps.likeness).all()
    shares = inversion.shares(tiny)
    assert shares.upright.sum() == pytest.approx(1) and shares.inverted.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares.change, shares.inverted - shares.upright, atol=1e-9)
