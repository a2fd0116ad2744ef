"""The search: workers that share a study, are killed, interrupted, refused, and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dummy_measure import Dummy

from lnnc.errors import LnncError
from lnnc.train.pareto.lease import Watch, alive, machine, started
from lnnc.train.pareto.search import Search, Trial, candidates_of, is_surplus, spent
from lnnc.train.pareto.space import Span, Values
from lnnc.train.pareto.study import open_study, read_study, tended, work
from lnnc.train.pareto.workers import run_study

pytestmark = pytest.mark.needs("optuna")
SPACE = {"units": Values((2, 4, 8, 16)), "depth": Span(1, 3)}
NSGA = Search("s", SPACE, trials=10, population=4, seed=3)
GRID = Search("g", {"units": Values((1, 2, 3, 4, 5, 6))}, trials=0, method="grid")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "study.journal")


def states(trials: list[Trial]) -> Counter[str]:
    """How many trials are in each state; not those that racing workers took one too many and gave back unmeasured."""
    return Counter(trial.state for trial in trials if trial.state != "surplus")


def wait_for(what: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


# --- one worker ---


def test_a_study_measures_what_was_asked_for_and_knows_what_it_measured(log: Path, journal: str) -> None:
    ticks: list[tuple[int, int]] = []
    trials = run_study(NSGA, Dummy(log), journal, tick=lambda done, total: ticks.append((done, total)))
    assert states(trials) == {"done": 10}
    assert ticks[0] == (0, 10) and ticks[-1] == (10, 10)
    for trial in trials:
        assert trial.measured is not None
        assert trial.measured.flash == 100 * trial.params["units"] * trial.params["depth"]
        assert trial.measured.more == {"parameters": trial.params["units"]}
    names = [candidate.name for candidate in candidates_of(trials)]
    assert len(names) == len(set(names)) == len({json.dumps(t.params, sort_keys=True) for t in trials})
    assert len(list(log.iterdir())) == len(names)  # the same twice is measured once


def test_the_same_seed_gives_the_same_trials_also_after_a_stop(log: Path, tmp_path: Path) -> None:
    at_once = run_study(NSGA, Dummy(log), str(tmp_path / "a"))
    run_study(replace(NSGA, trials=4), Dummy(log), str(tmp_path / "b"))
    resumed = run_study(NSGA, Dummy(log), str(tmp_path / "b"))
    assert [t.params for t in resumed] == [t.params for t in at_once]
    other = run_study(replace(NSGA, seed=4), Dummy(log), str(tmp_path / "c"))
    assert [t.params for t in other] != [t.params for t in at_once]


def test_a_grid_measures_every_combination_once(log: Path, journal: str) -> None:
    grid = replace(GRID, space={"units": Values((2, 4)), "depth": Span(1, 3)})
    trials = run_study(grid, Dummy(log), journal)
    assert [tuple(trial.params.values()) for trial in trials] == [(u, d) for u in (2, 4) for d in (1, 2, 3)]
    run_study(grid, Dummy(log), journal)
    assert len(Dummy(log).calls()) == 6


def test_a_grid_needs_values(log: Path, journal: str) -> None:
    with pytest.raises(LnncError, match=r"search\.space\.lr: a grid needs a list of values, found the span 0\.1"):
        run_study(replace(GRID, space={"lr": Span(0.1, 1.0)}), Dummy(log), journal)


def test_what_cannot_be_measured_counts_and_says_why(log: Path, journal: str) -> None:
    trials = run_study(GRID, Dummy(log, bad=(2, 5)), journal)
    assert states(trials) == {"done": 4, "fault": 2}
    assert [t.why for t in trials if t.state == "fault"] == ["2 units cannot be built", "5 units cannot be built"]


def test_a_study_of_which_every_trial_fails_is_an_error(log: Path, journal: str) -> None:
    with pytest.raises(LnncError, match="every trial failed, the first with: 1 units cannot be built"):
        run_study(GRID, Dummy(log, bad=(1, 2, 3, 4, 5, 6)), journal)


def test_a_bug_is_no_result_and_its_trial_goes_back(log: Path, journal: str) -> None:
    with pytest.raises(ZeroDivisionError):
        run_study(GRID, Dummy(log, bugs=(3,)), journal)
    assert states(read_study(GRID, journal)) == {"done": 2, "interrupted": 1, "waiting": 4}
    assert states(run_study(GRID, Dummy(log), journal)) == {"done": 6, "interrupted": 1}


def test_another_search_does_not_mix_with_a_study(log: Path, journal: str) -> None:
    run_study(GRID, Dummy(log), journal)
    for other, differs in (
        (replace(GRID, problem="other data"), "problem"),
        (replace(GRID, space={"units": Values((1, 2))}), "space"),
        (replace(GRID, method="nsga2", trials=3), "method"),
    ):
        with pytest.raises(LnncError, match=f"searches something else: {differs} differ"):
            run_study(other, Dummy(log), journal)


@pytest.mark.parametrize(
    "storage", ["{0}/none/study.journal", "{0}", "nosuch://host/db", "sqlite:///{0}/none/s.db", "{0}/bad"]
)
def test_a_storage_that_cannot_be_used(log: Path, tmp_path: Path, storage: str) -> None:
    (tmp_path / "bad").write_text("this is no journal\n")
    with pytest.raises(LnncError) as caught:
        run_study(GRID, Dummy(log), storage.format(tmp_path))
    assert "storage" in str(caught.value) or "does not exist" in str(caught.value)


def test_a_database_works_too(log: Path, tmp_path: Path) -> None:
    trials = run_study(GRID, Dummy(log), f"sqlite:///{tmp_path}/study.db")
    assert states(trials) == {"done": 6}


def test_a_line_that_a_killed_worker_left_half_written_is_dropped(log: Path, journal: str) -> None:
    run_study(replace(NSGA, trials=3), Dummy(log), journal)
    with open(journal, "ab") as file:
        file.write(b'{"op_code":4,"worker_id":"half a li')
    assert states(run_study(NSGA, Dummy(log), journal)) == {"done": 10}


# --- whose trial it is ---


def test_numbers_alone_decide_which_trial_is_one_too_many() -> None:
    done = [Trial(n, "done", {"units": n}) for n in (0, 1, 3)]
    lost = Trial(2, "lost", {"units": 2})
    search = replace(NSGA, trials=4)
    assert not is_surplus(search, 4, {"units": 2}, [*done, lost])
    assert is_surplus(search, 5, {"units": 9}, [*done, lost, Trial(4, "running", {"units": 2})])
    assert not is_surplus(search, 4, {"units": 2}, [*done, lost, Trial(5, "running", {"units": 9})])
    assert is_surplus(replace(search, method="grid"), 4, {"units": 1}, [*done, lost])
    assert spent([*done, lost]) == 3


def test_a_process_that_is_gone_is_seen_at_once_and_another_machine_gets_time() -> None:
    watch = Watch(grace=0.05)
    own = {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid()), "beat": 0}
    assert not watch.is_lost(1, own)
    assert watch.is_lost(1, {**own, "started": "0"})  # its number was given to another process
    there = {"machine": "elsewhere", "pid": 1, "started": "1", "beat": 0}
    assert not watch.is_lost(2, there) and not watch.is_lost(3, None)
    time.sleep(0.1)
    assert not watch.is_lost(2, {**there, "beat": 1})
    assert watch.is_lost(3, None)
    time.sleep(0.1)
    assert watch.is_lost(2, {**there, "beat": 1})


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    begun = started(child.pid)
    wait_for(lambda: not alive(child.pid, begun))
    child.wait()
    assert not alive(child.pid, begun)


def test_a_worker_taken_for_dead_does_not_count_twice(log: Path, journal: str) -> None:
    """It was asleep: its trial was given to another, and what it brings now is too late."""
    study = open_study(GRID, journal)
    study.enqueue_trial({"units": 1})
    slow = study.ask()
    slow.suggest_categorical("units", (1, 2, 3, 4, 5, 6))
    slow.set_user_attr("lease", {"machine": "elsewhere", "pid": 1, "started": "1", "beat": 0})
    trials = run_study(replace(GRID, grace=0.3), Dummy(log), journal)
    assert states(trials) == {"done": 6, "lost": 1}
    with pytest.raises(Exception, match="FAIL"):
        study.tell(slow, (1.0, 1.0, 1.0, 1.0))


def test_parameters_that_kill_every_worker_are_given_up(log: Path, journal: str) -> None:
    search = replace(NSGA, space={"units": GRID.space["units"]})
    for _ in range(3):
        study = open_study(search, journal)
        trial = study.ask()
        trial.suggest_categorical("units", (1, 2, 3, 4, 5, 6))
        trial.set_user_attr("lease", {"machine": machine(), "pid": os.getpid(), "started": "0", "beat": 0})
        tended(study, search, Watch(60.0))
    trials = read_study(search, journal)
    assert [(t.state, t.why) for t in trials] == [("lost", ""), ("lost", ""), ("fault", "its worker was lost 3 times")]
    assert len({t.params["units"] for t in trials}) == 1


# --- several workers ---


def test_three_workers_one_killed_in_mid_trial(log: Path, journal: str) -> None:
    """The study completes; no trial is lost but the killed one, and that one is measured again."""
    measure = Dummy(log, seconds=0.05, hang=(3,))
    done: list[Trial] = []
    run = threading.Thread(target=lambda: done.extend(run_study(GRID, measure, journal, jobs=3)))
    run.start()
    hung = log / "hung-3"
    wait_for(lambda: hung.exists() and hung.read_text() != "")
    os.kill(int(hung.read_text()), signal.SIGKILL)
    run.join(60)
    assert not run.is_alive()
    assert states(done) == {"done": 6, "lost": 1}
    assert measure.calls() == [f"{units} 1" for units in range(1, 7)]  # each to its end exactly once
    (lost,) = [trial for trial in done if trial.state == "lost"]
    assert lost.params == {"units": 3}


def test_workers_that_race_measure_no_trial_too_many(log: Path, journal: str) -> None:
    """Two processes that know nothing of each other, as on two machines."""
    search = replace(NSGA, trials=9)
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from dummy_measure import Dummy; from test_pareto_study import NSGA; from dataclasses import replace\n"
        "from lnnc.train.pareto.study import work\n"
        "work(replace(NSGA, trials=9), Dummy(Path(sys.argv[2]), 0.02), sys.argv[3])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(log), journal]
    with subprocess.Popen(command) as other:
        work(search, Dummy(log, 0.02), journal)
    assert other.returncode == 0
    assert states(read_study(search, journal))["done"] == 9


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_gives_the_trial_back_and_the_next_run_goes_on(log: Path, journal: str, jobs: int) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from dummy_measure import Dummy; from test_pareto_study import GRID\n"
        "from lnnc.train.pareto.workers import run_study\n"
        "if __name__ == '__main__':\n"
        "    try: run_study(GRID, Dummy(Path(sys.argv[2]), hang=(2,)), sys.argv[3], jobs=int(sys.argv[4]))\n"
        "    except KeyboardInterrupt: sys.exit(130)\n"
    )
    script, hung = log.parent / "script.py", log / "hung-2"
    script.write_text(code)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(log), journal, str(jobs)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        wait_for(hung.exists)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 130 and said == b"", said
    after = states(read_study(GRID, journal))
    assert after["interrupted"] in range(1, jobs + 1) and after["running"] == 0 and after["lost"] == 0
    assert states(run_study(GRID, Dummy(log), journal))["done"] == 6


def test_an_error_of_a_worker_ends_the_run(log: Path, journal: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LnncError, match="a worker failed; what it said stands above"):
        run_study(GRID, Dummy(log, bugs=(1, 2)), journal, jobs=2)
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err
