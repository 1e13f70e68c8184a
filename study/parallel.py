"""Run independent steps in worker processes, with one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from study.memory import keep_heap

TRIES = 3  # of steps whose workers are killed

_report: Callable[[float], None] = lambda amount: None  # noqa: E731  replaced inside a worker
_left = 0.0  # of the job that runs in this process


class WorkerDied(RuntimeError):
    """Processes that ran a step were killed, and killed again when it was done again."""


def progress(amount: float) -> None:
    """Tell the progress bar of the running `each` that `amount` more of the work is done, up to the job's size.

    Only long jobs need to: what a job has not told when it ends is added then.
    """
    global _left
    amount = min(amount, _left)
    _left -= amount
    _report(amount)


def each(
    step: Callable,
    jobs: Iterable[tuple],
    sizes: list[float],
    description: str,
    workers: int,
    threads: int,
    unit: str = "image",
) -> None:
    """Run `step(*job)` for every job.

    Args:
        step: a function importable by name; what it makes goes to the store, its return value is dropped.
        jobs: argument tuples.
        sizes: how much work each job is, in the unit of `progress`.
        description, unit: for the progress bar.
        workers: processes; 1 runs everything here.
        threads: torch's and numpy's threads of each process. The same number wherever a step runs, so that results
            do not depend on the number of workers.

    Raises:
        Exception: what the first failing step raised; steps not yet begun are cancelled.
        WorkerDied: processes that ran the steps were killed, again and again.
    """
    jobs = list(jobs)
    if not jobs:
        return
    runs = [(step, job, size) for job, size in zip(jobs, sizes, strict=True)]
    with tqdm(
        total=sum(sizes), desc=description, unit=unit, unit_scale=True, smoothing=0.05, mininterval=0.5
    ) as bar:
        if workers == 1 or len(jobs) == 1:
            _run_here(runs, bar, threads)
        else:
            _run_workers(runs, bar, workers, threads)
        _advance(bar, bar.total)  # what workers told last may not have arrived


def _run(step: Callable, job: tuple, size: float) -> None:
    global _left
    _left = size
    step(*job)
    progress(_left)


def _run_here(runs: list[tuple], bar: tqdm, threads: int) -> None:
    global _report
    keep_heap()
    before, _report = torch.get_num_threads(), lambda amount: _advance(bar, amount)
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads, "blas"):
            for run in runs:
                _run(*run)
    finally:
        torch.set_num_threads(before)
        _report = lambda amount: None  # noqa: E731


def _run_workers(runs: list[tuple], bar: tqdm, workers: int, threads: int) -> None:
    left = dict(enumerate(runs))
    for _ in range(TRIES):
        try:
            return _run_pool(left, bar, workers, threads)
        except BrokenProcessPool:
            bar.n = bar.total - sum(size for *_, size in left.values())
            bar.write(f"{bar.desc}: a worker process was killed; its work is done again", file=sys.stderr)
    raise WorkerDied(
        f"{bar.desc}: worker processes were killed {TRIES} times, most often for want of memory; make memory free or "
        "set workers=1, then run again: what is finished is kept"
    )


def _run_pool(left: dict[int, tuple], bar: tqdm, workers: int, threads: int) -> None:
    """Run all that is `left` and take out what is done."""
    queue, pool = _pool(workers, threads)
    listener = threading.Thread(target=_listen, args=(queue, bar), daemon=True)
    listener.start()
    try:
        futures = {pool.submit(_run, *run): number for number, run in left.items()}
        for future in as_completed(futures):
            future.result()
            del left[futures[future]]
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        queue.cancel_join_thread()  # a worker that was killed may hold the queue's lock for ever
        _pool.cache_clear()
        if not isinstance(error, Exception):  # Ctrl-C: what runs now is not waited for
            for process in multiprocessing.active_children():
                process.kill()
        raise
    finally:
        queue.put(None)
        listener.join(timeout=1)


@cache
def _pool(workers: int, threads: int) -> tuple[Any, ProcessPoolExecutor]:
    """Processes that stay for the next steps: starting one means importing torch, which takes seconds."""
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    queue = context.Queue()
    if kind == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(["study"])
        # Workers inherit that Ctrl-C does not reach them, not even while they import: the parent stops them itself.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(queue, threads))
    return queue, pool


def _listen(queue: Any, bar: tqdm) -> None:
    while (amount := queue.get()) is not None:
        _advance(bar, amount)


def _advance(bar: tqdm, amount: float) -> None:
    bar.update(min(amount, bar.total - bar.n))  # rounding can add up to more than all of it


def _start(queue: Any, threads: int) -> None:
    global _report
    _report = queue.put
    keep_heap()  # training is a tenth to a fifth faster
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers itself
    torch.set_num_threads(threads)
    # More threads than cores would spend their time waiting for each other.
    threadpool_limits(threads, "blas")
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A worker must not outlive a build that was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
