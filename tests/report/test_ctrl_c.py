"""Ctrl-C: a line at once, an end in seconds, nothing left running, and the next run takes up what is there."""

import os
import signal
import time

import psutil
import pytest

from report.failures import STOPPING

pytestmark = pytest.mark.book
CELL = """# First

```{code-cell} ipython3
import sys
from pathlib import Path
sys.path.insert(0, "TESTS")
import test_parallel
from study import parallel
if Path("marks").exists():
    parallel.each(test_parallel.linger, [(Path("marks"), "a"), (Path("marks"), "b")], [1, 1], "", 2, 1)
```
"""


def interrupt(process):
    """Press Ctrl-C once; what the process said then, and the seconds that it took to end."""
    pressed = time.monotonic()
    started = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    seconds = time.monotonic() - pressed
    _, alive = psutil.wait_procs(started, timeout=2)
    assert not alive and process.returncode == 130
    assert STOPPING in said and "Traceback" not in said and "Warning" not in said, said
    return seconds


def test_while_the_book_is_computed(project):
    marks = project.root / "marks"
    marks.mkdir()
    project.section("first", CELL.replace("TESTS", os.path.dirname(__file__).replace("report", "study")))
    process = project.start("book", "--profile", "smoke")
    end = time.monotonic() + 120
    while len(list(marks.iterdir())) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert len(list(marks.iterdir())) == 2
    assert interrupt(process) < 5
    for mark in marks.iterdir():
        assert not psutil.pid_exists(int(mark.read_text()))
        mark.unlink()
    marks.rmdir()
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (project.root / "_build/smoke/notebooks").iterdir()} == {
        "first.ipynb",
        "index.ipynb",
    }


@pytest.mark.parametrize("after", [1, 4])
def test_while_it_starts(project, after):
    process = project.start("book", "--profile", "smoke")
    time.sleep(after)
    assert interrupt(process) < 5
