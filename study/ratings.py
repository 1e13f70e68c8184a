"""Read human judgements: pairwise ratings and odd-one-out choices, from CSV."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from rsatoolbox.rdm import RDMs

from analysis.matrices import some, stack

FilePath = str | Path
DIRECTIONS = ("dissimilarity", "similarity")


def read_ratings(
    paths: FilePath | Sequence[FilePath] | Mapping[str, FilePath],
    *,
    direction: str,
    columns: Sequence[str] = ("a", "b", "value"),
    names: FilePath | None = None,
) -> RDMs:
    """Pairwise ratings, one row per pair, as dissimilarity matrices.

    Args:
        paths: one CSV, several (one per group of observers, named by file stem), or `{group: CSV}`.
        direction: "dissimilarity" if a higher value means less alike, "similarity" if more alike.
            Similarities become `highest - value`; no comparison offered here depends on that constant.
        columns: item, item, value and, as an optional fourth, the rater. Order of items is immaterial.
        names: CSV whose first two columns are stimulus and face identity. A stimulus with an empty
            identity has no pictures: its pairs are left out and `descriptors["unavailable"]` lists it.

    Returns:
        One matrix per group and rater, items in alphabetical order. Pattern descriptors `identity` and
        `stimulus`; rdm descriptors `group`, `rater` ("all" without a rater column) and `simulated`.

    Raises:
        ValueError: direction or column unknown, empty file, value missing or no number, item paired with
            itself, one pair with two values, pair missing, groups that rated different items.
    """
    if direction not in DIRECTIONS:
        raise ValueError(
            f"direction is {direction!r}; say what a high rating means: {' or '.join(DIRECTIONS)}"
        )
    if isinstance(columns, str) or len(columns) not in (3, 4):
        raise ValueError(f"columns is {columns!r}; name item, item, value and, if any, the rater")
    identities = None if names is None else _read_names(names)
    rdms: list[RDMs] = []
    for group, path in _groups(paths).items():
        rdms += _ratings_of_one_file(path, group, direction, columns, identities)
        _check_same_items(rdms[0], rdms[-1])
    return stack(rdms)


def read_triplets(
    path: FilePath,
    *,
    columns: Sequence[str] = ("a", "b", "c", "odd"),
    names: FilePath | None = None,
) -> RDMs:
    """Odd-one-out choices, one row per triplet, as dissimilarities (Hebart et al. 2020).

    Args:
        path: CSV; `columns` are the three items, the item chosen as the odd one and, as an optional fifth,
            the rater (without it all rows are pooled into one matrix).
        names: as for :func:`read_ratings`; triplets with an unavailable item are left out.

    Returns:
        As :func:`triplet_rdm`.

    Raises:
        ValueError: column unknown, empty file, item missing or twice in a triplet, odd one not among the
            three, pair that never occurs together.
    """
    if isinstance(columns, str) or len(columns) not in (4, 5):
        raise ValueError(f"columns is {columns!r}; name three items, the odd one and, if any, the rater")
    table = _read_table(path, columns, ("a", "b", "c", "odd", "rater"))
    _check_triplets(table, str(path))
    unavailable = []
    if names is not None:
        identities = _read_names(names)
        items = sorted(set(table[["a", "b", "c"]].to_numpy().ravel()))
        unavailable = _unavailable(items, identities, path)
        table = table[~table[["a", "b", "c"]].isin(unavailable).any(axis=1)]
        table = table.assign(**{c: table[c].map(identities) for c in ("a", "b", "c", "odd")})
    rdms = triplet_rdm(table, group=Path(path).stem)
    rdms.descriptors["unavailable"] = unavailable
    return rdms


def triplet_counts(choices: pd.DataFrame) -> pd.DataFrame:
    """How often each pair was shown together and how often it was split by the choice.

    Args:
        choices: columns `a`, `b`, `c`, `odd` (names of items) and, optionally, `rater`.

    Returns:
        Columns `rater`, `a`, `b` (a < b), `together`, `split`; one row per pair that occurred.
    """
    if "rater" not in choices:
        choices = choices.assign(rater="all")
    pairs = []
    for first, second in combinations("abc", 2):
        pair = np.sort(choices[[first, second]].to_numpy(dtype=str), axis=1)
        split = (choices["odd"] == choices[first]) | (choices["odd"] == choices[second])
        frame = {"rater": choices["rater"], "a": pair[:, 0], "b": pair[:, 1], "split": split}
        pairs.append(pd.DataFrame(frame))
    grouped = pd.concat(pairs).groupby(["rater", "a", "b"])["split"]
    return grouped.agg(together="size", split="sum").reset_index()


def triplet_rdm(choices: pd.DataFrame, *, group: str = "triplets") -> RDMs:
    """Dissimilarity of two items = share of their common triplets in which one of them was the odd one.

    Args:
        choices: see :func:`triplet_counts`. `choices.attrs["simulated"]` marks simulated observers.
        group: name of the group of observers.

    Returns:
        One matrix per rater, dissimilarities in 0..1, items in alphabetical order. Pattern descriptor
        `identity`; rdm descriptors `group`, `rater`, `simulated`, `triplets` (how many triplets) and
        `fewest` (smallest number of triplets behind any one pair).

    Raises:
        ValueError: a pair never occurs together (for one rater, where raters are given).
    """
    if choices.empty:
        raise ValueError(f"{group}: no triplets are left to build dissimilarities from")
    items = sorted(set(choices[["a", "b", "c"]].to_numpy().ravel()))
    pairs = pd.MultiIndex.from_tuples(combinations(items, 2), names=["a", "b"])
    rdms = []
    for rater, counts in triplet_counts(choices).groupby("rater"):
        counts = counts.set_index(["a", "b"]).reindex(pairs)
        missing = counts.index[counts["together"].isna()]
        if len(missing):
            raise ValueError(
                f"{group}, rater {rater}: {some(missing)} never occur in one triplet, "
                "so their dissimilarity is unknown; add triplets or pool the raters"
            )
        share = (counts["split"] / counts["together"]).to_numpy(dtype=float)
        rdms.append(
            RDMs(
                share[None],
                dissimilarity_measure="share of triplets in which the pair was split",
                rdm_descriptors={
                    "group": [group],
                    "rater": [rater],
                    "simulated": [bool(choices.attrs.get("simulated", False))],
                    "triplets": [int(counts["together"].sum()) // 3],
                    "fewest": [int(counts["together"].min())],
                },
                pattern_descriptors={"identity": items},
            )
        )
    return stack(rdms)


def _groups(paths) -> dict[str, FilePath]:
    if isinstance(paths, Mapping):
        groups = dict(paths)
    else:
        files = [paths] if isinstance(paths, (str, Path)) else list(paths)
        groups = {Path(path).stem: path for path in files}
        if len(groups) < len(files):
            raise ValueError(f"two rating files have the same name: {files}; pass {{group: file}} instead")
    if not groups:
        raise ValueError("no rating file given")
    return groups


def _read_table(path: FilePath, columns: Sequence[str], roles: Sequence[str]) -> pd.DataFrame:
    """The declared columns as text, renamed to their roles, indexed by line number in the file."""
    table = _read_csv(path)
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(map(repr, missing))}; the file has {list(table.columns)}. "
            "Declare which columns to read with `columns`"
        )
    if table.empty:
        raise ValueError(f"{path}: has a header but no rows")
    table = table[list(columns)].set_axis(list(roles)[: len(columns)], axis=1)
    for column in table:
        empty = table.index[table[column] == ""]
        if len(empty):
            raise ValueError(f"{path}, line {empty[0]}: the {column} is empty")
    return table


def _read_csv(path: FilePath) -> pd.DataFrame:
    """All columns as stripped text, indexed by line number; cells that a short row lacks are empty."""
    try:
        with warnings.catch_warnings():
            # pandas only warns of a row longer than the header, and by default shifts its values instead.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
                skip_blank_lines=False,
            )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning, UnicodeError) as error:
        raise ValueError(f"{path}: not a readable CSV table in UTF-8 ({error})") from error
    table.columns = table.columns.str.strip()
    table.index = table.index + 2
    table = table.fillna("").apply(lambda column: column.str.strip())
    return table[(table != "").any(axis=1)]


def _read_names(path: FilePath) -> dict[str, str]:
    """{stimulus: identity}, from the first two columns of a CSV."""
    table = _read_csv(path)
    if table.shape[1] < 2:
        raise ValueError(f"{path}: needs two columns, stimulus and identity; has {list(table.columns)}")
    stimuli, identities = table.iloc[:, 0], table.iloc[:, 1]
    for what, column in (("stimulus", stimuli), ("identity", identities[identities != ""])):
        twice = column[column.duplicated()]
        if len(twice):
            raise ValueError(f"{path}: {what} {twice.iloc[0]!r} occurs more than once")
    return dict(zip(stimuli, identities, strict=True))


def _unavailable(items: Sequence[str], identities: Mapping[str, str], path: FilePath) -> list[str]:
    unknown = [item for item in items if item not in identities]
    if unknown:
        raise ValueError(
            f"{path}: {some(unknown)} not in the table of names; add a row for each, "
            "with an empty identity if there are no pictures"
        )
    return [item for item in items if identities[item] == ""]


def _ratings_of_one_file(path, group, direction, columns, identities) -> list[RDMs]:
    table = _read_table(path, columns, ("a", "b", "value", "rater"))
    table["value"] = _numbers(table["value"], path)
    same = table.index[table["a"] == table["b"]]
    if len(same):
        raise ValueError(f"{path}, line {same[0]}: {table.loc[same[0], 'a']!r} is paired with itself")
    if direction == "similarity":
        table["value"] = table["value"].max() - table["value"]
    if "rater" not in table:
        table["rater"] = "all"
    items = sorted(set(table["a"]) | set(table["b"]))
    if len(items) < 3:
        raise ValueError(f"{path}: only {len(items)} items; a comparison of dissimilarities needs at least 3")
    return [
        _rating_rdm(rows, items, identities, path, group, str(rater))
        for rater, rows in table.groupby("rater")
    ]


def _numbers(text: pd.Series, path: FilePath) -> pd.Series:
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    bad = text.index[~np.isfinite(numbers)]
    if len(bad):
        raise ValueError(f"{path}, line {bad[0]}: rating {text[bad[0]]!r} is not a finite number")
    return numbers


def _rating_rdm(rows, items, identities, path, group, rater) -> RDMs:
    where = f"{path}" if rater == "all" else f"{path}, rater {rater}"
    values: dict[tuple[str, str], float] = {}
    for line, a, b, value in zip(rows.index, rows["a"], rows["b"], rows["value"], strict=True):
        pair = (a, b) if a < b else (b, a)
        if values.setdefault(pair, value) != value:
            raise ValueError(
                f"{where}, line {line}: {a!r} and {b!r} were rated before with another value; average "
                "repeated ratings, or name the rater's column as the fourth of `columns`"
            )
    missing = [pair for pair in combinations(items, 2) if pair not in values]
    if missing:
        raise ValueError(f"{where}: no rating for {some(missing)}")
    unavailable = [] if identities is None else _unavailable(items, identities, path)
    stimuli = [item for item in items if item not in unavailable]
    if len(stimuli) < 3:
        raise ValueError(f"{where}: only {len(stimuli)} rated items have an identity; at least 3 are needed")
    if identities is not None:
        stimuli.sort(key=identities.__getitem__)
    vector = [values[min(pair), max(pair)] for pair in combinations(stimuli, 2)]
    return RDMs(
        np.array([vector], dtype=float),
        dissimilarity_measure="human rating",
        descriptors={"unavailable": unavailable},
        rdm_descriptors={"group": [group], "rater": [rater], "simulated": [False]},
        pattern_descriptors={
            "identity": [item if identities is None else identities[item] for item in stimuli],
            "stimulus": stimuli,
        },
    )


def _check_triplets(table: pd.DataFrame, path: str) -> None:
    items = table[["a", "b", "c"]].to_numpy()
    for line, triplet, odd in zip(table.index, items, table["odd"], strict=True):
        if len(set(triplet)) < 3:
            raise ValueError(f"{path}, line {line}: an item occurs twice in the triplet {list(triplet)}")
        if odd not in triplet:
            raise ValueError(f"{path}, line {line}: the odd one, {odd!r}, is none of {list(triplet)}")


def _check_same_items(first: RDMs, other: RDMs) -> None:
    differ = set(first.pattern_descriptors["identity"]) ^ set(other.pattern_descriptors["identity"])
    if differ:
        groups = [r.rdm_descriptors["group"][0] for r in (first, other)]
        raise ValueError(f"{groups[0]} and {groups[1]} judged different items; they differ in {some(differ)}")
