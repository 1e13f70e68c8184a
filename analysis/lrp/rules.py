"""LRP rules as immutable values.

For a linear layer with inputs x_i, weights w_ij, bias b_j and relevances R_j of its outputs, every rule reads

    R_i  = sum_k f_k sum_p m_pi sum_j v_pij R_j / (D_kj + e sign(D_kj))
    D_kj = sum_p (sum_i m_pi v_pij + b_pj)

A rule therefore states only its *terms* k (factor f_k, the outputs it serves) and their *parts* p: what is
distributed (the source m: x, its positive or negative part, one, or a bound of the input's range), by which
transform v of the weights, and with which transform of the bias in the denominator. sign(0) is +1.

Biases stay in the denominator, so the relevance they would receive leaves the map; `bias=False` leaves them
out of the denominator and conserves relevance instead. The engine reports the loss either way. `epsilon`, in
the units of the outputs, keeps denominators away from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import isfinite

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]
Bound = float | Sequence[float]
positive: Transform = partial(torch.clamp, min=0)
negative: Transform = partial(torch.clamp, max=0)


def unchanged(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Part:
    """One linear map inside a term: `source` in {"x", "x+", "x-", "one", "low", "high"}, times `sign`."""

    source: str
    weight: Transform
    bias: Transform | None = None
    sign: float = 1.0


@dataclass(frozen=True)
class Term:
    """Parts with a common denominator, whose sign is +1, -1 or, if 0, unknown beforehand.

    `outputs` restricts the term to outputs z_j of one sign.
    """

    parts: tuple[Part, ...]
    factor: float = 1.0
    sign: int = 0
    outputs: str = "all"


@dataclass(frozen=True)
class Rule:
    """Base of all rules: numbers only, checked on construction. ValueError for a number out of range."""

    # Of rules that have no such field.
    epsilon = 0.0
    bias = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and (not isfinite(value) or value < 0):
                raise ValueError(f"{type(self).__name__}({field.name}={value}): give a finite number >= 0.")

    def terms(self) -> tuple[Term, ...]:
        """The rule as its terms."""
        raise NotImplementedError


@dataclass(frozen=True)
class Epsilon(Rule):
    """R_i = sum_j x_i w_ij / (z_j + epsilon sign z_j) R_j, with z_j = sum_i x_i w_ij + b_j.

    Bach et al. 2015 (doi:10.1371/journal.pone.0130140), eq. 58. `epsilon=0` is LRP-0, eq. 56, which equals
    gradient x input in a ReLU network.
    """

    epsilon: float = 1e-6
    bias: bool = True

    def terms(self) -> tuple[Term, ...]:
        return (Term((Part("x", unchanged, unchanged),)),)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """R_i = sum_j (alpha (x_i w_ij)^+ / z_j^+ - beta (x_i w_ij)^- / z_j^-) R_j, with alpha - beta = 1.

    (.)^+ and (.)^- are the positive and negative parts, and z_j^+ = sum_i (x_i w_ij)^+ + b_j^+, likewise
    z_j^-. Bach et al. 2015, eq. 60. For inputs of both signs (x w)^+ = x^+ w^+ + x^- w^-: clamping the
    weights alone, as captum's Alpha1_Beta0_Rule does, is another and in general wrong rule there.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.alpha - self.beta - 1) > 1e-12:
            raise ValueError(
                f"AlphaBeta(alpha={self.alpha}, beta={self.beta}): alpha - beta must be 1 to conserve relevance."
            )

    def terms(self) -> tuple[Term, ...]:
        gains = Term((Part("x+", positive, positive), Part("x-", negative)), self.alpha, sign=1)
        losses = Term((Part("x+", negative, negative), Part("x-", positive)), -self.beta, sign=-1)
        return (gains, losses) if self.beta else (gains,)


@dataclass(frozen=True)
class ZPlus(Rule):
    """R_i = sum_j (x_i w_ij)^+ / sum_i (x_i w_ij)^+ R_j, the z+ rule: alpha-beta with alpha=1, beta=0.

    Montavon et al. 2017 (doi:10.1016/j.patcog.2016.11.008), eq. 16, there for inputs >= 0.
    """

    epsilon: float = 1e-6
    bias: bool = True

    def terms(self) -> tuple[Term, ...]:
        return (Term((Part("x+", positive, positive), Part("x-", negative)), sign=1),)


@dataclass(frozen=True)
class Gamma(Rule):
    """R_i = sum_j x_i (w_ij + gamma w_ij^+) / sum_i x_i (w_ij + gamma w_ij^+) R_j.

    Montavon et al. 2019 (doi:10.1007/978-3-030-28954-6_10), sec. 10.2.3, for inputs >= 0 and outputs > 0. For
    the rest the generalised rule of Andeol et al. 2021 (arXiv:2106.08990): gamma favours those contributions
    that have the sign of the output.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6
    bias: bool = True

    def terms(self) -> tuple[Term, ...]:
        def up(tensor: Tensor) -> Tensor:
            return tensor + self.gamma * positive(tensor)

        def down(tensor: Tensor) -> Tensor:
            return tensor + self.gamma * negative(tensor)

        return (
            Term((Part("x+", up, up), Part("x-", down)), sign=1, outputs="positive"),
            Term((Part("x+", down, down), Part("x-", up)), sign=-1, outputs="negative"),
        )


@dataclass(frozen=True)
class Flat(Rule):
    """R_i = sum_j R_j / n_j over the inputs i of j, n_j of them: relevance spread evenly.

    Lapuschkin et al. 2019 (doi:10.1038/s41467-019-08987-4), methods; Kohlbrenner et al. 2020
    (arXiv:1910.09840).
    """

    epsilon: float = 1e-6

    def terms(self) -> tuple[Term, ...]:
        return (Term((Part("one", torch.ones_like),), sign=1),)


@dataclass(frozen=True)
class WSquare(Rule):
    """R_i = sum_j w_ij^2 / (sum_i w_ij^2 + b_j^2) R_j, for unbounded inputs. Montavon et al. 2017, eq. 12."""

    epsilon: float = 1e-6
    bias: bool = True

    def terms(self) -> tuple[Term, ...]:
        return (Term((Part("one", torch.square, torch.square),), sign=1),)


@dataclass(frozen=True)
class ZBox(Rule):
    """R_i = sum_j (x_i w_ij - l_i w_ij^+ - h_i w_ij^-) / sum_i (the same) R_j, for inputs within [l, h].

    Montavon et al. 2017, eq. 17. `low` and `high` are numbers or one value per input channel, in the units of
    the network's input. The three biases cancel.
    """

    low: Bound
    high: Bound
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        bounds = [torch.as_tensor(value, dtype=torch.float64) for value in (self.low, self.high)]
        problem = f"ZBox(low={self.low}, high={self.high}): "
        if any(bound.ndim > 1 or not bound.isfinite().all() for bound in bounds):
            raise ValueError(problem + "give a number or one per channel, finite.")
        if len({bound.shape for bound in bounds if bound.ndim}) > 1:
            raise ValueError(problem + "give equally many values.")
        if not (bounds[0] < bounds[1]).all():
            raise ValueError(problem + "low must be below high.")
        for name, bound in zip(("low", "high"), bounds, strict=True):
            object.__setattr__(self, name, tuple(bound.tolist()) if bound.ndim else bound.item())

    def terms(self) -> tuple[Term, ...]:
        bounds = (Part("low", positive, sign=-1.0), Part("high", negative, sign=-1.0))
        return (Term((Part("x", unchanged), *bounds)),)


@dataclass(frozen=True)
class Pass(Rule):
    """R_i = R_i: relevance goes through unchanged, for layers whose input and output have one shape."""

    def terms(self) -> tuple[Term, ...]:
        return ()
