"""What every test may use: `shared`, `golden`, the marker `needs`. And the rule that CI skips nothing."""

from __future__ import annotations

import difflib
import os
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"
IN_CI = os.environ.get("CI") == "true"

# Two test processes share two cores: torch and BLAS with threads of their own would only fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: a first call may compile C. In CI the examples are the same every time.
settings.register_profile("lnnc", deadline=None, derandomize=IN_CI)
settings.load_profile("lnnc")

_skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the files in tests/golden instead of comparing"
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (
        signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    ):  # as nohup starts it; what a test starts must not inherit that
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    if IN_CI and config.getoption("--update-golden"):
        raise pytest.UsageError("--update-golden rewrites what CI is there to check")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Rewriting expected outputs runs only the tests that have some."""
    if config.getoption("--update-golden"):
        items[:] = [item for item in items if "update_golden" in getattr(item, "fixturenames", ())]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `needs("qemu-system-arm", "unicorn")` unless all that is named is here."""
    for mark in item.iter_markers("needs"):
        absent = [tool for tool in mark.args if not _is_here(tool)]
        if absent:
            pytest.skip(f"needs {', '.join(absent)}; `make test` tells how to get it")


def _is_here(tool: str) -> bool:
    """Tell whether a program of this name, or else a Python module, can be found."""
    return shutil.which(tool) is not None or (tool.isidentifier() and find_spec(tool) is not None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run: every tool and data file is there, so the reason is a fault."""
    if IN_CI and _skipped and session.exitstatus in (0, pytest.ExitCode.OK):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if IN_CI and _skipped:
        terminalreporter.section("skipped in CI, which counts as failed", red=True, bold=True)
        for nodeid in sorted(set(_skipped)):
            terminalreporter.line(nodeid)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with the published networks and measured data, kept beside the checkout, not in it.

    It holds `models/` and `data/`; LNNC_SHARED names another place for it. Skips where there is none.
    """
    folder = Path(os.environ.get("LNNC_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("needs the published networks in ../shared, or LNNC_SHARED=FOLDER")
    return folder


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Tell whether expected outputs are to be rewritten (--update-golden)."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, str], None]:
    """Return `check(name, text)`: text equals tests/golden/name, or the test fails with a diff."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if update_golden:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="", n=2
            )
            diff = "\n".join(list(lines)[:80]) or "(only line ends differ)"
            pytest.fail(f"{diff}\n\nif this is meant: make golden, and review the diff", pytrace=False)

    return check
