"""Results on disk: written once, whole or not at all, checked when read, traceable.

A result is a folder `<root>/<kind>/<key>/`. It is first written to a temporary folder, then renamed, under a lock, so
a build killed at any moment leaves nothing half done, and two builds share their work instead of damaging it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from filelock import FileLock
from torch import nn

from study import provenance, weights

PROVENANCE = "provenance.json"
WHOLE = "result"  # name of a result that is one thing


class StoreError(RuntimeError):
    """A stored result that is damaged."""


class Store:
    """Results under the folder `root`, made when first written to."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def folder(
        self, kind: str, key: str, make: Callable[[Path], None], record: Callable[[], Mapping[str, Any]]
    ) -> Path:
        """The folder of a result, made by `make(temporary folder)` if it is not there; `record()` says from what.

        Raises:
            StoreError: the result is there, but files are missing or of the wrong size.
        """
        final = self.root / kind / key
        if not final.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(final.with_name(f"{key}.lock")):
                if not final.is_dir():
                    self._write(final, make, record)
        self._check_sizes(final)
        return final

    def has(self, kind: str, key: str) -> bool:
        """Whether a result is there."""
        return (self.root / kind / key).is_dir()

    def _write(
        self, final: Path, make: Callable[[Path], None], record: Callable[[], Mapping[str, Any]]
    ) -> None:
        temporary = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # left by a build that was killed: the lock is ours
        temporary.mkdir(parents=True)
        make(temporary)
        files = {
            str(path.relative_to(temporary)): (path.stat().st_size, _blake2(path))
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        whole = {"kind": final.parent.name, "key": final.name, **record(), "files": files}
        text = json.dumps(whole | provenance.environment(), indent=1, default=str)
        (temporary / PROVENANCE).write_text(text)
        os.replace(temporary, final)

    def _check_sizes(self, folder: Path) -> None:
        for name, (size, _) in json.loads((folder / PROVENANCE).read_text())["files"].items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size:
                raise StoreError(
                    f"{path} is missing or damaged; delete the folder {folder} to have it made again"
                )


# ------------------------------------------------------------ values as files


class Parts(Mapping):
    """A result of several things by name, each read from its file when it is asked for."""

    def __init__(self, files: Mapping[str, Path]):
        self._files = dict(files)

    def __getitem__(self, name: str) -> Any:
        return _read_file(self._files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def save(value: Any, folder: Path) -> None:
    """Write a value, or each value of a dict that holds others than JSON can, to a file of its kind in `folder`."""
    if isinstance(value, dict) and any(
        isinstance(v, xr.Dataset | pd.DataFrame | nn.Module) for v in value.values()
    ):
        for name, part in value.items():
            _write_file(part, folder / name)
    else:
        _write_file(value, folder / WHOLE)


def load(folder: Path) -> Any:
    """What `save` wrote to `folder`; several things as `Parts`. Datasets are opened lazily."""
    files = {path.stem: path for path in folder.iterdir() if path.name != PROVENANCE}
    return _read_file(files[WHOLE]) if WHOLE in files else Parts(files)


def _write_file(value: Any, path: Path) -> None:
    match value:
        case xr.Dataset():
            write(value, path.with_suffix(".zarr"))
        case pd.DataFrame():
            value.to_csv(path.with_suffix(".csv"), index=False)
        case nn.Module():
            weights.save(value, path.with_suffix(".safetensors"))
        case _:
            path.with_suffix(".json").write_text(json.dumps(value, indent=1))


def _read_file(path: Path) -> Any:
    match path.suffix:
        case ".zarr":
            return read(path)
        case ".csv":
            return pd.read_csv(path)
        case ".safetensors":
            return weights.load(path)
        case _:
            return json.loads(path.read_text())


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
