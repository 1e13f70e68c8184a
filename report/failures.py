"""How a command ends that does not succeed: Ctrl-C, and one error with its trace in a log file.

Imports nothing that takes long, so that Ctrl-C is heard from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

STOPPING = "stopping; what is finished is kept; run again to resume"
SECONDS = 3  # that processes are given to end
LINES, WIDTH = 10, 400  # of an error on the terminal


def heed_ctrl_c() -> None:
    """Make Ctrl-C end this process and all that it started, at once: what is half done is in temporary files."""
    signal.signal(signal.SIGINT, _stop)
    # Notebooks show plain bars on purpose, and what a killed process leaves is cleaned up: no warnings of either.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found,ignore:resource_tracker")


def _stop(*_: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(2, f"\n{STOPPING}\n".encode())  # `print` may be what was interrupted
    end = time.monotonic() + SECONDS
    while (running := list(_running())) and time.monotonic() < end:
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(running, timeout=0.5)
    os._exit(130)  # threads that wait for a notebook are not waited for


def _running() -> Iterator[psutil.Process]:
    """All that this process started, except those that remove what the others leave and then end by themselves."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(process.cmdline()):
                yield process


def tell(error: Exception, folder: Path) -> int:
    """Print an error in at most `LINES` lines and write all of it to `error.log` in `folder`; the exit status.

    A request that was wrong (ValueError) needs no trace: where its message is short, there is no log.
    """
    lines = [line if len(line) <= WIDTH else line[: WIDTH - 1] + "…" for line in _words(error).splitlines()]
    wrong_request = isinstance(error, ValueError)
    if len(lines) > LINES or not wrong_request:
        log = folder / "error.log"
        with suppress(OSError):  # a full disk, a folder that is read-only: then this is what the error says
            folder.mkdir(parents=True, exist_ok=True)
            log.write_text("".join(traceback.format_exception(error)))
            lines = [*lines[: LINES - 1], f"all of it: {log}"]
    print("error:", "\n".join(lines[:LINES]), file=sys.stderr)
    return 2 if wrong_request else 1


def _words(error: Exception) -> str:
    """What happened and what to do."""
    from study import provenance, store

    if isinstance(error, OSError) and error.strerror:
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        remedy = store.REMEDIES.get(error.errno or 0, "see to that")
        return f"{what}; {remedy} and run again: what is finished is kept"
    if isinstance(error, ValueError) or type(error).__module__.partition(".")[0] in provenance.OURS:
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}\nThis should not happen; please report it with the log."
