"""Do the intervals cover and the tests keep their level? Simulated studies with a known truth, and power.

Every rate comes from the functions that the study itself uses, applied to simulated data in which people,
images, pretraining runs, networks and their combinations vary by known amounts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product

import numpy as np
import pandas as pd
from rsatoolbox.rdm.rdms import RDMs
from scipy import stats
from scipy.spatial.distance import pdist
from scipy.special import ndtr
from scipy.stats import rankdata
from statsmodels.stats.proportion import proportion_confint

from analysis import inference, rsa, transfer
from analysis.inference import Estimate, Statistic
from study.grid import Cell
from study.verdicts import CONTRADICTED, SUPPORTED, Region

CHUNK = 250  # experiments that share their bootstrap draws
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Design:
    """A simulated study: 2 pretrainings x 2 tasks x `seeds` networks, `people` x `images` images.

    Seed k starts from pretraining run k modulo `runs`, as in `grid.cells`.
    """

    seeds: int = 6
    people: int = 120
    images: int = 1
    runs: int = 3

    @property
    def networks(self) -> list[Cell]:
        """The grid."""
        families = [(p, t) for p in ("objects", "faces") for t in ("gender", "identity")]
        return [Cell(p, t, k, k % self.runs) for p, t in families for k in range(self.seeds)]

    @property
    def groups(self) -> np.ndarray:
        """Person of every image, `(N,)`."""
        return np.repeat(np.arange(self.people), self.images)

    @property
    def family(self) -> np.ndarray:
        """Family of every network, `(M,)` of 0 to 3; the first two are of one pretraining."""
        return np.repeat(np.arange(4), self.seeds)

    @property
    def unit(self) -> np.ndarray:
        """Pretraining and run of every network, `(M,)` of ints from 0."""
        return np.array(
            [(f // 2) * self.runs + c.run for f, c in zip(self.family, self.networks, strict=True)]
        )


def designs(seeds: int) -> list[Design]:
    """Studies of many people with one image each and of few with several; 2 seeds a run where there are 6 or more.

    With fewer seeds there is one run of each pretraining, and networks are what was drawn.
    """
    runs = seeds // 2 if seeds >= 6 else 1
    return [Design(seeds, 120, 1, runs), Design(seeds, 30, 3, runs)]


@dataclass(frozen=True)
class Variation:
    """Standard deviations of the normal effects that add up to a network's score on an image.

    `unequal`: those of runs and networks of the second pretraining are this many times as large.
    """

    person: float = 0.3
    image: float = 0.5
    person_by_family: float = 0.2
    image_by_family: float = 0.2
    run: float = 0.04
    run_by_person: float = 0.1
    network: float = 0.06
    network_by_person: float = 0.2
    residual: float = 0.5
    unequal: float = 1.0


VARIATIONS = {
    "all vary": Variation(),
    "networks vary most": Variation(0.2, 0.3, 0.05, 0.1, 0.4, 0.1, 0.3, 0.1, 0.5),
    "networks vary unequally": Variation(0.2, 0.3, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5, unequal=4),
    "people vary most": Variation(0.5, 0.5, 0.3, 0.3, 0.03, 0.1, 0.05, 0.1, 0.5),
    "only noise": Variation(0, 0, 0, 0, 0, 0, 0, 0, 1),
}


def scores(design: Design, variation: Variation, experiments: int, seed: int) -> np.ndarray:
    """Scores `(E, M, N)` of E independent simulated studies; the true mean of every family is 0.

    With a single run of each pretraining that run is fixed: conclusions are about it, and runs do not vary.
    """
    rng = np.random.default_rng(seed)
    person, family, unit = design.groups, design.family, design.unit
    m, n = len(family), len(person)
    run, run_by_person, scale = _network_effects(design, variation)
    total = np.zeros((experiments, m, n))
    for sd, shape, models, images in (
        (variation.person, (1, design.people), np.zeros(m, int), person),
        (variation.image, (1, n), np.zeros(m, int), np.arange(n)),
        (variation.person_by_family, (4, design.people), family, person),
        (variation.image_by_family, (4, n), family, np.arange(n)),
        (run * scale, (2 * design.runs, 1), unit, np.zeros(n, int)),
        (run_by_person * scale, (2 * design.runs, design.people), unit, person),
        (variation.network * scale, (m, 1), np.arange(m), np.zeros(n, int)),
        (variation.network_by_person * scale, (m, design.people), np.arange(m), person),
        (variation.residual, (m, n), np.arange(m), np.arange(n)),
    ):
        if np.any(sd):
            total += sd * rng.standard_normal((experiments, *shape))[:, models][:, :, images]
    return total


def _network_effects(design: Design, variation: Variation) -> tuple[float, float, np.ndarray]:
    """Deviations of runs and of runs by people, and the factor `(M, 1)` for all that networks bring."""
    scale = np.where(design.family < 2, 1.0, variation.unequal)[:, None]
    several = design.runs > 1
    return several * variation.run, several * variation.run_by_person, scale


def correct(values: np.ndarray, design: Design, variation: Variation, accuracy: float) -> np.ndarray:
    """Scores turned into hits (0.0 or 1.0) with a true rate of `accuracy` in every family."""
    run, run_by_person, scale = _network_effects(design, variation)
    same = ("person", "image", "person_by_family", "image_by_family", "residual")
    fixed = sum(getattr(variation, name) ** 2 for name in same)
    ours = run**2 + run_by_person**2 + variation.network**2 + variation.network_by_person**2
    return (values > stats.norm.ppf(1 - accuracy) * np.sqrt(fixed + ours * scale**2)).astype(float)


@dataclass(frozen=True)
class Pairs:
    """Transfer in a simulated study. A pair's expected gain is `share[relation]` times the target's own gain.

    `gain`: true own gain of the networks of the first and of the second task. The other fields are standard
    deviations: of the own gain over target networks and over images, of what a source or a target does to all pairs,
    of a single pair, and of single measurements. Runs bring as much of each as networks do.
    """

    share: dict[str, float]
    gain: tuple[float, float] = (0.2, 0.2)
    gain_network: float = 0.02
    gain_image: float = 0.15
    source: float = 0.014
    target: float = 0.014
    pair: float = 0.01
    residual: float = 0.2


# Of simulated studies, by what two networks differ in.
SHARE = {"seed": 0.9, "run": 0.8, "task": 0.6, "run_task": 0.5, "pretraining": 0.4, "both": 0.2}
GAINS = {"": (0.2, 0.2), ", small own gains": (0.04, 0.04), ", small gains of one task": (0.04, 0.2)}


def performances(design: Design, pairs: Pairs, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Performance `(M, M, N)` and control `(M, N)` of one simulated study, as in `transfer.gains`."""
    rng = np.random.default_rng(seed)
    relations, unit = transfer.relations(design.networks), design.unit
    m, n = len(relations), len(design.groups)

    def vary() -> np.ndarray:
        of_unit = rng.standard_normal(2 * design.runs)[unit] * (design.runs > 1)
        return of_unit + rng.standard_normal(m)

    share = np.vectorize(lambda name: 1.0 if name == "self" else pairs.share[name])(relations)
    own = (
        np.take(pairs.gain, design.family % 2)[:, None]
        + pairs.gain_network * vary()[:, None]
        + pairs.gain_image
        * (rng.standard_normal(n) + rng.standard_normal(design.people)[design.groups])
        / 2**0.5
    )
    of_units = rng.standard_normal((2 * design.runs, 2 * design.runs))[np.ix_(unit, unit)] * (design.runs > 1)
    others = (
        pairs.source * vary()[:, None]
        + pairs.target * vary()
        + pairs.pair * (of_units + rng.standard_normal((m, m)))
    ) * (relations != "self")
    control = 0.5 + pairs.residual * rng.standard_normal((m, n))
    noise = pairs.residual * rng.standard_normal((m, m, n))
    return 0.5 + share[..., None] * own + others[..., None] + noise, control


# ------------------------------------------------------------ coverage of intervals


def combined(statistic: Statistic, design: Design, confidence: float, seed: int) -> tuple:
    """What the study uses: `inference.infer`."""
    strata, units = transfer.resampling(design.networks)
    options = {"units": units, "n": RESAMPLES, "seed": seed}
    return inference.infer(statistic, design.groups, strata, **options).interval(confidence)


def percentile(
    statistic: Statistic, design: Design, confidence: float, seed: int, within: bool = False
) -> tuple:
    """The usual bootstrap: people and networks (or runs) both redrawn, percentiles of the outcomes.

    `within` redraws each person's images as well. That counts the variance between images twice: people's means vary
    with it already (Davison & Hinkley 1997, 3.8).
    """
    groups, (strata, units) = design.groups, transfer.resampling(design.networks)
    people, networks = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    drawn = _draw(people, groups.max() + 1)
    images = drawn[:, groups].astype(float)
    if within:
        for person, size in enumerate(np.bincount(groups)):
            counts = people.multinomial(drawn[:, person] * size, np.full(size, 1 / size))
            images[:, groups == person] = counts
    models = np.empty((RESAMPLES, len(strata)))
    for stratum in np.unique(strata):
        names, of = np.unique(units[strata == stratum], return_inverse=True)
        models[:, strata == stratum] = _draw(networks, len(names))[:, of]
    outcomes = statistic(images / images.sum(1, keepdims=True), models)
    return tuple(np.quantile(outcomes, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0))


def _draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n is drawn, `(RESAMPLES, n)`."""
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)


METHODS: dict[str, Callable[..., tuple]] = {
    "combined": combined,
    "percentile": percentile,
    "percentile, images redrawn": partial(percentile, within=True),
}


def contrasts(design: Design) -> dict[str, np.ndarray]:
    """Weights `(K, M)` of the networks in the simulated statistics; K above 1: intervals that hold at once."""
    of_family = np.equal.outer(np.arange(4), design.family) / design.seeds
    return {
        "one family": of_family[:1],
        "all families": of_family.mean(0, keepdims=True),
        "difference of pretrainings": np.array([[1, 1, -1, -1]]) / 2 @ of_family,
        "2 differences at once": np.array([[1, 1, -1, -1], [1, -1, 1, -1]]) / 2 @ of_family,
        "4 differences at once": np.array([[1, -1, 0, 0], [0, 0, 1, -1], [1, 0, -1, 0], [0, 1, 0, -1]])
        @ of_family,
    }


def coverage(
    plans: Iterable[Design],
    *,
    experiments: int = 1000,
    methods: Sequence[str] = tuple(METHODS),
    accuracy: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How often 95 % intervals for means of scores contain the truth: one row per design, statistic, method.

    With `accuracy` the scores are hits and misses at that rate. Several statistics at once share the 5 % (Bonferroni),
    for which of the methods only "combined" is used.
    Columns: variation, statistic, seeds, people, method, and those of `rate`.
    """
    hits = defaultdict(list)
    for design, (name, variation) in product(plans, VARIATIONS.items()):
        for chunk_seed, size in _chunks(experiments, seed):
            values = scores(design, variation, size, chunk_seed)
            if accuracy is not None:
                values = correct(values, design, variation, accuracy)
            for (statistic, weights), method in product(contrasts(design).items(), methods):
                if len(weights) > 1 and method != "combined":
                    continue
                truth = 0 if accuracy is None else accuracy * weights.sum(1).round(9)
                level = 1 - (1 - CONFIDENCE) / len(weights)
                ends = METHODS[method](_means(values, weights), design, level, chunk_seed)
                low, high = (end.reshape(size, -1) for end in ends)
                key = (name, statistic, design.seeds, design.people, method)
                hits[key] += list(((low <= truth) & (truth <= high)).all(1))
    return _rates(hits, "variation", "statistic", "seeds", "people", "method")


def pair_coverage(plans: Iterable[Design], *, experiments: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The same for transfer: of each relation, of contrasts of relations, and of two asymmetries at once.

    The truth is `SHARE`, with every size of own gains in `GAINS`; where people have several images, the first alone.
    True asymmetries are 0, so 1 - coverage of "asymmetry, both at once" is the chance of any false asymmetry. Columns:
    statistic, seeds, people, `none` (share of studies whose own gain is not apart from 0, and which therefore have no
    interval; all others are counted), and those of `rate`.
    """
    hits, none = defaultdict(list), defaultdict(list)
    for design, (size, gain), k in product(plans, GAINS.items(), range(experiments)):
        if size and design.images > 1:
            continue
        measured = performances(design, replace(Pairs(SHARE), gain=gain), seed + k)
        for name, ((low, high), truth) in _pair_intervals(design, *measured, seed + k).items():
            key = f"{name}{size}", design.seeds, design.people
            none[key].append(bool(np.isnan(low).any()))
            if not none[key][-1]:
                hits[key].append(np.all((low <= truth) & (truth <= high)))
    table = _rates({key: hits[key] for key in none}, "statistic", "seeds", "people")
    return table.assign(none=[np.mean(each) for each in none.values()])


def _pair_intervals(
    design: Design, performance: np.ndarray, control: np.ndarray, seed: int
) -> dict[str, tuple]:
    """Intervals of one simulated study for what `pair_coverage` counts, and the truth, by name."""
    networks, people = design.networks, design.groups
    gain, own = transfer.gains(performance, control)
    options = {"scale": own, "n": RESAMPLES // 4, "seed": seed}
    of_pairs = transfer.relations(networks)
    present = [name for name in SHARE if (of_pairs == name).any()]
    turned = [("pretraining", "objects", "faces"), ("task", "gender", "identity")]
    ways = [transfer.between(networks, f, *way) for f, a, b in turned for way in ((a, b), (b, a))]
    masks = [*(of_pairs == name for name in present), *ways]
    other = "run" if "run" in present else "task"
    weights = np.eye(len(present), len(masks))
    less = weights[present.index("pretraining")] - weights[present.index(other)]
    both = np.zeros((2, len(masks)))
    both[0, -4:-2] = both[1, -2:] = [1, -1]
    shares = transfer.shares(gain, masks, networks, people, contrast=[*weights, less, *both], **options)
    low, high = shares.interval()
    told = {f"transfer, {name}": ((low[k], high[k]), SHARE[name]) for k, name in enumerate(present)}
    name = f"transfer, pretraining minus {other}"
    told[name] = (low[-3], high[-3]), SHARE["pretraining"] - SHARE[other]
    ends = shares[np.arange(len(low)) >= len(low) - 2].interval(1 - (1 - CONFIDENCE) / 2)
    return told | {"asymmetry, both at once": (ends, 0)}


# ------------------------------------------------------------ agreement with people

FACTORS = 6  # of simulated faces, by which people and networks tell them apart
JUDGED = np.array([2.0, 1.5, 1.0, 1.0, 0.5, 0.5])  # what each counts for people
SEEN = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # and in images as they are, to which networks add
RATERS, NOISE = 12, 0.5
RATED = (20, 40)  # people


def dissimilarities(design: Design, items: int, seed: int, spread: float = 0.4) -> tuple[RDMs, RDMs]:
    """Dissimilarities of simulated faces: (models, raters); the first model is the same for all networks.

    Networks weigh factors as people do, half-way, each with deviations (SD `spread`, half of it shared by its run, or
    by its own where there is one run) that are new for every network. Judgements add noise of their own SD.
    """
    rng = np.random.default_rng(seed)
    faces = rng.standard_normal((items, FACTORS))
    firsts = [k for k, cell in enumerate(design.networks) if cell.seed < max(design.runs, 2)]
    unit = design.unit[firsts]
    deviation = rng.standard_normal((len(firsts), FACTORS))
    if design.runs > 1:
        deviation = (deviation + rng.standard_normal((2 * design.runs, FACTORS))[unit]) / 2**0.5
    weights = np.concatenate([SEEN[None], (SEEN + JUDGED) / 2 + spread * deviation])
    models = np.array([pdist(faces * w) for w in weights])
    distance = pdist(faces * JUDGED)
    raters = distance + NOISE * distance.std() * rng.standard_normal((RATERS, len(distance)))
    names = {"identity": [f"{k:04d}" for k in range(items)]}
    levels = ["pixels"] + ["weighted"] * len(firsts)
    return (
        RDMs(models, rdm_descriptors={"level": levels}, pattern_descriptors=names),
        RDMs(raters, pattern_descriptors=names),
    )


def _agreement(models: RDMs, raters: RDMs, design: Design) -> Estimate:
    """Agreement of weighted images, what weighting adds to images as they are, and pretrainings, as in C8; K is 3."""
    weighted = np.array(models.rdm_descriptors["level"]) == "weighted"
    cells = [c for c in design.networks if c.seed < max(design.runs, 2)]
    strata, units = transfer.resampling(cells)
    side = np.where([cell.pretraining == "objects" for cell in cells], 1, -1) / (len(cells) / 2)
    mean = weighted / weighted.sum()
    contrast = [mean, mean - ~weighted, [0, *side]]
    return rsa.compare(models, raters).estimate(contrast, ["", *strata], ["", *units])


@lru_cache
def _true_agreement() -> np.ndarray:
    """The truth of `_agreement`, `(3,)`: a mean over many networks, 100 faces at a time."""
    values = []
    for seed in range(80):
        models, raters = dissimilarities(Design(10, runs=10), 100, seed)
        ranks, judged = (rankdata(rdms.get_vectors(), axis=1) for rdms in (models, raters))
        same, *networks = np.corrcoef(ranks, judged)[: len(ranks), len(ranks) :].mean(1)
        values.append([np.mean(networks), np.mean(networks) - same, 0])
    return np.mean(values, 0)


def agreement_coverage(plans: Iterable[Design], *, experiments: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The same for agreement with people, of other faces and networks. Columns as of `pair_coverage`, `none` is 0.

    `people` are the rated ones: RATED.
    """
    names, truth = ("weighted images", "gain by weighting", "difference of pretrainings"), _true_agreement()
    hits = defaultdict(list)
    for design, items, k in product(plans, RATED, range(experiments)):
        low, high = _agreement(*dissimilarities(design, items, seed + k), design).interval()
        for name, hit in zip(names, (low <= truth) & (truth <= high), strict=True):
            hits[f"agreement with people, {name}", design.seeds, items].append(hit)
    return _rates(hits, "statistic", "seeds", "people").assign(none=0.0)


# ------------------------------------------------------------ false positives of tests


def false_positives(
    plans: Iterable[Design], *, experiments: int = 1000, alpha: float = 1 - CONFIDENCE, seed: int = 0
) -> pd.DataFrame:
    """How often tests find at level `alpha` what is not there, and claims get a verdict that is wrong.

    A claim of a mean above 0 is wrongly supported where it is 0, and wrongly contradicted where it is the smallest
    effect of interest; as each looks at one end of the interval, either errs in at most alpha / 2 of studies. Columns:
    test, null, `expected`, and those of `rate`, over all designs.
    """
    hits = defaultdict(list)
    for design, (chunk_seed, size) in product(plans, _chunks(experiments, seed)):
        weights = contrasts(design)["difference of pretrainings"]
        strata, units = transfer.resampling(design.networks)
        for name, variation in VARIATIONS.items():
            statistic = _means(scores(design, variation, size, chunk_seed), weights)
            options = {"units": units, "n": RESAMPLES, "seed": chunk_seed}
            estimate = inference.infer(statistic, design.groups, strata, **options)
            hits["difference", name, alpha] += list(estimate.p() < alpha)
            # Equivalence: the 1 - 2 alpha interval within the margin (two one-sided tests, Schuirmann 1987).
            far = float(np.median(estimate.se) * 4)
            low, high = estimate.interval(1 - 2 * alpha)
            within = (low + far > -far) & (high + far < far)
            hits["equivalence", f"{name}, difference at the margin", alpha] += list(within)
            region, ends = Region(low=0, smallest=far), np.array(estimate.interval(1 - alpha)).T
            for verdict, truth in ((SUPPORTED, 0.0), (CONTRADICTED, far)):
                given = [region.verdict(*span) == verdict for span in (ends + truth).tolist()]
                null = f"{name}, truth at {'the smallest effect' if truth else '0'}"
                hits[f"claim {verdict}", null, alpha / 2] += given
    return _rates(hits, "test", "null", "expected")


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
    """`experiments`, `rate` and its 95 % Wilson interval `low`, `high`; NaN without experiments."""
    if not len(hits):
        return {"experiments": 0, "rate": np.nan, "low": np.nan, "high": np.nan}
    low, high = proportion_confint(int(hits.sum()), len(hits), method="wilson")
    return {"experiments": len(hits), "rate": float(hits.mean()), "low": low, "high": high}


def _rates(hits: Mapping[tuple, list], *columns: str) -> pd.DataFrame:
    """One row per key of `hits`: its entries under the names of `columns`, and those of `rate`."""
    return pd.DataFrame(
        [dict(zip(columns, key, strict=True)) | rate(np.array(hit)) for key, hit in hits.items()]
    )


def _means(values: np.ndarray, weights: np.ndarray) -> Statistic:
    """The statistic `(B, E * K)` of E studies `(E, M, N)`: K weighted sums `(K, M)` of networks' means over images."""

    def statistic(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        if len(v) == 1:
            of_networks = np.einsum("km,emn->ekn", weights * v[0], values, optimize=True)
            return w @ of_networks.reshape(-1, values.shape[-1]).T
        if len(w) == 1:
            of_images = values @ w[0]
            return np.einsum("bm,km,em->bek", v, weights, of_images, optimize=True).reshape(len(v), -1)
        return np.einsum("bm,km,emb->bek", v, weights, values @ w.T, optimize=True).reshape(len(v), -1)

    return statistic


def _chunks(experiments: int, seed: int) -> Iterator[tuple[int, int]]:
    for k, start in enumerate(range(0, experiments, CHUNK)):
        yield seed + k, min(CHUNK, experiments - start)
