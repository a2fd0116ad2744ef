"""The temporary folder of compilers and emulators: a full one is told, and no signal leaves it behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from small import document, lnnc, save

from lnnc.cli import end_by_signal

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(document(), tmp_path_factory.mktemp("model") / "m.pt")


@pytest.mark.needs("gcc")
def test_a_full_one_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def full(*_args: object, **_named: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        result = lnnc("verify", model, "--on", "host")
    assert result.code == 2
    assert f"{tmp_path}: the temporary folder is full (No space left on device)" in result.err
    assert "TMPDIR" in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("gcc")
def test_one_that_cannot_be_made_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    result = lnnc("verify", model, "--on", "host")
    assert result.code == 2
    assert "no temporary folder can be made (No such file or directory)" in result.err


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_none_behind(number: signal.Signals, model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lnnc", "verify", str(model), "--on", "host", "--vectors", "50000"]
    run = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with run:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("lnnc-*")) and time.monotonic() < end:
            time.sleep(0.02)
        assert list(tmp_path.glob("lnnc-*"))
        run.send_signal(number)
        try:
            assert run.wait(timeout=60) == 130
        finally:
            run.kill()
    assert not list(tmp_path.glob("lnnc-*"))


def test_what_nohup_ignores_stays_ignored() -> None:
    before = {name: signal.getsignal(name) for name in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_by_signal()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
