"""The LRP engine: a network and a composite prepared once; maps and balances for any number of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from analysis.lrp.composites import Composite
from analysis.lrp.composites import composite as composite_named
from analysis.lrp.linear import Winners
from analysis.lrp.network import Layer, read, shapes
from analysis.lrp.rules import Epsilon, Pass, Rule
from analysis.lrp.steps import Flatten, Mean, Pick, Rectify, State, Tap, Through, Weighted

# Activations of one layer held at once. On a CPU 25 MB in float32: below the largest size (32 MB) from which
# glibc would map fresh pages for every tensor, and near the size of the last cache.
CPU_ACTIVATIONS = 6_500_000
GPU_ACTIVATIONS = 400_000_000
# Micro-batches per batch. Early layers, whose activations are large, take one micro-batch at a time; later ones,
# whose weights are large, the whole batch: every call reads the weights, and oneDNN rearranges them.
MICRO_BATCHES = 4

Ledger = dict[str, Tensor]


@dataclass(frozen=True)
class Explanation:
    """Relevance maps of N images, and where their relevance went.

    `(N, ...)` is `(N,)` for one target per image and `(N, T)` for T; with heads `(N, H)` and `(N, H, T)`.

    relevance: `(N, ..., C, H, W)`, in units of the logit, in the network's dtype.
    logits: `(N, K)`; with heads one such per head.
    start: `(N, ...)`, the relevance put in: the target's logit, or the weighted sum of logits.
    pixels, biases, epsilon: `(N, ...)`, the shares of `start` that ended in the map, in the layers' biases,
        and in the stabilisers, with rounding; the three sum to `start`. The stabilisers also take all
        relevance of neurons that have nothing to give it to, as z+ may find no positive contribution.
    biases_by_layer: the biases' share by name of the layer, those of heads as "head:<name>".
    layers: relevance at the output of each layer asked for, by name.
    """

    relevance: Tensor
    logits: tuple[Tensor, ...] | Tensor
    start: Tensor
    pixels: Tensor
    biases: Tensor
    epsilon: Tensor
    biases_by_layer: Ledger
    layers: Ledger


class LRP:
    """Layer-wise relevance propagation through a sequential ReLU network, as it is in evaluation mode.

    model: an nn.Sequential or a model with torchvision's VGG layout (see `network.read`), in float32 or
        float64. It is read, never changed; prepare anew after changing its weights.
    composite: name of a composite ("epsilon", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1",
        "epsilon_alpha2_beta1_flat", "epsilon_gamma_box") or a `Composite`.
    heads: networks that each continue `model`, then their common trunk; they share its passes.
    low, high: the range of the network's input, for "epsilon_gamma_box".
    mixed: denominators and the way down in bfloat16, the way up in float32.
    accurate: convolutions in contiguous layout. On CPUs with AVX-512 oneDNN then rounds about three times less,
        because it sums blocks of 16 channels; in channels_last, the default, it is faster. `make bench` has both.
    layers: names of layers whose output's relevance to keep; of the trunk only, where there are heads.

    ValueError for networks that LRP cannot go through, weights that are not finite, unknown names, and `mixed` with
    `accurate`.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: str | Composite = "epsilon_plus",
        *,
        heads: Sequence[nn.Module] | None = None,
        low=None,
        high=None,
        mixed: bool = False,
        accurate: bool = False,
        layers: Sequence[str] = (),
    ) -> None:
        if mixed and accurate:
            raise ValueError("mixed=True gives digits away and accurate=True keeps them; choose one.")
        self.layout = torch.contiguous_format if accurate else torch.channels_last
        table = composite_named(composite, low, high)
        trunk = read(model)
        tops = [[]] if heads is None else [read(head) for head in heads]
        if not tops:
            raise ValueError("heads is empty; give at least one head, or None for a network without.")
        self.networks = [trunk + top for top in tops]
        self.has_heads = heads is not None
        self.sizes: dict[torch.Size, list[list[torch.Size]]] = {}
        self.dtype, self.device = _one_kind(self.networks, mixed)
        names = {layer.name for layer in trunk}
        if unknown := [name for name in layers if name not in names]:
            raise ValueError(
                f"The network has no layer {unknown[0]!r} to keep; it has {', '.join(sorted(names))}."
            )
        compiled = [
            _steps(network, len(trunk), table, set(layers), mixed, self.layout) for network in self.networks
        ]
        trunks = [[step for at, step in steps if at < len(trunk)] for steps in compiled]
        if len({_signature(steps) for steps in trunks}) > 1:
            raise ValueError(
                f"Composite {table.name!r} gives the trunk different rules under different heads."
            )
        split = 1 + max((i for i, step in enumerate(trunks[0]) if _is_spatial(step)), default=-1)
        self.spatial, self.flat = trunks[0][:split], trunks[0][split:]
        self.places = [at for at, _ in compiled[0][:split]]  # of the spatial steps among the layers
        self.heads = [[step for at, step in steps if at >= len(trunk)] for steps in compiled]
        # Sequential models are what their layers say; of others the layout is a guess to be checked once.
        self.unchecked = model if heads is None and not isinstance(model, nn.Sequential) else None
        self.down_dtype = torch.bfloat16 if mixed else self.dtype

    def explain(self, images: Tensor, targets, *, mean: bool = False) -> Explanation:
        """Maps of `images (N, C, H, W)` and their balance, in batches: beside the results, memory does not
        grow with N.

        targets: class indices `(N,)` or `(N, T)`, or floating-point weights over outputs `(N, K)` or
            `(N, T, K)`; with heads a sequence of such, one per head.
        mean: with heads, the mean over heads for one pass down the trunk.
        ValueError for images or targets of wrong shape, dtype or range.
        """
        micro, deep = self._portions(images)
        starts, several = self._starts(images, targets)
        if mean and not self.has_heads:
            raise ValueError("mean=True is a mean over heads, and this network was given none; leave it out.")
        size = micro * MICRO_BATCHES
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            self._check_layout(images[:1])
            parts = [
                self._batch(images[i : i + size], [s[:, i : i + size] for s in starts], micro, deep, mean)
                for i in range(0, len(images), size)
            ]
        whole = _finished(parts, drop_heads=mean or not self.has_heads, drop_targets=not several)
        return whole if self.has_heads else replace(whole, logits=whole.logits[0])

    def stream(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        write: Callable[[int, Explanation], None],
        *,
        mean: bool = False,
    ) -> int:
        """Explains batch after batch and hands each to `write(first image's number, explanation)`.

        Writing runs in a thread of its own beside the next batch's computation; at most one batch waits, so
        memory is that of two batches however many there are. An error in `write` is raised here. Returns the
        number of images.
        """
        done, pending = 0, None
        with ThreadPoolExecutor(max_workers=1) as writer:
            for images, targets in batches:
                explanation = self.explain(images, targets, mean=mean)
                if pending is not None:
                    pending.result()
                pending = writer.submit(write, done, explanation)
                done += len(images)
            if pending is not None:
                pending.result()
        return done

    def _portions(self, images: Tensor) -> tuple[int, int]:
        """Images per micro-batch, and the first spatial step that takes the whole batch."""
        if not isinstance(images, Tensor) or images.ndim != 4 or not len(images):
            shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a tensor (N, C, H, W) with N >= 1, not {shape}.")
        if images.dtype != self.dtype or images.device != self.device:
            raise ValueError(
                f"images are {images.dtype} on {images.device}, the network {self.dtype} on {self.device}; "
                "convert one to the other."
            )
        if not images.isfinite().all():
            raise ValueError("images hold values that are not finite (nan or inf).")
        largest = max(prod(shape) for found in self._shapes(images) for shape in found)
        room = CPU_ACTIVATIONS if self.device.type == "cpu" else GPU_ACTIVATIONS
        micro = max(1, min(len(images), room // largest))
        batch = min(len(images), micro * MICRO_BATCHES)
        sizes = [images.shape[1:], *self._shapes(images)[0]]
        fits = [prod(shape) * batch <= room for shape in sizes]
        deep = (step for step, at in enumerate(self.places) if all(fits[at:]))
        return micro, next(deep, len(self.spatial))

    def _shapes(self, images: Tensor) -> list[list[torch.Size]]:
        """Every layer's output shape, for the network under each head."""
        size = images.shape[1:]
        if size not in self.sizes:
            self.sizes[size] = [shapes(network, size) for network in self.networks]
        return self.sizes[size]

    def _check_layout(self, image: Tensor) -> None:
        """ValueError if the model computes something else than its features, avgpool and classifier in a row."""
        model, self.unchecked = self.unchecked, None
        if model is None or any(module.training for module in model.modules()):
            return
        expected = model(image)
        found = image
        for steps in (self.spatial, self.flat, self.heads[0]):
            found, _ = _up(steps, found)
        if expected.shape != found.shape or not torch.allclose(expected, found, rtol=1e-2, atol=1e-3):
            raise ValueError(
                f"{type(model).__name__} has features, avgpool and classifier, but its forward pass does more "
                "than chain them; give an nn.Sequential of its layers."
            )

    def _starts(self, images: Tensor, targets) -> tuple[list[Tensor], bool]:
        """Weights over outputs `(T, N, K)` per head, and whether targets have a T of their own."""
        per_head = targets if self.has_heads else [targets]
        if len(per_head) != len(self.heads):
            raise ValueError(
                f"{len(self.heads)} heads need as many targets, one tensor each, not {len(per_head)}."
            )
        classes = [found[-1][0] for found in self._shapes(images)]
        found = [_start(t, len(images), k) for t, k in zip(per_head, classes, strict=True)]
        if len({(start.shape[0], several) for start, several in found}) > 1:
            raise ValueError("Targets of all heads must have the same number per image.")
        return [start.to(self.device, self.dtype) for start, _ in found], found[0][1]

    def _batch(self, images: Tensor, starts: list[Tensor], micro: int, deep: int, mean: bool) -> Explanation:
        early, late = self.spatial[:deep], self.spatial[deep:]
        chunks = [c.contiguous(memory_format=self.layout) for c in images.split(micro)]
        ups = [_up(early, chunk) for chunk in chunks]
        features, late_states = _up(late, torch.cat([a for a, _ in ups]))
        features, flat_states = _up(self.flat, features)
        logits, messages, books = [], [], []
        for head, start in zip(self.heads, starts, strict=True):
            out, states = _up(head, features)
            if not out.isfinite().all():
                raise ValueError("The network's outputs are not finite for these images; check their scale.")
            message, ledger, _ = _down_any(head, states, start.to(self.down_dtype, copy=True), self.layout)
            logits.append(out)
            messages.append(message)
            books.append({f"head:{name}": lost for name, lost in ledger.items()})
        start = torch.stack([(s * out).sum(-1) for s, out in zip(starts, logits, strict=True)])
        lost = {
            name: torch.stack([book.get(name, torch.zeros_like(start[0])) for book in books])
            for name in {name: None for book in books for name in book}
        }
        message = torch.stack(messages)  # (heads, T, N, ...)
        if mean:
            start, message = start.mean(0, keepdim=True), message.mean(0, keepdim=True)
            lost = {name: value.mean(0, keepdim=True) for name, value in lost.items()}
        lanes = message.shape[:2]
        message, flat_lost, flat_kept = _down(self.flat, flat_states, message.flatten(0, 1))
        message, late_lost, late_kept = _down_each(late, late_states, message, self.layout)
        below, kept, early_lost = [], [], []
        for chunk, (_, states), c in zip(chunks, ups, message.split(micro, 1), strict=True):
            maps, ledger, taps = _down_each(early, states, c, self.layout)
            first = (self.spatial or self.flat or self.heads[0])[0]
            below.append(maps if first.returns_relevance else chunk * maps)
            early_lost.append(ledger)
            kept.append(taps)
        trunk_lost = flat_lost | late_lost | _concatenated(early_lost, 1)
        lost |= {name: value.unflatten(0, lanes) for name, value in trunk_lost.items()}
        relevance = torch.cat(below, 1).to(self.dtype).unflatten(0, lanes)
        taps = flat_kept | late_kept | _concatenated(kept, 1)
        pixels = relevance.sum((-3, -2, -1))
        biases = sum(lost.values(), torch.zeros_like(start))
        return Explanation(
            relevance=relevance,
            logits=tuple(logits),
            start=start,
            pixels=pixels,
            biases=biases,
            epsilon=start - pixels - biases,
            biases_by_layer=lost,
            layers={name: value.to(self.dtype).unflatten(0, lanes) for name, value in taps.items()},
        )


def relevance(
    model: nn.Module,
    images: Tensor,
    targets,
    composite: str | Composite = "epsilon_plus",
    *,
    low=None,
    high=None,
    mixed: bool = False,
) -> Tensor:
    """Relevance maps: `(N, C, H, W)` for targets `(N,)`, `(N, T, C, H, W)` for targets `(N, T)`.

    The starting relevance is the target's logit, so a map sums to the logit less what biases and stabilisers
    took (`LRP.explain` reports how much). Arguments and errors as for `LRP` and `LRP.explain`, which is the
    one to use for many batches: it prepares the network once.
    """
    return LRP(model, composite, low=low, high=high, mixed=mixed).explain(images, targets).relevance


def _one_kind(networks: list[list[Layer]], mixed: bool) -> tuple[torch.dtype, torch.device]:
    weights = [layer.weight for network in networks for layer in network if layer.weight is not None]
    kinds = {(weight.dtype, weight.device) for weight in weights}
    if len(kinds) > 1:
        raise ValueError(f"Weights must be of one dtype on one device, not {sorted(map(str, kinds))}.")
    dtype, device = kinds.pop()
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"Weights are {dtype}, in which maps lose their ranking of pixels; convert the network with .float(), and "
            "give mixed=True for speed."
        )
    if mixed and dtype != torch.float32:
        raise ValueError(f"mixed=True is for float32 networks, not {dtype}; leave it out.")
    return dtype, device


def _steps(
    network: list[Layer],
    cut: int,
    table: Composite,
    taps: set[str],
    mixed: bool,
    layout: torch.memory_format,
) -> list[tuple[int, Any]]:
    """Steps, each with the place of its first layer; nothing is fused across the cut or across a tap."""
    ruled = [layer for layer in network if layer.kind in ("convolution", "linear", "average_pool")]
    rules = dict(zip(map(id, ruled), table.rules(layer.kind for layer in ruled), strict=True))
    groups, at = [], 0
    while at < len(network):
        length = _fused(network, at, cut, taps, rules.get(id(network[at])))
        groups.append((at, network[at : at + length]))
        at += length
    signed, signs = True, []
    for _, group in groups:
        signs.append(signed)
        for layer in group:
            signed = False if layer.kind == "relu" else signed or layer.weight is not None
    steps: list[tuple[int, Any]] = []
    takes = False
    for (at, group), signed in zip(reversed(groups), reversed(signs), strict=True):
        if group[-1].name in taps and at < cut:
            steps.append((at, Tap(group[-1].name, takes)))
        step = _step(group, rules.get(id(group[0])), signed, takes, mixed, layout)
        steps.append((at, step))
        takes = step.returns_relevance
    return steps[::-1]


def _fused(network: list[Layer], at: int, cut: int, taps: set[str], rule: Rule | None) -> int:
    """How many layers from `at` make one step: weighted layers take the ReLU and max-pooling after them."""
    length = 1
    if network[at].weight is None or isinstance(rule, Pass):
        return length
    for kind in ("relu", "max_pool"):
        after = at + length
        if after in (cut, len(network)) or network[after - 1].name in taps or network[after].kind != kind:
            break
        length += 1
    return length


def _step(
    group: list[Layer], rule: Rule | None, signed: bool, takes: bool, mixed: bool, layout: torch.memory_format
):
    layer, *fused = group
    match layer.kind:
        case "relu":
            return Rectify(takes)
        case "max_pool":
            return Pick(Winners(layer.module, layout), takes)
        case "flatten":
            return Flatten(takes)
    if isinstance(rule, Pass):
        return Through(layer, takes, layout)
    if layer.kind == "average_pool":
        if not isinstance(rule, Epsilon):
            raise ValueError(f"Average pooling at {layer.name!r} takes the rule Epsilon or Pass, not {rule}.")
        return Mean(layer, rule, takes, mixed, layout)
    pool = Winners(fused[1].module, layout) if len(fused) == 2 else None
    return Weighted(
        layer,
        rule,
        relu=bool(fused),
        pool=pool,
        signed=signed,
        takes_relevance=takes,
        mixed=mixed,
        layout=layout,
    )


def _signature(steps: list) -> tuple:
    return tuple((type(step), getattr(step, "rule", None), step.takes_relevance) for step in steps)


def _start(targets, images: int, classes: int) -> tuple[Tensor, bool]:
    """Weights over outputs `(T, N, K)` and whether targets have a T."""
    targets = torch.as_tensor(targets)
    if targets.is_floating_point():
        if targets.ndim not in (2, 3) or targets.shape[0] != images or targets.shape[-1] != classes:
            raise ValueError(
                f"Weights over outputs must have shape ({images}, {classes}) or ({images}, T, {classes}), "
                f"not {tuple(targets.shape)}; class indices must be integers."
            )
        if not targets.isfinite().all():
            raise ValueError("Weights over outputs hold values that are not finite.")
        return (targets[None] if targets.ndim == 2 else targets.movedim(1, 0)), targets.ndim == 3
    if (
        targets.dtype == torch.bool
        or targets.ndim not in (1, 2)
        or targets.shape[0] != images
        or not targets.numel()
    ):
        raise ValueError(
            f"targets must be class indices of shape ({images},) or ({images}, T), not {targets.dtype} "
            f"{tuple(targets.shape)}."
        )
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(
            f"targets span {targets.min()} to {targets.max()}; the network has classes 0 to {classes - 1}."
        )
    start = nn.functional.one_hot(targets.long(), classes)
    return (start[None] if targets.ndim == 1 else start.movedim(1, 0)), targets.ndim == 2


def _is_spatial(step) -> bool:
    """Whether the step works on `(N, C, H, W)` only."""
    return isinstance(step, Mean | Pick | Through) or (isinstance(step, Weighted) and step.weight.ndim == 4)


def _up(steps: list, x: Tensor) -> tuple[Tensor, list[State]]:
    states = []
    for step in steps:
        x, state = step.up(x)
        states.append(state)
    return x, states


def _down(steps: list, states: list[State], c: Tensor) -> tuple[Tensor, Ledger, Ledger]:
    """The message below all steps, what biases took by layer, and the relevance at taps."""
    lost, kept = {}, {}
    for step, state in zip(reversed(steps), reversed(states), strict=True):
        if isinstance(step, Tap):
            kept[step.name] = step.relevance(c, state)
        else:
            c, taken = step.down(c, state)
            if taken is not None:
                lost[step.name] = taken
    return c, lost, kept


def _down_each(
    steps: list, states: list[State], c: Tensor, layout: torch.memory_format
) -> tuple[Tensor, Ledger, Ledger]:
    """`_down` for each of `c (T, N, ...)` in turn, as spatial steps take one message at a time."""
    layout = layout if c.ndim == 5 else torch.contiguous_format
    results = [_down(steps, states, message.contiguous(memory_format=layout)) for message in c]
    lost = {name: torch.stack([r[1][name] for r in results]) for name in results[0][1]}
    kept = {name: torch.stack([r[2][name] for r in results]) for name in results[0][2]}
    return torch.stack([r[0] for r in results]), lost, kept


def _down_any(
    steps: list, states: list[State], c: Tensor, layout: torch.memory_format
) -> tuple[Tensor, Ledger, Ledger]:
    spatial = any(map(_is_spatial, steps))
    return _down_each(steps, states, c, layout) if spatial else _down(steps, states, c)


def _concatenated(ledgers: list[Ledger], dim: int) -> Ledger:
    return {name: torch.cat([ledger[name] for ledger in ledgers], dim) for name in ledgers[0]}


def _finished(parts: list[Explanation], drop_heads: bool, drop_targets: bool) -> Explanation:
    """Batches joined, with images in front and dimensions of one head or one target left out."""

    def arranged(tensors: list[Tensor]) -> Tensor:
        whole = torch.cat([tensor.movedim(2, 0) for tensor in tensors])  # (N, heads, T, ...)
        if drop_targets:
            whole = whole.squeeze(2)
        return whole.squeeze(1) if drop_heads else whole

    def each(field: str) -> Ledger:
        ledgers = [getattr(part, field) for part in parts]
        return {name: arranged([ledger[name] for ledger in ledgers]) for name in ledgers[0]}

    names = ("relevance", "start", "pixels", "biases", "epsilon")
    return Explanation(
        **{name: arranged([getattr(part, name) for part in parts]) for name in names},
        logits=tuple(torch.cat(out) for out in zip(*(part.logits for part in parts), strict=True)),
        biases_by_layer=each("biases_by_layer"),
        layers=each("layers"),
    )
