"""The store: whole or not at all, checked, shared by builds, and keyed by everything that matters."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from study import provenance
from study.store import Store, StoreError, content_digest

CODE = ("store",)


def dataset(value=1.0):
    return xr.Dataset({"a": ("x", np.full(5, value))}, coords={"x": ("x", list("abcde"))})


def test_made_once_and_read_back(tmp_path):
    store, made = Store(tmp_path), []

    def make():
        made.append(1)
        return dataset()

    for _ in range(2):
        read = store.dataset("kind", {"p": 1}, CODE, make)
    assert len(made) == 1
    xr.testing.assert_equal(read.load(), dataset())
    assert store.dataset("kind", {"p": 2}, CODE, make).attrs["store_key"] != read.attrs["store_key"]


def test_xarray_alone_reads_it(tmp_path):
    path = Store(tmp_path).dataset("kind", {}, CODE, dataset).attrs["store_path"]
    assert list(xr.open_zarr(f"{path}/data.zarr").x.values) == list("abcde")


def test_failure_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.json("kind", {}, CODE, lambda: 1 / 0)
    assert not store.has("kind", {}, CODE)
    assert store.json("kind", {}, CODE, lambda: 7) == 7


def test_missing_and_truncated_files_are_named(tmp_path):
    store = Store(tmp_path)
    path = store.dataset("kind", {}, CODE, dataset).attrs["store_path"]
    chunk = Path(path) / "data.zarr" / "a" / "0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(StoreError, match="missing or damaged; delete the folder"):
        store.dataset("kind", {}, CODE, dataset)
    chunk.write_bytes(bytes([content[0] ^ 1]) + content[1:])  # right size, wrong content
    assert store.verify() == [path]
    chunk.unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        store.dataset("kind", {}, CODE, dataset)


def _slow(root, started):
    def make():
        started.set()
        time.sleep(60)

    Store(root).json("kind", {}, CODE, make)


def test_killed_while_writing_then_made_again(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_slow, args=(tmp_path, started))
    process.start()
    assert started.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert Store(tmp_path).json("kind", {}, CODE, lambda: "whole") == "whole"
    assert not list((tmp_path / "kind").glob(".*.tmp"))


def _count(root, folder):
    def make():
        (folder / str(os.getpid())).touch()
        time.sleep(0.5)
        return 1

    Store(root).json("kind", {}, CODE, make)


def test_two_builds_at_once_share_the_work(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_count, args=(tmp_path / "store", marks)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list(marks.iterdir())) == 1


def test_content_digest_sees_values_not_files():
    assert content_digest(dataset()) == content_digest(dataset())
    assert content_digest(dataset()) != content_digest(dataset(2.0))
    words = [xr.Dataset(coords={"x": ("x", np.array(list("ab"), dtype=object))}) for _ in range(2)]
    assert content_digest(words[0]) == content_digest(words[1])


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("")
    (tmp_path / "analysis" / "low.py").write_text('"""Low."""\nx = 1\n')
    (tmp_path / "analysis" / "high.py").write_text("from .low import x\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def code():
        provenance.code.cache_clear()
        provenance._module.cache_clear()
        return provenance.code("analysis.high"), provenance.code("study.parameters")

    yield tmp_path / "analysis", code
    provenance.code.cache_clear()
    provenance._module.cache_clear()


def test_code_hash_follows_imports_and_ignores_comments(package):
    folder, code = package
    before = code()
    (folder / "low.py").write_text('"""Other words."""\n# a comment\nx = 1\n')
    assert code() == before
    (folder / "low.py").write_text("x = 2\n")
    assert code()[0] != before[0]


def test_code_hash_leaves_out_what_keys_hold_already(package):
    folder, code = package
    parameters = folder.parent / "study" / "parameters.py"
    parameters.parent.mkdir()
    parameters.write_text("x = 1\n")
    (folder / "high.py").write_text("from study import parameters\n")
    before = code()
    parameters.write_text("x = 2\n")
    assert code()[0] == before[0]
    assert code()[1] != before[1], "but it counts where it is named"
