"""Linear maps whose weights are handed in, and their transposes; pooling, up and down."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.lrp.network import Layer


class Convolution:
    """A Conv2d's geometry. Weights `(O, I / groups, kh, kw)` are handed in, in the given memory layout."""

    def __init__(self, layer: Layer, layout: torch.memory_format) -> None:
        module: nn.Conv2d = layer.module
        self.layout = layout
        self.stride, self.dilation, self.groups = module.stride, module.dilation, module.groups
        self.kernel = module.kernel_size
        self.padding = _padding(layer.name, module)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def laid_out(self, weight: Tensor) -> Tensor:
        """The weight in the layout that `__call__` is fastest with."""
        return weight.contiguous(memory_format=self.layout)

    def side_by_side(self, xs: Sequence[Tensor]) -> Tensor:
        """Several inputs as the channels of one, for weights joined along their input channels."""
        if len(xs) == 1:
            return xs[0]
        return self.laid_out(torch.stack([x.unflatten(1, (self.groups, -1)) for x in xs], 2).flatten(1, 3))

    def transposed(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights for `transpose`, several maps side by side in each group."""
        grouped = torch.stack([weight.unflatten(0, (self.groups, -1)) for weight in weights], 2)
        return self.laid_out(grouped.flatten(0, 1).flatten(1, 2))

    def transpose(self, s: Tensor, weight: Tensor, shape: torch.Size, maps: int) -> list[Tensor]:
        """Each map's transpose applied to `s (N, O, h, w)`: `maps` tensors of `shape (N, I, H, W)`."""
        rest = self._rest(s, shape)
        u = F.conv_transpose2d(s, weight, None, self.stride, self.padding, rest, self.groups, self.dilation)
        if maps == 1:
            return [u]
        return [u.unflatten(1, (self.groups, maps, -1))[:, :, m].flatten(1, 2) for m in range(maps)]

    def spread(self, s: Tensor, shape: torch.Size) -> Tensor:
        """The transpose with all weights one: a box sum over the sum of each group's channels."""
        total = s.unflatten(1, (self.groups, -1)).sum(2)
        box = torch.ones(self.groups, 1, *self.kernel, dtype=s.dtype, device=s.device)
        u = F.conv_transpose2d(
            total, box, None, self.stride, self.padding, self._rest(s, shape), self.groups, self.dilation
        )
        return u.repeat_interleave(shape[1] // self.groups, 1)

    def _rest(self, s: Tensor, shape: torch.Size) -> tuple[int, ...]:
        """Rows and columns at the far edge that the strided convolution did not reach."""
        return tuple(
            shape[2 + i]
            - ((s.shape[2 + i] - 1) * self.stride[i] - 2 * self.padding[i])
            - self.dilation[i] * (self.kernel[i] - 1)
            - 1
            for i in range(2)
        )


class MatrixProduct:
    """A Linear layer. Weights `(O, I)` are handed in; leading dimensions are free."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def laid_out(self, weight: Tensor) -> Tensor:
        return weight

    def side_by_side(self, xs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(xs), -1)

    def transposed(self, weights: Sequence[Tensor]) -> Tensor:
        return weights[0] if len(weights) == 1 else torch.cat(list(weights), 1)

    def transpose(self, s: Tensor, weight: Tensor, shape: torch.Size, maps: int) -> list[Tensor]:
        return list((s @ weight).chunk(maps, -1))

    def spread(self, s: Tensor, shape: torch.Size) -> Tensor:
        return s.sum(-1, keepdim=True).expand(*s.shape[:-1], shape[-1])


class Average:
    """An AvgPool2d or AdaptiveAvgPool2d: weights are fixed by the geometry."""

    def __init__(self, module: nn.AvgPool2d | nn.AdaptiveAvgPool2d, layout: torch.memory_format) -> None:
        self.module, self.layout = module, layout

    def __call__(self, x: Tensor) -> Tensor:
        return self.module.forward(x)

    def transpose(self, s: Tensor, shape: torch.Size) -> Tensor:
        """The transpose applied to `s (N, C, h, w)`; `shape` is the pooling's input shape."""
        pool, x = self.module, _shaped(s, shape, self.layout)
        if isinstance(pool, nn.AdaptiveAvgPool2d):
            return torch.ops.aten._adaptive_avg_pool2d_backward(s, x)
        return torch.ops.aten.avg_pool2d_backward(
            s,
            x,
            _pair(pool.kernel_size),
            _pair(pool.stride),
            _pair(pool.padding),
            pool.ceil_mode,
            pool.count_include_pad,
            pool.divisor_override,
        )


class Winners:
    """A MaxPool2d: values go up, relevance goes down to the position that won."""

    def __init__(self, module: nn.MaxPool2d, layout: torch.memory_format) -> None:
        self.layout = layout
        self.geometry = (
            _pair(module.kernel_size),
            _pair(module.stride),
            _pair(module.padding),
            _pair(module.dilation),
            module.ceil_mode,
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.aten.max_pool2d_with_indices(x, *self.geometry)

    def transpose(self, s: Tensor, shape: torch.Size, winners: Tensor) -> Tensor:
        """Adds each value to its winner's place; `shape` is the pooling's input shape."""
        x = _shaped(s, shape, self.layout)
        return torch.ops.aten.max_pool2d_with_indices_backward(s, x, *self.geometry, winners)

    def places(self, winners: Tensor, shape: torch.Size) -> Tensor:
        """Winners as places in the memory of the pooling's input, a tensor of this shape, for `take`."""
        images, channels, area = *shape[:2], prod(shape[2:])
        next_channel, next_place = (1, channels) if self.layout == torch.channels_last else (area, 1)
        image, channel = (torch.arange(count, device=winners.device) for count in (images, channels))
        first = image[:, None] * (channels * area) + channel * next_channel
        return torch.add(first[:, :, None, None], winners, alpha=next_place)

    def take(self, tensor: Tensor, places: Tensor) -> Tensor:
        """The tensor's values at the winners; with places about six times as fast as `gather`."""
        tensor = tensor.contiguous(memory_format=self.layout)
        if self.layout != torch.channels_last:
            return tensor.take(places)
        return tensor.permute(0, 2, 3, 1).take(places.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _shaped(s: Tensor, shape: torch.Size, layout: torch.memory_format) -> Tensor:
    """A tensor never read, for kernels that ask a shape of one."""
    return torch.empty(shape, dtype=s.dtype, device=s.device, memory_format=layout)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _padding(name: str, module: nn.Conv2d) -> tuple[int, int]:
    if module.padding == "valid":
        return (0, 0)
    if module.padding != "same":
        return _pair(module.padding)
    total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(t % 2 for t in total):
        raise ValueError(
            f"Conv2d at {name!r} has padding='same' with an even reach, which pads one side more; give the padding "
            "in numbers, after an explicit crop if need be."
        )
    return (total[0] // 2, total[1] // 2)
