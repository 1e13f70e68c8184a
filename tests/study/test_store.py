"""The store: whole or not at all, checked, shared by builds."""

import errno
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import xarray as xr

from study import store
from study.store import Store, StoreError, content_digest


def dataset(value=1.0):
    return xr.Dataset({"a": ("x", np.full(5, value))}, coords={"x": ("x", list("abcde"))})


def put(root, value=1.0, key="key"):
    return Store(root).folder(
        "kind", key, lambda folder: store.save(dataset(value), folder), lambda: {"p": 1}
    )


def test_made_once_and_read_back(tmp_path):
    first, again = put(tmp_path, 1.0), put(tmp_path, 2.0)
    assert first == again
    xr.testing.assert_equal(store.load(first).load(), dataset())
    assert json.loads((first / store.PROVENANCE).read_text())["p"] == 1


def test_xarray_alone_reads_it(tmp_path):
    assert list(xr.open_zarr(put(tmp_path) / "result.zarr").x.values) == list("abcde")


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path).folder("kind", "key", lambda folder: 1 / 0, dict)
    assert not Store(tmp_path).has("kind", "key")
    put(tmp_path)


def test_missing_and_truncated_files_are_named(tmp_path):
    path = put(tmp_path)
    chunk = path / "result.zarr" / "a" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(StoreError, match="missing or damaged; delete the folder"):
        put(tmp_path)
    chunk.unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        put(tmp_path)


def test_what_a_killed_build_left_is_removed(tmp_path):
    left = tmp_path / "kind" / ".key.tmp" / "result.zarr"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    xr.testing.assert_equal(store.load(put(tmp_path)).load(), dataset())
    assert not left.parent.exists()


@pytest.mark.parametrize("write", ["FileLock", "save", "_blake2", "_sealed"])
def test_a_full_disk_is_named_and_when_it_is_free_again_the_result_is_made(tmp_path, monkeypatch, write):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(store, write, full)
        with pytest.raises(
            StoreError,
            match=r"kind/key cannot be made: .*No space left.*; make room on the disk and run again",
        ):
            put(tmp_path)
    assert not Store(tmp_path).has("kind", "key")
    xr.testing.assert_equal(store.load(put(tmp_path)).load(), dataset())


def _slow(root, started):
    def make(_):
        started.set()
        time.sleep(60)

    Store(root).folder("kind", "key", make, dict)


def test_killed_while_writing_then_made_again(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_slow, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not Store(tmp_path).has("kind", "key")
    xr.testing.assert_equal(store.load(put(tmp_path)).load(), dataset())


def _mark(root, marks):
    def make(folder):
        (marks / f"{os.getpid()}").touch()
        time.sleep(1)
        store.save(1, folder)

    Store(root).folder("kind", "key", make, dict)


def test_two_builds_share_the_work(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_mark, args=(tmp_path / "store", marks)) for _ in range(2)]
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
