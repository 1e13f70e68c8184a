"""The steps of a propagation: each goes up once, keeping a state, and down as often as there are targets.

Relevance is carried as a multiplier c of the activations, R = a * c. A layer's rule then reads
c_below = V^T (G * c), with gates G = a / denominator that the way up has fixed, so the way down is one
transposed layer per part of the rule. Rules that do not multiply by the input (flat, w^2, z-box, pass) return
R itself (`returns_relevance`); the step below them then takes R (`takes_relevance`) and gates by 1 /
denominator.

Every step has `up(x) -> (a, state)` and `down(c, state) -> (c below, relevance that biases took)`. Messages
between steps without spatial dimensions may have leading dimensions that states lack. A message belongs to the
step that takes it, which may write into it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from analysis.lrp.linear import Average, Convolution, MatrixProduct, Winners
from analysis.lrp.network import Layer
from analysis.lrp.rules import AlphaBeta, Epsilon, Rule, Term, unchanged

State = tuple[Any, ...]
VARYING = ("x", "x+", "x-")


class Weighted:
    """A Conv2d or Linear under its rule, with the ReLU and the max-pooling that follow it fused in.

    `signed`: inputs may be negative. `takes_relevance`: the message from above is R, not c. `mixed`:
    denominators and the way down in bfloat16.
    """

    def __init__(
        self,
        layer: Layer,
        rule: Rule,
        *,
        relu: bool,
        pool: Winners | None,
        signed: bool,
        takes_relevance: bool,
        mixed: bool,
        layout: torch.memory_format,
    ) -> None:
        self.name, self.rule, self.relu, self.pool = layer.name, rule, relu, pool
        self.takes_relevance = takes_relevance
        self.map = Convolution(layer, layout) if layer.kind == "convolution" else MatrixProduct()
        self.weight, self.bias = self.map.laid_out(layer.weight), layer.bias
        terms = [_simplified(term, signed) for term in rule.terms()]
        self.closed = relu and not takes_relevance  # then R = a * c is zero wherever z <= 0
        if self.closed:
            terms = [term for term in terms if term.outputs != "negative"]
        self.gates = [Gate(self, term, rule, mixed) for term in terms]
        # Of alpha-beta's two denominators only the negative one needs a convolution: the other is z less it.
        # Where z > 0 that adds two positive numbers and loses no digits; elsewhere it would, but a = 0.
        self.from_losses = (
            isinstance(rule, AlphaBeta)
            and len(terms) == 2
            and self.closed
            and not (signed or mixed)
            and rule.epsilon > 0
            and (rule.bias or self.bias is None)
        )
        sources = {part.source for term in terms for part in term.parts}
        self.returns_relevance = not sources <= set(VARYING)
        self.keeps_input = sources != {"x"}

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        z = self.map(x, self.weight, self.bias)
        if self.closed:
            z.relu_()
        if self.from_losses:
            losses = self.gates[1].denominator(x, z)
            denominators = [z - losses, losses]  # epsilon's sign turns with it
        else:
            denominators = [None if gate.is_output else gate.denominator(x, z) for gate in self.gates]
        if self.relu and not self.closed:
            z.relu_()
        a, above, winners = z, z.shape, None
        if self.pool:
            a, winners = self.pool(a)
            places = self.pool.places(winners, above)
            denominators = [d if d is None else self.pool.take(d.expand(above), places) for d in denominators]
        denominators = [
            gate.denominator(x, a) if d is None else d
            for gate, d in zip(self.gates, denominators, strict=True)
        ]
        numerator = a.new_ones(()) if self.takes_relevance else a
        gates = [_ratio(numerator, d, gate.dtype) for gate, d in zip(self.gates, denominators, strict=True)]
        return a, (gates, winners, above, x.shape, x if self.keeps_input else None)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, Tensor | None]:
        gates, winners, above, below, x = state
        received: dict[str, Tensor] = {}
        lost = None
        for gate, g in zip(self.gates, gates, strict=True):
            s = c.mul_(g) if gate is self.gates[-1] else c * g
            if gate.bias is not None:
                taken = _sum_against(s, gate.bias)
                lost = taken if lost is None else lost + taken
            if self.pool:
                s = self.pool.transpose(s, above, winners)
            for source, u in gate.transpose(s, below).items():
                received[source] = received[source] + u if source in received else u
        if self.returns_relevance:
            return sum(self.gates[0].source(name, x) * u for name, u in received.items()), lost
        either = received.pop("x", 0)
        if not received:
            return either, lost
        return torch.where(x > 0, either + received.get("x+", 0), either + received.get("x-", 0)), lost


class Gate:
    """One term of a rule with its weights prepared: denominators going up, transposes going down."""

    def __init__(self, step: Weighted, term: Term, rule: Rule, mixed: bool) -> None:
        self.rule, self.map, self.parts, self.outputs = rule, step.map, term.parts, term.outputs
        self.closed = step.closed
        self.dtype = torch.bfloat16 if mixed else step.weight.dtype
        counted = step.bias is not None and getattr(rule, "bias", True)
        biases = [part.bias(step.bias) * part.sign for part in term.parts if part.bias and counted]
        bias = sum(biases) if biases else None
        self.bias = None if bias is None else bias * term.factor
        self.from_output = term.parts[0].weight is unchanged
        # What the layer's own output, computed anyway, has more than this denominator.
        self.surplus = step.bias if self.from_output and bias is None else None
        self.sign = term.sign if counted or step.bias is None or term.outputs == "all" else 0
        # Whether the denominator is the layer's output and epsilon: then it can wait until after the pooling.
        self.is_output = self.closed and self.from_output and self.surplus is None and len(term.parts) == 1
        if self.is_output:
            self.sign = 1
        # A sign known beforehand lets epsilon go into the bias of the denominator's own convolution.
        zeros = torch.zeros(step.weight.shape[0], dtype=step.weight.dtype, device=step.weight.device)
        self.offset = (zeros if bias is None else bias) + self.sign * rule.epsilon
        others = term.parts[1:] if self.from_output else term.parts
        self.fixed = {p: p.weight(step.weight) * p.sign for p in others if p.source not in VARYING}
        self.varying = [p for p in others if p.source in VARYING]
        if self.varying:
            joined = torch.cat([p.weight(step.weight) for p in self.varying], 1)
            self.joined = self.map.laid_out(joined).to(self.dtype)
        self.constants: dict[torch.Size, Tensor] = {}
        self.even = term.parts[0].weight is torch.ones_like
        if not self.even:
            weights = [_scaled(p.weight(step.weight), p.sign * term.factor) for p in term.parts]
            self.transposed = self.map.transposed(weights).to(self.dtype)

    def denominator(self, x: Tensor, z: Tensor | None) -> Tensor:
        """The stabilised denominator, infinite where the term does not apply or would divide by 0."""
        if self.from_output:
            d = z if self.surplus is None else z - _per_channel(self.surplus, z)
            d = d + (self._constant(x) if self.fixed else self.sign * self.rule.epsilon)
        elif self.fixed:
            d = self._constant(x) + _per_channel(self.offset, x)
        else:
            sources = self.map.side_by_side([self.source(part.source, x) for part in self.varying])
            d = self.map(sources.to(self.dtype), self.joined, self.offset.to(self.dtype))
        epsilon = self.rule.epsilon
        if self.sign == 0 and epsilon:
            d = torch.where(d < 0, d - epsilon, d + epsilon)
        if self.outputs != "all" and self.closed and self.sign and epsilon:
            return d.clamp_(min=epsilon)  # below that z <= 0, where it does not matter
        if self.outputs != "all":
            d = d.where(z > 0 if self.outputs == "positive" else z < 0, torch.inf)
        return d if epsilon else d.where(d != 0, torch.inf)

    def _constant(self, x: Tensor) -> Tensor:
        """The parts that are the same for every image `(1, ...)`, computed once per image size."""
        size = x.shape[1:]
        if size not in self.constants:
            self.constants[size] = sum(
                self.map(self.source(p.source, x), w, None) for p, w in self.fixed.items()
            )
        return self.constants[size]

    def transpose(self, s: Tensor, below: torch.Size) -> dict[str, Tensor]:
        """What each source receives, per unit of its value, when `s` = relevance / denominator comes down."""
        if self.even:
            return {"one": self.map.spread(s, below)}
        parts = self.map.transpose(s, self.transposed, below, len(self.parts))
        return {part.source: u for part, u in zip(self.parts, parts, strict=True)}

    def source(self, name: str, x: Tensor) -> Tensor:
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
            case _:
                bound = torch.as_tensor(getattr(self.rule, name), dtype=x.dtype, device=x.device)
                if bound.ndim and len(bound) != x.shape[1]:
                    raise ValueError(
                        f"{name} has {len(bound)} values for {x.shape[1]} channels; give one each."
                    )
                return (_per_channel(bound, x) if bound.ndim else bound).expand(1, *x.shape[1:])


class Mean:
    """An average pooling under the epsilon rule: R_i = x_i v_ij / (sum_i x_i v_ij + e) R_j."""

    returns_relevance = False

    def __init__(
        self, layer: Layer, rule: Epsilon, takes_relevance: bool, mixed: bool, layout: torch.memory_format
    ) -> None:
        self.name, self.epsilon, self.takes_relevance = layer.name, rule.epsilon, takes_relevance
        self.map, self.mixed = Average(layer.module, layout), mixed

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        a = self.map(x)
        d = torch.where(a < 0, a - self.epsilon, a + self.epsilon)
        gate = (a.new_ones(()) if self.takes_relevance else a) / d.where(d != 0, torch.inf)
        return a, (gate.bfloat16() if self.mixed else gate, x.shape)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, None]:
        gate, below = state
        return self.map.transpose(c * gate, below), None


class Through:
    """A layer under the pass rule: its output's relevance becomes its input's."""

    returns_relevance = True

    def __init__(self, layer: Layer, takes_relevance: bool, layout: torch.memory_format) -> None:
        self.name, self.takes_relevance = layer.name, takes_relevance
        if layer.kind == "average_pool":
            self.up_map = Average(layer.module, layout)
        else:
            linear = Convolution(layer, layout) if layer.kind == "convolution" else MatrixProduct()
            self.up_map = partial(linear, weight=layer.weight, bias=layer.bias)

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        a = self.up_map(x)
        if a.shape != x.shape:
            raise ValueError(
                f"The pass rule at {self.name!r} needs input and output of one shape, not {tuple(x.shape[1:])} and "
                f"{tuple(a.shape[1:])}; choose another rule for this layer."
            )
        return a, (None if self.takes_relevance else a,)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, None]:
        (a,) = state
        return c if a is None else c * a, None


class Rectify:
    """A ReLU on its own. Relevance passes; multipliers stop where the input was negative."""

    def __init__(self, takes_relevance: bool) -> None:
        self.returns_relevance = self.takes_relevance = takes_relevance

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        return x.relu(), (None if self.takes_relevance else x > 0,)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, None]:
        (is_open,) = state
        return c if is_open is None else c * is_open, None


class Pick:
    """A max-pooling on its own: relevance goes to the winner, the first one on ties."""

    def __init__(self, pool: Winners, takes_relevance: bool) -> None:
        self.pool = pool
        self.returns_relevance = self.takes_relevance = takes_relevance

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        a, winners = self.pool(x)
        return a, (x.shape, winners)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, None]:
        return self.pool.transpose(c, *state), None


class Flatten:
    def __init__(self, takes_relevance: bool) -> None:
        self.returns_relevance = self.takes_relevance = takes_relevance

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        return x.flatten(1), (x.shape[1:],)

    def down(self, c: Tensor, state: State) -> tuple[Tensor, None]:
        return c.unflatten(-1, state[0]), None


class Tap:
    """Keeps the relevance that passes between two layers."""

    def __init__(self, name: str, takes_relevance: bool) -> None:
        self.name = name
        self.returns_relevance = self.takes_relevance = takes_relevance

    def up(self, x: Tensor) -> tuple[Tensor, State]:
        return x, (None if self.takes_relevance else x.clone(),)

    def relevance(self, c: Tensor, state: State) -> Tensor:
        (a,) = state
        return c.clone() if a is None else a * c


def _simplified(term: Term, signed: bool) -> Term:
    """The term for inputs >= 0, where x+ is x and x- is nothing, unless inputs are signed."""
    if signed:
        return term
    parts = [replace(part, source="x") if part.source == "x+" else part for part in term.parts]
    return replace(term, parts=tuple(part for part in parts if part.source != "x-"))


def _ratio(a: Tensor, d: Tensor, dtype: torch.dtype) -> Tensor:
    """a / d, in d's own memory where that fits: fresh memory costs page faults."""
    if a.dtype == d.dtype == dtype and d.shape == torch.broadcast_shapes(a.shape, d.shape):
        return torch.div(a, d, out=d)
    return (a / d).to(dtype)


def _scaled(weight: Tensor, factor: float) -> Tensor:
    return weight if factor == 1 else weight * factor


def _per_channel(vector: Tensor, like: Tensor) -> Tensor:
    return vector.reshape(-1, *[1] * (like.ndim - 2))


def _sum_against(s: Tensor, bias: Tensor) -> Tensor:
    """sum over outputs of s times the bias, in the bias's precision: one number per image."""
    if s.ndim == 4:
        s = s.sum((2, 3), dtype=bias.dtype)
    return s.to(bias.dtype) @ bias
