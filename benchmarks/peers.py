"""Maps by zennit and captum under the composites of analysis.lrp, for the benchmarks and the tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import LRP as CaptumLRP
from torch import Tensor, nn
from zennit import composites, rules, types


def zennit_composite(name: str, box: dict[str, tuple], dtype: torch.dtype = torch.float32):
    """zennit's composite of that name; `box` has the bounds "low" and "high" of the input, per channel."""
    if name == "epsilon":
        return composites.LayerMapComposite([*composites.layer_map_base(), (types.Linear, rules.Epsilon())])
    bounds = {}
    if name == "epsilon_gamma_box":
        bounds = {end: torch.tensor(value, dtype=dtype).view(1, -1, 1, 1) for end, value in box.items()}
    return composites.COMPOSITES[name](**bounds)


def zennit_map(model: nn.Module, images: Tensor, targets: Tensor, composite) -> Tensor:
    """zennit's relevance `(N, C, H, W)`, started with the target's logit, in the images' memory layout."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with composite.context(model) as hooked:
        logits = hooked(images)
        start = torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0) * logits.detach()
        return torch.autograd.grad(logits, images, start)[0]


def captum_map(
    model: nn.Module, images: Tensor, targets: Tensor, rules: dict[type[nn.Module], Callable]
) -> Tensor:
    """captum's relevance `(N, C, H, W)`; `rules` makes the rule of each type of layer."""
    for layer in model.modules():  # captum removes the rules after every call
        if type(layer) in rules:
            layer.rule = rules[type(layer)]()
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    return CaptumLRP(model).attribute(images, target=targets).detach()


def with_biases(model: nn.Module, seed: int) -> nn.Module:
    """The model itself, with biases that are not 0, as those of fresh networks are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.bias.normal_(0.0, 0.05, generator=generator)
    return model
