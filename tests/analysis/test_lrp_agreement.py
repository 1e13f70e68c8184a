"""analysis.lrp against zennit and captum, and against each rule's own equation."""

import copy

import pytest
import torch
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from lrp_networks import bounds, random_network, zennit_map
from torch import nn

from analysis.lrp import (
    COMPOSITES,
    LRP,
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Row,
    WSquare,
    ZBox,
    ZPlus,
    relevance,
)
from benchmarks import peers
from study.vgg import vgg16

NAMES = (*COMPOSITES, "epsilon_gamma_box")
TARGETS = torch.tensor([1, 3])

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_zennit_on_random_networks(name):
    for seed in range(60):
        network, images = random_network(seed)
        expected = zennit_map(network, images, TARGETS, name)
        found = relevance(network, images, TARGETS, name, **bounds(name))
        assert expected.abs().max() > 0
        assert (found - expected).abs().max() <= 1e-8 * expected.abs().max(), f"seed {seed}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_zennit_on_vgg16_at_224_pixels(name):
    model, images = _biased_vgg16(224)
    model, images = model.double(), images.double()
    expected = zennit_map(model, images, TARGETS[:1], name)
    found = relevance(model, images, TARGETS[:1], name, **bounds(name))
    assert (found - expected).abs().max() <= 1e-8 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_epsilon_agrees_with_captum_on_vgg16_at_224_pixels():
    """captum stabilises max-pooling too, which is no division: hence its tiny epsilon there."""
    model, images = _biased_vgg16(224)
    model, images = model.double(), images.double()
    table = Composite("epsilon", (Row("any", "any", Epsilon(1e-9)),))
    found = relevance(model, images, TARGETS[:1], table)
    rules = dict.fromkeys((nn.Conv2d, nn.Linear), lambda: EpsilonRule(1e-9))
    rules[nn.MaxPool2d] = lambda: EpsilonRule(1e-15)
    expected = peers.captum_map(model, images, TARGETS[:1], rules)
    assert (found - expected).abs().max() <= 1e-8 * expected.abs().max()


def _biased_vgg16(size: int, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """A VGG-16 of full width with biases that are not 0, as fresh ones have, and one image."""
    model = peers.with_biases(vgg16(5, hidden=64, size=size, seed=seed).eval(), seed)
    return model, torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_as_accurate_as_zennit(name):
    """Ratio of the two errors against float64, geometric mean over networks: one map's ratio is luck."""
    ratios = []
    for seed in range(60):
        network, images = random_network(seed)
        exact = zennit_map(network, images, TARGETS, name)
        network, images = network.float(), images.float()
        own = relevance(network, images, TARGETS, name, **bounds(name))
        other = zennit_map(network, images, TARGETS, name)
        ratios.append((own - exact).norm() / (other - exact).norm())
    assert torch.stack(ratios).log().mean().exp() <= 1.1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "layout"),
    [(name, torch.channels_last) for name in NAMES]
    + [(name, torch.contiguous_format) for name in ("epsilon", "epsilon_plus")],
)
def test_float32_is_as_accurate_as_zennit_on_vgg16(name, layout):
    """zennit runs in the engine's layout: channels_last by default, which is faster for both, else contiguous.

    In channels_last oneDNN sums all products of a wide convolution in one run, in NCHW 16 channels at a time: 2 to
    4 times less rounding. Under epsilon, rounding that turns a sign or a pooling's winner moves a path's whole
    relevance, so that a map's error is that of few such events and varies tenfold from image to image; hence the
    geometric mean over several.
    """
    accurate = layout == torch.contiguous_format
    ratios = []
    for seed in range(8):
        model, images = _biased_vgg16(64, seed)
        exact = relevance(copy.deepcopy(model).double(), images.double(), TARGETS[:1], name, **bounds(name))
        engine = LRP(model, name, accurate=accurate, **bounds(name))
        own = engine.explain(images, TARGETS[:1]).relevance
        model.features.to(memory_format=layout)
        images = images.contiguous(memory_format=layout)
        other = zennit_map(model, images, TARGETS[:1], name)
        ratios.append((own - exact).norm() / (other - exact).norm())
    assert torch.stack(ratios).log().mean().exp() <= 1.2


def test_epsilon_agrees_with_captum():
    table = Composite("epsilon", (Row("any", "any", Epsilon(1e-9)),))
    compared = 0
    for seed in range(100):
        network, images = random_network(seed)
        if any(isinstance(layer, nn.BatchNorm2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d) for layer in network):
            continue
        network = _without_inplace(network)
        found = relevance(network, images, TARGETS, table)
        expected = _captum(network, images, lambda: EpsilonRule(1e-9))
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max(), f"seed {seed}"
        compared += 1
    assert compared >= 5


def test_captum_alpha1_beta0_is_wrong_on_signed_input():
    """It clamps weights alone: x- w- counts as nothing, x- w+ counts as positive evidence. On inputs >= 0 it
    agrees."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4, bias=False)
    ).double()
    table = Composite("plus", (Row("any", "any", ZPlus(1e-9)),))
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for x, agrees in ((images.abs(), True), (images, False)):
        ours = relevance(network, x, TARGETS, table)
        theirs = _captum(network, x, Alpha1_Beta0_Rule)
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-8 * ours.abs().max()) == agrees
    zplus = relevance(network, images, TARGETS, table)
    naive, _, _ = _naive_network(network, images, ZPlus(1e-9))
    assert torch.allclose(zplus, naive, atol=1e-10)


class _Flattening(nn.Module):
    """captum has no rule for nn.Flatten, so it has to happen outside of modules."""

    def __init__(self, network):
        super().__init__()
        at = next(i for i, layer in enumerate(network) if isinstance(layer, nn.Flatten))
        self.below, self.above = network[:at], network[at + 1 :]

    def forward(self, x):
        return self.above(self.below(x).flatten(1))


def _captum(network, images, rule):
    rules = dict.fromkeys((nn.Conv2d, nn.Linear), rule)
    return peers.captum_map(_Flattening(network), images, TARGETS, rules)


def _without_inplace(network):
    return nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in network))


# Each rule from the Jacobian of one small layer, written out output by output.


def _jacobian(layer, x):
    """`(outputs, inputs)` weights and `(outputs,)` bias of a linear layer at an input's shape."""
    weights = torch.autograd.functional.jacobian(lambda v: layer(v.reshape(x.shape)).flatten(), x.flatten())
    return weights, layer(torch.zeros_like(x)).flatten().detach()


def _naive(rule, weights, bias, x, received):
    """Relevance of inputs `x` from that `received` by outputs, as the rule's docstring has it, and what the bias
    and epsilon take."""
    result, taken = torch.zeros_like(x), torch.zeros(2, dtype=x.dtype)
    counted = getattr(rule, "bias", True)
    for w, b, r in zip(weights, bias, received, strict=True):
        z, b = w @ x + b, b if counted else torch.zeros_like(b)
        plus, minus = (x * w).clamp(min=0), (x * w).clamp(max=0)
        match rule:
            case Epsilon():
                shares = [(1.0, x * w, b)]
            case ZPlus():
                shares = [(1.0, plus, b.clamp(min=0))]
            case AlphaBeta():
                shares = [(rule.alpha, plus, b.clamp(min=0)), (-rule.beta, minus, b.clamp(max=0))]
            case Gamma():
                favoured, sign = (plus, 1) if z > 0 else (minus, -1)
                shares = [
                    (1.0, x * w + rule.gamma * favoured, b + rule.gamma * sign * (sign * b).clamp(min=0))
                ]
            case Flat():
                # Connected inputs only: a weight of exactly 0 stands for no connection.
                shares = [(1.0, (w != 0).to(x), torch.zeros_like(b))]
            case WSquare():
                shares = [(1.0, w**2, b**2)]
            case ZBox():
                value = w * x - w.clamp(min=0) * rule.low - w.clamp(max=0) * rule.high
                shares = [(1.0, value, torch.zeros_like(b))]
        for factor, value, part in shares:
            total = value.sum() + part
            epsilon = rule.epsilon if total >= 0 else -rule.epsilon
            share = factor * r / (total + epsilon)
            result += share * value
            taken += share * torch.stack([part, torch.full_like(part, epsilon)])
    return result, taken


def _naive_network(network, images, rule):
    """Maps `(N, C, H, W)`, and what biases and epsilons took `(N,)`."""
    maps, taken = [], torch.zeros(2, 2, dtype=images.dtype)
    for number, image in enumerate(images):
        inputs, x = [], image[None]
        for layer in network:
            inputs.append(x)
            x = layer(x).detach()
        received = torch.zeros_like(x).flatten()
        received[TARGETS[number]] = x.flatten()[TARGETS[number]]
        for layer, x in zip(reversed(network), reversed(inputs), strict=True):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                received, lost = _naive(rule, *_jacobian(layer, x), x.flatten(), received)
                taken[:, number] += lost
        maps.append(received.reshape(image.shape))
    return torch.stack(maps), *taken


RULES = (
    Epsilon(),
    Epsilon(0.1),
    Epsilon(0.1, bias=False),
    ZPlus(),
    ZPlus(0.01, bias=False),
    AlphaBeta(2, 1),
    AlphaBeta(1.5, 0.5, 0.01),
    AlphaBeta(3, 2, bias=False),
    AlphaBeta(1, 0),
    Gamma(),
    Gamma(2.0, 0.01),
    Gamma(0.5, 0.1, bias=False),
    Flat(),
    WSquare(),
    WSquare(bias=False),
    ZBox(-3.0, 4.0),
)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("rectified", [False, True])
def test_each_rule_follows_its_equation(rule, rectified):
    """In the first layer (signed input) and in the next one, with and without a ReLU between."""
    torch.manual_seed(1)
    between = [nn.ReLU()] if rectified else []
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        *between,
        nn.Conv2d(4, 3, 2, dilation=2),
        *between,
        nn.Flatten(),
        nn.Linear(12, 4),
    ).double()
    images = torch.randn(2, 2, 8, 7, dtype=torch.float64)
    images[0, :, :3] = 0.0
    table = Composite("one rule", (Row("any", "any", rule),))
    found = LRP(network, table).explain(images, TARGETS)
    maps, biases, epsilon = _naive_network(network, images, rule)
    assert (found.relevance - maps).abs().max() <= 1e-9 * maps.abs().max()
    for share, expected in ((found.biases, biases), (found.epsilon, epsilon)):
        assert torch.allclose(share, expected, rtol=1e-7, atol=1e-9 * found.start.abs().max().item())


def test_lrp_0_is_input_times_gradient():
    table = Composite("lrp-0", (Row("any", "any", Epsilon(0.0)),))
    for seed in range(20):
        network, images = random_network(seed)
        images.requires_grad_()
        logits = network(images)
        (gradient,) = torch.autograd.grad(logits[range(2), TARGETS].sum(), images)
        found = relevance(network, images.detach(), TARGETS, table)
        assert torch.allclose(found, (images * gradient).detach(), rtol=1e-7, atol=1e-9)
