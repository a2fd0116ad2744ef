"""Stages: done once for the same content, resumed after a stop, never half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lnnc.errors import LnncError
from lnnc.train.pipeline import stages as stages_module
from lnnc.train.pipeline.stages import Stage, Workspace, run_stages, status, status_text


class Log:
    """Counts what was run; makes a pipeline a -> b -> c, where b also has a setting and c reads both."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.said: list[str] = []
        self.break_at = ""

    def stage(
        self, name: str, needs: tuple[str, ...], settings: dict[str, Any], text: Callable[[Workspace], str]
    ) -> Stage:
        def run(work: Workspace) -> Sequence[str]:
            self.ran.append(name)
            (work.folder / "first.txt").write_text("first")
            if self.break_at == name:
                raise LnncError("it broke", "somewhere", "mend it")
            (work.folder / "out.txt").write_text(text(work))
            return (f"made {name}",)

        return Stage(name, needs, settings, run)

    def pipeline(self, source: str = "x", factor: int = 2) -> list[Stage]:
        def read(work: Workspace, name: str) -> str:
            return (work.inputs[name] / "out.txt").read_text()

        return [
            self.stage("a", (), {"source": source}, lambda work: source.strip()),
            self.stage("b", ("a",), {"factor": factor}, lambda work: read(work, "a") * factor),
            self.stage("c", ("a", "b"), {}, lambda work: read(work, "a") + read(work, "b")),
        ]

    def run(self, folder: Path, **settings: Any) -> list[str]:
        """What a run ran."""
        self.ran.clear()
        run_stages(self.pipeline(**settings), folder, self.said.append)
        return list(self.ran)


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_second_run_does_nothing_and_the_results_are_there(log: Log, tmp_path: Path) -> None:
    assert log.run(tmp_path / "run") == ["a", "b", "c"]
    assert log.run(tmp_path / "run") == []
    assert (tmp_path / "run" / "c" / "out.txt").read_text() == "xxx"
    assert log.said[-1] == "c: as before\n  made c"
    record = json.loads((tmp_path / "run" / "b" / "stage.json").read_text())
    assert record["settings"] == {"factor": 2} and set(record["files"]) == {"first.txt", "out.txt"}


def test_a_setting_runs_its_stage_and_those_that_see_a_difference(log: Log, tmp_path: Path) -> None:
    log.run(tmp_path)
    assert log.run(tmp_path, factor=3) == ["b", "c"]
    assert (tmp_path / "c" / "out.txt").read_text() == "xxxx"
    assert log.run(tmp_path, factor=2) == []  # the old folders are still there
    assert (tmp_path / "c" / "out.txt").read_text() == "xxx"
    assert log.run(tmp_path, source="x ") == ["a"]  # other settings, the same files: nothing after it


def test_a_version_of_a_stage_or_of_lnnc_runs_it_again(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.run(tmp_path)
    log.ran.clear()
    first, second, third = log.pipeline()
    run_stages([first, replace(second, version=2), third], tmp_path)
    assert log.ran == ["b"]
    monkeypatch.setattr(stages_module, "__version__", "another")
    assert log.run(tmp_path) == ["a", "b", "c"]


def test_a_stage_that_fails_leaves_nothing_half_written_and_goes_on(log: Log, tmp_path: Path) -> None:
    log.break_at = "b"
    with pytest.raises(LnncError) as caught:
        log.run(tmp_path)
    assert (caught.value.where, caught.value.hint) == ("stage b, somewhere", "mend it")
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "stages").iterdir() if path.is_dir())
    assert names == ["a", "b"]
    (part,) = (tmp_path / "stages").glob("*.part")
    assert (part / "first.txt").exists() and not (part / "stage.json").exists()
    assert not (tmp_path / "b").exists()
    states = [entry.state for entry in status(log.pipeline(), tmp_path)]
    assert states == ["done", "stopped", "to do"]
    log.break_at = ""
    assert log.run(tmp_path) == ["b", "c"]
    assert "b ... goes on" in log.said
    assert not list((tmp_path / "stages").glob("*.part"))


def test_files_that_only_serve_to_go_on_are_removed(tmp_path: Path) -> None:
    def run(work: Workspace) -> Sequence[str]:
        (work.folder / "half").mkdir()
        (work.folder / "half" / "x.resume").touch()
        (work.folder / "y.resume").touch()
        (work.folder / "kept").touch()
        return ()

    run_stages([Stage("a", (), {}, run, scratch=("*.resume", "half"))], tmp_path)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["kept", "stage.json"]


def test_a_changed_file_is_noticed_and_set_aside(log: Log, tmp_path: Path) -> None:
    log.run(tmp_path)
    (tmp_path / "b" / "out.txt").write_text("mine")
    assert [entry.state for entry in status(log.pipeline(), tmp_path)] == ["done", "to do", "to do"]
    assert log.run(tmp_path) == ["b"]  # what it makes is the same again, so c stays
    assert any("changed by hand" in line for line in log.said)
    (aside,) = (tmp_path / "stages").glob("b-*.changed-1")
    assert (aside / "out.txt").read_text() == "mine"
    (tmp_path / "b" / "stage.json").write_text("{}")
    assert log.run(tmp_path) == ["b"]


def test_a_run_can_end_early(log: Log, tmp_path: Path) -> None:
    assert list(run_stages(log.pipeline(), tmp_path, until="b")) == ["a", "b"]
    text = status_text(status(log.pipeline(), tmp_path))
    assert [line.split()[1] for line in text.splitlines()] == ["done", "done", "to"]
    assert "made b" in text


def test_status_writes_nothing(log: Log, tmp_path: Path) -> None:
    assert [entry.state for entry in status(log.pipeline(), tmp_path / "none")] == ["to do"] * 3
    assert not (tmp_path / "none").exists()


def test_two_pipelines_in_one_folder(log: Log, tmp_path: Path) -> None:
    def again(work: Workspace) -> Sequence[str]:
        run_stages([], tmp_path)
        return ()

    with pytest.raises(LnncError, match="another pipeline is at work"):
        run_stages([Stage("a", (), {}, again)], tmp_path)


def test_folders_that_cannot_be_used(log: Log, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LnncError, match="cannot write there"):
        log.run(tmp_path / "file")
    (tmp_path / "run" / "a").mkdir(parents=True)
    with pytest.raises(LnncError, match="in the way of a link"):
        log.run(tmp_path / "run")


def test_a_kill_at_any_moment_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The process dies in the middle of a stage, by a signal that nobody can catch."""
    code = (
        "import os, signal, sys; from pathlib import Path; from lnnc.train.pipeline.stages import Stage, run_stages\n"
        "def a(work): (work.folder / 'one').write_text('1'); return ()\n"
        "def b(work):\n"
        "    if (work.folder / 'half').exists(): (work.folder / 'two').write_text('2'); return ('resumed',)\n"
        "    (work.folder / 'half').write_text('h'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_stages([Stage('a', (), {}, a), Stage('b', ('a',), {}, b, scratch=('half',))], Path(sys.argv[1]), print)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -9
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "a: as before" in again.stdout and "resumed" in again.stdout
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["stage.json", "two"]
