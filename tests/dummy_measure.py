"""Objectives for tests of the search: they are sent to worker processes, so they live in a module of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError
from lnnc.train.pareto.front import Measured


@dataclass(frozen=True)
class Dummy:
    """More units: less error, more bytes. Every call leaves a file in `log`, named by process and parameters.

    A call whose `units` are in `hang` stays until it is killed, the first time; one in `bad` is refused; one in `bugs`
    is a bug.
    """

    log: Path
    seconds: float = 0.0
    hang: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    bugs: tuple[int, ...] = ()

    def __call__(self, params: Mapping[str, Any]) -> Measured:
        units, depth = int(params["units"]), int(params.get("depth", 1))
        begun = self.log / f"hung-{units}"
        if units in self.hang and not begun.exists():
            begun.write_text(str(os.getpid()))
            time.sleep(600)
        if units in self.bad:
            raise LnncError(f"{units} units cannot be built")
        if units in self.bugs:
            raise ZeroDivisionError("a bug")
        time.sleep(self.seconds)
        (self.log / f"{os.getpid()}-{time.monotonic_ns()}").write_text(f"{units} {depth}")
        return Measured(
            1.0 / units + 0.01 * depth, 100 * units * depth, 10 * units, 1000 * depth, {"parameters": units}
        )

    def calls(self) -> list[str]:
        """What was measured to the end, in no order."""
        return sorted(file.read_text() for file in self.log.iterdir() if not file.name.startswith("hung-"))
