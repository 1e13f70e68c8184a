"""Do the intervals cover and the tests keep their level? Simulated studies with a known truth, and power.

Every rate comes from the functions that the study itself uses, applied to simulated data in which people,
images, networks and their combinations vary by known amounts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr
from statsmodels.stats.proportion import proportion_confint

from analysis import inference, transfer
from analysis.inference import Estimate, Statistic
from study.grid import Cell

CHUNK = 250  # experiments that share their bootstrap draws
RESAMPLES = 1000


@dataclass(frozen=True)
class Design:
    """A simulated study: 2 pretrainings x 2 tasks x `seeds` networks, `people` x `images` images."""

    seeds: int = 3
    people: int = 40
    images: int = 3

    @property
    def networks(self) -> list[Cell]:
        """The grid."""
        families = [(p, t) for p in ("objects", "faces") for t in ("gender", "identity")]
        return [Cell(p, t, seed, 0) for p, t in families for seed in range(self.seeds)]

    @property
    def groups(self) -> np.ndarray:
        """Person of every image, `(N,)`."""
        return np.repeat(np.arange(self.people), self.images)


@dataclass(frozen=True)
class Variation:
    """Standard deviations of the normal effects that add up to a network's score on an image."""

    person: float = 0.3
    image: float = 0.5
    person_by_family: float = 0.2
    image_by_family: float = 0.2
    network: float = 0.06
    network_by_person: float = 0.2
    residual: float = 0.5


VARIATIONS = {
    "all vary": Variation(),
    "networks vary most": Variation(0.2, 0.3, 0.05, 0.1, 0.5, 0.1, 0.5),
    "people vary most": Variation(0.5, 0.5, 0.3, 0.3, 0.05, 0.1, 0.5),
    "only noise": Variation(0, 0, 0, 0, 0, 0, 1),
}


def scores(design: Design, variation: Variation, experiments: int, seed: int) -> np.ndarray:
    """Scores `(E, M, N)` of E independent simulated studies; the true mean of every family is 0."""
    rng = np.random.default_rng(seed)
    person, family = design.groups, np.repeat(np.arange(4), design.seeds)
    m, n = len(family), len(person)
    total = np.zeros((experiments, m, n))
    for sd, shape, models, images in (
        (variation.person, (1, design.people), np.zeros(m, int), person),
        (variation.image, (1, n), np.zeros(m, int), np.arange(n)),
        (variation.person_by_family, (4, design.people), family, person),
        (variation.image_by_family, (4, n), family, np.arange(n)),
        (variation.network, (m, 1), np.arange(m), np.zeros(n, int)),
        (variation.network_by_person, (m, design.people), np.arange(m), person),
        (variation.residual, (m, n), np.arange(m), np.arange(n)),
    ):
        if sd:
            total += sd * rng.standard_normal((experiments, *shape))[:, models][:, :, images]
    return total


def correct(values: np.ndarray, variation: Variation, accuracy: float) -> np.ndarray:
    """Scores turned into hits (0.0 or 1.0) with a true rate of `accuracy`."""
    total = np.sqrt(sum(sd**2 for sd in vars(variation).values()))
    return (values > stats.norm.ppf(1 - accuracy) * total).astype(float)


@dataclass(frozen=True)
class Pairs:
    """Transfer in a simulated study. A pair's expected gain is `share[relation]` times the own gain of 0.2.

    The other fields are standard deviations: of the own gain over target networks and over images, of what a
    source or a target does to all pairs, of a single pair, and of single measurements.
    """

    share: dict[str, float]
    gain_network: float = 0.03
    gain_image: float = 0.15
    source: float = 0.02
    target: float = 0.02
    pair: float = 0.01
    residual: float = 0.2


GAIN = 0.2
SHARE = {"seed": 0.9, "task": 0.6, "pretraining": 0.4, "both": 0.2}  # of simulated studies


def performances(design: Design, pairs: Pairs, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Performance `(M, M, N)` and control `(M, N)` of one simulated study, as in `transfer.gains`."""
    rng = np.random.default_rng(seed)
    relations = transfer.relations(design.networks)
    m, n = len(relations), len(design.groups)
    share = np.vectorize(lambda name: 1.0 if name == "self" else pairs.share[name])(relations)
    own = (
        GAIN
        + pairs.gain_network * rng.standard_normal((m, 1))
        + pairs.gain_image
        * (rng.standard_normal(n) + rng.standard_normal(design.people)[design.groups])
        / 2**0.5
    )
    others = (
        pairs.source * rng.standard_normal((m, 1))
        + pairs.target * rng.standard_normal(m)
        + pairs.pair * rng.standard_normal((m, m))
    ) * (relations != "self")
    control = 0.5 + pairs.residual * rng.standard_normal((m, n))
    noise = pairs.residual * rng.standard_normal((m, m, n))
    return 0.5 + share[..., None] * own + others[..., None] + noise, control


# ------------------------------------------------------------ coverage of intervals


def combined(statistic: Statistic, groups: np.ndarray, strata: np.ndarray, seed: int) -> tuple:
    """What the study uses: `inference.infer`."""
    return inference.infer(statistic, groups, strata, n=RESAMPLES, seed=seed).interval()


def percentile(
    statistic: Statistic, groups: np.ndarray, strata: np.ndarray, seed: int, within: bool = False
) -> tuple:
    """The usual bootstrap: people and networks both redrawn, percentiles of the outcomes.

    `within` redraws each person's images as well. That counts the variance between images twice: people's means vary
    with it already (Davison & Hinkley 1997, 3.8).
    """
    people, networks = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    drawn = _draw(people, groups.max() + 1)
    images = drawn[:, groups].astype(float)
    if within:
        for person, size in enumerate(np.bincount(groups)):
            counts = people.multinomial(drawn[:, person] * size, np.full(size, 1 / size))
            images[:, groups == person] = counts
    models = np.empty((RESAMPLES, len(strata)))
    for stratum in np.unique(strata):
        models[:, strata == stratum] = _draw(networks, (strata == stratum).sum())
    outcomes = statistic(images / images.sum(1, keepdims=True), models)
    return tuple(np.quantile(outcomes, [0.025, 0.975], axis=0))


def _draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n is drawn, `(RESAMPLES, n)`."""
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)


METHODS: dict[str, Callable[..., tuple]] = {
    "combined": combined,
    "percentile": percentile,
    "percentile, images redrawn": partial(percentile, within=True),
}


def contrasts(design: Design) -> dict[str, np.ndarray]:
    """Weights `(M,)` of the networks in the simulated statistics."""
    family = np.repeat(np.arange(4), design.seeds)
    return {
        "one family": np.where(family == 0, 1, 0) / design.seeds,
        "all families": np.full(len(family), 1 / len(family)),
        "difference of pretrainings": np.where(family < 2, 1, -1) / (2 * design.seeds),
    }


def coverage(
    designs: Iterable[Design],
    *,
    experiments: int = 1000,
    methods: Sequence[str] = tuple(METHODS),
    accuracy: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How often 95 % intervals for means of scores contain the truth: one row per design, statistic, method.

    With `accuracy` the scores are hits and misses at that rate. Columns: variation, statistic, seeds, people,
    method, and those of `rate`.
    """
    hits = defaultdict(list)
    for design, (name, variation) in product(designs, VARIATIONS.items()):
        strata, _ = transfer.resampling(design.networks)
        for chunk_seed, size in _chunks(experiments, seed):
            values = scores(design, variation, size, chunk_seed)
            if accuracy is not None:
                values = correct(values, variation, accuracy)
            for (statistic, weights), method in product(contrasts(design).items(), methods):
                truth = 0 if accuracy is None else accuracy * round(weights.sum())
                low, high = METHODS[method](_means(values, weights), design.groups, strata, chunk_seed)
                key = (name, statistic, design.seeds, design.people, method)
                hits[key] += list((low <= truth) & (truth <= high))
    return _rates(hits, "variation", "statistic", "seeds", "people", "method")


def pair_coverage(designs: Iterable[Design], *, experiments: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The same for transfer: of each relation, of contrasts of relations, and of all asymmetries at once.

    The truth is `SHARE`. True asymmetries are 0, so 1 - coverage of "asymmetry, all at once" is the chance of any
    false asymmetry. Columns: statistic, seeds, people, and those of `rate`.
    """
    hits = defaultdict(list)
    for design, experiment in product(designs, range(experiments)):
        networks, people = design.networks, design.groups
        performance, control = performances(design, Pairs(SHARE), seed + experiment)
        options = {"n": RESAMPLES // 4, "seed": experiment}
        gain, own = transfer.gains(performance, control)
        options |= {"scale": own}
        of_pairs = transfer.relations(networks)
        masks = [of_pairs == name for name in SHARE]
        shares = transfer.shares(gain, masks, networks, people, **options)
        contrast = transfer.shares(gain, masks, networks, people, contrast=[[0, 1, -1, 0]], **options)[0]
        turned = [("pretraining", "objects", "faces"), ("task", "gender", "identity")]
        ways = [transfer.between(networks, f, *way) for f, a, b in turned for way in ((a, b), (b, a))]
        asymmetry = transfer.shares(
            gain, ways, networks, people, contrast=[[1, -1, 0, 0], [0, 0, 1, -1]], **options
        )
        intervals = {
            **{f"transfer, {name}": (shares[k].interval(), SHARE[name]) for k, name in enumerate(SHARE)},
            "transfer, task minus pretraining": (contrast.interval(), SHARE["task"] - SHARE["pretraining"]),
            "asymmetry, both at once": (asymmetry.interval(1 - 0.05 / 2), 0),
        }
        for name, ((low, high), truth) in intervals.items():
            hits[name, design.seeds, design.people].append(np.all((low <= truth) & (truth <= high)))
    return _rates(hits, "statistic", "seeds", "people")


# ------------------------------------------------------------ false positives of tests


def false_positives(
    design: Design, *, experiments: int = 1000, alpha: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """How often tests find at level `alpha` what is not there. Columns: test, null, and those of `rate`."""
    hits = defaultdict(list)
    strata, _ = transfer.resampling(design.networks)
    weights = contrasts(design)["difference of pretrainings"]
    for (chunk_seed, size), (null, variation) in product(_chunks(experiments, seed), VARIATIONS.items()):
        statistic = _means(scores(design, variation, size, chunk_seed), weights)
        estimate = inference.infer(statistic, design.groups, strata, n=RESAMPLES, seed=chunk_seed)
        hits["difference", null] += list(estimate.p() < alpha)
        # Equivalence: the 1 - 2 alpha interval within the margin (two one-sided tests, Schuirmann 1987).
        margin = float(np.median(estimate.se) * 4)
        low, high = estimate.interval(1 - 2 * alpha)
        within = (low + margin > -margin) & (high + margin < margin)
        hits["equivalence", f"{null}, difference at the margin"] += list(within)
    return _rates(hits, "test", "null")


# ------------------------------------------------------------ power


def power(
    estimate: Estimate,
    effect: float,
    *,
    people: tuple[int, int],
    seeds: tuple[int, int],
    alpha: float = 0.05,
) -> float:
    """Chance that a study of another size finds a true `effect`, given the variances of this study's
    `estimate`.

    `people` and `seeds` are (in this study, in the planned one). The variance from people falls with their
    number, that from networks with the seeds, that from both with the product; with few seeds the variance
    itself is uncertain and the critical value larger. Two-sided test at level `alpha`. ValueError for a
    single seed, or an estimate that is not from people and networks.
    """
    if estimate.parts.shape != (3,):
        raise ValueError("power needs one estimate with variances from people, networks and both")
    if min(*people, *seeds) < 2:
        raise ValueError(f"at least 2 people and 2 seeds, not {min(people)} and {min(seeds)}")
    fewer = np.array([people[0] / people[1], seeds[0] / seeds[1]])
    parts = estimate.parts * [*fewer, fewer.prod()]
    networks = estimate.df[1] * (seeds[1] - 1) / (seeds[0] - 1)
    df = np.array([people[1] - 1, networks, (people[1] - 1) * networks])
    planned = Estimate(np.array(0.0), parts, df)
    if planned.se == 0:
        return float(effect != 0)
    critical = planned.interval(1 - alpha)[1] / planned.se
    shift = effect / planned.se
    # The estimated standard error varies around the true one; each part of its square like chi-squared / df.
    rng = np.random.default_rng(0)
    share = parts / parts.sum()
    estimated = np.sqrt((share[:, None] * rng.chisquare(df[:, None], (3, 20000)) / df[:, None]).sum(0))
    return float((ndtr(shift - critical * estimated) + ndtr(-shift - critical * estimated)).mean())


# ------------------------------------------------------------ helpers


def rate(hits: np.ndarray) -> dict[str, float]:
    """`experiments`, `rate` and its 95 % Wilson interval `low`, `high`."""
    low, high = proportion_confint(int(hits.sum()), len(hits), method="wilson")
    return {"experiments": len(hits), "rate": float(hits.mean()), "low": low, "high": high}


def _rates(hits: Mapping[tuple, list], *columns: str) -> pd.DataFrame:
    """One row per key of `hits`: its entries under the names of `columns`, and those of `rate`."""
    return pd.DataFrame(
        [dict(zip(columns, key, strict=True)) | rate(np.array(hit)) for key, hit in hits.items()]
    )


def _means(values: np.ndarray, weights: np.ndarray) -> Statistic:
    """The statistic `(B, E)` of E studies `(E, M, N)`: a weighted sum over networks of means over images."""

    def statistic(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        if len(v) == 1:
            return w @ np.tensordot(weights * v[0], values, (0, 1)).T
        if len(w) == 1:
            return (weights * v) @ (values @ w[0]).T
        return np.einsum("bm,emb->be", weights * v, values @ w.T)

    return statistic


def _chunks(experiments: int, seed: int) -> Iterator[tuple[int, int]]:
    for k, start in enumerate(range(0, experiments, CHUNK)):
        yield seed + k, min(CHUNK, experiments - start)
