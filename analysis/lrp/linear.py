"""Linear maps whose weights are handed in, and their transposes; pooling, up and down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.lrp.network import Layer


class LinearMap:
    """A Conv2d or Linear whose weights are handed in: `(O, I / groups, kh, kw)` or `(O, I)`.

    On the way down a Linear's leading dimensions are free.
    """

    def __init__(self, layer: Layer) -> None:
        self.conv = layer.module if layer.kind == "convolution" else None
        self.layout = layer.layout if self.conv else torch.contiguous_format
        self.channels, self.groups = (-3, self.conv.groups) if self.conv else (-1, 1)
        self.padding: Any = _padding(layer) if self.conv else None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.conv is None:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, self.conv.stride, self.padding, self.conv.dilation, self.groups)

    def joined(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of several maps, joined along their inputs, in the layout that is fastest."""
        weight = weights[0] if len(weights) == 1 else torch.cat(list(weights), 1)
        return weight.contiguous(memory_format=self.layout)

    def side_by_side(self, xs: Sequence[Tensor]) -> Tensor:
        """Inputs for joined weights: several as the channels of one, group by group."""
        if len(xs) == 1:
            return xs[0]
        grouped = torch.stack([x.unflatten(1, (self.groups, -1)) for x in xs], 2)
        return grouped.flatten(1, 3).contiguous(memory_format=self.layout)

    def summed(self, s: Tensor) -> Tensor:
        """The sum over each group's outputs."""
        return s.unflatten(self.channels, (self.groups, -1)).sum(self.channels)

    def transpose(self, s: Tensor, weight: Tensor, shape: torch.Size, maps: int) -> Sequence[Tensor]:
        """The transposes of `maps` joined maps applied to `s (..., O, h, w)`, each of `shape (..., I, H, W)`."""
        if self.conv is None:
            u = s @ weight
        else:
            stride, padding, dilation = self.conv.stride, self.padding, self.conv.dilation
            # Rows and columns at the far edge that the strided convolution did not reach.
            rest = [
                (size + 2 * padding[i] - dilation[i] * (self.conv.kernel_size[i] - 1) - 1) % stride[i]
                for i, size in enumerate(shape[2:])
            ]
            # torch.nn.grad.conv2d_input, which would find the rest itself, is a little slower.
            u = F.conv_transpose2d(s, weight, None, stride, padding, rest, self.groups, dilation)
        if maps == 1:
            return [u]
        split = u.unflatten(self.channels, (self.groups, maps, -1)).unbind(self.channels - 1)
        return [each.flatten(self.channels - 1, self.channels) for each in split]


class Winners:
    """A MaxPool2d: values go up, relevance goes down to the position that won, the first one on ties."""

    def __init__(self, layer: Layer) -> None:
        pool, self.layout = layer.module, layer.layout
        sides = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        self.geometry = (*map(_pair, sides), pool.ceil_mode)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.aten.max_pool2d_with_indices(x, *self.geometry)

    def transpose(self, s: Tensor, shape: torch.Size, winners: Tensor) -> Tensor:
        """Adds each value to its winner's place; `shape` is the pooling's input shape."""
        x = _shaped(s, shape, self.layout)
        return torch.ops.aten.max_pool2d_with_indices_backward(s, x, *self.geometry, winners)


def average_transpose(layer: Layer, s: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of an AvgPool2d or AdaptiveAvgPool2d with inputs of this shape, applied to `s (N, C, h, w)`."""
    pool, x = layer.module, _shaped(s, shape, layer.layout)
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return torch.ops.aten._adaptive_avg_pool2d_backward(s, x)
    sides = map(_pair, (pool.kernel_size, pool.stride, pool.padding))
    options = (pool.ceil_mode, pool.count_include_pad, pool.divisor_override)
    return torch.ops.aten.avg_pool2d_backward(s, x, *sides, *options)


def shapes(layers: list[Layer], size: torch.Size) -> list[torch.Size]:
    """The output shape `(C, H, W)` or `(F,)` of each layer for inputs of this size `(C, H, W)` or `(F,)`.

    Nothing is computed. ValueError naming the first layer that cannot take its input.
    """
    x, sizes = torch.empty(1, *size, device="meta"), []
    for layer in layers:
        try:
            if layer.kind == "linear" and x.ndim != 2:
                raise RuntimeError("it needs one row of features per image; put nn.Flatten() before it.")
            # Running a ReLU on a meta tensor imports torch's compiler, which takes two seconds.
            x = x if layer.kind == "relu" else run(layer, x)
        except RuntimeError as error:
            raise ValueError(
                f"{layer.title} cannot take an input of shape {tuple(x.shape[1:])}: {str(error).splitlines()[0]}"
            ) from error
        sizes.append(x.shape[1:])
    return sizes


def run(layer: Layer, x: Tensor) -> Tensor:
    """The layer's output, on the device and in the dtype of `x`, which may be "meta"."""
    if layer.weight is None:
        return layer.module.forward(x)
    bias = None if layer.bias is None else layer.bias.to(x)
    return LinearMap(layer)(x, layer.weight.to(x), bias)


def _shaped(s: Tensor, shape: torch.Size, layout: torch.memory_format) -> Tensor:
    """A tensor never read, for kernels that ask a shape of one."""
    return torch.empty(shape, dtype=s.dtype, device=s.device, memory_format=layout)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _padding(layer: Layer) -> tuple[int, int]:
    module = layer.module
    if module.padding == "valid":
        return (0, 0)
    if module.padding != "same":
        return _pair(module.padding)
    high, wide = (d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True))
    if high % 2 or wide % 2:
        raise ValueError(
            f"{layer.title} has padding='same' with an even reach, which pads one side more; give the padding in "
            "numbers, after an explicit crop if need be."
        )
    return (high // 2, wide // 2)
