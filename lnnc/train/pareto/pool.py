"""Independent jobs on several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from lnnc.errors import LnncError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(work: Callable[[Job], Result], jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Result]]:
    """`work` of each job, (index, result) as they are done; one process: in this one, in order.

    work, jobs and results are sent between processes (`pickle`).

    Raises:
        LnncError: what `work` raises; a process was killed.
        KeyboardInterrupt: Ctrl-C; jobs that are under way stop where they can be resumed.
    """
    if processes == 1 or len(jobs) == 1:
        yield from ((index, work(job)) for index, job in enumerate(jobs))
        return
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=follow_parent)
    try:
        futures = {pool.submit(work, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        hint = "is memory short? fewer --jobs; then run the same command again"
        raise LnncError("a worker process was killed", "jobs", hint) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def follow_parent() -> None:
    """In a worker: Ctrl-C ends it without a word unless a training saves its state first, and so does the end of the
    process that started it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()


def end_with_parent() -> None:
    """In a worker: do not outlive the process that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
