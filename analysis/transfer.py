"""How well a network does on images masked by another network's relevance.

A *model* here is anything with the attributes `pretraining`, `run`, `task` and `seed` (such as a cell of the study's
grid). Arrays over pairs are `(S, T, N)`: source model (whose map), target model (whose decision), image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
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
    families = [_family(m) for m in models]
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


def by_relation(
    values: np.ndarray,
    models: Sequence[Model],
    groups: Labels,
    *,
    scale: np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Mean over the pairs of each relation that occurs, with uncertainty from people and networks.

    `values` `(M, M, N)`, `groups` `(N,)` identities. For likeness of maps leave `scale` out. For transfer pass
    `gains(...)`: the result is the summed gain of the pairs divided by the summed own gain `scale` `(M, N)` of their
    targets, so a target that hardly gains has little say and no ratio is near 0 / 0.
    """
    of_pairs = relations(models)
    names = [name for name in RELATIONS if (of_pairs == name).any()]
    masks = np.array([of_pairs == name for name in names])
    estimate = _infer(lambda means: means, values, scale, masks, models, groups, n, seed)
    return {name: estimate[k] for k, name in enumerate(names)}


def relation_contrast(
    values: np.ndarray,
    models: Sequence[Model],
    groups: Labels,
    first: str,
    second: str,
    *,
    scale: np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Difference between two relations, e.g. "task" minus "pretraining". Arguments as in `by_relation`.

    ValueError if no pair of models has one of the relations.
    """
    of_pairs = relations(models)
    masks = np.array([of_pairs == first, of_pairs == second])
    if not masks.any((1, 2)).all():
        present = ", ".join(r for r in RELATIONS if (of_pairs == r).any())
        raise ValueError(f"no pair of models has the relation {first!r} or {second!r}; present: {present}")
    return _infer(lambda means: means[..., 0] - means[..., 1], values, scale, masks, models, groups, n, seed)


@dataclass(frozen=True)
class Asymmetry:
    """`pairs` of families (A, B), `estimate` (K,) of A->B minus B->A, and pairs left out with reasons."""

    pairs: tuple[tuple[str, str], ...]
    estimate: Estimate
    excluded: Mapping[tuple[str, str], str]


def asymmetry(
    performance: np.ndarray,
    control: np.ndarray,
    models: Sequence[Model],
    groups: Labels,
    *,
    minimum: float = 0.02,
    n: int = 2000,
    seed: int = 0,
) -> Asymmetry:
    """Transfer A->B minus B->A for every pair of families (pretraining/task), seeds pooled; arrays as in `gains`.

    Use `.estimate.simultaneous()` for intervals that hold for all pairs together. A pair with a family whose own
    relevance gains less than `minimum` on average is left out, with the reason. ValueError if none remains.
    """
    gain, scale = gains(performance, control)
    family = np.array([_family(m) for m in models])
    names = sorted(set(family))
    mean = {name: scale[family == name].mean() for name in names}
    weak = {
        name: f"own relevance of {name} gains {mean[name]:.3g}, less than {minimum:g}"
        for name in names
        if not mean[name] >= minimum
    }
    every = list(combinations(names, 2))
    pairs = tuple(pair for pair in every if not set(pair) & set(weak))
    excluded = {pair: "; ".join(weak[f] for f in pair if f in weak) for pair in every if pair not in pairs}
    if not pairs:
        raise ValueError("no pair of families to compare" + "".join(f"; {e}" for e in excluded.values()))
    from_to = [(family == a)[:, None] & (family == b)[None] for a, b in pairs]
    masks = np.array(from_to + [m.T for m in from_to])
    half = len(pairs)
    estimate = _infer(
        lambda means: means[..., :half] - means[..., half:], gain, scale, masks, models, groups, n, seed
    )
    return Asymmetry(pairs, estimate, excluded)


def _family(model: Model) -> str:
    return f"{model.pretraining}/{model.task}"


def _infer(
    combine: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    scale: np.ndarray | None,
    masks: np.ndarray,
    models: Sequence[Model],
    groups: Labels,
    n: int,
    seed: int,
) -> Estimate:
    """Inference on a function of weighted pair means `(B, K)`, one for each of the `masks` `(K, M, M)`."""
    strata, units = resampling(models)
    masks = masks.astype(float)

    def statistic(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        numerator = pair_means(values, masks, w, v)
        if scale is None:
            return combine(numerator)
        return combine(numerator / pair_means(np.broadcast_to(scale, values.shape), masks, w, v))

    return infer(statistic, groups, strata, units=units, n=n, seed=seed, pairs=True)


def pair_means(values: np.ndarray, masks: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Weighted means `(B, K)` of `values (M, M, N)` over images and over the pairs of each mask `(K, M, M)`.

    Image weights `w (B, N)` sum to 1; a pair weighs the product of its models' weights `v (B, M)`. Either may have a
    single row. NaN where all pairs of a mask weigh 0.
    """
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
