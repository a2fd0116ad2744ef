"""docs/task.md: its example runs, and its table holds the figures that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_task_published import NAMES, STREAM, WINDOWS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "task.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "docs/task.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("\n| ") == 2 + 8
    assert "| learned linear | 0.0" in printed
    assert (tmp_path / "folds.json").is_file()


def test_the_table_holds_the_tested_figures() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("**", "")
    for i, name in enumerate(NAMES):
        cells = [f"{source[data][1][i]:.5f}"[1:] for data in WINDOWS for source in (WINDOWS, STREAM)]
        assert f"| {name} | {' | '.join(cells)} |" in text
