"""LRP explains the function that runs, or says which module is in the way."""

import copy
import os

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from lrp_networks import random_network
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torchvision.models import VGG

from analysis.lrp import LRP, Composite, Epsilon, Row, relevance

TARGETS = torch.tensor([1, 3])
EXACT = Composite("exact", (Row("any", "any", Epsilon(0.0)),))
EXAMPLES = settings(max_examples=int(os.environ.get("EXAMPLES", "15")), deadline=None)

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(36, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 4)).double().eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def input_x_gradient(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What LRP's epsilon rule without epsilon gives, of any function."""
    x = x.clone().requires_grad_()
    model(x).gather(1, TARGETS[:, None]).sum().backward()
    return x.detach() * x.grad


def explains(model: nn.Module, engine: LRP, x: torch.Tensor) -> bool:
    return torch.allclose(engine.explain(x, TARGETS).relevance, input_x_gradient(model, x), atol=1e-9)


class Halved(nn.Sequential):
    def forward(self, x):
        return super().forward(x) / 2


class Plain(nn.Sequential):
    pass


def forward_of_one_module(model):
    model[4].forward = lambda x: x


def called_another_way(model):
    class Called(nn.Sequential):
        def __call__(self, x):
            return super().__call__(-x)

    model[0].__class__ = Called


def masked_weights(model):
    prune.l1_unstructured(model[3], "weight", amount=0.5)


# What a user may do to a network, and the place that the error names.
CHANGES = {
    "hook": (lambda m: m[1].register_forward_hook(lambda module, x, out: 2 * out), "MaxPool2d at '1'"),
    "hook on the top": (lambda m: m.register_forward_hook(lambda *_: None), "the top"),
    "pre-hook": (lambda m: m[0].register_forward_pre_hook(lambda module, x: (-x[0],)), "Sequential at '0'"),
    "weight norm, old": (lambda m: weight_norm(m[3]), "Linear at '3' .*remove_weight_norm"),
    "spectral norm, old": (lambda m: spectral_norm(m[0][0]), r"Conv2d at '0\.0' .*remove_spectral_norm"),
    "weight norm": (lambda m: parametrizations.weight_norm(m[3]), "Linear at '3' is parametrised"),
    "spectral norm": (lambda m: parametrizations.spectral_norm(m[0][0]), r"Conv2d at '0\.0' is parametrised"),
    "pruning": (masked_weights, r"Linear at '3' .*prune\.remove"),
    "dropout": (lambda m: m[5].train(), r"Dropout at '5' is in training mode.*eval\(\)"),
    "batch norm": (lambda m: m[0].train(), r"BatchNorm2d at '0\.1' is in training mode"),
    "forward": (forward_of_one_module, "ReLU at '4' was replaced"),
    "call": (called_another_way, "Called at '0' was replaced"),
    "class": (lambda m: setattr(m, "__class__", Halved), "Halved at 'the top' has a forward pass of its own"),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_changes_the_function_is_refused_by_name(kind, when):
    """Whether it is there when the engine is made, or comes between two explanations."""
    change, words = CHANGES[kind]
    model = network()
    with pytest.raises(ValueError, match=words):
        if when == "before":
            change(model)
            LRP(model)
        else:
            engine = LRP(model)
            engine.explain(images(), TARGETS)
            change(model)
            engine.explain(images(), TARGETS)


def test_hooks_for_all_modules_are_refused():
    handle = nn.modules.module.register_module_forward_hook(lambda module, x, out: -out)
    try:
        with pytest.raises(ValueError, match="Forward hooks for all modules"):
            LRP(network())
    finally:
        handle.remove()


def test_a_subclass_that_changes_nothing_is_fine():
    model = network()
    model.__class__ = Plain
    assert torch.equal(relevance(model, images(), TARGETS), relevance(network(), images(), TARGETS))


def through_data(model):
    model[3].weight.data.mul_(-2)


def in_place(model):
    with torch.no_grad():
        model[0][0].bias.add_(1)


def new_tensor(model):
    model[3].weight = nn.Parameter(-model[3].weight.detach())


def statistics(model):
    model[0][1].running_mean += 1


def another_layer(model):
    model[4] = nn.Identity()


def stride(model):
    model[1].stride, model[1].padding = 2, 1
    model[3] = nn.Linear(64, 5).double()


@pytest.mark.parametrize("change", [through_data, in_place, new_tensor, statistics, another_layer, stride])
def test_a_network_that_changed_is_read_again(change):
    model = network()
    engine = LRP(model, EXACT)
    assert explains(model, engine, images())
    change(model)
    assert explains(model, engine, images())


def vgg(forward=None) -> nn.Module:
    torch.manual_seed(0)
    kind = type("Mine", (VGG,), {"forward": forward} if forward else {})
    model = kind(nn.Sequential(nn.Conv2d(3, 512, 3), nn.ReLU(True)), num_classes=4, init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(nn.Linear(512, 4))
    return model.double().eval()


def plain(self, x):
    x = self.avgpool(self.features(x))
    return self.classifier(x.view(x.size(0), -1))


def shifted(self, x):
    return VGG.forward(self, x + 1)


def clamped(self, x):  # the same function for the images at hand, not for all
    return VGG.forward(self, x.clamp(-99, 99))


def in_training(self, x):
    outputs = self.classifier(self.avgpool(self.features(x)).flatten(1))
    return 2 * outputs if self.training else outputs


def written_to(self, x):
    return VGG.forward(self, x.mul_(2))


def unflattened(self, x):
    return self.classifier(self.features(x).mean((2, 3)))


def test_vgg_layouts_with_a_forward_pass_of_their_own():
    for forward in (None, plain, in_training):
        model = vgg(forward)
        engine = LRP(model, EXACT)
        assert explains(model, engine, images())
    model.train()
    with pytest.raises(ValueError, match="Mine has features, avgpool and classifier, but"):
        engine.explain(images(), TARGETS)
    for forward in (shifted, clamped, written_to, unflattened):
        with pytest.raises(ValueError, match="Mine has features, avgpool and classifier, but"):
            LRP(vgg(forward).train())


def test_outputs_are_compared_where_nothing_is_to_be_seen(monkeypatch):
    """A class changed under the network: no module shows it."""
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.abs())
    with pytest.raises(ValueError, match="gives other outputs than its layers in a row"):
        relevance(network(), images(), TARGETS)
    monkeypatch.undo()
    model = network()
    trunk, heads = model[:3], [model[3:], copy.deepcopy(model[3:])]
    monkeypatch.setattr(
        nn.Linear, "forward", lambda self, x: nn.functional.linear(-x, self.weight, self.bias)
    )
    with pytest.raises(ValueError, match="other outputs"):
        LRP(trunk, heads=heads).explain(images(), [TARGETS] * 2)


def test_images_of_the_caller_stay_as_they_are():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(192, 4)).double().eval()
    x = images()
    relevance(model, x, TARGETS)
    assert torch.equal(x, images())


def drawn(seed: int) -> tuple[nn.Sequential, torch.Tensor]:
    try:
        return random_network(seed)
    except RuntimeError:  # its images are too small for its layers
        reject()


@EXAMPLES
@given(seed=st.integers(0, 10**6))
def test_any_sequential_network_conserves(seed):
    model, x = drawn(seed)
    found = LRP(model, "epsilon").explain(x, TARGETS)
    assert torch.allclose(found.start, model(x).gather(1, TARGETS[:, None])[:, 0])
    took = found.biases + found.epsilon
    assert torch.allclose(found.relevance.sum((1, 2, 3)), found.start - took, atol=1e-9)
    exact = LRP(model, EXACT).explain(x, TARGETS)
    assert torch.allclose(exact.pixels + exact.biases, exact.start, atol=1e-7)


def hooked(module):
    module.register_forward_hook(lambda module, x, out: out * 1.5)


def observed(module):
    module.register_forward_hook(lambda *_: None)


def pre_hooked(module):
    module.register_forward_pre_hook(lambda module, x: (x[0] + 0.1,))


def parametrised(module):
    if getattr(module, "weight", None) is not None and module.weight.ndim > 1:
        parametrizations.weight_norm(module)


def overwritten(module):
    before = module.forward
    module.forward = lambda x: before(x) * 0.7


def training(module):
    module.train()


def scaled(module):
    for parameter in module.parameters(recurse=False):
        parameter.data.mul_(1.3)


ALTERED = (hooked, observed, pre_hooked, parametrised, overwritten, training, scaled, lambda module: None)


@EXAMPLES
@given(
    seed=st.integers(0, 10**6), place=st.integers(0, 40), alter=st.sampled_from(ALTERED), late=st.booleans()
)
def test_any_altered_network_is_explained_or_refused(seed, place, alter, late):
    """Input times gradient, of the function that runs, is what the epsilon rule tends to."""
    model, x = drawn(seed)
    modules = list(model.modules())
    try:
        engine = LRP(model, EXACT) if late else None
        alter(modules[place % len(modules)])
        found = (engine or LRP(model, EXACT)).explain(x, TARGETS).relevance
    except ValueError as error:
        assert alter in (hooked, observed, pre_hooked, parametrised, overwritten, training), error
        return
    expected = input_x_gradient(model, x)
    assert torch.allclose(found, expected, atol=1e-7 * expected.abs().max().item() + 1e-12)
