"""Reads a sequential network into a flat list of layers; the model itself is never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "convolution",
    nn.Linear: "linear",
    nn.ReLU: "relu",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "average_pool",
    nn.AdaptiveAvgPool2d: "average_pool",
    nn.Flatten: "flatten",
}
VGG_PARTS = ("features", "avgpool", "classifier")
_IDENTITIES = (nn.Dropout, nn.Dropout2d, nn.Identity)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Layer:
    """One layer: `name` is its path in the model ("features.3"), `kind` a value of KINDS."""

    name: str
    kind: str
    module: nn.Module
    weight: Tensor | None = None
    bias: Tensor | None = None


def read(model: nn.Module) -> list[Layer]:
    """The model's layers in evaluation mode: dropout left out, batch normalisation merged.

    Takes an nn.Sequential (nested ones are flattened) or a model with torchvision's VGG layout, `features`,
    `avgpool`, `classifier`, which flattens before the classifier. ValueError naming the module and its place
    for anything else, and for weights that are not finite.
    """
    layers: list[Layer] = []
    for name, module in _modules(model):
        if type(module) in _BATCH_NORMS:
            layers.append(_merged(layers.pop() if layers else None, name, module))
        elif type(module) in KINDS:
            layers.append(_layer(name, module))
        elif type(module) not in _IDENTITIES:
            known = ", ".join(kind.__name__ for kind in (*KINDS, *_BATCH_NORMS, *_IDENTITIES))
            raise ValueError(
                f"LRP cannot go through {type(module).__name__} at {name!r}; "
                f"it takes sequential networks of {known}."
            )
    if not any(layer.weight is not None for layer in layers):
        raise ValueError(f"{type(model).__name__} has no Conv2d or Linear layer to explain.")
    return layers


def _modules(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    if isinstance(model, nn.Sequential):
        # Not named_children(), which lists a module that is used twice only once.
        for name, child in model._modules.items():
            yield from _modules(child, f"{path}{name}.")
    elif not path and all(isinstance(getattr(model, part, None), nn.Module) for part in VGG_PARTS):
        yield from _modules(model.features, "features.")
        yield from _modules(model.avgpool, "avgpool.")
        yield "flatten", nn.Flatten()
        yield from _modules(model.classifier, "classifier.")
    else:
        yield path.removesuffix(".") or "the top", model


def _layer(name: str, module: nn.Module) -> Layer:
    match module:
        case nn.Conv2d() if module.padding_mode != "zeros":
            raise ValueError(f"Conv2d at {name!r} pads with {module.padding_mode!r}; LRP takes 'zeros' only.")
        case nn.MaxPool2d() if module.return_indices:
            raise ValueError(f"MaxPool2d at {name!r} returns indices; make it with return_indices=False.")
        case nn.Flatten() if (module.start_dim, module.end_dim) not in ((1, -1), (1, 3)):
            raise ValueError(f"Flatten at {name!r} must flatten all but the batch dimension: start_dim=1.")
    weight = getattr(module, "weight", None)
    bias = getattr(module, "bias", None)
    return _finite(Layer(name, KINDS[type(module)], module, _detached(weight), _detached(bias)))


def _detached(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()


def _finite(layer: Layer) -> Layer:
    for what, tensor in (("weight", layer.weight), ("bias", layer.bias)):
        # A sum is not finite if any of its terms is not: one read, no temporary the size of the weights.
        if tensor is not None and not tensor.sum(dtype=torch.float64).isfinite():
            raise ValueError(f"The {what} of {type(layer.module).__name__} at {layer.name!r} is not finite.")
    return layer


def _merged(layer: Layer | None, name: str, norm: nn.Module) -> Layer:
    kind = type(norm).__name__
    if layer is None or layer.weight is None:
        raise ValueError(
            f"{kind} at {name!r} does not follow a Conv2d or Linear, so it cannot be merged into one."
        )
    if norm.running_mean is None:
        raise ValueError(
            f"{kind} at {name!r} keeps no running statistics; make it with track_running_stats=True."
        )
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach()
    weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = shift if layer.bias is None else shift + layer.bias * scale
    return _finite(Layer(layer.name, layer.kind, layer.module, weight, bias))


def shapes(layers: list[Layer], image: torch.Size) -> list[torch.Size]:
    """The output shape `(C, H, W)` or `(F,)` of each layer for one image of shape `(C, H, W)`, computing nothing.

    ValueError naming the first layer that cannot take its input.
    """
    x = torch.empty(1, *image, device="meta")
    found = []
    for layer in layers:
        try:
            x = _run(layer, x)
        except RuntimeError as error:
            raise ValueError(
                f"{type(layer.module).__name__} at {layer.name!r} cannot take an input of shape {tuple(x.shape[1:])} "
                f"(images of shape {tuple(image)}): {str(error).splitlines()[0]}"
            ) from error
        found.append(x.shape[1:])
    if x.ndim != 2:
        raise ValueError(
            f"The network must end in one row of outputs per image, not in shape {tuple(x.shape[1:])}; "
            "end it with nn.Flatten()."
        )
    return found


def _run(layer: Layer, x: Tensor) -> Tensor:
    if layer.kind == "relu":
        return x  # running it on a meta tensor imports torch's compiler, which takes two seconds
    if layer.weight is None:
        return layer.module.forward(x)
    if layer.kind == "linear":
        if x.ndim != 2:
            raise RuntimeError("it needs one row of features per image; put nn.Flatten() before it.")
        return F.linear(x, layer.weight.to("meta", torch.float32))
    conv = layer.module
    weight = layer.weight.to("meta", torch.float32)
    return F.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
