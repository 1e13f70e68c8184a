"""Results on disk: written once, whole or not at all, checked when read, traceable.

A result is a folder `<root>/<kind>/<key>/`. It is first written to a temporary folder, then renamed, under a lock, so
a build killed at any moment leaves nothing half done, and two builds share their work instead of damaging it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from filelock import FileLock
from safetensors import SafetensorError
from torch import nn

from study import provenance, weights

PROVENANCE = "provenance.json"
WHOLE = "result"  # name of a result that is one thing


_WRITABLE, _FREE = "make it readable and writable", "move away what lies in its place"
# What a user can do about errors of the system.
REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EEXIST: _FREE,
    errno.ENOTDIR: _FREE,
}


class StoreError(RuntimeError):
    """A stored result that is damaged or cannot be written."""


class Store:
    """Results under the folder `root`, by default `_build/store`; made when first written to."""

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root or os.environ.get("ANALYSIS_STORE") or provenance.ROOT / "_build" / "store")

    def folder(
        self, kind: str, key: str, make: Callable[[Path], None], record: Callable[[], Mapping[str, Any]]
    ) -> Path:
        """The folder of a result, made by `make(temporary folder)` if it is not there; `record()` says from what.

        Raises:
            StoreError: the result is there and is not what was written, or it cannot be written.
        """
        final = self.root / kind / key
        if not self.has(kind, key):
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(final.with_name(f"{key}.lock")):
                    if not self.has(kind, key):
                        self._write(final, make, record)
            except (OSError, SafetensorError) as error:
                # safetensors gives no number; what keeps it from writing is a full disk
                remedy = REMEDIES.get(getattr(error, "errno", errno.ENOSPC))
                if remedy is None:
                    raise
                raise StoreError(
                    f"{final} cannot be made: {error}; {remedy} and run again: what is finished is kept"
                ) from error
        check(final)
        return final

    def has(self, kind: str, key: str) -> bool:
        """Whether a result is there, whole or damaged."""
        return os.path.lexists(self.root / kind / key)

    def results(self) -> list[Path]:
        """The folder of every result, and whatever else lies where one should."""
        kinds = sorted(self.root.iterdir()) if self.root.is_dir() else []
        paths = chain(*(sorted(kind.iterdir()) if kind.is_dir() else [kind] for kind in kinds))
        return [path for path in paths if path.suffix != ".lock" and not path.name.startswith(".")]

    def _write(
        self, final: Path, make: Callable[[Path], None], record: Callable[[], Mapping[str, Any]]
    ) -> None:
        temporary = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # left by a build that was killed: the lock is ours
        temporary.mkdir()
        make(temporary)
        files = {name: (size, _blake2(temporary / name)) for name, (size, *_) in _listing(temporary).items()}
        whole = {"kind": final.parent.name, "key": final.name, **record(), "files": files}
        text = json.dumps(whole | provenance.environment(), default=str)
        (temporary / PROVENANCE).write_text(_sealed(json.loads(text)))
        os.replace(temporary, final)


# ------------------------------------------------------------ whether a result is what was written

# What this process has checked, with names, sizes and times of its files then: while these stay, it is not read again.
_checked: dict[Path, tuple[Any, dict[str, str]]] = {}


def check(folder: Path) -> dict[str, str]:
    """Compare all that is in a result's folder with what was written there; name and hash of every file.

    Raises:
        StoreError: anything is missing, changed or too much; names the folder and what to do.
    """
    try:
        now = _listing(folder)
        if folder not in _checked or _checked[folder][0] != now:
            _checked[folder] = now, _compare(folder, now)
        return _checked[folder][1]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{folder} is missing or damaged; delete the folder to have it made again ({type(error).__name__}: {error})"
        ) from None


def _listing(folder: str | Path, within: str = "") -> dict[str, tuple[int, ...]]:
    """Size, number and times of every file below a folder, by name; ValueError for what is no file and no folder."""
    found = {}
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            found |= _listing(entry.path, f"{within}{entry.name}/")
        else:
            status = entry.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{within}{entry.name} is no file")
            found[within + entry.name] = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    if not found:
        raise ValueError(f"{within or 'it'} is empty")
    return found


def _compare(folder: Path, there: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Name and hash of every file; ValueError, or what reading raises, if they are not what was written."""
    text = (folder / PROVENANCE).read_text()
    record = json.loads(text)
    sealed = record["files"].pop(PROVENANCE, None)  # older versions did not
    if text != (_sealed(record) if sealed else json.dumps(record, indent=1)):
        raise ValueError(f"{PROVENANCE} is not as it was written")
    if (record["kind"], record["key"]) != (folder.parent.name, folder.name):
        raise ValueError(f"it is {record['kind']}/{record['key']}")
    if other := there.keys() ^ {PROVENANCE, *record["files"]}:
        raise ValueError(f"{min(other)} is missing or too much")
    for name, (size, content) in record["files"].items():
        if there[name][0] != size or _blake2(folder / name) != content:
            raise ValueError(f"{name} is not as it was written")
    return {name: content for name, (_, content) in record["files"].items()}


def _sealed(record: Mapping[str, Any]) -> str:
    """A record as text, with its own hash among those of the files."""
    text = json.dumps(record, indent=1).encode()
    seal = {PROVENANCE: [len(text), hashlib.blake2b(text, digest_size=10).hexdigest()]}
    return json.dumps({**record, "files": record["files"] | seal}, indent=1)


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=10)).hexdigest()
