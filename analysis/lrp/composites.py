"""Composites: tables from a layer's kind and position to its rule.

The named ones follow Kohlbrenner et al. 2020 (arXiv:1910.09840) and Montavon et al. 2019, with the numbers
that zennit uses (epsilon 1e-6, gamma 0.25). ReLU, dropout and flatten pass relevance on, max-pooling gives it
to the winner (the first one on ties): no table decides those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, ZBox, ZPlus

KINDS = ("convolution", "linear", "average_pool", "weighted", "any")


@dataclass(frozen=True)
class Row:
    """One row: the layers it is for, and their rule.

    `kind`: "convolution", "linear", "average_pool", "weighted" (the first two) or "any" (all three).
    `position`: "any", "first", "last", a number (negative ones count from the end) or a range, counting the
    layers of this kind from 0 in the order of the network.
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

    def counts(self, kind: str) -> bool:
        """Whether a layer of this kind counts for this row."""
        return kind == self.kind or self.kind == "any" or (self.kind == "weighted" and kind != "average_pool")

    def serves(self, index: int, total: int) -> bool:
        """Whether the row is for the index-th of `total` layers that count for it."""
        match self.position:
            case "any":
                return True
            case "first":
                return index == 0
            case "last":
                return index == total - 1
            case range():
                return index in self.position
            case int():
                return index == self.position % total if -total <= self.position < total else False


@dataclass(frozen=True)
class Composite:
    """A named table of rows; the first row that serves a layer gives its rule."""

    name: str
    rows: tuple[Row, ...]

    def rules(self, kinds: Iterable[str]) -> list[Rule]:
        """The rule of each layer, given the kinds of all weighted and average pooling layers in order.

        ValueError if a layer is served by no row.
        """
        kinds = list(kinds)
        chosen = []
        for at, kind in enumerate(kinds):
            rule = None
            for row in self.rows:
                counted = [row.counts(other) for other in kinds]
                if rule is None and counted[at] and row.serves(sum(counted[:at]), sum(counted)):
                    rule = row.rule
            if rule is None:
                raise ValueError(f"Composite {self.name!r} has no row for layer {at} ({kind}); add one.")
            chosen.append(rule)
        return chosen


def _table(name: str, convolution: Rule, first: Row | None = None) -> Composite:
    rest = (
        Row("convolution", "any", convolution),
        Row("linear", "any", Epsilon()),
        Row("average_pool", "any", Epsilon()),
    )
    return Composite(name, (first, *rest) if first else rest)


def epsilon_gamma_box(low, high, gamma: float = 0.25) -> Composite:
    """z-box in the first convolution, gamma in the others, epsilon in linear layers.

    `low`, `high`: bounds of the network's input, numbers or one value per channel (see `ZBox`).
    """
    return _table("epsilon_gamma_box", Gamma(gamma), Row("convolution", "first", ZBox(low, high)))


COMPOSITES = {
    table.name: table
    for table in (
        _table("epsilon", Epsilon()),
        _table("epsilon_plus", ZPlus()),
        _table("epsilon_plus_flat", ZPlus(), Row("weighted", "first", Flat())),
        _table("epsilon_alpha2_beta1", AlphaBeta(2.0, 1.0)),
        _table("epsilon_alpha2_beta1_flat", AlphaBeta(2.0, 1.0), Row("weighted", "first", Flat())),
    )
}


def composite(name_or_table: str | Composite, low=None, high=None) -> Composite:
    """A composite by name, or the given one unchanged.

    `low` and `high` are for "epsilon_gamma_box" only, which needs both. ValueError for an unknown name, or
    for bounds given to a composite that has no use for them.
    """
    bounds = low is not None or high is not None
    if name_or_table == "epsilon_gamma_box":
        if low is None or high is None:
            raise ValueError("epsilon_gamma_box needs the range of the network's input: give low= and high=.")
        return epsilon_gamma_box(low, high)
    if bounds:
        raise ValueError(
            f"low and high are for 'epsilon_gamma_box', not for {name_or_table!r}; leave them out."
        )
    if isinstance(name_or_table, Composite):
        return name_or_table
    if name_or_table not in COMPOSITES:
        names = ", ".join([*COMPOSITES, "epsilon_gamma_box"])
        raise ValueError(f"Composite {name_or_table!r} is unknown; choose from {names}, or give a Composite.")
    return COMPOSITES[name_or_table]
