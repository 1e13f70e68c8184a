"""Execute one section through papermill."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from report.sections import ROOT, Section

# Papermill warns of parameters that stand in no cell of their own; they are checked before, and applied.
logging.getLogger("papermill").setLevel(logging.ERROR)


class SectionFailed(RuntimeError):
    """A cell raised; the message holds its source, a note of it the traceback."""


def execute(section: Section, parameters: dict[str, Any], target: Path) -> dict[str, float]:
    """Execute a section, injecting `parameters`, and write the executed notebook, whole or not at all.

    Progress bars and warnings of the kernel go to this process's standard error as they come.

    Returns:
        `seconds` and `peak_memory_mb` (resident memory of the kernel and its workers, sampled, with those of sections
        that run side by side).

    Raises:
        SectionFailed: a cell raised. The notebook as far as it got is kept as `<section>.failed.ipynb`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    failed, partial = (target.with_suffix(f".{name}.ipynb") for name in ("failed", "partial"))
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # a log file needs no lively progress bars
    start = time.monotonic()
    try:
        with _memory_of_children() as held:
            papermill.execute_notebook(
                section.notebook(), partial, parameters, cwd=ROOT, kernel_name="python3", progress_bar=False,
                stderr_file=sys.stderr, request_save_on_cell_execute=False,
                extra_arguments=["--log-level=CRITICAL"],
            )  # fmt: skip
    except PapermillExecutionError as error:
        _tidy(partial)
        os.replace(partial, failed)
        raise _failure(section, error, failed) from None
    except DeadKernelError:
        partial.unlink(missing_ok=True)
        raise SectionFailed(
            f"{section.source.relative_to(ROOT)}: its process was killed, most often for want of memory; make memory "
            "free or set workers=1, then run again: what is finished is kept"
        ) from None
    failed.unlink(missing_ok=True)
    _tidy(partial)
    os.replace(partial, target)
    return {"seconds": round(time.monotonic() - start, 1), "peak_memory_mb": round(max(held) / 2**20)}


def _failure(section: Section, error: PapermillExecutionError, failed: Path) -> SectionFailed:
    failure = SectionFailed(
        f"{section.source.relative_to(ROOT)}: a cell failed with {error.ename}: {error.evalue}\n"
        f"The notebook as far as it got: {failed}\nThe cell:\n{error.source}"
    )
    failure.add_note(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)))  # without its colours
    return failure


def _tidy(path: Path) -> None:
    """Drop what differs between equal runs (times, folders of this machine) and progress bars."""
    notebook = nbformat.read(path, as_version=4)
    for part in (notebook, *notebook.cells):
        for name in ("papermill", "execution"):
            part.metadata.pop(name, None)
        if outputs := part.get("outputs"):
            part.outputs = [out for out in outputs if out.output_type != "stream" or "\r" not in out.text]
    nbformat.write(notebook, path)


@contextmanager
def _memory_of_children(interval: float = 0.25) -> Iterator[list[int]]:
    """Resident memory, in bytes, that all descendants of this process hold together, sampled while active."""
    held, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(interval):
            total = 0
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            held.append(total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()
