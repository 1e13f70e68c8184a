"""Networks and their maps: what is stored, that it balances, that anyone with xarray can read it."""

import numpy as np
import pytest
import torch
import xarray as xr
from tiny_study import tiny_study

from study import networks, relevance, stimuli


def test_relevance_is_readable_by_xarray_alone(tiny, tmp_path):
    for _ in range(2):
        relevance.export(tiny, tmp_path / "relevance.zarr")
    maps = xr.open_zarr(tmp_path / "relevance.zarr").load()
    assert maps.relevance.dims == ("model", "image", "y", "x")
    assert maps.relevance.shape == (8, 8, 32, 32) and np.isfinite(maps.relevance.values).all()
    assert {"pretraining", "task", "seed"} <= set(maps.model.coords)
    assert {"identity", "gender", "split"} <= set(maps.image.coords)
    assert {"logit", "prediction", "target"} <= set(maps)
    assert maps.relevance.attrs["units"] == "logit" and maps.relevance.attrs["long_name"]
    assert "seeds" in maps.attrs["provenance"]
    assert (maps.prediction == maps.target).all()
    xr.testing.assert_equal(maps, relevance.maps(tiny))


def test_exported_maps_follow_the_parameters(tiny, tmp_path):
    relevance.export(tiny, tmp_path / "relevance.zarr")
    relevance.export(tiny.but(explain="true"), tmp_path / "relevance.zarr")
    maps = xr.open_zarr(tmp_path / "relevance.zarr").load()
    xr.testing.assert_equal(maps, relevance.maps(tiny.but(explain="true")))
    assert (maps.prediction != maps.target).any()


def test_maps_balance_with_the_logit(tiny):
    maps = relevance.maps(tiny)
    total = maps.relevance.sum(("y", "x")) + maps.biases + maps.stabilisers
    np.testing.assert_allclose(total.values, maps.logit.values, rtol=1e-3, atol=1e-4)
    assert (abs(maps.biases) > 0).any()
    assert relevance.balance(tiny).groupby("family").share.sum().to_numpy() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("source", ["procedural:faces", "none"])
def test_networks_have_the_architecture_of_the_parameters(root, source):
    s = tiny_study(root, pretrainings={"faces": source}, dropout=0.35, width=0.125)
    for model in (networks.pretrained(s, "faces", 0)["model"], networks.finetuned(s, s.grid[0])["model"]):
        assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.35}
        assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
        assert model.classifier[0].out_features == 4096 // 8


def test_seeds_differ_in_weights(tiny):
    first, second = (networks.network(tiny, cell).state_dict() for cell in tiny.grid[:2])
    assert not np.allclose(first["classifier.6.weight"], second["classifier.6.weight"])


def test_parts_of_faces_share_all_of_the_relevance(tiny):
    shares = relevance.part_shares(tiny).groupby("family")
    assert shares.relevance.sum().to_numpy() == pytest.approx(
        1
    ) and shares.area.sum().to_numpy() == pytest.approx(1)


def test_a_picture_of_photographs_is_of_many_people_not_images(root, photographs):
    changes = {"faces": "people", "attribute_tables": ["genders.csv"], "minimum_images": 6, "crop": 36}
    s = tiny_study(root, photographs, **changes)
    assert stimuli.explained(s).sizes["image"] == 8 and len(set(stimuli.people(s))) == 4
    assert relevance.examples(s) == [] and relevance.mean_maps(s) == ([], [])
    assert relevance.may_be_shown(s, np.arange(8)) and not relevance.may_be_shown(s, np.arange(8) // 2)
