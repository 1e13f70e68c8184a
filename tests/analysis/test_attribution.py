"""Attribution: one call for every ranking, methods that are what they are called, and controls that know nothing."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from analysis import attribution, lrp, masking

NAMES = ("relevance", "random_weights", *attribution.COMPOSITES, *attribution.METHODS, *attribution.CONTROLS)
TARGETS = torch.arange(6) % 4
BOUNDS = {"low": -4.0, "high": 4.0}


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scores():
    return torch.randn(6, 8, 6, generator=torch.Generator().manual_seed(2))


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(8 * 4 * 3, 4),
    ).eval()


# ------------------------------------------------------------ the one call


@pytest.mark.parametrize("by", masking.RANKINGS)
def test_every_name_is_a_ranking_of_every_image(images, by):
    model, identities = network(), list("aabbcc")
    found = attribution.scores(
        model, images, TARGETS, NAMES, by=by, seed=3, identities=identities, untrained=network(1), **BOUNDS
    )
    assert list(found) == list(NAMES)
    for name, values in found.items():
        assert values.shape == (6, 8, 6) and values.dtype == torch.float32 and values.isfinite().all(), name
        assert not values.requires_grad
        if by != "signed" and name not in ("blobs", "least"):
            assert (values >= 0).all(), name
    own = attribution.attribute(model, images, TARGETS, "epsilon_plus")
    assert torch.equal(found["relevance"], masking.rank(own, by))
    assert torch.equal(found["relevance"], found["epsilon_plus"])
    other = attribution.attribute(network(1), images, TARGETS, "epsilon_plus")
    assert torch.equal(found["random_weights"], masking.rank(other, by))
    for name in attribution.CONTROLS:
        control = attribution.control(
            name, masking.rank(own, by), seed=3, images=images, identities=identities
        )
        assert torch.equal(found[name], control), name


def test_unsigned_methods_are_read_by_magnitude_and_all_others_as_asked(images):
    model = network()
    for method in attribution.METHODS:
        maps = attribution.attribute(model, images, TARGETS, method)
        by = "absolute" if method in attribution.UNSIGNED else "positive"
        assert attribution.reading(method, "positive") == by
        found = attribution.scores(model, images, TARGETS, [method], by="positive", seed=0)
        assert torch.equal(found[method], masking.rank(maps, by))


def test_known_maps_are_not_made_again(images, scores):
    names = ("relevance", "epsilon", "average")
    found = attribution.scores(
        None, images, TARGETS, names, by="signed", seed=0, composite="epsilon", own=scores
    )
    assert torch.equal(found["relevance"], scores) and torch.equal(found["epsilon"], scores)
    assert torch.equal(found["average"], attribution.control("average", scores, seed=0))


def test_controls_that_know_no_network_need_none(images, scores):
    for name in set(attribution.CONTROLS) - set(attribution.FROM_MAPS):
        alone = attribution.scores(None, images, TARGETS, [name], by="positive", seed=2)[name]
        assert torch.equal(alone, attribution.control(name, scores, seed=2, images=images))


# ------------------------------------------------------------ methods


def test_methods_leave_the_network_as_it_was_and_images_do_not_mix(images):
    model = network()
    before = copy.deepcopy(model.state_dict())
    many = images.repeat(4, 1, 1, 1)  # more than one batch
    for method in attribution.METHODS:
        maps = attribution.attribute(model, many, TARGETS.repeat(4), method)
        assert maps.shape == (24, 8, 6) and (maps[0] != 0).any()
        alone = attribution.attribute(model, images[3:4], TARGETS[3:4], method)
        assert torch.allclose(maps[[3, 21]], alone.expand(2, -1, -1), atol=1e-6)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())


def test_lrp_is_that_of_the_engine_and_only_one_composite_takes_bounds(images):
    for name in attribution.COMPOSITES:
        bounds = BOUNDS if name == "epsilon_gamma_box" else {}
        expected = lrp.relevance(network(), images, TARGETS, name, **bounds).sum(1)
        assert torch.equal(attribution.attribute(network(), images, TARGETS, name, **BOUNDS), expected)


def test_input_x_gradient_is_lrp_0(images):
    table = lrp.Composite("lrp-0", (lrp.Row("any", "any", lrp.Epsilon(0.0)),))
    expected = lrp.relevance(network(), images, TARGETS, table).sum(1)
    found = attribution.attribute(network(), images, TARGETS, "input_x_gradient")
    assert torch.allclose(found, expected, atol=1e-5)


def test_integrated_gradients_sum_to_the_difference_of_logits(images):
    model = network()
    maps = attribution.attribute(model, images, TARGETS, "integrated_gradients")
    difference = (model(images) - model(torch.zeros_like(images)))[range(6), TARGETS]
    assert torch.allclose(maps.sum((1, 2)), difference, rtol=0.1, atol=0.02)


# ------------------------------------------------------------ controls


@pytest.mark.parametrize("name", attribution.CONTROLS)
def test_every_control_is_a_valid_ranking_that_follows_its_seed(name, images, scores):
    control = attribution.control(name, scores, seed=5, images=images)
    again = attribution.control(name, scores, seed=5, images=images)
    assert control.shape == scores.shape and control.dtype == torch.float32
    assert torch.equal(control, again)
    assert not torch.equal(control, scores)


@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_blobs_keep_the_amplitude_spectrum_and_move_the_peak(shape):
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    bump = torch.exp(-((y - 3.0) ** 2 + (x - 3.0) ** 2) / 4).expand(50, *shape)
    blobs = attribution.control("blobs", bump, seed=0)
    assert torch.allclose(torch.fft.rfft2(blobs).abs(), torch.fft.rfft2(bump).abs(), atol=1e-4)
    assert len(set(blobs.flatten(1).argmax(1).tolist())) > 20


def test_centre_takes_the_centre():
    mask = masking.select(attribution.control("centre", torch.zeros(1, 9, 9), seed=0), 100 * 9 / 81, seed=0)
    assert mask[0, 3:6, 3:6].all()


def test_average_leaves_the_image_out_and_no_map_dominates():
    scores = torch.zeros(3, 2, 2)
    scores[0, 0, 0], scores[1, 0, 1], scores[2, 1, 0] = 1, 1, 1000
    average = attribution.control("average", scores, seed=0)
    assert torch.allclose(average[0], torch.tensor([[0.0, 0.5], [0.5, 0.0]]))


def test_edges_are_at_the_edge():
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1
    edges = attribution.control("edges", torch.zeros(1, 8, 8), seed=0, images=images)
    assert (edges[0, :, 3:5] > 0.5).all() and (edges[0, :, [0, 1, 2, 5, 6, 7]] == 0).all()


@pytest.mark.parametrize("sizes", [[1] * 7, [2, 2, 2], [5, 1, 4], [3, 3], [5, 1], [4]])
def test_other_image_is_never_the_own_image_and_if_possible_never_the_own_identity(sizes):
    identities = np.repeat([f"id{i}" for i in range(len(sizes))], sizes)
    identities = np.random.default_rng(0).permutation(identities)
    for seed in range(20):
        partner = attribution.derangement(len(identities), seed, identities)
        assert sorted(partner) == list(range(len(identities)))
        assert (partner != np.arange(len(identities))).all()
        shared = (identities[partner] == identities).sum()
        assert shared == max(0, 2 * max(sizes) - len(identities)) or len(sizes) == 1
    assert not np.array_equal(attribution.derangement(9, 0), attribution.derangement(9, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, s: attribution.control("noise", s, seed=0), "unknown control 'noise'"),
        (lambda i, s: attribution.control("edges", s, seed=0), "needs the images"),
        (lambda i, s: attribution.control("average", s[:1], seed=0), "at least 2"),
        (lambda i, s: attribution.control("other_image", s[:1], seed=0), "at least 2"),
        (lambda i, s: attribution.attribute(network(), i, TARGETS, "lime"), "'lime' is unknown"),
        (lambda i, s: attribution.attribute(network(), i, TARGETS, "epsilon_gamma_box"), "low= and high="),
        (
            lambda i, s: attribution.scores(network(), i, TARGETS, ["random_weights"], by="signed", seed=0),
            "needs the network `untrained`",
        ),
    ],
)
def test_bad_input_is_one_clear_error(call, message, images, scores):
    with pytest.raises(ValueError, match=message):
        call(images, scores)
