"""Are networks as good with every group of people, and does their relevance lie on the same parts of the face?

A group is what a column of the tables says of people, or the label that a drawn face was drawn by. Nothing is said of
groups of few people, nor drawn of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

import faces as drawn
from analysis import inference, transfer
from analysis.inference import Estimate
from study import models, networks, relevance, stimuli
from study.grid import Cell
from study.masking import mean_row
from study.regions import regions
from study.settings import Settings, once
from study.steps import Study, remembered

GROUP_OF = 10  # people in a group that anything is said of, and beside it, at least
MAP_OF = 20  # people in a group whose maps are shown or compared, and beside it, at least
VALUES = 20  # of a column that makes groups, at most
Sides = tuple[np.ndarray, np.ndarray]


class Demographics(Settings):
    """Which groups of people are compared."""

    groups: tuple[str, ...] | None = Field(
        None,
        description="columns of the tables by which accuracy and maps are compared between groups of people, such as "
        "gender and race; none: gender, where it is known; an empty list: no groups",
    )

    @field_validator("groups")
    @classmethod
    def _each_column(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return values and once(values)


def said(p: Any, column: str) -> pd.Series:
    """What the tables say of photographs in a column, by name; images that they say nothing of are left out.

    ValueError for a column that is not there, or of more than `VALUES` values.
    """
    images = drawn.list_images(p.path(p.faces), [p.path(name) for name in p.attribute_tables], [column])
    if (count := images[column].nunique()) > VALUES:
        raise ValueError(f"the column {column!r} has {count} values; groups are made of {VALUES} or fewer")
    return images.set_index("name")[column]


def columns(s: Study) -> list[str]:
    """By what people are grouped: the parameter `groups`."""
    known = ["gender"] if "gender" in stimuli.faces(s) else []
    return known if s.p.groups is None else list(s.p.groups)


def labels(s: Study, names: np.ndarray) -> pd.DataFrame:
    """Of images with these names, a column for each of `columns`; missing where nothing is known."""
    faces = stimuli.faces(s)

    def known(column: str) -> pd.Series:
        if column in faces.coords:
            return pd.Series(faces[column].values, faces["name"].values)
        return remembered((column, stimuli.faces.key(s)), lambda: said(s.p, column))

    return pd.DataFrame({column: known(column).reindex(names) for column in columns(s)}, index=names)


def accuracy(s: Study) -> pd.DataFrame:
    """Test accuracy by group, over the networks of a pretraining: one interval at a time.

    Columns: task, group, pretraining, people, images, accuracy, low, high; the last three are NaN of fewer than
    `GROUP_OF` people.
    """
    rows = []
    for task, pretraining, cells, named in _tested(s, by=("task", "pretraining")):
        people = named.identity.values
        for group, inside in _groups(labels(s, named["name"].values)):
            who = people[inside]
            row = {"task": task, "group": group, "pretraining": pretraining, "people": len(set(who))}
            row |= {"images": len(who), "accuracy": np.nan, "low": np.nan, "high": np.nan}
            if row["people"] >= GROUP_OF:
                row |= mean_row(s, named.values[:, inside], who, "accuracy", cells)
            rows.append(row)
    return pd.DataFrame(rows)


def differences(s: Study) -> pd.DataFrame:
    """Test accuracy with a group minus that with the others, over all networks of a task.

    Columns: task, groups, and those of `_together`.
    """
    found = []
    for task, _, cells, named in _tested(s, by=("task",)):
        people = named.identity.values
        for groups, sides in _contrasts(labels(s, named["name"].values), people, GROUP_OF):
            estimate = difference(s, named.values, people, sides, cells)
            found.append(({"task": task, "groups": groups}, estimate))
    return _together(s, found)


def mean_maps(s: Study) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """`relevance.mean_maps` of every group of `MAP_OF` people or more: maps by group and family, groups, families."""
    people, shown, groups = stimuli.people(s), [], []
    for group, inside in _groups(labels(s, stimuli.explained(s).name.values)):
        if (count := len(set(people[inside]))) >= MAP_OF:
            shown.append(relevance.mean_maps(s, inside)[0])
            groups.append(f"{group} ({count} people)")
    return shown, groups, list(dict.fromkeys(cell.family for cell in s.grid))


def parts(s: Study) -> pd.DataFrame:
    """Share of the magnitude of relevance in each region, with a group minus with the others, over all networks.

    Columns: region (of drawn faces a part; a field of a grid on photographs), groups, and those of `_together`. Of
    groups of `MAP_OF` people or more.
    """
    faces, people = stimuli.explained(s), stimuli.people(s)
    contrasts = list(_contrasts(labels(s, faces.name.values), people, MAP_OF))
    if not contrasts:
        return pd.DataFrame()
    share, (where, names) = relevance.shares(relevance.maps(s)), regions(faces)
    found = []
    for k, region in enumerate(names):
        inside = (share * (where == k)).sum((2, 3))
        for groups, sides in contrasts:
            found.append(({"region": region, "groups": groups}, difference(s, inside, people, sides, s.grid)))
    return _together(s, found)


def difference(s: Study, values: np.ndarray, people: np.ndarray, sides: Sides, cells: list[Cell]) -> Estimate:
    """Mean of `values (model, image)` over the images of one side, `(image,)` bool, minus that over the other.

    Both means vary with the same networks, and with people who may be on both sides. Of each mean that is what a mean
    over all images varies by whose values are the influence of each image on it.
    """
    known, influence, counts = sides[0] | sides[1], np.zeros(values.shape), []
    for sign, side in zip((1, -1), sides, strict=True):
        mean, count = values[:, side].mean(1, keepdims=True), len(set(people[side]))
        # the bootstrap makes variances of few people smaller by the square of this
        wider = np.sqrt(count / (count - 1))
        influence[:, side] += sign * wider * (values[:, side] - mean) * known.sum() / side.sum()
        influence += sign * mean
        counts.append(count)
    strata, units = transfer.resampling(cells)
    draws = {"n": inference.QUICK_DRAWS, "seed": s.p.stimulus_seed}
    estimate = inference.mean(influence[:, known], people[known], strata, units=units, **draws)
    # no more is known of the variance over people than on the smaller side
    of_people, of_networks = min(counts) - 1.0, estimate.df[1]
    return replace(estimate, df=np.array([of_people, of_networks, of_people * of_networks]))


def _tested(s: Study, by: tuple[str, ...]) -> Iterator[tuple[str, str, list[Cell], Any]]:
    """Task, pretraining (of the first network), networks and `models.named_rightly` of the networks alike in `by`."""
    networks.finetuned.each(s)
    for kind in dict.fromkeys(tuple(getattr(cell, name) for name in by) for cell in s.grid):
        cells = [cell for cell in s.grid if tuple(getattr(cell, name) for name in by) == kind]
        yield cells[0].task, cells[0].pretraining, cells, models.named_rightly(s, cells, "test")


def _groups(known: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Every group's name and images `(image,)` bool, of `labels`."""
    for column in known:
        for value in sorted(known[column].dropna().unique()):
            yield f"{column}: {value}", (known[column] == value).to_numpy()


def _contrasts(known: pd.DataFrame, people: np.ndarray, least: int) -> Iterator[tuple[str, Sides]]:
    """Every group beside all others of a column, two groups once; where both sides are of `least` people or more."""
    for column in known:
        values = sorted(known[column].dropna().unique())
        other = values[-1] if len(values) == 2 else "the others"
        for value in values[:1] if len(values) == 2 else values:
            inside = (known[column] == value).to_numpy()
            sides = inside, known[column].notna().to_numpy() & ~inside
            if min(len(set(people[side])) for side in sides) >= least:
                yield f"{column}: {value} minus {other}", sides


def _together(s: Study, found: list[tuple[dict[str, str], Estimate]]) -> pd.DataFrame:
    """Rows with difference, low and high: intervals that hold for all of them at once (Bonferroni)."""
    confidence = 1 - (1 - s.p.confidence) / max(1, len(found))
    return pd.DataFrame(
        [row | estimate.row("difference", confidence, (-1.0, 1.0)) for row, estimate in found]
    )
