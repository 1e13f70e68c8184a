"""Composites: tables from a layer's kind and position to its rule.

The named ones follow Kohlbrenner et al. 2020 (arXiv:1910.09840) and Montavon et al. 2019
(doi:10.1007/978-3-030-28954-6_10), with the numbers that zennit uses (epsilon 1e-6, gamma 0.25). ReLU, dropout
and flatten pass relevance on, max-pooling gives it to the winner (the first one on ties): no table decides those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.lrp.rules import AlphaBeta, Bound, Epsilon, Flat, Gamma, Rule, ZBox, ZPlus

RULED = ("convolution", "linear", "average_pool")
KINDS = (*RULED, "weighted", "any")


@dataclass(frozen=True)
class Row:
    """One row: the layers it is for, and their rule.

    kind: "convolution", "linear", "average_pool", "weighted" (the first two) or "any" (all three).
    position: "any", "first", "last", a number (negative ones count from the end) or a range, counting the
        layers of this kind from 0 in the order of the network.
    rule: a rule, as `Epsilon()`.

    ValueError for an unknown kind or position, and for a class in place of a rule.
    """

    kind: str
    position: str | int | range
    rule: Rule

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Row kind {self.kind!r} is unknown; choose from {', '.join(KINDS)}.")
        if isinstance(self.position, str) and self.position not in ("any", "first", "last"):
            raise ValueError(
                f"Row position {self.position!r} is unknown; give 'any', 'first', 'last', a number or a range."
            )
        if not isinstance(self.rule, Rule):
            raise ValueError(f"Row rule {self.rule!r} is not a rule; give e.g. Epsilon(), not the class.")

    def places(self, kinds: Sequence[str]) -> list[int]:
        """Places of the layers it serves, given the kinds of all weighted and average pooling layers in order."""
        members = {"any": RULED, "weighted": RULED[:2]}.get(self.kind, (self.kind,))
        counted = [at for at, kind in enumerate(kinds) if kind in members]
        match self.position:
            case "first":
                return counted[:1]
            case "last":
                return counted[-1:]
            case int(number):
                return [counted[number]] if -len(counted) <= number < len(counted) else []
            case range() as numbers:
                return [at for number, at in enumerate(counted) if number in numbers]
        return counted


@dataclass(frozen=True)
class Composite:
    """A named table of rows: `Composite("mine", (Row("linear", "any", Epsilon()), Row("any", "any", ZPlus())))`.

    The first row that serves a layer gives its rule. Average pooling takes `Epsilon` or `Pass` only.
    """

    name: str
    rows: tuple[Row, ...]

    def rules(self, kinds: Sequence[str]) -> list[Rule]:
        """The rule of each layer, given the kinds of all weighted and average pooling layers in order.

        ValueError if a layer is served by no row.
        """
        chosen: dict[int, Rule] = {}
        for row in self.rows:
            for at in row.places(kinds):
                chosen.setdefault(at, row.rule)
        for at, kind in enumerate(kinds):
            if at not in chosen:
                raise ValueError(f"Composite {self.name!r} has no row for layer {at} ({kind}); add one.")
        return [chosen[at] for at in range(len(kinds))]


def _table(name: str, convolution: Rule, *first: Row) -> Composite:
    rest = (
        Row("convolution", "any", convolution),
        Row("linear", "any", Epsilon()),
        Row("average_pool", "any", Epsilon()),
    )
    return Composite(name, (*first, *rest))


def epsilon_gamma_box(low: Bound, high: Bound, gamma: float = 0.25) -> Composite:
    """z-box in the first convolution, gamma in the others, epsilon in linear layers.

    low, high: bounds of the network's input, numbers or one value per channel (see `ZBox`).
    """
    return _table("epsilon_gamma_box", Gamma(gamma), Row("convolution", "first", ZBox(low, high)))


_FLAT = Row("weighted", "first", Flat())
COMPOSITES = {
    table.name: table
    for table in (
        _table("epsilon", Epsilon()),
        _table("epsilon_plus", ZPlus()),
        _table("epsilon_plus_flat", ZPlus(), _FLAT),
        _table("epsilon_alpha2_beta1", AlphaBeta(2.0, 1.0)),
        _table("epsilon_alpha2_beta1_flat", AlphaBeta(2.0, 1.0), _FLAT),
    )
}


def composite(name_or_table: str | Composite, low: Bound | None, high: Bound | None) -> Composite:
    """A composite by name, or the given one unchanged.

    low, high: for "epsilon_gamma_box" only, which needs both.
    ValueError for an unknown name, or for bounds given to a composite that has no use for them.
    """
    if name_or_table == "epsilon_gamma_box":
        if low is None or high is None:
            raise ValueError("epsilon_gamma_box needs the range of the network's input: give low= and high=.")
        return epsilon_gamma_box(low, high)
    if low is not None or high is not None:
        raise ValueError(
            f"low and high are for 'epsilon_gamma_box', not for {name_or_table!r}; leave them out."
        )
    if isinstance(name_or_table, Composite):
        return name_or_table
    if name_or_table not in COMPOSITES:
        names = ", ".join([*COMPOSITES, "epsilon_gamma_box"])
        raise ValueError(f"Composite {name_or_table!r} is unknown; choose from {names}, or give a Composite.")
    return COMPOSITES[name_or_table]
