"""Run independent steps in worker processes, with one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from typing import Any

import torch
from tqdm import tqdm

from study.memory import keep_heap

_report: Callable[[float], None] = lambda amount: None  # noqa: E731  replaced inside a worker
_left = 0.0  # of the job that runs in this process


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
        threads: torch threads of each process. The same number wherever a step runs, so that results do not
            depend on the number of workers.

    Raises:
        Exception: what the first failing step raised; steps not yet begun are cancelled.
    """
    jobs = list(jobs)
    if not jobs:
        return
    bar = tqdm(
        total=sum(sizes), desc=description, unit=unit, unit_scale=True, smoothing=0.05, mininterval=0.5
    )
    run = _run_here if workers == 1 or len(jobs) == 1 else _run_pool
    run([(step, job, size) for job, size in zip(jobs, sizes, strict=True)], bar, workers, threads)
    bar.update(bar.total - bar.n)  # what workers told last may not have arrived
    bar.close()


def _run(step: Callable, job: tuple, size: float) -> None:
    global _left
    _left = size
    step(*job)
    progress(_left)


def _run_here(runs: list[tuple], bar: tqdm, workers: int, threads: int) -> None:
    global _report
    keep_heap()
    before, _report = torch.get_num_threads(), lambda amount: _advance(bar, amount)
    torch.set_num_threads(threads)
    try:
        for run in runs:
            _run(*run)
    finally:
        torch.set_num_threads(before)
        _report = lambda amount: None  # noqa: E731


def _run_pool(runs: list[tuple], bar: tqdm, workers: int, threads: int) -> None:
    queue, pool = _pool(workers, threads)
    listener = threading.Thread(target=_listen, args=(queue, bar), daemon=True)
    listener.start()
    futures = [pool.submit(_run, *run) for run in runs]
    try:
        for future in as_completed(futures):
            future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _pool.cache_clear()
        raise
    finally:
        queue.put(None)
        listener.join()


@cache
def _pool(workers: int, threads: int) -> tuple[Any, ProcessPoolExecutor]:
    """Processes that stay for the next steps: starting one means importing torch, which takes seconds."""
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(["study"])
    queue = context.Queue()
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
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A worker must not outlive a build that was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
