"""Tables of planted evidence: did networks learn the cue, how well does each map find it, which composite is best?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from analysis import attribution as baselines
from analysis import inference
from study import planted
from study.parameters import Parameters
from study.planted import COMPOSITES, READINGS, SHOWN, kind

DECIDING = {"truth": "change", "metric": "precision"}  # the score that ranks methods, over all sets
ALL = "all sets"
DRAWS = 500  # bootstrap resamples, as for the many intervals of `summaries`
CODE = (
    "faces",
    "analysis.inference",
    "analysis.likeness",
    "analysis.permutation",
    "analysis.transfer",
    *planted.SCORE,
    "study.maps",
    "study.truth",
)


def tables(study) -> dict[str, pd.DataFrame]:
    """The tables "learned", "scores" and "ranking" of the study's parameters; see `learned`, `scores` and `ranking`."""
    p = study.parameters
    found = planted.score_all(p, study.store)
    return {"learned": learned(p, found), "scores": scores(p, found), "ranking": ranking(p, found)}


def learned(p: Parameters, found: xr.Dataset) -> pd.DataFrame:
    """Accuracy on held-out faces as they are, without the cue, and with that of the other class: per set.

    Columns: evidence, shown, accuracy, low, high, networks, images.
    """
    rows = []
    for evidence, shown in product(p.evidence, SHOWN):
        ours = found.correct.sel(shown=shown).isel(network=found.evidence.values == evidence)
        values = ours.transpose("network", "image").values.astype(float)
        estimate = inference.mean(
            values, found.identity.values, [evidence] * len(values), n=DRAWS, seed=p.stimulus_seed
        )
        low, high = estimate.interval(p.confidence)
        row = {"evidence": evidence, "shown": SHOWN[shown], "accuracy": float(estimate.value)}
        row |= {"low": max(0.0, float(low)), "high": min(1.0, float(high))}
        rows.append(row | {"networks": len(values), "images": values.shape[1]})
    return pd.DataFrame(rows)


def scores(p: Parameters, found: xr.Dataset) -> pd.DataFrame:
    """Mean scores with intervals, over correctly classified images, then over networks.

    Columns: evidence (each set, and all), truth, reading, method, kind, metric, estimate, low, high.
    """
    frames = []
    for evidence, truth, reading in product(_sets(p), found.truth.values, READINGS):
        values = found.score.sel(truth=truth, reading=reading)
        estimate = _estimate(p, values, evidence)
        low, high = estimate.interval(p.confidence)
        index = pd.MultiIndex.from_product(
            [found.method.values, found.metric.values], names=["method", "metric"]
        )
        frame = pd.DataFrame({"estimate": estimate.value, "low": low, "high": high}, index).reset_index()
        frame = frame.assign(evidence=evidence, truth=truth, reading=reading)
        frames.append(frame.assign(kind=frame.method.map(kind)))
    columns = ["evidence", "truth", "reading", "method", "kind", "metric", "estimate", "low", "high"]
    return pd.concat(frames)[columns].reset_index(drop=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `scores` with each method read one way: gradients by their size, all others by their positive part."""
    return table[table.reading == table.method.map(_reading)].drop(columns="reading")


def ranking(p: Parameters, found: xr.Dataset) -> pd.DataFrame:
    """Methods by the deciding score over all sets, best first, and what each lacks of the best composite.

    Columns: method, kind, estimate, low, high, behind, behind_low, behind_high (estimate of the best composite minus
    the method's, on the same images and networks).
    """
    values = found.score.sel(DECIDING)
    values = xr.concat(
        [values.sel({"method": m, "reading": _reading(m)}, drop=True) for m in found.method.values],
        xr.Variable("method", found.method.values),
    ).expand_dims("metric")
    estimate = _estimate(p, values, _sets(p)[-1])
    low, high = estimate.interval(p.confidence)
    names = list(found.method.values)
    best = max((m for m in names if m in COMPOSITES), key=lambda m: estimate.value[names.index(m)])
    behind = _estimate(p, values.sel({"method": best}, drop=True) - values, _sets(p)[-1])
    behind_low, behind_high = behind.interval(p.confidence)
    rows = pd.DataFrame({"method": names, "kind": [kind(m) for m in names], "estimate": estimate.value})
    rows = rows.assign(low=low, high=high, behind=behind.value)
    rows = rows.assign(behind_low=behind_low, behind_high=behind_high)
    return rows.sort_values("estimate", ascending=False, ignore_index=True)


def _reading(method: str) -> str:
    return baselines.reading(method, "positive")


def winner(ranked: pd.DataFrame) -> str:
    """The composite of LRP with the highest deciding score in a `ranking`."""
    return ranked[ranked.kind == "LRP"].sort_values("estimate", ascending=False).method.iloc[0]


def _sets(p: Parameters) -> list[str]:
    return [*p.evidence, ALL] if len(p.evidence) > 1 else list(p.evidence)


def _estimate(p: Parameters, values: xr.DataArray, evidence: str) -> inference.Estimate:
    """Means over usable images, then networks, of `values (network, image, method, metric)`: K = methods x metrics."""
    ours = values.evidence.values == evidence if evidence != ALL else np.full(values.sizes["network"], True)
    values = values.isel(network=ours).transpose("network", "image", "method", "metric")
    x = values.values.reshape(*values.shape[:2], -1)
    usable = np.isfinite(x).all(2)
    if not usable.any(1).all():
        seed = values.seed.values[~usable.any(1)][0]
        raise ValueError(f"evidence {evidence!r}: network {seed} gets no image right; raise evidence_samples")
    x = np.where(usable[..., None], x, 0.0)
    plain = x.sum(1) / usable.sum(1)[:, None]

    def statistic(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        weight = w @ usable.T
        total = np.einsum("bn,mnk->bmk", w, x, optimize=True)
        # A draw may hold no image that a network gets right: it then tells nothing new about that network.
        means = np.where(weight[..., None] > 0, total / np.where(weight > 0, weight, 1)[..., None], plain)
        return (means * v[..., None]).mean(1)

    people, strata = values.identity.values, values.evidence.values
    return inference.infer(statistic, people, strata, n=DRAWS, seed=p.stimulus_seed)
