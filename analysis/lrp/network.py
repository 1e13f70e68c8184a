"""Reads a sequential network into a flat list of layers; the model itself is never changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights

from analysis.lrp.composites import RULED, Composite
from analysis.lrp.rules import Rule

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "convolution",
    nn.Linear: "linear",
    nn.ReLU: "relu",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "average_pool",
    nn.AdaptiveAvgPool2d: "average_pool",
    nn.Flatten: "flatten",
}
_VGG_PARTS = ("features", "avgpool", "classifier")
_IDENTITIES = (nn.Dropout, nn.Dropout2d, nn.Identity)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_PLAIN = (bool, int, float, str, tuple)


@dataclass(frozen=True)
class Layer:
    """One layer of a network, and how it is to be explained.

    name: its path in the model ("features.3").
    kind: a value of KINDS.
    weight, bias: with batch normalisation merged; None for layers without.
    rule, signed: its rule, and whether its inputs may be negative (see `ruled`).
    mixed, layout: see `LRP`; the layout is that of `(N, C, H, W)` tensors.
    """

    name: str
    kind: str
    module: Any
    weight: Any = None
    bias: Any = None
    rule: Any = None
    signed: bool = True
    mixed: bool = False
    layout: torch.memory_format = torch.channels_last

    @property
    def title(self) -> str:
        return f"{type(self.module).__name__} at {self.name!r}"


def read(model: nn.Module, mixed: bool, layout: torch.memory_format) -> list[Layer]:
    """The model's layers: dropout left out, batch normalisation merged, no rules yet.

    Takes an nn.Sequential (nested ones are flattened) or a model with torchvision's VGG layout, `features`,
    `avgpool`, `classifier`, which flattens before the classifier. ValueError naming the module and its place
    for anything else, for what makes a module compute something else than its kind does (a forward pass of its
    own, hooks, parametrisations, training mode), and for weights that are not finite.
    """
    if any(getattr(global_hooks, f"_global{hooks}") for hooks in _HOOKS):
        raise ValueError(
            "Forward hooks for all modules are registered, which may change outputs; remove them."
        )
    layers: list[Layer] = []
    for name, module in _modules(model):
        if type(module) in KINDS:
            _check(name, module)
            weight, bias = (getattr(module, what, None) for what in ("weight", "bias"))
            weight, bias = (None if values is None else values.detach() for values in (weight, bias))
            kind = KINDS[type(module)]
            layers.append(Layer(name, kind, module, weight, bias, mixed=mixed, layout=layout))
        elif type(module) in _BATCH_NORMS:
            layers.append(_merged(layers.pop() if layers else None, name, module))
        elif type(module) not in _IDENTITIES:
            known = ", ".join(kind.__name__ for kind in (*KINDS, *_BATCH_NORMS, *_IDENTITIES))
            raise ValueError(
                f"LRP cannot go through {type(module).__name__} at {name!r}; "
                f"it takes sequential networks of {known}."
            )
        if module.training and (type(module) in _BATCH_NORMS or getattr(module, "p", 0) > 0):
            raise ValueError(
                f"{type(module).__name__} at {name!r} is in training mode, where outputs hang on chance or on "
                "the batch; call model.eval()."
            )
    if all(layer.weight is None for layer in layers):
        raise ValueError(f"{type(model).__name__} has no Conv2d or Linear layer to explain.")
    for layer in layers:
        for what, values in (("weight", layer.weight), ("bias", layer.bias)):
            # A sum is not finite if any of its terms is not: one read, no temporary the size of the weights.
            # In float64, which is slow, only where it is not: large weights may overflow it.
            if values is None or values.sum().isfinite() or values.sum(dtype=torch.float64).isfinite():
                continue
            raise ValueError(f"The {what} of {layer.title} is not finite.")
    return layers


def state(model: nn.Module) -> list[Any]:
    """What a network computes depends on this, as far as it can be seen: another state, perhaps another function."""
    seen: list[Any] = [len(getattr(global_hooks, f"_global{hooks}")) for hooks in _HOOKS]
    for module in model.modules():
        own = vars(module)
        plain = str([value for value in own.values() if isinstance(value, _PLAIN)])  # stride, training, ...
        seen.append((module, type(module), plain, "forward" in own))
        seen.append(([len(own[hooks]) for hooks in _HOOKS], list(own["_modules"].values())))
        for values in (*own["_parameters"].values(), *own["_buffers"].values()):
            if values is not None:
                # Writing through `.data` leaves the version as it is, but hardly the sum.
                version = None if values.is_inference() else values._version
                seen.append((id(values), values.data_ptr(), version, values.detach().sum().item()))
    return seen


def _modules(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    name = path.removesuffix(".") or "the top"
    if isinstance(model, nn.Module):
        _check_runs_as_written(name, model)
    if isinstance(model, nn.Sequential):
        if type(model).forward is not nn.Sequential.forward:
            raise ValueError(
                f"{type(model).__name__} at {name!r} has a forward pass of its own, which may do more than run its "
                "layers in a row; give an nn.Sequential of its layers."
            )
        # Not named_children(), which lists a module that is used twice only once.
        for child_name, child in model._modules.items():
            yield from _modules(child, f"{path}{child_name}.")
    elif not path and all(isinstance(getattr(model, part, None), nn.Module) for part in _VGG_PARTS):
        _check_layout(model)
        yield from _modules(model.features, "features.")
        yield from _modules(model.avgpool, "avgpool.")
        yield "flatten", nn.Flatten()
        yield from _modules(model.classifier, "classifier.")
    else:
        yield name, model


def _check_runs_as_written(name: str, module: nn.Module) -> None:
    """ValueError if calling the module does, or may do, something else than the forward pass of its class."""
    title, own = f"{type(module).__name__} at {name!r}", vars(module)
    if "forward" in own or type(module).__call__ is not nn.Module.__call__:
        raise ValueError(f"The forward pass of {title} was replaced, so it may compute anything; undo that.")
    if parametrize.is_parametrized(module):
        raise ValueError(
            f"{title} is parametrised; keep what it has now, with torch.nn.utils.parametrize."
            "remove_parametrizations(module, 'weight')."
        )
    if hooks := [hook for hooks in _HOOKS for hook in own[hooks].values()]:
        kind = getattr(hooks[0], "__name__", type(hooks[0]).__name__)
        raise ValueError(
            f"{title} has a forward hook ({kind}), which may change what it computes; remove it (pruning: "
            "torch.nn.utils.prune.remove, weight norm: remove_weight_norm, spectral norm: remove_spectral_norm)."
        )


class _StandIn(nn.Module):
    """In place of a part of a network: remembers what went in, and gives a set output."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.taken: Any = None
        self.output = output

    def forward(self, x: Any) -> torch.Tensor:
        self.taken = x
        return self.output


def _check_layout(model: Any) -> None:
    """ValueError unless the forward pass, run with stand-ins, is features, avgpool, flatten, classifier."""
    image, maps, pooled = (torch.arange(float(24 * side)).reshape(2, 3, 2, -1) for side in (8, 4, 2))
    features, avgpool, classifier = parts = [_StandIn(out) for out in (maps, pooled, pooled[:, 0, 0].clone())]
    stand_in = copy.copy(model)
    before = [values._version for values in (image, maps, pooled, classifier.output)]
    stand_in._modules = {**model._modules, **dict(zip(_VGG_PARTS, parts, strict=True))}
    try:
        with torch.no_grad():
            result = stand_in(image)
        chained = result is classifier.output and features.taken is image and avgpool.taken is maps
        untouched = before == [values._version for values in (image, maps, pooled, classifier.output)]
        same = chained and untouched and torch.equal(classifier.taken, pooled.flatten(1))
        why = "its forward pass does more than chain them"
    except Exception as error:
        same, why = False, f"its forward pass could not be followed ({error})"
    if not same:
        raise ValueError(
            f"{type(model).__name__} has features, avgpool and classifier, but {why}; give an nn.Sequential of its "
            "layers."
        )


def _check(name: str, module: nn.Module) -> None:
    match module:
        case nn.Conv2d() if module.padding_mode != "zeros":
            raise ValueError(f"Conv2d at {name!r} pads with {module.padding_mode!r}; LRP takes 'zeros' only.")
        case nn.MaxPool2d() if module.return_indices:
            raise ValueError(f"MaxPool2d at {name!r} returns indices; make it with return_indices=False.")
        case nn.Flatten() if (module.start_dim, module.end_dim) not in ((1, -1), (1, 3)):
            raise ValueError(f"Flatten at {name!r} must flatten all but the batch dimension: start_dim=1.")


def _merged(layer: Layer | None, name: str, norm: Any) -> Layer:
    title = f"{type(norm).__name__} at {name!r}"
    if layer is None or layer.weight is None:
        raise ValueError(f"{title} does not follow a Conv2d or Linear, so it cannot be merged into one.")
    if norm.running_mean is None:
        raise ValueError(f"{title} keeps no running statistics; make it with track_running_stats=True.")
    # Not fuse_conv_bn_eval, which copies modules and refuses those in training mode. Serves linear layers as well.
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return replace(layer, weight=weight.detach(), bias=bias.detach())


def ruled(layers: list[Layer], table: Composite) -> list[Layer]:
    """A whole network's layers, each with its rule: none for ReLU, max-pooling and flatten."""
    rules = iter(table.rules([layer.kind for layer in layers if layer.kind in RULED]))
    complete, signed = [], True
    for layer in layers:
        rule: Rule | None = next(rules) if layer.kind in RULED else None
        complete.append(replace(layer, rule=rule, signed=signed))
        signed = layer.kind != "relu" and (signed or layer.weight is not None)
    return complete
