"""Who goes where, told and checked before anything is computed: `plan` and `check`.

Both follow from names and tables alone; no image is decoded.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

import faces as drawn
from study import demographics, ratings, stimuli
from study.settings import ParameterError, is_built_in, is_file

IDLE = {  # who is in no task, by group
    "identity": "people with {} images or more",
    "others": "people with fewer than {} images, or not drawn for the identity task",
    "rated": "rated people with fewer than {} images",
}
JUDGED = 4  # people with ratings and images that a comparison with people needs


def check(p: Any) -> pd.DataFrame:
    """The images of the study (see `stimuli.listed`), if the study can work.

    Raises:
        ParameterError: nobody is left for a task, it has one class, a class has nothing to learn from, or a folder or
            table cannot be used; all such at once, each with its numbers and the parameter to change.
    """
    problems = _of_grid(p)
    for label, name in p.pretrainings.items():
        problems += _of_pretraining(p, label, name)
    images = stimuli.listed(p)
    for task in p.tasks:
        problems += _of_identity(p, images) if task == "identity" else _of_others(p, images, task)
    problems += _of_explained(p, images) or _of_ratings(p, images)
    problems += _of_groups(p)
    if problems:
        raise ParameterError("\n".join(dict.fromkeys(problems)))
    return images


def plan(p: Any) -> str:
    """What `check` found, in a few lines: people and images of each task and split, and what is left out and why."""
    images = check(p)
    serving = {"identity" if task == "identity" else "others" for task in p.tasks}
    lines = [f"{task}: {_counted(images[stimuli.of_task(images, task)], task)}" for task in p.tasks]
    for group, idle in images[~images.group.isin(serving)].groupby("group"):
        lines.append(f"in no task, {IDLE[str(group)].format(p.minimum_images)}: {_counted(idle)}")
    left_out = [reason for _, reason in (*images.attrs.get("left_out", ()), *images.attrs.get("beyond", ()))]
    whole = len(images) + len(left_out)
    lines += [f"left out, {reason}: {n} of {whole} files" for reason, n in Counter(left_out).most_common()]
    return "\n".join(lines)


def _counted(images: pd.DataFrame, task: str | None = None) -> str:
    """People, images by split and, but for the identity task, people by class."""
    people, split = images.identity.nunique(), images.split.value_counts()
    parts = ", ".join(f"{split.get(name, 0)} {name}" for name in ("train", "validation", "test"))
    of_class = ""
    if task not in (None, "identity"):
        counts = images.groupby(task).identity.nunique()
        of_class = " (" + ", ".join(f"{count} {name}" for name, count in counts.items()) + ")"
    return f"{people} people{of_class}, {len(images)} images: {parts}"


def _of_grid(p: Any) -> list[str]:
    if len(p.pretrainings) * len(p.tasks) > 1:
        return []
    return [
        f"pretrainings={p.pretrainings}, tasks={list(p.tasks)}: all networks are of one family, and nothing is left to "
        "compare; name a second pretraining or task"
    ]


def _of_pretraining(p: Any, label: str, name: str) -> list[str]:
    if is_built_in(name) or is_file(name):
        return []
    try:
        counts = drawn.list_images(p.path(name)).identity.value_counts()
    except ValueError as error:
        return [f"pretrainings: {label}: {name!r}: {error}"]
    if len(counts) < 2:
        return [
            f"pretrainings: {label}: {name!r} has one class only, {counts.index[0]!r}; give two folders or more"
        ]
    if counts.min() < 2:
        few = f"{(counts < 2).sum()} of {len(counts)} classes of {name!r} have one image"
        return [
            f"pretrainings: {label}: {few}, such as {counts.index[-1]!r}; each needs 2, to train and to validate"
        ]
    return []


def _of_identity(p: Any, images: pd.DataFrame) -> list[str]:
    chosen = images[images.group == "identity"]
    if p.faces != "procedural":
        enough, wanted = chosen.identity.nunique(), p.identity_people or 2
        if enough < wanted:
            most = sorted(images.attrs["counts"].values(), reverse=True)[:wanted]
            there = f"the {len(most)} people with most have {most[0]} to {most[-1]}"
            asked = f"identity_people={wanted}" if p.identity_people else "the identity task needs 2 or more"
            return [
                f"minimum_images={p.minimum_images}: only {enough} people in {p.faces!r} have that many images, and "
                f"{asked}; {there}: lower minimum_images, or set fewer identity_people"
            ]
    more = "more views" if p.faces == "procedural" else "a higher minimum_images"
    return _of_splits(p, chosen, "identity", more)


def _of_others(p: Any, images: pd.DataFrame, task: str) -> list[str]:
    others, drawn_faces = images[images.group == "others"], p.faces == "procedural"
    if not len(others):
        people = images.identity[images.group == "identity"].nunique()
        return [
            f"tasks={list(p.tasks)}: nobody is left for the {task} task: all {people} people in {p.faces!r} have "
            f"minimum_images={p.minimum_images} images or more and serve the identity task; set identity_people="
            f"{max(2, people // 2)}, or a higher minimum_images, or leave {task} out of tasks"
        ]
    counts = others.groupby(task).identity.nunique()
    if len(counts) < 2:
        source = (
            "set more gender_people"
            if drawn_faces
            else f"add people to {p.faces!r} or set fewer identity_people"
        )
        return [
            f"tasks={list(p.tasks)}: all {counts.iloc[0]} people left for the {task} task are {counts.index[0]!r}, "
            f"and it needs two classes; {source}, or leave {task} out of tasks"
        ]
    return _of_splits(p, others, task, "more gender_people" if drawn_faces else "fewer identity_people")


def _of_splits(p: Any, images: pd.DataFrame, task: str, more: str) -> list[str]:
    """Every class has something to learn from, and there is something to validate and test."""
    learned = images.groupby(task).split.agg(lambda split: (split == "train").sum())
    shares = f"validation_share={p.validation_share} and test_share={p.test_share}"
    if (learned == 0).any():
        name = learned.idxmin()
        of_class = images[images[task] == name]
        held = f"{len(of_class)} images of {of_class.identity.nunique()} people"
        return [
            f"{task}: {shares} leave no image to train on for {(learned == 0).sum()} of {len(learned)} classes, such "
            f"as {name!r} with {held}; set smaller shares, or {more}"
        ]
    if missing := {"validation", "test"} - set(images.split):
        return [f"{task}: {shares} leave no {' and no '.join(sorted(missing))} images of {len(images)}"]
    return []


def _of_explained(p: Any, images: pd.DataFrame) -> list[str]:
    group, other = {"known": ("identity", "new"), "new": ("others", "known")}[p.explained_people]
    if (images.group == group).any():
        return []
    why = {
        "known": f"no person has minimum_images={p.minimum_images} images",
        "new": f"all {images.identity.nunique()} people serve the identity task",
    }[p.explained_people]
    return [
        f"explained_people={p.explained_people!r}: {why}, so there is nobody to explain; set explained_people={other}"
    ]


def _of_groups(p: Any) -> list[str]:
    if p.faces == "procedural":
        return []
    problems = []
    for column in p.groups or ():
        try:
            demographics.said(p, column)
        except ValueError as error:
            problems.append(f"groups={list(p.groups)}: {error}")
    return problems


def _of_ratings(p: Any, images: pd.DataFrame) -> list[str]:
    if not p.ratings:
        return []
    names = p.path(p.ratings_names) if p.ratings_names else None
    options = {"direction": p.ratings_direction, "columns": p.ratings_columns, "names": names}
    try:
        rated = ratings.read_ratings([p.path(name) for name in p.ratings], **options)
    except ValueError as error:
        return [f"ratings: {error}"]
    judged = set(rated.pattern_descriptors["identity"])
    shown = set(images.identity[images.group.isin(["identity", "rated"]) & (images.split == "test")])
    if len(judged & shown) < JUDGED:
        return [
            f"ratings: {len(judged & shown)} of {len(judged)} rated people are among the {len(shown)} people with test "
            f"images in {p.faces!r}, and {JUDGED} are needed; map their names by ratings_names"
        ]
    return []
