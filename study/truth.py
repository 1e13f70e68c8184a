"""Tables of planted evidence: did networks learn the cue, how well does each map find it, which composite is best?"""

from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from analysis import inference
from study import planted
from study.planted import SHOWN, kind
from study.steps import Study

DECIDING = "precision"  # the score that ranks methods, over all sets
ALL = "all sets"


def tables(s: Study) -> dict[str, pd.DataFrame]:
    """The tables "learned", "scores" and "ranking"; see `learned`, `scores` and `ranking`."""
    whole = planted.scores(s)
    return {"learned": learned(s, whole), "scores": scores(s, whole), "ranking": ranking(s, whole)}


def learned(s: Study, whole: xr.Dataset) -> pd.DataFrame:
    """Accuracy on held-out faces as they are, without the cue, and with that of the other class: per set.

    Columns: evidence, shown, accuracy, low, high, networks, images.
    """
    rows = []
    for evidence, shown in product(s.p.evidence, SHOWN):
        of_set = whole.correct.sel(shown=shown, network=whole.evidence == evidence)
        values = of_set.transpose("network", "image").values.astype(float)
        alike, options = [evidence] * len(values), {"n": inference.QUICK_DRAWS, "seed": s.p.stimulus_seed}
        estimate = inference.mean(values, whole.identity.values, alike, **options)
        row = {"evidence": evidence, "shown": SHOWN[shown]}
        row |= estimate.row("accuracy", s.p.confidence, (0.0, 1.0))
        rows.append(row | {"networks": len(values), "images": values.shape[1]})
    return pd.DataFrame(rows)


def scores(s: Study, whole: xr.Dataset) -> pd.DataFrame:
    """Mean scores with intervals, over correctly classified images, then over networks.

    Columns: evidence (each set, and all), method, kind, metric, estimate, low, high.
    """
    frames = []
    for evidence in _sets(s):
        names = {name: whole[name].values for name in ("method", "metric")}
        index = pd.MultiIndex.from_product(names.values(), names=names)
        row = _estimate(s, whole.score, evidence).row("estimate", s.p.confidence)
        frames.append(pd.DataFrame(row, index).reset_index().assign(evidence=evidence))
    table = pd.concat(frames, ignore_index=True)
    table["kind"] = table.method.map(kind)
    return table[["evidence", "method", "kind", "metric", "estimate", "low", "high"]]


def ranking(s: Study, whole: xr.Dataset) -> pd.DataFrame:
    """Methods by the deciding score over all sets, best first, and what each lacks of the best composite.

    Columns: method, kind, estimate, low, high, behind, behind_low, behind_high (estimate of the best composite minus
    the method's, on the same images and networks).
    """
    values = whole.score.sel(metric=[DECIDING])
    row = _estimate(s, values, _sets(s)[-1]).row("estimate", s.p.confidence)
    rows = pd.DataFrame({"method": whole.method.values} | row)
    rows["kind"] = rows.method.map(kind)
    behind = _estimate(s, values.sel({"method": winner(rows)}, drop=True) - values, _sets(s)[-1])
    row = behind.row("behind", s.p.confidence)
    rows[["behind", "behind_low", "behind_high"]] = np.transpose(list(row.values()))
    return rows.sort_values("estimate", ascending=False, ignore_index=True)


def winner(ranked: pd.DataFrame) -> str:
    """The composite of LRP with the highest deciding score in a `ranking`."""
    composites = ranked[ranked.kind == "LRP"]
    return composites.method[composites.estimate.idxmax()]


def _sets(s: Study) -> list[str]:
    return [*s.p.evidence, ALL] if len(s.p.evidence) > 1 else list(s.p.evidence)


def _estimate(s: Study, values: xr.DataArray, evidence: str) -> inference.Estimate:
    """Means over usable images, then networks, of `values (network, image, method, metric)`: K = methods x metrics."""
    chosen = np.isin(values.evidence.values, values.evidence.values if evidence == ALL else [evidence])
    values = values.isel(network=np.flatnonzero(chosen)).transpose("network", "image", "method", "metric")
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
    return inference.infer(statistic, people, strata, n=inference.QUICK_DRAWS, seed=s.p.stimulus_seed)
