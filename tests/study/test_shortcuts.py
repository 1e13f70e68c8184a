"""Planted shortcuts, sanity checks, remove and retrain: on networks that train in a second."""

from importlib import import_module

import numpy as np
import pytest
import torch

from analysis import masking
from faces import shortcuts
from study import narrow, open_study, parameters, retrain, sanity, stored
from study import shortcuts as planted

TINY = {"narrow_people": 240, "narrow_test_people": 8, "narrow_samples": 1200, "narrow_width": 0.125}
COARSE = {"sanity_label_epochs": 2, "shortcut_methods": ["epsilon_alpha2_beta1"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return open_study("smoke", root=tmp_path_factory.mktemp("store"), **TINY, **COARSE)


@pytest.fixture(scope="module")
def quick(study):
    """The same with networks that have learned little, where that does not matter."""
    return study.but(narrow_samples=240)


@pytest.fixture(scope="module")
def explained(quick):
    """A network, and the images that it explains."""
    return narrow.plain(quick, 0), sanity.images(quick).pixels.values


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    background = np.zeros((40, 32, 32), bool)
    background[:, :10] = True
    return rng.integers(60, 190, (40, 3, 32, 32), dtype=np.uint8), background


@pytest.mark.parametrize("strength", [0.5, 0.7, 0.9, 1.0])
def test_shortcut_agrees_with_the_class_in_exactly_the_stated_share(strength):
    labels = np.repeat([0, 1], [20, 30])
    agree = shortcuts.agreeing(labels, strength, seed=1)
    assert [agree[labels == c].sum() for c in (0, 1)] == [round(strength * 20), round(strength * 30)]


@pytest.mark.parametrize("kind", ["mark", "background"])
def test_shortcut_changes_only_its_region(images, kind):
    pixels, background = images
    region = shortcuts.region(background, kind)
    for side in (0, 1):
        changed = (shortcuts.plant(pixels, np.full(40, side), background, kind) != pixels).any(1)
        assert not changed[~region].any()
        assert changed[region].mean() > 0.9


def test_sides_of_a_shortcut_differ_and_change_as_much(images):
    pixels, background = images
    for kind in shortcuts.KINDS:
        sides = [
            shortcuts.plant(pixels, np.full(40, side), background, kind).astype(float) for side in (0, 1)
        ]
        change = [np.abs(side - pixels).mean() for side in sides]
        assert np.abs(sides[0] - sides[1]).mean() > 0.9 * max(change)
        assert change[0] == pytest.approx(change[1], rel=0.1)


def test_hostile_input_is_one_clear_error(images):
    pixels, background = images
    with pytest.raises(ValueError, match=r"strength is 1.2.*0\.\.1"):
        shortcuts.agreeing(np.array([0, 1]), 1.2, 0)
    with pytest.raises(ValueError, match=r"unknown shortcut 'halo'.*tint, mark, background"):
        shortcuts.plant(pixels, np.zeros(40), background, "halo")
    with pytest.raises(ValueError, match="sides must be 0 or 1, not 2"):
        shortcuts.plant(pixels, np.full(40, 2), background, "mark")
    with pytest.raises(ValueError, match="do not fit"):
        shortcuts.plant(pixels, np.zeros(39), background, "mark")
    with pytest.raises(ValueError, match="uint8"):
        shortcuts.plant(pixels / 255, np.zeros(40), background, "mark")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("shortcut_strengths", [0.3, 1.0], r"shortcut_strengths.*0\.3.*0\.5"),
        ("shortcut_strengths", [1.0, 0.7], "shortcut_strengths.*ascend"),
        ("shortcut_kinds", ["halo"], "shortcut_kinds.*'halo'"),
        ("shortcut_seeds", 1, "shortcut_seeds=1"),
        ("sanity_depths", [17], "sanity_depths.*17"),
        ("sanity_methods", ["edges"], "sanity_methods.*'edges'"),
        ("sanity_label_people", 5000, "sanity_label_people=5000: at most narrow_people"),
        ("retrain_percents", [100.0], "retrain_percents.*100"),
        ("retrain_methods", ["random", "random"], "retrain_methods.*each once"),
    ],
)
def test_hostile_parameters(name, value, said):
    with pytest.raises(parameters.ParameterError, match=said):
        parameters.load("demo", **{name: value})


def test_relevance_exposes_a_mark_that_the_network_relies_on_and_noise_does_not(study):
    tables = planted.tables(study)
    probes = tables["probes"].set_index("probe")
    assert probes.loc["reliance", "difference"] > 0.3
    assert probes.loc["relevance", "difference"] > 0.01
    assert tables["methods"].difference.iloc[0] > 0.05
    region = shortcuts.region(planted.background(narrow.part(study, "test")), "mark")
    assert region.mean() == pytest.approx(1 / 64)
    noise = np.random.default_rng(0).standard_normal(region.shape)
    assert planted.share(noise, region).mean() < region.mean() + 0.02
    assert set(tables["noticed"].probe) == set(planted.PROBES)
    transfer = tables["transfer"].set_index(["source", "target"]).transfer
    assert np.isfinite(transfer).all() and len(transfer) == 3


def test_share_of_a_map_without_positive_relevance_is_the_area():
    region = np.zeros((2, 4, 4), bool)
    region[:, 0] = True
    maps = np.stack([-np.ones((4, 4)), np.eye(4)])
    assert planted.share(maps, region).tolist() == [0.25, 0.25]


def test_randomising_goes_from_the_top_and_makes_maps_unlike(quick, explained):
    model, pixels = explained
    learned, drawn = (dict(m.named_parameters()) for m in (model, sanity.randomised(model, 3, 0)))
    same = {name for name in learned if torch.equal(learned[name], drawn[name])}
    assert same == {name for name in learned if name.startswith("features")}
    untouched = sanity.randomised(model, 0, 0).parameters()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), untouched, strict=True))
    targets = narrow.logits(model, pixels).argmax(1)
    for method in ("epsilon", "gradient"):
        maps = [
            narrow.explain(quick, network, pixels, method, targets)
            for network in (model, sanity.randomised(model, 16, 0))
        ]
        same, different = sanity.alike(maps[0], torch.stack(maps), 10.0)[0].mean(1)
        assert same == pytest.approx(1) and different < 0.5


def test_a_constant_map_is_like_no_other():
    maps = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert (sanity.alike(maps, torch.zeros(1, 3, 8, 8), 10.0)[0] == 0).all()


def test_permuted_labels_are_the_same_labels_in_another_order(quick):
    true, permuted = (sanity.few(quick, 0, p)[1] for p in (False, True))
    assert sorted(true) == sorted(permuted) and (true != permuted).any()


def test_sanity_tables(quick):
    tables = sanity.tables(quick)
    cascade = tables["cascade"].query("measure == 'spearman'").set_index(["method", "depth"]).likeness
    for method in quick.p.sanity_methods:
        assert cascade[method, 0] == pytest.approx(1) and cascade[method, 16] < 0.999
    assert cascade["edges", 0] == pytest.approx(cascade["edges", 16])
    labels = tables["labels"].pivot(index=["method", "measure"], columns="comparison", values="likeness")
    assert labels["fall"].to_numpy() == pytest.approx((labels["other seed"] - labels["permuted"]).to_numpy())


@pytest.mark.parametrize("percent", [10.0, 30.0, 70.0])
def test_exactly_the_stated_number_of_pixels_is_removed(quick, images, percent):
    pixels, _ = images  # between 60 and 190
    scores = torch.rand(40, 32, 32, generator=torch.Generator().manual_seed(0))
    removed = retrain.without(pixels, scores, percent, np.array([1.0, 2.0, 3.0]))
    changed = (removed != pixels).any(1)
    assert (changed.sum((1, 2)) == masking.count(percent, 32 * 32)).all()
    assert (removed.transpose(0, 2, 3, 1)[changed] == [1, 2, 3]).all()
    assert scores.numpy()[changed].min() > np.percentile(scores, 95 - percent)


def test_retraining_tables(quick):
    tables = retrain.tables(quick)
    left = tables["accuracy"].set_index(["ranking", "network", "percent"]).accuracy
    assert left["epsilon_plus", "retrained", 0.0] == left["random", "masked", 0.0]
    lost = tables["difference"].set_index(["ranking", "network"]).lost
    percent = quick.p.retrain_percents[0]
    expected = left["random", "masked", percent] - left["epsilon_plus", "masked", percent]
    assert lost["epsilon_plus", "masked"] == pytest.approx(expected)


def test_experiments_are_registered():
    for name in ("truth", "shortcuts", "sanity", "retrain"):
        assert callable(import_module(f"study.{stored.EXPERIMENTS[name]}").tables)


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "epsilon_plus"])
def test_methods_without_a_sign_are_read_by_magnitude(method, quick, explained):
    """Guided backprop was ranked by its positive part here and by its magnitude in 'Ground truth'."""
    ranked = narrow.scores(quick, *explained, method, "positive")
    signed = narrow.explain(quick, *explained, method)
    assert torch.equal(ranked, masking.rank(signed, "positive" if method == "epsilon_plus" else "absolute"))
