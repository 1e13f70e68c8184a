"""Reads a sequential network into a flat list of layers; the model itself is never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
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
    """The model's layers in evaluation mode: dropout left out, batch normalisation merged, no rules yet.

    Takes an nn.Sequential (nested ones are flattened) or a model with torchvision's VGG layout, `features`,
    `avgpool`, `classifier`, which flattens before the classifier. ValueError naming the module and its place
    for anything else, and for weights that are not finite.
    """
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
    if all(layer.weight is None for layer in layers):
        raise ValueError(f"{type(model).__name__} has no Conv2d or Linear layer to explain.")
    for layer in layers:
        for what, values in (("weight", layer.weight), ("bias", layer.bias)):
            # A sum is not finite if any of its terms is not: one read, no temporary the size of the weights.
            if values is not None and not values.sum(dtype=torch.float64).isfinite():
                raise ValueError(f"The {what} of {layer.title} is not finite.")
    return layers


def _modules(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(model, nn.Sequential):
        # Not named_children(), which lists a module that is used twice only once.
        for name, child in model._modules.items():
            yield from _modules(child, f"{path}{name}.")
    elif not path and all(isinstance(getattr(model, part, None), nn.Module) for part in _VGG_PARTS):
        yield from _modules(model.features, "features.")
        yield from _modules(model.avgpool, "avgpool.")
        yield "flatten", nn.Flatten()
        yield from _modules(model.classifier, "classifier.")
    else:
        yield path.removesuffix(".") or "the top", model


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
