"""How well a network does on images masked by another network's relevance.

A *model* here is anything with the attributes `pretraining`, `run`, `task` and `seed` (such as a cell of the study's
grid). Arrays over pairs are `(S, T, N)`: source model (whose map), target model (whose decision), image.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from analysis.inference import Estimate, Labels, infer

Model = Any  # with `pretraining`, `run`, `task` and `seed`
RELATIONS = ("seed", "run", "task", "run_task", "pretraining", "both")


def relation(a: Model, b: Model) -> str:
    """In what two models differ, whatever their finetuning seeds.

    "self": in nothing; "seed": in the finetuning seed alone; "run": another pretraining run on the same dataset;
    "task": the finetuning task; "run_task": run and task; "pretraining": the pretraining dataset; "both": pretraining
    dataset and task.
    """
    task = a.task != b.task
    if a.pretraining != b.pretraining:
        return "both" if task else "pretraining"
    if a.run != b.run:
        return "run_task" if task else "run"
    if task:
        return "task"
    return "self" if a.seed == b.seed else "seed"


def relations(models: Sequence[Model]) -> np.ndarray:
    """Relation of every ordered pair, `(M, M)` of str."""
    return np.array([[relation(a, b) for b in models] for a in models])


def resampling(models: Sequence[Model]) -> tuple[np.ndarray, np.ndarray]:
    """(strata, units), each `(M,)` of str: what is fixed, and which models were drawn at random together.

    With several pretraining runs of every dataset the run is the unit, with all networks finetuned from it, and the
    dataset is the stratum. With one run of any dataset every network is a unit within its pretraining and task, and
    conclusions hold for these very pretrained networks.
    """
    datasets = [pretraining for pretraining, _ in {(m.pretraining, m.run) for m in models}]
    if all(datasets.count(d) > 1 for d in datasets):
        units = [f"{m.pretraining}/{m.run}" for m in models]
        return np.array([m.pretraining for m in models]), np.array(units)
    families = [f"{m.pretraining}/{m.task}" for m in models]
    units = [f"{f}/{m.run}/{m.seed}" for f, m in zip(families, models, strict=True)]
    return np.array(families), np.array(units)


def gains(performance: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What masks add to the control mask: of every source `(S, T, N)`, and of the target's own map `(T, N)`.

    `performance` `(M, M, N)`: target's performance on images masked by the source, averaged over percents; `control`
    `(M, N)`: the same under the control mask. ValueError for NaN.
    """
    gain = np.asarray(performance, dtype=float) - np.asarray(control, dtype=float)
    if np.isnan(gain).any():
        raise ValueError(f"gains hold {int(np.isnan(gain).sum())} NaN; see performance and control")
    diagonal = np.arange(len(control))
    return gain, gain[diagonal, diagonal]


def between(models: Sequence[Model], factor: str, source: str, target: str) -> np.ndarray:
    """Mask `(M, M)` bool of the ordered pairs that differ in `factor` ("pretraining" or "task") and not in the other.

    Masks come from models with the level `source` of the factor, and are tested on those with the level `target`.
    """
    level = np.array([getattr(m, factor) for m in models])
    other = np.array([getattr(m, {"pretraining": "task", "task": "pretraining"}[factor]) for m in models])
    return np.outer(level == source, level == target) & (other[:, None] == other[None])


def shares(
    values: np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    models: Sequence[Model],
    groups: Labels,
    *,
    scale: np.ndarray | None = None,
    contrast: np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean of `values (M, M, N)` over the pairs of each mask `(K, M, M)`, with uncertainty from people and networks.

    Args:
        values: of every source, target and image, such as likeness of maps, or gains (see `gains`). groups: `(N,)`
            identities.
        scale: `(M, N)` own gains. The result is then transfer: summed gain of the pairs divided by the summed own gain
            of their targets, so a target that hardly gains has little say.
        contrast: `(C, K)` weights; the result is C weighted sums of the K means instead.
        n, seed: as in `inference.infer`.

    Ratios are linearised: a resampled ratio is that of the whole sample plus (gain - ratio * own) / mean own (Cochran
    1977, Sampling Techniques, 6.3). Dividing each draw by its own denominator gives intervals without end where that
    comes near 0. A mask without pairs is NaN, and so is one whose targets' own gain is not apart from 0 (its 95 %
    interval): of nothing there is no share.
    """
    strata, units = resampling(models)
    combine = np.eye(len(masks)) if contrast is None else np.asarray(contrast, dtype=float)
    options = {"units": units, "n": n, "seed": seed, "pairs": True}
    mean = partial(pair_means, masks=np.asarray(masks, dtype=float), strata=strata)
    if scale is None:
        return infer(lambda w, v: _sums(mean(values, w=w, v=v), combine), groups, strata, **options)

    own = np.broadcast_to(scale, values.shape)
    unit = infer(lambda w, v: mean(own, w=w, v=v), groups, strata, **options)
    with np.errstate(invalid="ignore"):
        whole = np.where(unit.interval()[0] > 0, unit.value, np.nan)
    ratio = mean(values, w=np.full((1, len(groups)), 1 / len(groups)), v=np.ones((1, len(models))))[0] / whole

    def statistic(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        left = mean(values, w=w, v=v) - ratio * mean(own, w=w, v=v)
        return _sums(ratio + left / whole, combine)

    return infer(statistic, groups, strata, **options)


def _sums(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums `(B, C)` of means `(B, K)`; a mean that is NaN spoils only those that it has a weight in."""
    return np.stack([means[:, row != 0] @ row[row != 0] for row in weights], axis=1)


def pair_means(
    values: np.ndarray, masks: np.ndarray, w: np.ndarray, v: np.ndarray, strata: Labels
) -> np.ndarray:
    """Weighted means `(B, K)` of `values (M, M, N)` over images and over the pairs of each mask `(K, M, M)`.

    Image weights `w (B, N)` sum to 1; a pair weighs the product of its models' weights `v (B, M)`. Either may have a
    single row. Strata `(M,)` are fixed: pairs from one to another have the same share of the mean whatever `v`, or
    networks of one run would weigh twice what the run does. Where all pairs of two strata weigh 0, the others stand for
    them; NaN where no pair is left.
    """
    m, code = masks.shape[1], np.unique(np.asarray(strata), return_inverse=True)[1]
    kinds = np.equal.outer(np.unique(block := code[:, None] * m + code), block)
    blocks = (masks[:, None] * kinds).reshape(-1, m, m)
    present = blocks.any((1, 2))
    sizes = blocks.sum((1, 2)) * np.equal.outer(
        np.arange(len(masks)), np.repeat(np.arange(len(masks)), len(kinds))
    )
    means = _means(values, blocks[present], w, v)
    weights = np.where(np.isnan(means)[:, None], 0, sizes[:, present])
    with np.errstate(invalid="ignore"):
        return (weights @ np.nan_to_num(means)[..., None])[..., 0] / weights.sum(2)


def _means(values: np.ndarray, masks: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    k, m = masks.shape[:2]
    if len(v) == 1:  # average over pairs first: no array of pairs x draws
        weights = (masks * np.outer(v[0], v[0])).reshape(k, m * m)
        means = w @ (weights @ values.reshape(m * m, -1)).T
        total = weights.sum(1)
    elif len(w) == 1:
        mean = values @ w[0]
        means = np.stack([((v @ (mask * mean)) * v).sum(1) for mask in masks], axis=1)
        total = np.stack([((v @ mask) * v).sum(1) for mask in masks], axis=1)
    else:
        pairs = (values.reshape(m * m, -1) @ w.T).reshape(m, m, -1)
        means = np.einsum("bs,kst,stb,bt->bk", v, masks, pairs, v, optimize=True)
        total = np.einsum("bs,kst,bt->bk", v, masks, v, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return means / total
