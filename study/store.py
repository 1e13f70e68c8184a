"""Results on disk: written once, whole or not at all, checked when read, traceable.

A result is a folder `<root>/<kind>/<key>/`, where the key is a hash of everything the result depends on: its
parameters, the keys of the results it was made from, and the code that made it. A result is first written to
a temporary folder and then renamed, under a lock, so a build killed at any moment leaves nothing half done, and
two builds share their work instead of damaging it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from filelock import FileLock

from study import provenance


class StoreError(RuntimeError):
    """A stored result that is damaged."""


class Store:
    """Results under one folder.

    Args:
        root: the folder; made when first written to.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._memory: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_memory": {}}

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make()` returned the first time, for as long as this process lives."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def key(self, kind: str, inputs: Mapping[str, Any], code: tuple[str, ...]) -> str:
        """The key of a result: a hash of its kind, inputs and code."""
        return provenance.digest([kind, inputs, provenance.code(*code)])

    def folder(
        self, kind: str, inputs: Mapping[str, Any], code: tuple[str, ...], make: Callable[[Path], None]
    ) -> Path:
        """The folder of a result, made by `make(temporary_folder)` if it is not there.

        Raises:
            StoreError: the result is there, but files are missing or of the wrong size.
        """
        key = self.key(kind, inputs, code)
        final = self.root / kind / key
        if not final.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / kind / f"{key}.lock"):
                if not final.is_dir():
                    self._write(final, kind, inputs, make)
        self._check_sizes(final)
        return final

    def dataset(
        self, kind: str, inputs: Mapping[str, Any], code: tuple[str, ...], make: Callable[[], xr.Dataset]
    ) -> xr.Dataset:
        """Like `folder`, for a result that is one dataset; `make()` returns it. Opened lazily from zarr."""
        path = self.folder(kind, inputs, code, lambda temporary: write(make(), temporary / "data.zarr"))
        dataset = read(path / "data.zarr")
        return dataset.assign_attrs(store_key=path.name, store_path=str(path))

    def json(
        self, kind: str, inputs: Mapping[str, Any], code: tuple[str, ...], make: Callable[[], Any]
    ) -> Any:
        """Like `folder`, for a result that JSON can hold (NaN included); `make()` returns it."""
        path = self.folder(
            kind,
            inputs,
            code,
            lambda temporary: (temporary / "result.json").write_text(json.dumps(make(), indent=1)),
        )
        return json.loads((path / "result.json").read_text())

    def has(self, kind: str, inputs: Mapping[str, Any], code: tuple[str, ...]) -> bool:
        """Whether a result is there."""
        return (self.root / kind / self.key(kind, inputs, code)).is_dir()

    def verify(self) -> list[str]:
        """Read every result whole; the paths of those whose content is not what was written."""
        bad = []
        for record in sorted(self.root.glob("*/*/provenance.json")):
            folder = record.parent
            files = json.loads(record.read_text())["files"]
            same = all(
                (folder / name).is_file() and _blake2(folder / name) == h for name, (_, h) in files.items()
            )
            if not same:
                bad.append(str(folder))
        return bad

    def _write(self, final: Path, kind: str, inputs: Mapping[str, Any], make: Callable[[Path], None]) -> None:
        temporary = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # left by a build that was killed: the lock is ours
        temporary.mkdir(parents=True)
        make(temporary)
        files = {
            str(path.relative_to(temporary)): (path.stat().st_size, _blake2(path))
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        record = {
            "kind": kind,
            "key": final.name,
            "inputs": inputs,
            "files": files,
        } | provenance.environment()
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1, default=str))
        os.replace(temporary, final)

    def _check_sizes(self, folder: Path) -> None:
        files = json.loads((folder / "provenance.json").read_text())["files"]
        for name, (size, _) in files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size:
                raise StoreError(
                    f"{path} is missing or damaged; delete the folder {folder} to have it made again"
                )


def write(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset to zarr so that xarray alone reads it back; strings as fixed-width unicode."""
    dataset = dataset.copy()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "OT":
            dataset[name] = variable.astype(str)
        dataset[name].encoding = {}
    dataset.to_zarr(path, mode="w", consolidated=True, zarr_format=2)


def read(path: Path) -> xr.Dataset:
    """Open what `write` wrote, lazily."""
    return xr.open_zarr(path, chunks=None, consolidated=True)


def content_digest(dataset: xr.Dataset) -> str:
    """Hash of a dataset's values, names and dimensions, whatever the files look like."""
    h = hashlib.blake2b(digest_size=10)
    for name in sorted(dataset.variables):
        variable = dataset[name]
        if variable.dtype.kind in "OT":  # an array of objects holds addresses, not text
            variable = variable.astype(str)
        h.update(f"{name}{variable.dims}{variable.dtype}".encode())
        h.update(np.ascontiguousarray(variable.values).tobytes())
    return h.hexdigest()


def _blake2(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=10).hexdigest()
