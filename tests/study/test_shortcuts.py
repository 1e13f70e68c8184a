"""Planted shortcuts, sanity checks, remove and retrain: on networks that train in a second."""

from importlib import import_module

import numpy as np
import pytest
import torch

from analysis import masking
from faces import shortcuts
from study import Study, experiments, narrow, retrain, sanity, truth, vgg
from study import parameters as params
from study import shortcuts as planted
from study.parameters import ParameterError

TINY = {"narrow_people": 240, "narrow_test_people": 8, "narrow_samples": 1200, "narrow_width": 0.125}
COARSE = {"sanity_label_epochs": 2, "shortcut_methods": ["epsilon_alpha2_beta1"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(params.load("smoke", **TINY, **COARSE), tmp_path_factory.mktemp("store"))


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


def test_hostile_input_is_one_clear_error(images, study):
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
    model = vgg.merge_batch_norm(vgg.vgg16(2, width=0.0625, size=32))
    with pytest.raises(ValueError, match=r"depth is 17; VGG-16 has 0\.\.16"):
        sanity.randomised(model, 17, 0)
    with pytest.raises(ValueError, match="unknown method 'deeplift'"):
        narrow.explain(study.parameters, model, pixels, "deeplift")


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
    with pytest.raises(ParameterError, match=said):
        params.load("demo", **{name: value})


def test_relevance_exposes_a_mark_that_the_network_relies_on_and_noise_does_not(study):
    found = planted.tables(study)
    probes = found["probes"].set_index("probe")
    assert probes.loc["reliance", "difference"] > 0.3
    assert probes.loc["relevance", "difference"] > 0.01
    assert found["methods"].difference.iloc[0] > 0.05
    assert probes.loc["relevance", "area"] == pytest.approx(1 / 64)
    region = shortcuts.region(planted.test(study)[2], "mark")
    noise = np.random.default_rng(0).standard_normal(region.shape)
    assert planted.share(noise, region).mean() < probes.loc["relevance", "area"] + 0.02
    assert set(found["noticed"].probe) == set(planted.PROBES)
    transfer = found["transfer"].set_index(["source", "target"]).transfer
    assert np.isfinite(transfer).all() and len(transfer) == 3


def test_share_of_a_map_without_positive_relevance_is_the_area():
    region = np.zeros((2, 4, 4), bool)
    region[:, 0] = True
    maps = np.stack([-np.ones((4, 4)), np.eye(4)])
    assert planted.share(maps, region).tolist() == [0.25, 0.25]


def test_randomising_goes_from_the_top_and_lowers_the_similarity(study):
    p = study.parameters
    model, pixels = narrow.plain(p, study.store, 0), sanity.images(study)[0]
    learned, drawn = (dict(m.named_parameters()) for m in (model, sanity.randomised(model, 3, 0)))
    same = {name for name in learned if torch.equal(learned[name], drawn[name])}
    assert same == {name for name in learned if name.startswith("features")}
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), sanity.randomised(model, 0, 0).parameters(), strict=True)
    )
    targets = narrow.logits(model, pixels).argmax(1)
    for method in ("epsilon", "gradient"):
        first = narrow.explain(p, model, pixels, method, targets)
        random = narrow.explain(p, sanity.randomised(model, 16, 0), pixels, method, targets)
        same, different = sanity.alike(first, np.stack([first, random]), 10.0)[0].mean(1)
        assert same == pytest.approx(1) and different < 0.5


def test_a_constant_map_is_like_no_other():
    maps = np.random.default_rng(0).random((3, 8, 8))
    assert (sanity.alike(maps, np.zeros((1, 3, 8, 8)), 10.0)[0] == 0).all()


def test_permuted_labels_are_the_same_labels_in_another_order(study):
    true, permuted = (sanity.few(study, 0, p)[1] for p in (False, True))
    assert sorted(true) == sorted(permuted) and (true != permuted).any()


def test_sanity_tables(study):
    found = sanity.tables(study)
    cascade = found["cascade"].query("measure == 'spearman'").set_index(["method", "depth"]).similarity
    for method in study.parameters.sanity_methods:
        assert cascade[method, 0] == pytest.approx(1) and cascade[method, 16] < 0.999
    assert cascade["edges", 0] == pytest.approx(cascade["edges", 16])
    labels = found["labels"].pivot(index=["method", "measure"], columns="comparison", values="similarity")
    assert labels["fall"].to_numpy() == pytest.approx((labels["other seed"] - labels["permuted"]).to_numpy())


@pytest.mark.parametrize("percent", [10.0, 30.0, 70.0])
def test_exactly_the_stated_number_of_pixels_is_removed(study, images, percent):
    pixels, _ = images  # between 60 and 190
    scores = torch.rand(40, 32, 32, generator=torch.Generator().manual_seed(0))
    removed = retrain.without(pixels, scores, percent, np.array([1.0, 2.0, 3.0]))
    changed = (removed != pixels).any(1)
    assert (changed.sum((1, 2)) == masking.count(percent, 32 * 32)).all()
    assert (removed.transpose(0, 2, 3, 1)[changed] == [1, 2, 3]).all()
    assert scores.numpy()[changed].min() > np.percentile(scores, 95 - percent)


def test_retraining_tables(study):
    found = retrain.tables(study)
    left = found["accuracy"].set_index(["ranking", "network", "percent"]).accuracy
    assert left["epsilon_plus", "retrained", 0.0] == left["random", "masked", 0.0]
    lost = found["difference"].set_index(["ranking", "network"]).lost
    percent = study.parameters.retrain_percents[0]
    expected = left["random", "masked", percent] - left["epsilon_plus", "masked", percent]
    assert lost["epsilon_plus", "masked"] == pytest.approx(expected)


def test_experiments_are_registered():
    for name in ("shortcuts", "sanity", "retrain"):
        module = import_module(f"analysis.{experiments.EXPERIMENTS[name]}")
        assert callable(module.tables) and module.CODE


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "epsilon_plus"])
def test_a_method_is_read_alike_wherever_its_maps_are_ranked(method, study):
    """Guided backprop was ranked by its positive part here and by its magnitude in 'Ground truth'."""
    p, pixels = study.parameters, sanity.images(study)[0]
    model = narrow.plain(p, study.store, 0)
    ranked = narrow.scores(p, model, pixels, method, [])
    signed = torch.from_numpy(narrow.explain(p, model, pixels, method))
    how = "positive" if method == "epsilon_plus" else "absolute"
    assert torch.equal(ranked, masking.rank(signed, how)) and truth._reading(method) == how
