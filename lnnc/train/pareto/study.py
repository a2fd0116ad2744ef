"""The search itself, the only file that knows Optuna: one study, any number of workers on any number of machines.

A worker asks the study for parameters, measures them, tells the result. While it measures it renews a lease on its
trial; a trial whose lease is not renewed any more, or whose process is gone, is marked failed and its parameters are
queued again, so that a worker that is killed loses the work on one trial and nothing else. (Optuna's own heartbeat
needs a relational database; the lease lives in the attributes of a trial, which every storage has.)

How often a study measures is a property of the study, not of a worker: a trial counts if fewer than `Search.trials`
trials before it, by number, are done, running or faulty. Numbers are given out by the storage, each once, so all
workers agree without a lock; a trial that is one too many is given back before anything is measured.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lnnc.errors import LnncError
from lnnc.train.pareto.front import Measured
from lnnc.train.pareto.interrupt import Interrupts
from lnnc.train.pareto.lease import LEASE, Lease, Watch
from lnnc.train.pareto.search import (
    DONE,
    FAULT,
    INTERRUPTED,
    LOST,
    RUNNING,
    SURPLUS,
    WAITING,
    Measure,
    Search,
    Tick,
    Trial,
    has_work,
    is_surplus,
    known_result,
    missing_points,
    spent,
    times_lost,
    whole,
)
from lnnc.train.pareto.space import Space, Span, Values

MEASURED, REASON, PROBLEM = "measured", "reason", "problem"  # attributes in the storage
POLL = 0.2  # seconds between two looks at a study that others are finishing
BUSY = 60  # seconds to wait for a database that another worker has locked


class _Journal(JournalFileBackend):
    """Optuna's journal file; a line that a worker was killed in is dropped, or no worker could read the file again."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            with open(self._file_path, "r+b") as file:
                _drop_torn_line(file)
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        finally:
            self._lock.release()


def _drop_torn_line(file: Any) -> None:
    """Leave the file at its end, which is the end of a line."""
    end = at = file.seek(0, os.SEEK_END)
    while at > 0:
        file.seek(at - 1)
        if file.read(1) == b"\n":
            break
        at -= 1
    file.seek(at)
    if at < end:
        file.truncate()


# ---------------------------------------------------------------- the study in its storage


def open_study(search: Search, storage: str) -> optuna.Study:
    """The study, made if it is not there.

    Args:
        storage: a URL of Optuna's (sqlite:///..., postgresql://..., mysql://...), or the path of a journal file.

    Raises:
        LnncError: a storage that cannot be opened, or a study of this name that searches something else.
    """
    wanted = search.identity()
    with _storage_errors(storage):
        study = optuna.create_study(
            storage=_storage(storage), study_name=search.name, load_if_exists=True,
            directions=["minimize"] * len(search.objectives),
        )  # fmt: skip
        known = study.user_attrs.get(PROBLEM)
        if known is None:
            study.set_user_attr(PROBLEM, wanted)
    if known is not None and known != wanted:
        differ = ", ".join(key for key in wanted if known.get(key) != wanted[key])
        hint = "give another --storage, or the settings and data that it was begun with"
        raise LnncError(f"its study '{search.name}' searches something else: {differ} differ", storage, hint)
    return study


def _storage(storage: str) -> BaseStorage:
    if "://" in storage:
        waits = {"connect_args": {"timeout": BUSY}} if storage.startswith("sqlite") else {}
        return RDBStorage(storage, engine_kwargs=waits)
    path = Path(storage).resolve()  # the lock is a link to it, which must hold from any folder
    if not path.parent.is_dir():
        raise LnncError(f"the folder '{path.parent}' does not exist", storage, "create it, or choose another path")
    return JournalStorage(_Journal(str(path)))


@contextmanager
def _storage_errors(storage: str) -> Iterator[None]:
    """What the many kinds of storages raise when they are opened, as one error that says which it was."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    except LnncError:
        raise
    except Exception as error:
        hint = "a journal file's path, or an Optuna URL such as sqlite:///study.db"
        raise LnncError(f"cannot use this storage ({_reason(error)})", storage, hint) from error


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def trials_of(study: optuna.Study) -> list[Trial]:
    """Every trial, in the order of their numbers."""
    return [_read(trial) for trial in study.get_trials(deepcopy=False)]


def read_study(search: Search, storage: str) -> list[Trial]:
    """Every trial of a study, in the order of their numbers.

    Raises:
        LnncError: as `open_study`.
    """
    return trials_of(open_study(search, storage))


def _read(trial: FrozenTrial) -> Trial:
    if trial.state == TrialState.COMPLETE:
        return Trial(trial.number, DONE, trial.params, Measured(**trial.user_attrs[MEASURED]))
    if trial.state == TrialState.FAIL:
        reason, _, why = str(trial.user_attrs.get(REASON, LOST)).partition(": ")
        return Trial(trial.number, reason, trial.params, None, why)
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    return Trial(trial.number, WAITING if trial.state == TrialState.WAITING else RUNNING, params)


# ---------------------------------------------------------------- a worker


def work(search: Search, measure: Measure, storage: str, worker: int = 0, tick: Tick | None = None) -> None:
    """Measure trials until all that were asked for are done, by this worker or by others.

    Raises:
        LnncError: as `open_study`, or the storage failed.
        KeyboardInterrupt: Ctrl-C; the trial in hand goes back to the queue.
    """
    search, watch = whole(search), Watch(search.grace)
    try:
        with Interrupts() as interrupts:  # from the first write on: Optuna's lock does not bear a Ctrl-C
            study = open_study(search, storage)
            while _turn(study, search, watch, measure, worker, tick, interrupts):
                interrupts.check()
    except OptunaError as error:
        hint = "repair it, then run the same command again"
        raise LnncError(f"the storage failed ({_reason(error)})", storage, hint) from error


def _turn(
    study: optuna.Study, search: Search, watch: Watch, measure: Measure, worker: int, tick: Tick | None,
    interrupts: Interrupts,
) -> bool:  # fmt: skip
    """Tend the study, then one trial, or a pause where none is free; False when all are done."""
    trials = tended(study, search, watch)
    if tick is not None:
        tick(spent(trials), search.trials)
    if spent(trials) >= search.trials:
        return False
    if has_work(search, trials):
        _one(study, search, measure, worker, trials, interrupts)
    else:
        time.sleep(POLL)
    return True


def tended(study: optuna.Study, search: Search, watch: Watch) -> list[Trial]:
    """The trials, after lost ones were failed and queued again, and what a grid lacks was queued."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if watch.is_lost(trial.number, trial.user_attrs.get(LEASE)):
            _give_up(study, search, trial, LOST)
    trials = trials_of(study)
    missing = missing_points(search, trials)
    for point in missing:
        study.enqueue_trial(point)
    return trials_of(study) if missing else trials


def _give_up(study: optuna.Study, search: Search, trial: FrozenTrial | optuna.Trial, reason: str) -> None:
    """Mark a trial of a dead or an interrupted worker as failed, and queue its parameters again.

    Of several that notice it at once, the one whose mark the storage takes queues them. Parameters that were lost too
    often kill their workers: they are counted as a fault.
    """
    tries = times_lost(trial.params, trials_of(study)) + (reason == LOST)
    hopeless = tries > search.retries
    if not _fail(study, trial, f"{FAULT}: its worker was lost {tries} times" if hopeless else reason):
        return
    if trial.params.keys() == search.space.keys() and not hopeless:
        study.enqueue_trial(dict(trial.params))


def _fail(study: optuna.Study, trial: FrozenTrial | optuna.Trial, reason: str) -> bool:
    """Mark a trial as failed; whether it was still running."""
    try:
        study._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):  # somebody else was first
        return False
    return True


def _one(
    study: optuna.Study, search: Search, measure: Measure, worker: int, trials: Sequence[Trial],
    interrupts: Interrupts,
) -> None:  # fmt: skip
    """Ask for a trial, measure it, tell the result."""
    study.sampler = _sampler(search, worker, trials)
    trial = study.ask(_distributions(search.space))
    with Lease(trial.set_user_attr, search.beat):
        now = trials_of(study)
        if is_surplus(search, trial.number, trial.params, now):
            _fail(study, trial, SURPLUS)
            return
        try:
            measured = known_result(trial.params, now) or _measured(measure, trial.params, interrupts)
        except LnncError as error:
            _fail(study, trial, f"{FAULT}: {error}")
            return
        except BaseException:  # Ctrl-C, or a bug, which ends the worker
            _give_up(study, search, trial, INTERRUPTED)
            raise
    _finish(study, trial, measured, search)


def _measured(measure: Measure, params: Mapping[str, Any], interrupts: Interrupts) -> Measured:
    with interrupts.allowed():
        measured = measure(params)
    if not np.isfinite(measured.costs()).all():
        raise LnncError(f"its costs are not finite: {measured.costs()}")
    return measured


def _finish(study: optuna.Study, trial: optuna.Trial, measured: Measured, search: Search) -> None:
    """Tell the result, unless this worker was taken for dead and its trial given to another."""
    try:
        trial.set_user_attr(MEASURED, {**vars(measured), "more": dict(measured.more)})
        study.tell(trial, measured.costs(search.objectives))
    except (ValueError, UpdateFinishedTrialError):
        return


def _sampler(search: Search, worker: int, trials: Sequence[Trial]) -> optuna.samplers.BaseSampler:
    """A sampler for the next trial. A worker alone goes on as if it had never stopped; several sample differently."""
    others = any(trial.state == RUNNING for trial in trials)
    own = [crc32(f"{worker} {Lease.worker_id()}".encode())] if others else []
    seed = int(np.random.SeedSequence([search.seed, len(trials), *own]).generate_state(1)[0])
    if search.method == "grid":
        return optuna.samplers.RandomSampler(seed=seed)  # asked only where two workers raced for one combination
    return optuna.samplers.NSGAIISampler(population_size=search.population, seed=seed)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(axis) for name, axis in space.items()}


def _distribution(axis: Values | Span) -> BaseDistribution:
    if isinstance(axis, Values):
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)
