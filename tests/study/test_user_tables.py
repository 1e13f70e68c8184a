"""Tables as users make them, of any shape and content: a result, or one error that names the table and the fault."""

import csv
import io
import os
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from faces.photographs import EYES, FolderError, list_images, read_images, read_table
from study.ratings import read_names, read_ratings, read_triplets

EXAMPLES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PEOPLE = ["Ann", "Ben", "Cid", "Dörte"]
FILES = [f"{who}/{k}.png" for who in PEOPLE for k in range(2)]
NUMBERS = [
    "0",
    "1",
    "-1",
    "2.5",
    "1e308",
    "-1e308",
    "1e999",
    "nan",
    "inf",
    "0x1F",
    "1_000",
    "1,5",
    "٣",
    "²",
    "10",
]
ODD = [
    "",
    " ",
    "x" * 3000,
    "\0",
    "a\nb",
    'say "no"',
    "{0}",
    "{a",
    "NULL",
    "#",
    "\x1b[31m",
    "\ufeff",
    "\u2028",
]
WORDS = st.sampled_from([*PEOPLE, *FILES, *NUMBERS, *ODD, "0.png", "f", "male", "child"]) | st.text(
    max_size=5
)
HEADERS = ["a", "b", "c", "odd", "value", "rater", "stimulus", "identity", "Identity ", "file", "image_id"]
HEADERS += ["gender", "male", "age", "lefteye_x", "", "-1", *EYES]


def written(rows, separator, quoting, end, encoding) -> bytes:
    if quoting is None:
        return end.join(separator.join(row) for row in rows).encode(encoding, "replace")
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue().encode(encoding, "replace")


def files(rows):
    """These rows as bytes, mostly as they should be, else with another separator, quotes, ends or encoding."""
    usual = st.just((",", csv.QUOTE_MINIMAL, "\n", "utf-8"))
    ways = st.tuples(
        st.sampled_from(",;\t|"),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None]),
        st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32-le"]),
    )
    return st.builds(lambda rows, how: written(rows, *how), rows, usual | usual | ways)


@st.composite
def any_rows(draw):
    """A header of names that mean something or nothing, at times thousands, and rows that need not be as long."""
    header = draw(st.lists(st.sampled_from(HEADERS) | WORDS, max_size=7)) * draw(
        st.sampled_from([1] * 4 + [2, 700])
    )
    n = min(len(header), 9)
    as_long = st.lists(WORDS, min_size=n, max_size=n)
    return [header, *draw(st.lists(as_long | st.lists(WORDS, max_size=9), max_size=8))]


@st.composite
def nearly(draw, header, whole):
    """A good table with up to three faults: a row dropped, doubled or turned, a cell or a column's name replaced."""
    header, rows = list(header), [list(row) for row in draw(whole)]
    for fault in draw(st.lists(st.sampled_from(["drop", "double", "turn", "cell", "name"]), max_size=3)):
        row = draw(st.integers(0, len(rows) - 1))
        cell = draw(st.integers(0, len(header) - 1))
        match fault:
            case "drop" if len(rows) > 1:
                del rows[row]
            case "double":
                rows.append(list(rows[row]))
            case "turn":
                rows[row][:2] = rows[row][1::-1]
            case "cell":
                rows[row][cell] = draw(WORDS)
            case "name":
                header[cell] = draw(st.sampled_from(HEADERS) | WORDS)
    return [header, *rows]


def tables(header, *columns):
    """Bytes of tables: a good one, in which the last columns are drawn of these, nearly a good one, or anything."""
    rows = [*columns[0]]
    drawn = st.lists(st.tuples(*columns[1:]), min_size=len(rows), max_size=len(rows))
    whole = drawn.map(lambda ends: [[*row, *end] for row, end in zip(rows, ends, strict=True)])
    return files(nearly(header, whole)) | files(any_rows()) | st.binary(max_size=60)


NUMBER = st.sampled_from(NUMBERS[:7]) | st.floats(allow_nan=False).map(str)
RATINGS = tables(["a", "b", "value"], combinations(PEOPLE, 2), NUMBER)
TRIPLETS = tables(["a", "b", "c", "odd"], combinations(PEOPLE, 3), st.sampled_from(PEOPLE))
NAMES = tables(["stimulus", "identity"], ([who, who.lower()] for who in PEOPLE))
SAID = st.sampled_from(["f", "m", "male", "Woman"])
ATTRIBUTES = tables(["identity", "file", "gender", "age"], (f.split("/") for f in FILES), SAID, NUMBER)
PLACE = st.integers(0, 40).map(str) | NUMBER
LANDMARKS = tables(["file", *EYES], ([file] for file in FILES), PLACE, PLACE, PLACE, PLACE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of four people, two of each, beside which tables are written."""
    folder = tmp_path_factory.mktemp("user")
    for k, name in enumerate(FILES):
        (folder / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 20 * k, np.uint8)).save(folder / "people" / name)
    return folder


def result_or_error(named, read, *arguments, **options):
    """What `read` gives; None where it is one error of our own type, in printable words, that names a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", ".*(left out|enlarged)")
            return read(*arguments, **options)
    except ValueError as error:
        text = str(error)
        assert type(error) in (ValueError, FolderError), (type(error), text)
        assert any(name in text[:400] for name in named), (text[:1000], named)
        lines = text.splitlines()
        assert len(lines) <= 52 and all(line.isprintable() and len(line) < 400 for line in lines), text[:1000]
        return None


def write(folder, **contents):
    """Files called as the arguments; None where there is none."""
    paths = [None if content is None else folder / f"{name}.csv" for name, content in contents.items()]
    for path, content in zip(paths, contents.values(), strict=True):
        if path is not None:
            path.write_bytes(content)
    return paths


def assert_complete(rdms, fewest):
    identities = list(rdms.pattern_descriptors["identity"])
    assert identities == sorted(set(identities)) and all(identities) and len(identities) >= fewest
    assert np.isfinite(rdms.get_vectors()).all()


@EXAMPLES
@given(RATINGS, st.none() | NAMES, st.sampled_from(["similarity", "dissimilarity"]))
@example(b"", None, "similarity")
def test_any_ratings_give_a_matrix_or_one_error(folder, content, names, direction):
    path, names = write(folder, rated=content, whose=names)
    named = ["rated.csv", "whose.csv"]
    rdms = result_or_error(named, read_ratings, [path], direction=direction, names=names)
    if rdms is not None:
        assert_complete(rdms, 3)


@EXAMPLES
@given(RATINGS, RATINGS)
def test_any_two_tables_of_ratings_give_matrices_or_one_error(folder, one, two):
    paths = write(folder, mine=one, hers=two)
    rdms = result_or_error(["mine", "hers"], read_ratings, paths, direction="dissimilarity")
    if rdms is not None:
        assert_complete(rdms, 3)


@EXAMPLES
@given(TRIPLETS, st.none() | NAMES, st.booleans())
def test_any_triplets_give_a_matrix_or_one_error(folder, content, names, raters):
    path, names = write(folder, chosen=content, whose=names)
    columns = ("a", "b", "c", "odd", *(["rater"] if raters else []))
    rdms = result_or_error(["chosen", "whose.csv"], read_triplets, path, columns=columns, names=names)
    if rdms is not None:
        assert_complete(rdms, 2)


@EXAMPLES
@given(NAMES)
def test_any_names_give_names_or_one_error(folder, content):
    names = result_or_error(["whose.csv"], read_names, *write(folder, whose=content))
    if names is not None:
        assert all(isinstance(text, str) for pair in names.items() for text in pair)


@EXAMPLES
@given(ATTRIBUTES | LANDMARKS)
def test_any_table_on_photographs_is_read_or_one_error(folder, content):
    rows = result_or_error(["said.csv"], read_table, *write(folder, said=content))
    if rows is not None:
        assert {"file", "identity"} & set(rows) and rows.columns.is_unique and rows.index.is_unique
        assert all(isinstance(cell, str) for cell in rows.to_numpy().ravel())


@EXAMPLES
@given(
    ATTRIBUTES,
    st.none() | ATTRIBUTES,
    st.none() | LANDMARKS,
    st.sampled_from([[], ["gender"], ["age"], ["gender", "age"]]),
)
def test_any_tables_give_photographs_or_one_error(folder, said, more, eyes, attributes):
    *given_tables, landmarks = write(folder, said=said, more=more, eyes=eyes)
    given_tables = [path for path in given_tables if path]
    named = ["said.csv", "more.csv", "eyes.csv", "people"]
    images = result_or_error(named, list_images, folder / "people", given_tables, attributes, landmarks)
    if images is None:
        return
    assert set(images.name) <= set(FILES) and images.name.is_unique and len(images)
    assert set(attributes) <= set(images) and images[attributes].notna().all().all()
    assert set(images.get("gender", [])) <= {"female", "male"}
    if eyes is not None:  # a face is cut by them, or named with the reason
        result_or_error(["people"], read_images, images, 32)
