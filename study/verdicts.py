"""From intervals to verdicts: one rule for all claims.

A claim states where its statistic should lie (its *region*). It is *supported* if the whole interval lies in the
region, *contradicted* if none of it does, *inconclusive* otherwise. A claim with several parts is supported if all its
parts are and contradicted if any is (or the other way round for a claim that something exists somewhere).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from analysis.inference import Estimate
from study.settings import Settings

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"


class Inference(Settings):
    """Intervals and tests."""

    resamples: int = Field(2000, ge=100, le=100000, description="bootstrap resamples")
    permutations: int = Field(5000, ge=100, le=1000000, description="random permutations, where not exact")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="coverage of intervals")


ESTIMATE = ("resamples", "confidence", "stimulus_seed")  # what every interval of the ledger reads


@dataclass(frozen=True)
class Region:
    """Where a claim's statistic should lie: between `low` and `high`, or outside of them."""

    low: float = -math.inf
    high: float = math.inf
    outside: bool = False

    def verdict(self, low: float, high: float) -> str:
        """The verdict on an interval; one that is not finite says nothing."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return INCONCLUSIVE
        within, apart = self.low < low and high < self.high, high <= self.low or low >= self.high
        if self.outside:
            within, apart = apart, within
        return SUPPORTED if within else CONTRADICTED if apart else INCONCLUSIVE

    def strength(self, low: float, high: float) -> float:
        """How far an interval is on the claimed side, in the claim's unit; one that is not finite is weakest."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return -math.inf
        if self.outside:
            return max(low - self.high, self.low - high)
        return min(low - self.low, self.high - high)

    def __str__(self) -> str:
        if self.outside:
            return f"below {self.low:g} or above {self.high:g}"
        if math.isinf(self.high):
            return f"above {self.low:g}"
        return f"below {self.high:g}" if math.isinf(self.low) else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Part:
    """One number of a claim.

    Attributes:
        label: what it is about. estimate, ci_low, ci_high: in the claim's unit. p: two-sided, against 0.
        n: how many things were judged (the claim's `counted`). effect_size: the estimate in standard deviations
        over people (NaN where not defined). verdict: by the claim's region.
        variance, df: from people, networks and both, and their degrees of freedom (`inference.Estimate`); empty
        where the interval is not made from these.
    """

    label: str
    estimate: float
    ci_low: float
    ci_high: float
    p: float
    n: int
    effect_size: float
    verdict: str
    variance: tuple[float, ...] = ()
    df: tuple[float, ...] = ()


def part(
    region: Region,
    label: str,
    estimate: Estimate,
    interval: tuple[Any, Any],
    people: Any,
    p: float | None = None,
) -> Part:
    """A part from an estimate and its interval; `people` `(N,)` are those on the images judged."""
    low, high = (float(end) for end in interval)
    value, se = float(estimate.value), float(estimate.se)
    effect = value / (se * math.sqrt(len(set(people)))) if se > 0 else math.nan
    chance = float(estimate.p() if p is None else p)
    spread = tuple(estimate.parts.tolist()), tuple(estimate.df.tolist())
    return Part(label, value, low, high, chance, len(people), effect, region.verdict(low, high), *spread)


def untestable(label: str, n: int) -> Part:
    """A part that nothing can be said on, and why."""
    return Part(label, math.nan, math.nan, math.nan, math.nan, n, math.nan, INCONCLUSIVE)


def answer(region: Region, parts: list[Part]) -> dict[str, Any]:
    """A claim's region and parts, as a step returns them."""
    return {"region": asdict(region), "parts": [asdict(p) for p in parts]}


def combined(verdicts: list[str], need: str) -> str:
    """The verdict on a claim from those on its parts; it needs "all" of them or "any"."""
    first, second = (CONTRADICTED, SUPPORTED) if need == "all" else (SUPPORTED, CONTRADICTED)
    if first in verdicts:
        return first
    return second if verdicts and all(v == second for v in verdicts) else INCONCLUSIVE
