"""Several workers of one study as processes of this machine; each could as well be a command on another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from lnnc.errors import LnncError
from lnnc.train.pareto.interrupt import Interrupts
from lnnc.train.pareto.lease import Watch
from lnnc.train.pareto.pool import end_with_parent
from lnnc.train.pareto.search import FAULT, Measure, Search, Tick, Trial, spent, whole
from lnnc.train.pareto.study import POLL, open_study, read_study, tended, trials_of, work

REPLACED = 3  # workers killed from outside that one run replaces
PATIENCE = 10.0  # seconds for a worker to give its trial back after Ctrl-C
BAD, STOPPED = 2, 130  # exit codes of a worker


def run_study(
    search: Search, measure: Measure, storage: str, jobs: int = 1, tick: Tick | None = None
) -> list[Trial]:  # fmt: skip
    """Work on a study until all its trials are done; those that were done before are not done again.

    Args:
        measure: what a trial is worth; for several jobs it is sent to other processes (`pickle`). It raises `LnncError`
            for parameters that cannot be measured, which count as tried.
        storage: as `study.open_study`; workers elsewhere may use the same.
        jobs: processes; 1: in this one.

    Returns:
        Every trial of the study.

    Raises:
        LnncError: the storage, or every trial failed; the first reason is told.
        KeyboardInterrupt: Ctrl-C; the same call goes on later.
    """
    search = whole(search)
    if jobs == 1:
        work(search, measure, storage, 0, tick)
    else:
        _supervise(search, measure, storage, jobs, tick)
    trials = read_study(search, storage)
    faults = [trial for trial in trials if trial.state == FAULT]
    if trials and len(faults) == spent(trials):
        hint = "correct what it says; the study keeps failed trials, so give a new --storage then"
        raise LnncError(f"every trial failed, the first with: {faults[0].why}" if faults else "no trial", storage, hint)
    return trials


def _supervise(search: Search, measure: Measure, storage: str, jobs: int, tick: Tick | None) -> None:
    """Start the workers, show how far they are, replace those that are killed, pass Ctrl-C on."""
    with Interrupts() as interrupts:
        study = open_study(search, storage)
        tended(study, search, Watch(search.grace))  # a grid is queued by one, before many look what is missing
        workers = [_start(search, measure, storage, index) for index in range(jobs)]
        replaced = 0
        try:
            while any(worker.is_alive() for worker in workers):
                if tick is not None:
                    tick(spent(trials_of(study)), search.trials)
                with interrupts.allowed():
                    _wait(workers)
                for index, worker in enumerate(workers):
                    if worker.exitcode is not None and worker.exitcode < 0 and replaced < REPLACED:
                        workers[index] = _start(search, measure, storage, jobs + replaced)
                        replaced += 1
                _complain(workers, storage)
            _complain(workers, storage)
        finally:
            _stop(workers)
        if tick is not None:
            tick(spent(trials_of(study)), search.trials)


def _start(search: Search, measure: Measure, storage: str, index: int) -> BaseProcess:
    """A process that begins from nothing: threads of torch do not survive a fork. Ctrl-C waits until it listens."""
    arguments = (search, measure, storage, index)
    worker = multiprocessing.get_context("spawn").Process(target=_worker, args=arguments, daemon=True)
    resource_tracker.ensure_running()  # it is started with the first worker, and lets Ctrl-C through again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return worker


def _worker(search: Search, measure: Measure, storage: str, index: int) -> None:
    end_with_parent()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(search, measure, storage, index)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except LnncError as error:
        print(f"worker {index}: {error}", file=sys.stderr)
        sys.exit(BAD)


def _wait(workers: Sequence[BaseProcess]) -> None:
    """Until a worker ends, or for a moment."""
    wait([worker.sentinel for worker in workers if worker.is_alive()], timeout=2 * POLL)


def _complain(workers: Sequence[BaseProcess], storage: str) -> None:
    """Stop where a worker stopped for another reason than being killed.

    Raises:
        LnncError: its own error is on stderr already.
        KeyboardInterrupt: it was interrupted.
    """
    codes = [worker.exitcode or 0 for worker in workers]
    if STOPPED in codes:
        raise KeyboardInterrupt
    if any(code > 0 for code in codes):
        raise LnncError("a worker failed; what it said stands above", storage, "correct it, then run this again")
    if not any(worker.is_alive() for worker in workers) and all(code < 0 for code in codes):
        raise LnncError("all workers were killed", storage, "is memory short? fewer --jobs; then run this again")


def _stop(workers: Sequence[BaseProcess]) -> None:
    """Ask the workers that are left to give their trials back and go; end those that do not listen."""
    for worker in workers:
        if worker.is_alive() and worker.pid is not None:
            _signal(worker.pid, signal.SIGINT)
    until = time.monotonic() + PATIENCE
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)
