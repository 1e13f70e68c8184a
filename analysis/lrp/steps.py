"""The steps of a propagation: each goes up once and, from what it then knows, down as often as there are targets.

Relevance is carried as a multiplier c of the activations, R = a * c. A layer's rule then reads
c_below = V^T (G * c), with gates G = a / denominator that the way up has fixed, so the way down is one
transposed layer per part of the rule. Rules that do not multiply by the input (flat, w^2, z-box, pass) return
R itself (`returns_relevance`); the step below them then takes R (`takes_relevance`) and gates by 1 /
denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from analysis.lrp.linear import LinearMap, Winners, average_transpose, run
from analysis.lrp.network import Layer
from analysis.lrp.rules import AlphaBeta, Epsilon, Pass, Rule, Term, unchanged

Down = Callable[[Tensor], tuple[Tensor, Tensor | None]]
VARYING = ("x", "x+", "x-")
FUSED = (("convolution", "relu"), ("convolution", "relu", "max_pool"), ("linear", "relu"))


class Step:
    """Base of all steps: a layer, or several, and in what form relevance comes from above and goes below.

    `up(x)` gives the output and the way down: a function from the message above to the message below and a note,
    the relevance that biases took or that of a layer to keep. A message belongs to the step that takes it, which
    may write into it. Messages without spatial dimensions may have leading dimensions that images lack.
    """

    spatial = False  # whether it takes messages `(N, C, H, W)` only

    def __init__(self, layer: Layer, takes_relevance: bool, returns_relevance: bool) -> None:
        self.layer, self.name = layer, layer.name
        self.takes_relevance, self.returns_relevance = takes_relevance, returns_relevance

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        raise NotImplementedError


class Rectify(Step):
    """A ReLU on its own. Relevance passes; multipliers stop where the input was negative."""

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        is_open = None if self.takes_relevance else x > 0
        return x.relu(), lambda c: (c if is_open is None else c * is_open, None)


class Flatten(Step):
    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        shape = x.shape[1:]
        return x.flatten(1), lambda c: (c.unflatten(-1, shape), None)


class Pick(Step):
    """A max-pooling on its own."""

    spatial = True

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        pool, shape = Winners(self.layer), x.shape
        a, winners = pool(x)
        return a, lambda c: (pool.transpose(c, shape, winners), None)


class Keep(Step):
    """Notes the relevance at the layer's output."""

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        return x, lambda c: (c, c.clone() if self.takes_relevance else x * c)


class Through(Step):
    """A layer under the pass rule: its output's relevance becomes its input's."""

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        a = run(self.layer, x)
        if a.shape != x.shape:
            raise ValueError(
                f"The pass rule at {self.name!r} needs input and output of one shape, not {tuple(x.shape[1:])} and "
                f"{tuple(a.shape[1:])}; choose another rule for this layer."
            )
        return a, lambda c: (c if self.takes_relevance else c * a, None)


class Mean(Step):
    """An average pooling under the epsilon rule: R_i = x_i v_ij / (sum_i x_i v_ij + e) R_j."""

    spatial = True

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        a, shape, epsilon = run(self.layer, x), x.shape, self.layer.rule.epsilon
        d = torch.where(a < 0, a - epsilon, a + epsilon)
        gate = (a.new_ones(()) if self.takes_relevance else a) / d.where(d != 0, torch.inf)
        gate = gate.bfloat16() if self.layer.mixed else gate
        return a, lambda c: (average_transpose(self.layer, c * gate, shape), None)


class Weighted(Step):
    """A Conv2d or Linear under its rule, with the ReLU and the max-pooling that follow it fused in."""

    def __init__(self, layer: Layer, *fused: Layer, takes_relevance: bool) -> None:
        rule = layer.rule
        self.map, self.spatial = LinearMap(layer), layer.kind == "convolution"
        self.weight, self.bias = self.map.joined([layer.weight]), layer.bias
        self.relu, self.pool = bool(fused), Winners(fused[1]) if len(fused) == 2 else None
        terms = [_simplified(term, layer.signed) for term in rule.terms()]
        self.closed = self.relu and not takes_relevance  # then R = a * c is zero wherever z <= 0
        if self.closed:
            terms = [term for term in terms if term.outputs != "negative"]
        self.gates = [Gate(self, layer, term) for term in terms]
        # Of alpha-beta's two denominators only the negative one needs a convolution: the other is z less it.
        # Where z > 0 that adds two positive numbers and loses no digits; elsewhere it would, but a = 0.
        self.from_losses = (
            isinstance(rule, AlphaBeta)
            and len(terms) == 2
            and self.closed
            and not (layer.signed or layer.mixed)
            and rule.epsilon > 0
            and (rule.bias or self.bias is None)
        )
        sources = {part.source for term in terms for part in term.parts}
        self.keeps_input = sources != {"x"}
        super().__init__(layer, takes_relevance, returns_relevance=not sources <= set(VARYING))

    def up(self, x: Tensor) -> tuple[Tensor, Down]:
        a = self.map(x, self.weight, self.bias)
        if self.closed:
            a.relu_()
        above, winners = a.shape, None
        if self.pool:
            a, winners = self.pool(a)
        if self.from_losses:
            losses = self.gates[1].denominator(x, a)
            denominators = [a - losses, losses]  # epsilon's sign turns with it
        else:
            denominators = [gate.denominator(x, a) for gate in self.gates]
        if self.relu and not self.closed:
            a.relu_()
        numerator = a.new_ones(()) if self.takes_relevance else a
        gates = [_ratio(numerator, d, gate.dtype) for gate, d in zip(self.gates, denominators, strict=True)]
        x_kept = x if self.keeps_input else None
        return a, partial(self.down, gates=gates, winners=winners, above=above, below=x.shape, x=x_kept)

    def down(
        self, c: Tensor, *, gates: list[Tensor], winners: Any, above: torch.Size, below: torch.Size, x: Any
    ) -> tuple[Tensor, Tensor | None]:
        message: Any = None
        lost = None
        for gate, g in zip(self.gates, gates, strict=True):
            s = c.mul_(g) if gate is self.gates[-1] else c * g
            if gate.bias is not None:  # one number per image, in the bias's precision
                outputs = s.sum((2, 3), dtype=gate.bias.dtype) if self.spatial else s.to(gate.bias.dtype)
                taken = outputs @ gate.bias
                lost = taken if lost is None else lost + taken
            if self.pool:
                s = self.pool.transpose(s, above, winners)
            for source, u in gate.transpose(s, below):
                if self.returns_relevance:
                    u = _source(source, x, self.layer.rule) * u
                elif source != "x":
                    u = u * (x > 0 if source == "x+" else x <= 0)
                message = u if message is None else message + u
        return message, lost


class Gate:
    """One term of a rule with its weights prepared: denominators going up, transposes going down."""

    def __init__(self, step: Weighted, layer: Layer, term: Term) -> None:
        self.rule, self.parts, self.outputs = layer.rule, term.parts, term.outputs
        self.map, self.closed, weight, bias = step.map, step.closed, step.weight, step.bias
        self.dtype = torch.bfloat16 if layer.mixed else weight.dtype
        counted = bias if self.rule.bias else None
        biases = [p.bias(counted) * p.sign for p in self.parts if p.bias and counted is not None]
        self.bias: Any = sum(biases) * term.factor if biases else None
        # The part that distributes x by the weights themselves is the layer's output, computed anyway.
        self.from_output = self.parts[0].weight is unchanged
        surplus = bias if self.from_output and not biases else None
        if self.closed and self.from_output and surplus is None and len(self.parts) == 1:
            self.sign = 1  # of outputs, which are only read where they are positive
        else:
            self.sign = term.sign if counted is bias or self.outputs == "all" else 0
        others = self.parts[1:] if self.from_output else self.parts
        self.fixed = [(p.source, p.weight(weight) * p.sign) for p in others if p.source not in VARYING]
        varying = [p for p in others if p.source in VARYING]
        # A sign known beforehand lets epsilon go where the bias goes.
        if self.from_output:
            offset = 0.0 if surplus is None else -surplus
        else:
            offset = sum(biases) if biases else weight.new_zeros(len(weight))
        self.offset: Any = offset + self.sign * self.rule.epsilon
        self.sources = [p.source for p in varying]
        if varying:
            self.joined = self.map.joined([p.weight(weight) for p in varying]).to(self.dtype)
        self.shared: dict[torch.Size, Any] = {}
        # Weights that are all one distribute the sum over each group's outputs: one output per group is enough.
        self.even = self.parts[0].weight is torch.ones_like
        distributed = weight[: self.map.groups] if self.even else weight
        weights = [p.weight(distributed) for p in self.parts]
        factors = [p.sign * term.factor for p in self.parts]
        weights = [w if f == 1 else w * f for w, f in zip(weights, factors, strict=True)]
        self.transposed = self.map.joined(weights).to(self.dtype)

    def denominator(self, x: Tensor, z: Tensor) -> Tensor:
        """The stabilised denominator, infinite where the term does not apply or would divide by 0."""
        if self.sources:
            sources = self.map.side_by_side([_source(name, x, self.rule) for name in self.sources])
            d = self.map(sources.to(self.dtype), self.joined, self.offset.to(self.dtype))
        else:
            d = (z if self.from_output else 0) + self._shared(x)
        epsilon = self.rule.epsilon
        if self.sign == 0 and epsilon:
            d = torch.where(d < 0, d - epsilon, d + epsilon)
        if self.outputs != "all" and self.closed and self.sign and epsilon:
            return d.clamp_(min=epsilon)  # below that z <= 0, where it does not matter
        if self.outputs != "all":
            d = d.where(z > 0 if self.outputs == "positive" else z < 0, torch.inf)
        return d if epsilon else d.where(d != 0, torch.inf)

    def _shared(self, x: Tensor) -> Any:
        """What is the same for every image, `(1, ...)` or a number: computed once per image size."""
        size = x.shape[1:]
        if size not in self.shared:
            constants = [self.map(_source(name, x, self.rule), weight, None) for name, weight in self.fixed]
            self.shared[size] = sum(constants, _per_channel(self.offset, x))
        return self.shared[size]

    def transpose(self, s: Tensor, below: torch.Size) -> Iterable[tuple[str, Tensor]]:
        """What each source receives, per unit of its value, when `s` = relevance / denominator comes down."""
        s = self.map.summed(s) if self.even else s
        received = self.map.transpose(s, self.transposed, below, len(self.parts))
        return zip((part.source for part in self.parts), received, strict=True)


def steps_of(layers: list[Layer], takes_relevance: bool, keep: Sequence[str] = ()) -> list[Step]:
    """The steps of layers with their rules. `takes_relevance`: the message from above is R."""
    steps: list[Step] = []
    takes, end = takes_relevance, len(layers)
    while end:
        sizes = (size for size in (3, 2) if size <= end and _fused(layers[end - size : end], takes, keep))
        start = end - next(sizes, 1)
        layer, *fused = layers[start:end]
        end = start
        last = (layer, *fused)[-1]
        if last.name in keep:
            steps.append(Keep(last, takes, takes))
        match layer.kind, layer.rule:
            case "relu" | "max_pool" | "flatten", _:
                kind = {"relu": Rectify, "max_pool": Pick, "flatten": Flatten}[layer.kind]
                step = kind(layer, takes, takes)
            case _, Pass():
                step = Through(layer, takes, True)
            case "average_pool", Epsilon():
                step = Mean(layer, takes, False)
            case "average_pool", rule:
                raise ValueError(
                    f"Average pooling at {layer.name!r} takes the rule Epsilon or Pass, not {rule}."
                )
            case _:
                step = Weighted(layer, *fused, takes_relevance=takes)
        steps.append(step)
        takes = step.returns_relevance
    return steps[::-1]


def _fused(layers: list[Layer], takes_relevance: bool, keep: Sequence[str]) -> bool:
    """Whether several layers make one step: a weighted one with its ReLU, and with the max-pooling after it.

    Pooling saves time where the denominator is the output itself, as it makes both smaller.
    """
    first, rule = layers[0], layers[0].rule
    if tuple(layer.kind for layer in layers) not in FUSED or any(layer.name in keep for layer in layers[:-1]):
        return False
    if len(layers) == 3:
        return isinstance(rule, Epsilon) and (rule.bias or first.bias is None) and not takes_relevance
    return not isinstance(rule, Pass)


def _simplified(term: Term, signed: bool) -> Term:
    """The term for inputs >= 0, where x+ is x and x- is nothing, unless inputs are signed."""
    if signed:
        return term
    parts = [replace(part, source="x") if part.source == "x+" else part for part in term.parts]
    return replace(term, parts=tuple(part for part in parts if part.source != "x-"))


def _source(name: str, x: Tensor, rule: Rule) -> Tensor:
    """What a part distributes: the input, one of its halves, one, or a bound of its range."""
    match name:
        case "x":
            return x
        case "x+":
            return x.clamp(min=0)
        case "x-":
            return x.clamp(max=0)
        case "one":
            return torch.ones_like(x[:1])
    bound = torch.as_tensor(getattr(rule, name), dtype=x.dtype, device=x.device)
    if bound.ndim and len(bound) != x.shape[1]:
        raise ValueError(f"{name} has {len(bound)} values for {x.shape[1]} channels; give one each.")
    return _per_channel(bound, x).expand(1, *x.shape[1:])


def _per_channel(value: Any, like: Tensor) -> Any:
    """One value per channel, shaped for a sum with the tensor; a single number as it is."""
    if isinstance(value, float) or not value.ndim:
        return value
    return value.reshape(-1, *[1] * (like.ndim - 2))


def _ratio(a: Tensor, d: Tensor, dtype: torch.dtype) -> Tensor:
    """a / d, in d's own memory where that fits: fresh memory costs page faults."""
    if a.dtype == d.dtype == dtype and d.shape == torch.broadcast_shapes(a.shape, d.shape):
        return torch.div(a, d, out=d)
    return (a / d).to(dtype)
