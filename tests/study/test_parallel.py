"""Steps in worker processes: all run, errors arrive, nothing outlives a killed build."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from threadpoolctl import threadpool_info

from study import parallel


def touch(folder, name):
    (folder / name).write_text(str(os.getpid()))
    parallel.progress(1)


def fail(folder, name):
    raise ValueError(f"step {name} failed")


@pytest.mark.parametrize("workers", [1, 2])
def test_all_jobs_run(tmp_path, workers):
    parallel.each(touch, [(tmp_path, str(k)) for k in range(5)], [1] * 5, "touching", workers, 1)
    pids = {path.read_text() for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 5
    assert (str(os.getpid()) in pids) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_step_arrives(tmp_path, workers):
    with pytest.raises(ValueError, match="step a failed"):
        parallel.each(fail, [(tmp_path, "a"), (tmp_path, "a")], [1, 1], "failing", workers, 1)
    parallel.each(touch, [(tmp_path, "b"), (tmp_path, "c")], [1, 1], "and on", workers, 1)
    assert (tmp_path / "b").exists()


def die(folder, name):
    """End as a process that the system kills, as often as there are lives left."""
    if lives := sorted(folder.glob("life*")):
        lives[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    touch(folder, name)


def test_what_a_killed_worker_left_undone_is_done_again(tmp_path, capsys):
    (tmp_path / "life").touch()
    parallel.each(die, [(tmp_path, str(k)) for k in range(4)], [1] * 4, "dying", 2, 1)
    assert {path.name for path in tmp_path.iterdir()} == set("0123")
    assert capsys.readouterr().err.count("dying: a worker process was killed; its work is done again\n") == 1


def test_workers_that_are_always_killed_are_an_error_that_names_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "TRIES", 2)
    for k in range(9):
        (tmp_path / f"life{k}").touch()
    with pytest.raises(parallel.WorkerDied, match="dying: worker processes were killed 2 times"):
        parallel.each(die, [(tmp_path, "a"), (tmp_path, "b")], [1, 1], "dying", 2, 1)


@pytest.fixture
def heeding():
    """Ctrl-C as usual; a job that a shell started in the background ignores it, and so would the test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_waits_for_no_worker(tmp_path, heeding):
    def press_ctrl_c():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    pressed = []
    threading.Thread(target=press_ctrl_c, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        parallel.each(linger, [(tmp_path, "a"), (tmp_path, "b")], [1, 1], "lingering", 2, 1)
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    while any(map(psutil.pid_exists, pids)) and time.monotonic() - pressed[0] < 5:
        time.sleep(0.05)
    assert time.monotonic() - pressed[0] < 5


def is_deaf(folder, name):
    assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signal masks")
def test_ctrl_c_does_not_reach_workers_not_even_while_they_start():
    parallel.each(is_deaf, [(None, "a"), (None, "b")], [1, 1], "deaf", 2, 1)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def boast(folder, name):
    parallel.progress(1.5)  # more than all of it


def say_nothing(folder, name):
    pass


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("step", [touch, boast, say_nothing])
def test_the_bar_counts_what_there_is(tmp_path, monkeypatch, step, workers):
    seen = []

    class Bar(parallel.tqdm):
        def update(self, n=1):
            super().update(n)
            seen.append((self.n, self.total))

    monkeypatch.setattr(parallel, "tqdm", Bar)
    parallel.each(step, [(tmp_path, "a"), (tmp_path, "b")], [1, 1], "counting", workers, 1)
    assert all(0 <= done <= total for done, total in seen) and seen[-1] == (2, 2)


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_parallel
from study import parallel
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    parallel.each(test_parallel.linger, [(folder, "a"), (folder, "b")], [1, 1], "lingering", 2, 1)
"""


def linger(folder, name):
    touch(folder, name)
    time.sleep(60)


@pytest.mark.slow
def test_workers_die_with_a_killed_parent(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parent)]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def blas_threads(folder, name):
    (folder / name).write_text(
        json.dumps([each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"])
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_numpy_has_no_more_threads_than_torch(tmp_path, workers):
    """Two workers with as many of them as there are cores, each, wait for each other."""
    parallel.each(blas_threads, [(tmp_path, "a"), (tmp_path, "b")], [1, 1], "counting", workers, 1)
    assert {set(json.loads(path.read_text())) == {1} for path in tmp_path.iterdir()} == {True}
