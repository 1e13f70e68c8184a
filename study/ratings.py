"""Read human judgements: pairwise ratings and odd-one-out choices, from CSV."""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from rsatoolbox.rdm import RDMs

from analysis.dissimilarity import stack
from faces.photographs import short, some

FilePath = str | Path
LARGEST = 1e12  # size of a rating: sums of far larger ones overflow, and differences lose small ones


def read_ratings(
    paths: Sequence[FilePath],
    *,
    direction: str,
    columns: Sequence[str] = ("a", "b", "value"),
    names: FilePath | None = None,
) -> RDMs:
    """Pairwise ratings, one row per pair, as dissimilarity matrices.

    Args:
        paths: CSVs, one per rater or group of raters, who are named by the files' stems.
        direction: "dissimilarity" if a higher value means less alike, "similarity" if more alike.
            Similarities become `highest - value`; no comparison offered here depends on that constant.
        columns: item, item and value. Order of items is immaterial.
        names: CSV whose first two columns are stimulus and face identity. A stimulus with an empty
            identity has no pictures: its pairs are left out and `descriptors["unavailable"]` lists it.

    Returns one matrix per file, identities in alphabetical order, with the pattern descriptors `identity` and
    `stimulus` and the rdm descriptors `group` and `simulated` (False).

    ValueError, with file and line, for a table that cannot be read, a column unknown, a value missing or no number, an
    item paired with itself, a pair with two values, a pair missing, files of one name or that rate different items.
    """
    groups = [Path(path).stem for path in paths]
    if twice := {group for group in groups if groups.count(group) > 1}:
        raise ValueError(
            f"two rating files have the same name, which names the raters: {_some(twice)}; rename one of them"
        )
    rdms = [_rating_rdm(path, direction, columns, names) for path in paths]
    for rdm in rdms[1:]:
        identities, others = (set(r.pattern_descriptors["identity"]) for r in (rdms[0], rdm))
        if differ := identities ^ others:
            one, two = (r.rdm_descriptors["group"][0] for r in (rdms[0], rdm))
            raise ValueError(f"{one} and {two} judged different items; they differ in {_some(differ)}")
    return stack(rdms)


def read_triplets(
    path: FilePath, *, columns: Sequence[str] = ("a", "b", "c", "odd"), names: FilePath | None = None
) -> RDMs:
    """Odd-one-out choices, one row per triplet, as dissimilarities (Hebart et al. 2020).

    Args:
        path: CSV; `columns` are the three items, the item chosen as the odd one and, as an optional fifth,
            the rater (without it all rows are pooled into one matrix).
        names: as for :func:`read_ratings`; triplets with an unavailable item are left out.

    Returns as :func:`triplet_rdm`. ValueError, with file and line, for a table that cannot be read, a column unknown,
    an item missing or twice in a triplet, an odd one not among the three, a pair that never occurs together.
    """
    table, items = _read_table(path, columns, ("a", "b", "c", "odd", "rater")), ["a", "b", "c"]
    shown = "{a!r}, {b!r}, {c!r}"
    _refuse(path, table[table[items].nunique(axis=1) < 3], f"an item occurs twice in the triplet {shown}")
    is_odd = table[items].eq(table.odd, axis=0)
    _refuse(path, table[~is_odd.any(axis=1)], "the odd one, {odd!r}, is none of " + shown)
    table, _, unavailable = _identified(table, [*items, "odd"], names, path)
    rdms = triplet_rdm(table, group=Path(path).stem)
    rdms.descriptors["unavailable"] = unavailable
    return rdms


def triplet_rdm(choices: pd.DataFrame, *, group: str = "triplets") -> RDMs:
    """Dissimilarity of two items = share of their common triplets in which one of them was the odd one.

    Args:
        choices: columns `a`, `b`, `c`, `odd` (names of items) and, optionally, `rater`. `choices.attrs["simulated"]`
            marks simulated observers.
        group: name of the group of observers.

    Returns one matrix per rater, dissimilarities in 0..1, items in alphabetical order, with the pattern descriptor
    `identity` and the rdm descriptors `group`, `rater`, `simulated`, `triplets` (how many triplets) and `fewest`
    (smallest number of triplets behind any one pair). ValueError if a pair never occurs together, for one rater.
    """
    if choices.empty:
        raise ValueError(f"{group}: no triplets are left to build dissimilarities from")
    if "rater" not in choices:
        choices = choices.assign(rater="all")
    pairs = [choices[["rater", *pair, "odd"]].to_numpy() for pair in combinations("abc", 2)]
    shown = pd.DataFrame(np.concatenate(pairs), columns=["rater", "a", "b", "odd"])
    shown = _ordered(shown).assign(split=lambda t: (t.odd == t.a) | (t.odd == t.b))
    items = sorted({*shown.a, *shown.b})
    rdms = []
    for rater, of_rater in shown.groupby("rater"):
        counts = of_rater.groupby(["a", "b"])["split"].agg(together="size", split="sum")
        counts = counts.reindex(_pairs(items))
        missing = counts.index[counts["together"].isna()]
        if len(missing):
            raise ValueError(
                f"{group}, rater {rater}: {_some(missing)} never occur in one triplet, "
                "so their dissimilarity is unknown; add triplets or pool the raters"
            )
        described = {
            "group": [group],
            "rater": [rater],
            "simulated": [bool(choices.attrs.get("simulated", False))],
            "triplets": [int(counts["together"].sum()) // 3],
            "fewest": [int(counts["together"].min())],
        }
        share = (counts["split"] / counts["together"]).to_numpy(dtype=float)[None]
        measure = "share of triplets in which the pair was split"
        rdms.append(RDMs(share, measure, None, described, {"identity": items}))
    return stack(rdms)


def _rating_rdm(path: FilePath, direction: str, columns: Sequence[str], names: FilePath | None) -> RDMs:
    table = _read_table(path, columns, ("a", "b", "value"))
    numbers = pd.to_numeric(table.value, errors="coerce").astype(float)
    _refuse(
        path,
        table[~(numbers.abs() < LARGEST)],
        f"rating {{value!r}} is not a finite number below {LARGEST:g}",
    )
    _refuse(path, table[table.a == table.b], "{a!r} is paired with itself")
    table["value"] = numbers.max() - numbers if direction == "similarity" else numbers
    ordered = _ordered(table)
    _refuse(
        path,
        table[ordered.duplicated(["a", "b"]) & ~ordered.duplicated()],
        "{a!r} and {b!r} were rated before with another value; average repeated ratings, or give each rater a file",
    )
    items = sorted({*table.a, *table.b})
    if len(items) < 3:
        raise ValueError(f"{path}: only {len(items)} items; a comparison of dissimilarities needs at least 3")
    if missing := set(_pairs(items)) - set(zip(ordered.a, ordered.b, strict=True)):
        raise ValueError(f"{path}: no rating for {_some(missing)}")
    table, stimulus, unavailable = _identified(table, ["a", "b"], names, path)
    if len(stimulus) < 3:
        raise ValueError(f"{path}: only {len(stimulus)} rated items have an identity; at least 3 are needed")
    identities = sorted(stimulus)
    values = _ordered(table).drop_duplicates().set_index(["a", "b"]).value
    return RDMs(
        values.loc[_pairs(identities)].to_numpy()[None],
        dissimilarity_measure="human rating",
        descriptors={"unavailable": unavailable},
        rdm_descriptors={"group": [Path(path).stem], "simulated": [False]},
        pattern_descriptors={"identity": identities, "stimulus": [stimulus[name] for name in identities]},
    )


def _read_table(path: FilePath, columns: Sequence[str], roles: Sequence[str]) -> pd.DataFrame:
    """The declared columns as text, renamed to their roles, indexed by line number in the file."""
    table = _read_csv(path)
    if unclear := [c for c in columns if list(table.columns).count(c) != 1]:
        raise ValueError(
            f"{path}: needs one column {some(map(repr, unclear))}; the file has [{some(map(repr, table))}]. "
            "Declare which columns to read with `columns`"
        )
    if table.empty:
        raise ValueError(f"{path}: has a header but no rows")
    table = table[list(columns)].set_axis(list(roles)[: len(columns)], axis=1)
    for column in table:
        _refuse(path, table[table[column] == ""], f"the {column} is empty")
    return table


def _refuse(path: FilePath, rows: pd.DataFrame, reason: str) -> None:
    """ValueError for the first of the rows, if there is one; the reason may name its values by column."""
    if len(rows):
        raise ValueError(f"{path}, line {rows.index[0]}: {reason.format(**rows.iloc[0].map(str).map(short))}")


def _read_csv(path: FilePath) -> pd.DataFrame:
    """All columns as stripped text, indexed by line number; cells that a short row lacks are empty."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            read = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not a readable CSV table in UTF-8 ({error}); save it as one") from error
    if not header:
        raise ValueError(
            f"{path}: not a readable CSV table: its first line, which names the columns, is empty"
        )
    for line, row in read:
        if len(row) > len(header):
            raise ValueError(
                f"{path}, line {line}: {len(row)} values in {len(header)} columns: [{some(map(repr, header))}]"
            )
        row += [""] * (len(header) - len(row))
    lines, rows = [line for line, _ in read], [row for _, row in read]
    table = pd.DataFrame(rows, lines, [name.strip() for name in header], dtype=str)
    # Names of folders are composed as well (`faces.photographs.label`).
    table = table.map(lambda cell: unicodedata.normalize("NFC", cell.strip()))
    return table[(table != "").any(axis=1)]


def read_names(path: FilePath) -> dict[str, str]:
    """{stimulus: identity}, from the first two columns of a CSV."""
    table = _read_csv(path)
    if table.shape[1] < 2:
        raise ValueError(f"{path}: needs two columns, stimulus and identity; has [{some(map(repr, table))}]")
    stimuli, identities = table.iloc[:, 0], table.iloc[:, 1]
    for what, column in (("stimulus", stimuli), ("identity", identities[identities != ""])):
        twice = column[column.duplicated()]
        if len(twice):
            raise ValueError(f"{path}: {what} {short(twice.iloc[0])!r} occurs more than once")
    return dict(zip(stimuli, identities, strict=True))


def _identified(
    table: pd.DataFrame, columns: list[str], table_of_names: FilePath | None, path: FilePath
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Identities for stimuli: the table with them in its columns, without rows of stimuli that have none.

    Also {identity: stimulus} of those in it, and the stimuli without identity.
    """
    items = sorted(set(table[columns].to_numpy().ravel()))
    names = read_names(table_of_names) if table_of_names else dict(zip(items, items, strict=True))
    if unknown := set(items) - names.keys():
        raise ValueError(
            f"{path}: {_some(unknown)} not in the table of names; add a row for each, "
            "with an empty identity if there are no pictures"
        )
    unavailable = [item for item in items if names[item] == ""]
    table = table[~table[columns].isin(unavailable).any(axis=1)]
    table = table.assign(**{column: table[column].map(names) for column in columns})
    return table, {names[item]: item for item in items if names[item]}, unavailable


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `a` before `b`, alphabetically, in every row."""
    a, b = np.sort(table[["a", "b"]].to_numpy(dtype=str), axis=1).T
    return table.assign(a=a, b=b)


def _pairs(items: list[str]) -> pd.MultiIndex:
    """All pairs of the items, in the order of rsatoolbox's vectors."""
    return pd.MultiIndex.from_tuples(combinations(items, 2), names=["a", "b"])


def _some(things: Iterable) -> str:
    """The first few of many things, for an error message; tuples are pairs."""
    return some(" – ".join(map(short, t)) if isinstance(t, tuple) else str(t) for t in sorted(things))
