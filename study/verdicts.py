"""From intervals to verdicts: one rule for all claims.

A claim states where its statistic should lie (its *region*) and the smallest effect that matters. It is *supported*
if the whole interval lies in the region, *contradicted* if the whole interval lies below the smallest effect (or, where
the region is a margin itself, outside of it), *inconclusive* otherwise. A claim with several parts is supported if all
its parts are and contradicted if any is (or the other way round for a claim that something exists somewhere).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from analysis.inference import Estimate
from study.settings import Settings

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
ONE_IN_FIVE = (
    0.8416  # normal quantile: four of five studies find an effect this many standard errors past the interval
)


class Inference(Settings):
    """Intervals and tests."""

    resamples: int = Field(2000, ge=100, le=100000, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="coverage of intervals")


ESTIMATE = ("resamples", "confidence", "stimulus_seed")  # what every interval of the ledger reads


@dataclass(frozen=True)
class Region:
    """Where a claim's statistic should lie: between `low` and `high`, or outside of them.

    `smallest`: the smallest effect of interest of a claim with one bound, beyond that bound; None: the bound itself.
    """

    low: float = -math.inf
    high: float = math.inf
    outside: bool = False
    smallest: float | None = None

    @property
    def bounds(self) -> list[float]:
        """The finite ones of `low` and `high`."""
        return [bound for bound in (self.low, self.high) if math.isfinite(bound)]

    @property
    def far(self) -> Region:
        """The region that an interval must leave altogether for the claim to be contradicted."""
        if self.smallest is None:
            return self
        return Region(low=self.smallest) if math.isfinite(self.low) else Region(high=self.smallest)

    def verdict(self, low: float, high: float) -> str:
        """The verdict on an interval; one that is not finite says nothing."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return INCONCLUSIVE
        if self.holds(low, high):
            return SUPPORTED
        return CONTRADICTED if self.far.excludes(low, high) else INCONCLUSIVE

    def holds(self, low: float, high: float) -> bool:
        """Whether all of an interval lies in the region."""
        if self.outside:
            return high <= self.low or low >= self.high
        return self.low < low and high < self.high

    def excludes(self, low: float, high: float) -> bool:
        """Whether none of an interval lies in the region."""
        if self.outside:
            return self.low < low and high < self.high
        return high <= self.low or low >= self.high

    def levels(self, estimate: Estimate) -> tuple[float, float]:
        """Two-sided p-values of an estimate: the levels at which its interval would just support, and contradict.

        1 where it lies on the other side at every level.
        """

        value, far = float(estimate.value), self.far
        supports, against = (
            max(float(estimate.p(bound)) for bound in region.bounds) for region in (self, far)
        )
        return (
            supports if self.holds(value, value) else 1.0,
            against if far.excludes(value, value) else 1.0,
        )

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
        label: what it is about. estimate, ci_low, ci_high: in the claim's unit.
        p, p_against: the levels at which the interval would just support, and contradict, the part.
        n: how many things were judged (the claim's `counted`). effect_size: the estimate in standard deviations
        over people (NaN where not defined). verdict: by the claim's region.
        detectable: how far beyond its bound an effect has to be for this design to support it in 4 of 5 studies.
        decides: whether the claim's verdict rests on it.
        variance, df: from people, networks and both, and their degrees of freedom (`inference.Estimate`); empty where
        the interval is not made from these.
    """

    label: str
    estimate: float
    ci_low: float
    ci_high: float
    p: float
    p_against: float
    n: int
    effect_size: float
    verdict: str
    detectable: float = math.nan
    variance: tuple[float, ...] = ()
    df: tuple[float, ...] = ()
    decides: bool = True


def part(
    region: Region,
    label: str,
    estimate: Estimate,
    people: Any,
    confidence: float,
    *,
    together: int = 1,
    decides: bool = True,
) -> Part:
    """A part from an estimate; `people` `(N,)` are those on the images judged.

    `decides`: whether the claim's verdict rests on it, or it only stands beside. `together`: of how many parts any one
    would do for the claim; their intervals hold for all of them at once, and so do the p-values (Bonferroni).
    """
    low, high = (float(end) for end in estimate.interval(1 - (1 - confidence) / together))
    value, se = float(estimate.value), float(estimate.se)
    # What resampling people moves is their own part and the part that they share with networks.
    spread = math.sqrt((estimate.parts[0] + estimate.parts[2:].sum()) * len(set(people)))
    supports, against = (min(1.0, together * level) for level in region.levels(estimate))
    return Part(
        label,
        value,
        low,
        high,
        supports,
        against,
        len(people),
        value / spread if spread > 0 else math.nan,
        region.verdict(low, high),
        (high - low) / 2 + ONE_IN_FIVE * se,
        tuple(estimate.parts.tolist()),
        tuple(estimate.df.tolist()),
        decides,
    )


def untestable(label: str, n: int) -> Part:
    """A part that nothing can be said on, and why."""
    nan = math.nan
    return Part(label, nan, nan, nan, nan, nan, n, nan, INCONCLUSIVE)


def answer(region: Region, parts: list[Part]) -> dict[str, Any]:
    """A claim's region and parts, as a step returns them."""
    return {"region": asdict(region), "parts": [asdict(p) for p in parts]}


def combined(verdicts: list[str], need: str) -> str:
    """The verdict on a claim from those on its parts; it needs "all" of them or "any"."""
    first, second = (CONTRADICTED, SUPPORTED) if need == "all" else (SUPPORTED, CONTRADICTED)
    if first in verdicts:
        return first
    return second if verdicts and all(v == second for v in verdicts) else INCONCLUSIVE
