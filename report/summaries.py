"""Tidy tables of a study for figures and prose: one row per thing a reader sees, with intervals."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import torch
import xarray as xr

from analysis import evidence as ground_truth
from analysis import inference, likeness, masking, permutation
from analysis import transfer as transfer_
from report import prose
from study import Study, claims, exchange, interventions, truth
from study.maps import SEED
from study.regions import regions

FEWER_DRAWS = 500  # for the many intervals of a curve; the ledger uses the parameter `resamples`


def accuracy(study: Study) -> pd.DataFrame:
    """Accuracy of each family (pretraining x task) and split, over its seeds, with intervals.

    Columns: pretraining, task, split, accuracy, low, high, chance (accuracy of always naming the commonest
    class of the test images), images, people.
    """
    rows = []
    for (pretraining, task, split), found in study.predictions().groupby(["pretraining", "task", "split"]):
        cells = [c for c in study.grid if (c.pretraining, c.task) == (pretraining, task)]
        strata, _ = transfer_.resampling(cells)
        values, people = claims.correctness(study, cells, split)
        rows.append(
            {
                "pretraining": pretraining,
                "task": task,
                "split": split,
                **_interval(study, values, people, strata, "accuracy"),
                "chance": found.drop_duplicates("name").label.value_counts(normalize=True).max(),
                "images": len(people),
                "people": len(set(people)),
            }
        )
    order = pd.Categorical([r["split"] for r in rows], ["train", "validation", "test"], ordered=True)
    return (
        pd.DataFrame(rows)
        .assign(order=order)
        .sort_values(["task", "pretraining", "order"])
        .drop(columns="order")
    )


def networks(study: Study) -> pd.DataFrame:
    """Accuracy of every single network, one column per split."""
    found = study.predictions().groupby(["pretraining", "task", "seed", "split"]).correct.mean().unstack()
    return found[["train", "validation", "test"]].reset_index()


def curves(study: Study, dataset: xr.Dataset, rankings: list[str] | None = None) -> pd.DataFrame:
    """Masking curves averaged over networks and images: ranking, mode, percent, performance, low, high."""
    values = study.performance(dataset)
    people = study.explained().identity.values
    strata, units = transfer_.resampling(study.grid)
    rows = []
    for ranking in rankings or dataset.ranking.values:
        for mode in dataset["mode"].values:
            chosen = values.sel(ranking=ranking, mode=mode).transpose("percent", "model", "image")
            for percent, at in zip(chosen.percent.values, chosen.values, strict=True):
                row = {"ranking": ranking.replace("_", " "), "mode": str(mode), "percent": float(percent)}
                rows.append(row | _interval(study, at, people, strata, "performance", units))
    return pd.DataFrame(rows)


def leads(study: Study) -> pd.DataFrame:
    """How far relevance is ahead of each control at each percent: mode, percent, control, lead, low, high.

    The lead is the difference in performance, turned for removing, where the lower is the better.
    """
    values, p = study.performance(study.curves()), study.parameters
    people, (strata, units) = study.explained().identity.values, transfer_.resampling(study.grid)
    rows = []
    for (mode, sign), percent, control in product(claims.MODE_SIGNS.items(), p.percents, claims.CONTROLS):
        at = values.sel(mode=mode, percent=percent).transpose("ranking", "model", "image")
        difference = sign * (at.sel(ranking="relevance") - at.sel(ranking=control)).values
        estimate = inference.mean(
            difference, people, strata, units=units, n=FEWER_DRAWS, seed=p.stimulus_seed
        )
        row = {"mode": mode, "percent": percent, "control": control.replace("_", " ")}
        rows.append(row | _row("lead", estimate, p.confidence))
    return pd.DataFrame(rows)


def leads_verdict(found: pd.DataFrame) -> str:
    """What `leads` says in words: where relevance is ahead of every control, and where one is ahead of it."""
    text = []
    for mode, rows in found.groupby("mode", sort=False):
        ahead = [f"{q:g}" for q, at in rows.groupby("percent") if (at.low > 0).all()]
        behind = rows[rows.high < 0]
        lost = "; ".join(
            f"“{r.control}” at {r.percent:g} % ({prose.estimate(r.lead, r.low, r.high)})"
            for r in behind.itertuples()
        )
        text.append(
            f"With pixels to {mode}, relevance is ahead of every control "
            + (f"at {', '.join(ahead)} %" if ahead else "at no percent")
            + (f", and behind {lost}." if lost else ", and behind none at any.")
        )
    return " ".join(text)


def borders(study: Study) -> pd.Series:
    """How scattered kept pixels are: share of them with a filled pixel beside, above or below, at the largest percent.

    Of "relevance" and of the fixed mask "average", means over networks and images.
    """
    maps, found = study.relevance(), {"relevance": [], "average": []}
    for name in maps.model.values:
        own = _scores(study, maps, name)
        for ranking, scores in (("relevance", own), ("average", masking.controls("average", own, seed=SEED))):
            kept = masking.select(scores, max(study.parameters.percents), seed=SEED).numpy()
            whole = np.pad(kept, ((0, 0), (1, 1), (1, 1)), constant_values=True)
            inner = whole[:, :-2, 1:-1] & whole[:, 2:, 1:-1] & whole[:, 1:-1, :-2] & whole[:, 1:-1, 2:]
            found[ranking].append((kept & ~inner).sum() / kept.sum())
    return pd.Series({name: float(np.mean(values)) for name, values in found.items()})


def transfer_matrix(study: Study) -> pd.DataFrame:
    """Transfer between families: source, target, transfer (0: control mask, 1: the target's own maps)."""
    performance, control = claims.transfer_arrays(study)
    gain, own = (x.mean(-1) for x in transfer_.gains(performance, control))
    family = np.array([cell.family for cell in study.grid])
    different = ~np.eye(len(family), dtype=bool)
    rows = []
    for source in dict.fromkeys(family):
        for target in dict.fromkeys(family):
            pairs = (family == source)[:, None] & (family == target)[None] & different
            scale = np.broadcast_to(own, gain.shape)[pairs].mean()
            rows.append({"source": source, "target": target, "transfer": gain[pairs].mean() / scale})
    return pd.DataFrame(rows)


def relations(study: Study) -> pd.DataFrame:
    """Transfer and map similarity by what two networks differ in: measure, differ in, value, low, high."""
    found = {
        "transfer": claims.transfer_by_relation(study),
        "rank correlation": claims.similarity_by_relation(study, "spearman"),
        "top-pixel overlap": claims.similarity_by_relation(study, "overlap"),
    }
    names = {"both": "pretraining and task", "run_task": "run and task"}
    rows = []
    for measure, estimates in found.items():
        for relation, estimate in estimates.items():
            row = {"measure": measure, "differ in": names.get(relation, relation)}
            rows.append(row | _row("value", estimate, study.parameters.confidence))
    return pd.DataFrame(rows)


def balance(study: Study) -> pd.DataFrame:
    """Where the explained logit went, summed over images and seeds: family, part, share of the logit."""
    maps = study.relevance()
    rows = []
    for family in dict.fromkeys(maps.family.values):
        ours = maps.isel(model=np.flatnonzero(maps.family.values == family))
        logit = float(ours.logit.sum())
        rows += [
            {"family": family, "went to": "pixels", "share": float(ours.relevance.sum()) / logit},
            {"family": family, "went to": "biases", "share": float(ours.biases.sum()) / logit},
            {"family": family, "went to": "stabilisers", "share": float(ours.stabilisers.sum()) / logit},
        ]
    return pd.DataFrame(rows)


def own_gain(study: Study) -> pd.DataFrame:
    """What own maps add over the control, the unit of transfer: family, gain."""
    performance, control = claims.transfer_arrays(study)
    own = transfer_.gains(performance, control)[1].mean(-1)
    return (
        pd.DataFrame({"family": [c.family for c in study.grid], "gain": own})
        .groupby("family", as_index=False, sort=False)
        .mean()
    )


def reliability(study: Study) -> pd.DataFrame:
    """Split-half reliability of a single network's map in each family: family, reliability, seeds."""
    maps = study.relevance()
    rows = []
    for family in dict.fromkeys(maps.family.values):
        ours = maps.relevance.values[maps.family.values == family]
        halves = likeness.split_half(ours, seed=study.parameters.stimulus_seed)
        rows.append({"family": family, "reliability": float(halves.mean()), "seeds": len(ours)})
    return pd.DataFrame(rows)


def label_tests(study: Study) -> pd.DataFrame:
    """Are maps more alike within a label than across? label, difference in rank correlation, p (one-sided)."""
    likeness = study.similarity().spearman.mean("image").values
    rows = []
    for label, other in (("pretraining", "task"), ("task", "pretraining")):
        labels, blocks = (np.array([getattr(c, name) for c in study.grid]) for name in (label, other))
        if len(set(labels)) < 2:
            continue
        pairs = blocks[:, None] == blocks[None]
        difference, p = permutation.label_swap(
            likeness,
            labels,
            blocks,
            pairs=pairs,
            n=study.parameters.permutations,
            seed=study.parameters.stimulus_seed,
        )
        rows.append({"networks differ in": label, "within minus across": difference, "p": p})
    return pd.DataFrame(rows)


def part_shares(study: Study) -> pd.DataFrame:
    """Share of the magnitude of relevance in each part of procedural faces, beside the part's share of the pixels.

    Columns: family, part, relevance, area, density (their ratio: 1 means no more than its size).
    """
    faces = study.explained()
    if "parts" not in faces:
        raise ValueError("parts are known for procedural faces only")
    maps = study.relevance()
    share = _shares(maps)
    rows = []
    for index, part in enumerate(faces.attrs["parts"]):
        inside = faces.parts.values == index
        received = (share * inside).sum((2, 3)).mean(1)
        table = pd.DataFrame({"family": maps.family.values, "relevance": received})
        table = table.groupby("family", sort=False).mean()
        rows.append(table.assign(part=part, area=inside.mean()).reset_index())
    return pd.concat(rows).assign(density=lambda t: t.relevance / t.area)


def clearest_asymmetry(study: Study) -> tuple[str, str]:
    """The two families whose transfer differs most for its uncertainty between directions, the better source first.

    Where no pair can be compared, because own maps gain nothing, the first and the last family.
    """
    try:
        found = claims.asymmetries(study)
    except ValueError:
        return study.grid[0].family, study.grid[-1].family
    ratios = np.nan_to_num(found.estimate.value / found.estimate.se, posinf=0, neginf=0)
    clearest = int(np.abs(ratios).argmax())
    a, b = found.pairs[clearest]
    return (a, b) if ratios[clearest] > 0 else (b, a)


def kept_parts(study: Study, a: str, b: str) -> pd.DataFrame:
    """Where the kept pixels of family `a` lie and those of `b` do not.

    Columns: part (of procedural faces; a field of a grid on photographs), difference (of the shares of kept pixels in
    the part, a minus b), low, high. Kept are the most relevant pixels at `exchange.percent`.
    """
    p, maps, faces = study.parameters, study.relevance(), study.explained()
    cells = [cell for cell in study.grid if cell.family in (a, b)]
    kept = {
        cell.name: masking.select(_scores(study, maps, cell.name), exchange.percent(p), seed=SEED).numpy()
        for cell in cells
    }
    sign = np.array([1 / p.seeds if cell.family == a else -1 / p.seeds for cell in cells])
    strata, units = transfer_.resampling(cells)
    where, names = regions(faces)
    rows = []
    for index, part in enumerate(names):
        inside = where == index
        share = np.stack([(m & inside).sum((1, 2)) / m.sum((1, 2)) for m in kept.values()])
        estimate = inference.mean(
            share,
            faces.identity.values,
            strata,
            contrast=sign,
            units=units,
            n=FEWER_DRAWS,
            seed=p.stimulus_seed,
        )
        rows.append({"part": part} | _row("difference", estimate, p.confidence))
    return pd.DataFrame(rows)


def exchanged_parts(study: Study, a: str, b: str) -> pd.DataFrame:
    """What each part of the face contributes to the asymmetry of two families: part, difference, low, high.

    The difference is the transfer from `a` to `b` minus the reverse, when networks get the other family's map in this
    part alone; for "the whole face" everywhere. In units of what own maps add to the control, as in `own_gain`, at
    `exchange.percent`. With "the whole face" first, and empty where own maps add too little.
    """
    p, faces = study.parameters, study.explained()
    cells = [cell for cell in study.grid if cell.family in (a, b)]
    names = [cell.name for cell in cells]
    whole = study.performance(study.transfer().sel(percent=exchange.percent(p), mode="keep")).sel(model=names)
    control = whole.sel(ranking=p.transfer_control).transpose("model", "image").values
    performances = {"the whole face": whole.sel(ranking=names).transpose("ranking", "model", "image").values}
    found = {name: study.performance(at.isel(mode=0, percent=0)) for name, at in study.exchange(a, b).items()}
    for part in regions(faces)[1]:
        performances[part] = performances["the whole face"].copy()
        for (s, source), (t, target) in product(enumerate(cells), repeat=2):
            if source.family != target.family:
                performances[part][s, t] = found[target.name].sel(ranking=f"{source.name}: {part}")
    rows = []
    for part, performance in performances.items():
        try:  # a draw in which nothing gains has no ratio, and the interval is then NaN
            with np.errstate(all="ignore"):
                asymmetry = transfer_.asymmetry(
                    performance, control, cells, faces.identity.values, n=FEWER_DRAWS, seed=p.stimulus_seed
                )
        except ValueError:  # own maps add nothing to be a share of
            return pd.DataFrame(columns=["part", "difference", "low", "high"])
        sign = 1 if asymmetry.pairs[0] == (a, b) else -1
        rows.append({"part": part} | _row("difference", asymmetry.estimate[0], p.confidence, sign))
    return pd.DataFrame(rows)


def exchange_verdict(exchanged: pd.DataFrame) -> str:
    """What `exchanged_parts` says in words."""
    if exchanged.empty:
        return "Own maps add too little to the control here for parts to have a share in it."
    whole, parts = exchanged.iloc[0], exchanged.iloc[1:]
    clear = parts[(parts.low > 0) | (parts.high < 0)]
    named = "; ".join(f"{r.part} {prose.estimate(r.difference, r.low, r.high)}" for r in clear.itertuples())
    return (
        f"Exchanged as a whole the maps differ by {prose.estimate(whole.difference, whole.low, whole.high)}; the "
        f"contributions of the parts sum to {prose.number(parts.difference.sum())}. "
        + (f"Apart from zero: {named}." if named else "No part's contribution is apart from zero.")
    )


def pixels_needed(study: Study, reach: float = 0.8) -> pd.DataFrame:
    """How few pixels a held-out family needs: family, ranking, percent.

    percent: the smallest share of pixels, interpolated, from which on performance has risen by `reach` of the way from
    no pixels to all; NaN for a family whose performance is no better with all pixels than with none.
    """
    values = study.performance(study.consensus()).sel(mode="keep").mean("image")
    rows = []
    for family in dict.fromkeys(values.family.values):
        ours = values.isel(model=np.flatnonzero(values.family.values == family)).mean("model")
        for ranking in ("consensus", "own", "average", "centre", "random"):
            curve = ours.sel(ranking=ranking).sortby("percent")
            percents, heights = curve.percent.values, curve.values
            goal = heights[0] + reach * (heights[-1] - heights[0])
            below = np.flatnonzero(heights < goal)
            needed = np.nan
            if heights[-1] > heights[0]:
                last = below[-1]  # the first point is below the goal
                step = (goal - heights[last]) / (heights[last + 1] - heights[last])
                needed = percents[last] + step * (percents[last + 1] - percents[last])
            rows.append({"family": family, "ranking": ranking, "percent": float(needed)})
    return pd.DataFrame(rows)


def mean_maps(study: Study) -> tuple[list[np.ndarray], list[str]]:
    """Mean magnitude of each family's maps, each map scaled to sum 1; `(y, x)` arrays and names."""
    maps = study.relevance()
    share = _shares(maps)
    families = list(dict.fromkeys(maps.family.values))
    return [share[maps.family.values == f].mean((0, 1)) for f in families], families


def kept_pixels(study: Study, name: str) -> torch.Tensor:
    """The masks `(percent, image, y, x)` bool of the network called `name`, at each of `percents`: those measured."""
    return masking.select(_scores(study, study.relevance(), name), study.parameters.percents, seed=SEED)


def examples(study: Study, count: int = 4) -> list[tuple[str, np.ndarray]]:
    """What stands for single faces in figures: `(label, image indices)` among the explained images.

    Procedural faces are shown one by one. Photographs of people are never shown one by one, only as the mean
    of many people of one (annotated) gender.
    """
    faces = study.explained()
    if study.parameters.faces == "procedural":
        firsts = pd.Series(range(faces.sizes["image"])).groupby(faces.identity.values).first()
        chosen = firsts.iloc[np.linspace(0, len(firsts) - 1, count).astype(int)]
        return [(f"person {k + 1}", np.array([i])) for k, i in enumerate(chosen)]
    groups = pd.Series(range(faces.sizes["image"])).groupby(faces.gender.values)
    return [(f"mean of {len(index)} ({gender})", index.to_numpy()) for gender, index in groups]


def picture(pixels: np.ndarray) -> np.ndarray:
    """Pixels `(image, channel, y, x)` uint8 averaged to one `(y, x, channel)` uint8 picture."""
    return pixels.mean(0).transpose(1, 2, 0).round().astype(np.uint8)


def composites_verdict(ranked: pd.DataFrame) -> str:
    """What `truth.ranking` says: the best composite of LRP, and the best of what it is compared with."""
    rows = ranked.assign(method=ranked.method.str.replace("_", " "))
    first, others = rows[rows.kind == "LRP"].iloc[0], rows[rows.kind == "LRP"].iloc[1:]
    text = f"Of the composites “{first.method}” scores best: {prose.estimate(first.estimate, first.low, first.high)}."
    for what, found in (
        ("next composite", others),
        ("best other method", rows[rows.kind == "other method"]),
        ("best control", rows[rows.kind == "control"]),
    ):
        if len(found):
            row = found.iloc[0]
            lead = prose.estimate(row.behind, row.behind_low, row.behind_high)
            text += f" The {what} is “{row.method}”; the winner is ahead of it by {lead}."
    return text


def truth_by_metric(table: pd.DataFrame, against: str = "change") -> pd.DataFrame:
    """`truth.scores` as a reader sees them: a row per method, best first, and a column per metric, with intervals."""
    ours = truth.shown(table)
    ours = ours[(ours.truth == against) & (ours.evidence == ours.evidence.iloc[-1])]
    text = [prose.estimate(r.estimate, r.low, r.high) for r in ours.itertuples(index=False)]
    wide = ours.assign(text=text).pivot(index="method", columns="metric", values="text")
    order = ours[ours.metric == truth.DECIDING["metric"]].sort_values("estimate", ascending=False).method
    names = ground_truth.METRICS
    wide = wide.loc[order, list(names)].rename(columns=names, index=lambda name: name.replace("_", " "))
    return wide.rename_axis(index=None, columns=None)


def coverage_verdict(rates: pd.DataFrame, low: float = 0.93, high: float = 0.97) -> str:
    """How many of the settings in `rates` (rate, case) cover as 95 % intervals should, and which does so least."""
    fine, least = rates.rate.between(low, high).sum(), rates.loc[rates.rate.idxmin()]
    return (
        f"{fine} of {len(rates)} settings lie within {100 * low:.0f} to {100 * high:.0f} %; "
        f"the lowest is {100 * least.rate:.1f} % ({least.case})"
    )


def interventions_verdict(told: pd.DataFrame) -> str:
    """What `interventions.table` says: relevance against its best rival on how much regions matter, in a sentence."""
    effects, questions = interventions.EFFECTS, interventions.QUESTIONS
    changed = effects["swap"] if effects["swap"] in set(told.changed) else effects["fill"]
    ours = told[(told.question == questions["size"]) & (told.changed == changed)].set_index("ranking")
    own, rivals = ours.loc["relevance"], ours.drop(index=["relevance", "fill"], errors="ignore")
    best = rivals.loc[rivals.correlation.idxmax()]
    return (
        f"With the effect of {changed}, the magnitude of relevance correlates at "
        f"{prose.estimate(own.correlation, own.low, own.high)}; the best rival, “{best.name.replace('_', ' ')}”, at "
        f"{prose.estimate(best.correlation, best.low, best.high)}. The difference is "
        f"{prose.estimate(best.ahead, best.ahead_low, best.ahead_high)}."
    )


def _shares(maps: xr.Dataset) -> np.ndarray:
    """Magnitude of relevance `(model, image, y, x)`, each map scaled to sum 1."""
    magnitude = np.abs(maps.relevance.values)
    return magnitude / magnitude.sum((2, 3), keepdims=True)


def _interval(
    study: Study,
    values: np.ndarray,
    people: np.ndarray,
    strata: np.ndarray,
    name: str,
    units: np.ndarray | None = None,
) -> dict[str, float]:
    estimate = inference.mean(
        values, people, strata, units=units, n=FEWER_DRAWS, seed=study.parameters.stimulus_seed
    )
    row = _row(name, estimate, study.parameters.confidence)
    if values.min() >= 0 and values.max() <= 1:  # shares and probabilities: nothing lies beyond
        row |= {"low": max(row["low"], 0.0), "high": min(row["high"], 1.0)}
    return row


def _row(name: str, estimate: inference.Estimate, confidence: float, sign: int = 1) -> dict[str, float]:
    low, high = sorted(sign * float(end) for end in estimate.interval(confidence))
    return {name: sign * float(estimate.value), "low": low, "high": high}


def _scores(study: Study, maps: xr.Dataset, name: str) -> torch.Tensor:
    """What the pixels of the explained images are ranked by, `(N, H, W)`, for the network called `name`."""
    return masking.rank(torch.from_numpy(maps.relevance.sel(model=name).values), study.parameters.ranking)
