"""The LRP engine: a network and a composite prepared once; maps and balances for any number of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from analysis.lrp.composites import Composite
from analysis.lrp.composites import composite as composite_named
from analysis.lrp.linear import shapes
from analysis.lrp.network import Layer, read, ruled, state
from analysis.lrp.rules import Bound
from analysis.lrp.steps import Down, Keep, Step, steps_of

# Activations of one layer held at once. On a CPU 25 MB in float32: below the largest size (32 MB) from which
# glibc would map fresh pages for every tensor, and near the size of the last cache.
CPU_ACTIVATIONS = 6_500_000
GPU_ACTIVATIONS = 400_000_000
# Micro-batches per batch. Early layers, whose activations are large, take one micro-batch at a time; later ones,
# whose weights are large, the whole batch: every call reads the weights, and oneDNN rearranges them.
MICRO_BATCHES = 4

Notes = dict[Step, Tensor]


@dataclass(frozen=True)
class Explanation:
    """Relevance maps of N images, and where their relevance went.

    `(N, ...)` is `(N,)` for one target per image and `(N, T)` for T; with heads `(N, H)` and `(N, H, T)`.

    relevance: `(N, ..., C, H, W)`, in units of the logit, in the network's dtype.
    logits: `(N, K)`; with heads a tuple of one such per head.
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
    biases_by_layer: dict[str, Tensor]
    layers: dict[str, Tensor]


class LRP:
    """Layer-wise relevance propagation through a sequential ReLU network: what it explains is the function that runs.

    model: an nn.Sequential (nested ones too) or a model with torchvision's VGG layout, `features`, `avgpool`,
        `classifier`, in float32 or float64 and in evaluation mode. It is read, never changed, and read again when it
        has changed since. On the first images the outputs of the explained layers are compared with the model's own.
    composite: name of a composite ("epsilon", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1",
        "epsilon_alpha2_beta1_flat", "epsilon_gamma_box") or a `Composite`.
    heads: networks that each continue `model`, then their common trunk; they share its passes.
    low, high: the range of the network's input, numbers or one per channel, for "epsilon_gamma_box".
    mixed: denominators and the way down in bfloat16, the way up in float32.
    accurate: convolutions in contiguous layout. On CPUs with AVX-512 oneDNN then rounds about three times less,
        because it sums blocks of 16 channels; in channels_last, the default, it is faster. `make bench` has both.
    layers: names of layers whose output's relevance to keep; of the trunk only, where there are heads.

    ValueError for networks that LRP cannot go through or that compute something else than their layers in a row
    (hooks, parametrisations, training mode), weights that are not finite, unknown names, and `mixed` with `accurate`.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: str | Composite = "epsilon_plus",
        *,
        heads: Sequence[nn.Module] | None = None,
        low: Bound | None = None,
        high: Bound | None = None,
        mixed: bool = False,
        accurate: bool = False,
        layers: Sequence[str] = (),
    ) -> None:
        if mixed and accurate:
            raise ValueError("mixed=True gives digits away and accurate=True keeps them; choose one.")
        if heads is not None and not heads:
            raise ValueError("heads is empty; give at least one head, or None for a network without.")
        self.layout = torch.contiguous_format if accurate else torch.channels_last
        self.has_heads, self.mixed, self.kept = heads is not None, mixed, layers
        self.networks = [model, *(heads or ())]
        self.table = composite_named(composite, low, high)
        self._prepare()

    def _prepare(self) -> None:
        """Reads the networks as they are now."""
        self.state, self.checked = [state(network) for network in self.networks], False
        self.layers, *heads = (read(network, self.mixed, self.layout) for network in self.networks)
        self.head_layers = heads or [[]]
        self.dtype, self.device = _one_kind([self.layers, *heads], self.mixed)
        self.down_dtype = torch.bfloat16 if self.mixed else self.dtype
        names = {layer.name for layer in self.layers}
        if unknown := [name for name in self.kept if name not in names]:
            raise ValueError(
                f"The network has no layer {unknown[0]!r} to keep; it has {', '.join(sorted(names))}."
            )
        cut = len(self.layers)
        networks = [ruled(self.layers + top, self.table) for top in self.head_layers]
        self.heads = [steps_of(network[cut:], takes_relevance=False) for network in networks]
        takes = {bool(head) and head[0].returns_relevance for head in self.heads}
        if len(takes) > 1 or len({tuple(layer.rule for layer in network[:cut]) for network in networks}) > 1:
            raise ValueError(
                f"Composite {self.table.name!r} gives the trunk different rules under different heads."
            )
        self.trunk = steps_of(networks[0][:cut], takes.pop(), keep=self.kept)
        self.sizes: dict[torch.Size, list[list[torch.Size]]] = {}

    def explain(self, images: Tensor, targets, *, mean: bool = False) -> Explanation:
        """Maps of `images (N, C, H, W)` and their balance; beside the results, memory does not grow with N.

        images: in the network's dtype and on its device.
        targets: class indices `(N,)` or `(N, T)`, or floating-point weights over outputs `(N, K)` or
            `(N, T, K)`; with heads a sequence of such, one per head.
        mean: with heads, the mean over heads for one pass down the trunk.

        ValueError for images or targets of wrong shape, dtype or range, for images that make activations overflow,
        and for a network that gives other outputs than its layers in a row.
        """
        if [state(network) for network in self.networks] != self.state:
            self._prepare()
        micro, deep = self._portions(images)
        starts, several = self._starts(images, targets)
        if mean and not self.has_heads:
            raise ValueError("mean=True is a mean over heads, and this network was given none; leave it out.")
        size = micro * MICRO_BATCHES
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            parts = [
                self._batch(images[i : i + size], [s[:, i : i + size] for s in starts], micro, deep, mean)
                for i in range(0, len(images), size)
            ]

        def joined(tensors: Iterable[Tensor]) -> Tensor:
            """From `(heads, T, N, ...)` per batch to `(N, heads, T, ...)`, without dimensions of one head or target."""
            whole = torch.cat([tensor.movedim(2, 0) for tensor in tensors])
            whole = whole if several else whole.squeeze(2)
            return whole if self.has_heads and not mean else whole.squeeze(1)

        maps, start, lost, kept, outputs = zip(*parts, strict=True)
        relevance, start = joined(maps), joined(start)
        lost, kept = ({name: joined([p[name] for p in parts]) for name in parts[0]} for parts in (lost, kept))
        logits = tuple(map(torch.cat, zip(*outputs, strict=True)))
        if not self.checked:
            self._check_outputs(images[:1], logits)
        pixels = relevance.sum((-3, -2, -1))
        if not pixels.isfinite().all():
            raise ValueError(
                f"Relevance of these images overflows {self.down_dtype}; bring weights to a usual scale."
            )
        biases = sum(lost.values(), torch.zeros_like(start))
        return Explanation(
            relevance=relevance,
            logits=logits if self.has_heads else logits[0],
            start=start,
            pixels=pixels,
            biases=biases,
            epsilon=start - pixels - biases,
            biases_by_layer=lost,
            layers=kept,
        )

    def stream(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        write: Callable[[int, Explanation], None],
        *,
        mean: bool = False,
    ) -> int:
        """Explains batch after batch and hands each to `write(first image's number, explanation)`.

        batches: pairs of images and targets as for `explain`, as is `mean`.
        write: runs in a thread of its own beside the next batch's computation; at most one batch waits, so
            memory is that of two batches however many there are. An error in it is raised here.

        Returns the number of images.
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
        """Images per micro-batch, and the first step of the trunk that takes the whole batch."""
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
        networks = self._shapes(images)
        room = CPU_ACTIVATIONS if self.device.type == "cpu" else GPU_ACTIVATIONS
        largest = max(prod(size) for sizes in networks for size in sizes)
        micro = max(1, min(len(images), room // largest))
        batch = min(len(images), micro * MICRO_BATCHES)
        fits = [prod(size) * batch <= room for size in [images.shape[1:], *networks[0]]]
        fitting = {layer.name for place, layer in enumerate(self.layers) if all(fits[place:])}
        deep = (number for number, step in enumerate(self.trunk) if step.name in fitting)
        return micro, next(deep, len(self.trunk))

    def _overflowing(self, x: Tensor, head: list[Step]) -> str:
        """Where the activations of this image cease to be finite."""
        for step in (*self.trunk, *head):
            x, _ = step.up(x)
            if not x.isfinite().all():
                return f"at {step.layer.title}"
        return "at the end"

    def _shapes(self, images: Tensor) -> list[list[torch.Size]]:
        """Every layer's output shape, for the network under each head."""
        size = images.shape[1:]
        if size not in self.sizes:
            trunk = shapes(self.layers, size)
            self.sizes[size] = [trunk + shapes(top, trunk[-1]) for top in self.head_layers]
            if odd := [sizes[-1] for sizes in self.sizes[size] if len(sizes[-1]) != 1]:
                raise ValueError(
                    f"The network must end in one row of outputs per image, not in shape {tuple(odd[0])}; "
                    "end it with nn.Flatten()."
                )
        return self.sizes[size]

    def _check_outputs(self, image: Tensor, logits: Sequence[Tensor]) -> None:
        """ValueError if the networks themselves give other outputs for the first image than the steps did."""
        model, *heads = self.networks
        try:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                features = model(image.clone())  # a ReLU in place would write into the caller's images
                theirs = [head(features.clone()) for head in heads] or [features]
        except Exception as error:
            raise ValueError(f"{type(model).__name__} cannot run on these images: {error}") from error
        tolerance = 1e-6 if self.dtype == torch.float64 else 1e-2  # of which TF32 needs most
        for network, outputs, found in zip(heads or [model], theirs, logits, strict=True):
            apart = (outputs - found[:1]).abs().max() if outputs.shape == found[:1].shape else torch.inf
            if not apart <= tolerance * (found.abs().max() + 1e-4):
                raise ValueError(
                    f"{type(network).__name__} gives other outputs than its layers in a row; LRP would explain another "
                    "function than the one that runs. Give an nn.Sequential of plain layers."
                )
        self.checked = True

    def _starts(self, images: Tensor, targets) -> tuple[list[Tensor], bool]:
        """Weights over outputs `(T, N, K)` per head, and whether targets have a T of their own."""
        per_head = targets if self.has_heads else [targets]
        if len(per_head) != len(self.heads):
            raise ValueError(
                f"{len(self.heads)} heads need as many targets, one tensor each, not {len(per_head)}."
            )
        classes = [sizes[-1][0] for sizes in self._shapes(images)]
        starts = [_start(t, len(images), k) for t, k in zip(per_head, classes, strict=True)]
        if len({(start.shape[0], several) for start, several in starts}) > 1:
            raise ValueError("Targets of all heads must have the same number per image.")
        return [start.to(self.device, self.dtype) for start, _ in starts], starts[0][1]

    def _batch(self, images: Tensor, starts: list[Tensor], micro: int, deep: int, mean: bool):
        """Maps, starting relevance, biases' shares, kept layers, all `(heads, T, N, ...)`; logits of each head."""
        early, late = self.trunk[:deep], self.trunk[deep:]
        chunks = [c.contiguous(memory_format=self.layout) for c in images.split(micro)]
        ups = [_up(early, chunk) for chunk in chunks]
        features, late_downs = _up(late, torch.cat([a for a, _ in ups]))
        logits, messages = [], []
        lost: dict[str, Tensor] = {}
        for number, (head, start) in enumerate(zip(self.heads, starts, strict=True)):
            outputs, downs = _up(head, features)
            if not outputs.isfinite().all():
                raise ValueError(
                    f"The network's outputs are not finite for these images: activations overflow {self.dtype} "
                    f"{self._overflowing(images[~outputs.isfinite().all(1)][:1], head)}; check the scale of images and "
                    "weights."
                )
            message, notes = _down(head, downs, start.to(self.down_dtype, copy=True), self.layout)
            logits.append(outputs)
            messages.append(message)
            for step, taken in notes.items():
                shares = lost.setdefault(f"head:{step.name}", taken.new_zeros(len(starts), *taken.shape))
                shares[number] = taken
        start = torch.stack([(s * outputs).sum(-1) for s, outputs in zip(starts, logits, strict=True)])
        message = torch.stack(messages)  # (heads, T, N, ...)
        if mean:
            start, message = start.mean(0, keepdim=True), message.mean(0, keepdim=True)
            lost = {name: share.mean(0, keepdim=True) for name, share in lost.items()}
        lanes = message.shape[:2]
        message, notes = _down(late, late_downs, message.flatten(0, 1), self.layout)
        maps, early_notes = [], []
        for chunk, (_, downs), c in zip(chunks, ups, message.split(micro, 1), strict=True):
            c, noted = _down(early, downs, c, self.layout)
            maps.append(c if self.trunk[0].returns_relevance else chunk * c)
            early_notes.append(noted)
        notes |= {step: torch.cat([noted[step] for noted in early_notes], 1) for step in early_notes[0]}
        kept = {}
        for step, note in notes.items():
            place = kept if isinstance(step, Keep) else lost
            place[step.name] = note.to(self.dtype).unflatten(0, lanes)
        relevance = torch.cat(maps, 1).to(self.dtype).unflatten(0, lanes)
        return relevance, start, lost, kept, logits


def relevance(
    model: nn.Module,
    images: Tensor,
    targets,
    composite: str | Composite = "epsilon_plus",
    *,
    low: Bound | None = None,
    high: Bound | None = None,
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


def _start(targets, images: int, classes: int) -> tuple[Tensor, bool]:
    """Weights over outputs `(T, N, K)` and whether targets have a T."""
    targets = torch.as_tensor(targets)
    shape = tuple(targets.shape)
    if targets.is_floating_point():
        if len(shape) not in (2, 3) or (shape[0], shape[-1]) != (images, classes):
            raise ValueError(
                f"Weights over outputs must have shape ({images}, {classes}) or ({images}, T, {classes}), "
                f"not {shape}; class indices must be integers."
            )
        if not targets.isfinite().all():
            raise ValueError("Weights over outputs hold values that are not finite.")
        weights = targets
    else:
        if targets.dtype == torch.bool or shape[:1] != (images,) or len(shape) > 2 or not targets.numel():
            raise ValueError(
                f"targets must be class indices of shape ({images},) or ({images}, T), not {targets.dtype} {shape}."
            )
        if targets.min() < 0 or targets.max() >= classes:
            raise ValueError(
                f"targets span {targets.min()} to {targets.max()}; the network has classes 0 to {classes - 1}."
            )
        weights = nn.functional.one_hot(targets.long(), classes)
    several = weights.ndim == 3
    return weights.movedim(1, 0) if several else weights[None], several


def _up(steps: list[Step], x: Tensor) -> tuple[Tensor, list[Down]]:
    downs = []
    for step in steps:
        x, down = step.up(x)
        downs.append(down)
    return x, downs


def _down(
    steps: list[Step], downs: list[Down], c: Tensor, layout: torch.memory_format
) -> tuple[Tensor, Notes]:
    """The message below all steps, given `c (T, N, ...)` above them, and what they noted.

    From the last spatial step on, which takes one message at a time, each goes down by itself.
    """
    split = 1 + max((number for number, step in enumerate(steps) if step.spatial), default=-1)
    c, notes = _one_down(steps[split:], downs[split:], c)
    if split:
        layout = layout if c.ndim == 5 else torch.contiguous_format
        each = [
            _one_down(steps[:split], downs[:split], message.contiguous(memory_format=layout)) for message in c
        ]
        c = torch.stack([below for below, _ in each])
        notes |= {step: torch.stack([noted[step] for _, noted in each]) for step in each[0][1]}
    return c, notes


def _one_down(steps: list[Step], downs: list[Down], c: Tensor) -> tuple[Tensor, Notes]:
    notes = {}
    for step, down in zip(reversed(steps), reversed(downs), strict=True):
        c, note = down(c)
        if note is not None:
            notes[step] = note
    return c, notes
