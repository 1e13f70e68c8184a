"""Damaged results, at random places: never used, always named. `FUZZ=5000` tries that many instead of a few."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from study import store
from study.store import PROVENANCE, Store, StoreError
from study.vgg import vgg16

EXAMPLES = int(os.environ.get("FUZZ", "150"))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
tried = {}  # examples by test, printed at the end


def results(key):
    """One of every kind of result."""
    data = xr.Dataset({"a": ("x", np.arange(9.0) + key), "b": (("x", "y"), np.zeros((9, 3)))})
    data = data.assign_coords(x=list("abcdefghi"))
    return {
        "data": data,
        "table": pd.DataFrame({"x": [0.1, np.nan, key], "y": list("abc")}),
        "network": vgg16(2, width=1 / 32, size=32, hidden=8),
        "note": ["text", key],
    }


def put(root, key):
    record = {"parameters": {"p": key}}
    return Store(root).folder(
        "kind", f"key{key}", lambda folder: store.save(results(key), folder), lambda: record
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    put(root, 0), put(root, 1)
    yield root
    print(f"\ndamaged results tried: {tried}")


def tree(folder):
    """Everything below a folder: its bytes by name, None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def flip(folder, file, place, other):
    content = bytearray(file.read_bytes())
    assume(content)
    content[place % len(content)] ^= 1 << (place % 8)
    file.write_bytes(content)


def truncate(folder, file, place, other):
    content = file.read_bytes()
    assume(content)
    file.write_bytes(content[: place % len(content)])


def zero(folder, file, place, other):
    content = file.read_bytes()
    assume(content)
    start = place % len(content)
    file.write_bytes(content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :])


def grow(folder, file, place, other):
    with file.open("ab") as stream:
        stream.write(bytes([place % 256]))


def delete(folder, file, place, other):
    file.unlink()


def swap(folder, file, place, other):
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two), other.write_bytes(one)


def folder_for_file(folder, file, place, other):
    file.unlink(), file.mkdir()


def file_for_folder(folder, file, place, other):
    inner = file.parent
    shutil.rmtree(inner), inner.write_bytes(bytes(place % 9))


def loose_link(folder, file, place, other):
    file.unlink(), file.symlink_to("nowhere")


def one_too_many(folder, file, place, other):
    file.with_name(f"{file.name}{place}").write_bytes(b"")


def empty_folder(folder, file, place, other):
    (file.parent / f"{place}.zarr").mkdir()


def forget(folder, file, place, other):
    """Provenance without one of its keys, or with one emptied."""
    record = json.loads((folder / PROVENANCE).read_text())
    key = sorted(record)[place % len(record)]
    record = (
        {k: v for k, v in record.items() if k != key} if place % 2 else record | {key: type(record[key])()}
    )
    (folder / PROVENANCE).write_text(json.dumps(record, indent=1))


def forget_a_file(folder, file, place, other):
    """Provenance without one of the files, which is gone too."""
    record = json.loads((folder / PROVENANCE).read_text())
    assume(record["files"].pop(str(file.relative_to(folder)), None) and file.name != PROVENANCE)
    (folder / PROVENANCE).write_text(json.dumps(record, indent=1)), file.unlink()


def empty_out(folder, file, place, other):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def another_result(folder, file, place, other):
    shutil.rmtree(folder), shutil.copytree(folder.with_name("key1"), folder)


DAMAGES = [
    flip, truncate, zero, grow, delete, swap, folder_for_file, file_for_folder, loose_link, one_too_many,
    empty_folder, forget, forget_a_file, empty_out, another_result,
]  # fmt: skip


def assert_named(folder):
    for use in (lambda: put(folder.parents[1], 0), lambda: store.check(folder)):
        with pytest.raises(
            StoreError, match="missing or damaged; delete the folder to have it made again"
        ) as caught:
            use()
        assert str(folder) in str(caught.value)
    assert Store(folder.parents[1]).has("kind", "key0"), "what is damaged is not what is missing"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_never_used_and_always_named(pristine, tmp_path_factory, damage):
    root = tmp_path_factory.mktemp("store") / "store"
    folder = root / "kind" / "key0"

    @settings(fuzz, max_examples=max(EXAMPLES // 10, 10))
    @given(st.integers(0, 2**16), st.integers(0, 2**16), st.integers(0, 2**16))
    def try_one(which, place, partner):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(pristine, root)
        put(root, 0)  # is whole
        before = tree(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        damage(folder, files[which % len(files)], place, files[partner % len(files)])
        assume(not folder.is_dir() or tree(folder) != before)
        assert_named(folder)
        tried[damage.__name__] = tried.get(damage.__name__, 0) + 1

    try_one()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["files", "kind", "key"]) | st.text(), inner)
    ),
)


def test_any_provenance_but_its_own_is_damage(pristine, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(pristine, root)
    folder = root / "kind" / "key0"

    @fuzz
    @given(ANY.map(lambda value: json.dumps(value, indent=1).encode()) | st.binary())
    def try_one(content):
        (folder / PROVENANCE).write_bytes(content)
        assert_named(folder)
        tried["any provenance"] = tried.get("any provenance", 0) + 1

    try_one()


def test_what_is_deleted_as_told_is_made_again(pristine, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(pristine, root)
    whole = store.load(put(root, 0))["data"].load()
    shutil.rmtree(root / "kind" / "key0")
    xr.testing.assert_equal(store.load(put(root, 0))["data"].load(), whole)


def test_results_without_a_seal_are_used_as_before(pristine, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(pristine, root)
    file = root / "kind" / "key0" / PROVENANCE
    record = json.loads(file.read_text())
    del record["files"][PROVENANCE]
    file.write_text(json.dumps(record, indent=1))
    assert set(store.load(put(root, 0))) == set(results(0))


def test_a_file_in_the_place_of_a_result_or_of_its_kind_is_named(pristine, tmp_path):
    root = tmp_path / "store"
    (root / "kind").mkdir(parents=True)
    (root / "kind" / "key0").write_text("")
    assert_named(root / "kind" / "key0")
    shutil.rmtree(root / "kind")
    (root / "kind").write_text("")
    with pytest.raises(StoreError, match=r"kind/key0 cannot be made: .*; move away what lies in its place"):
        put(root, 0)
