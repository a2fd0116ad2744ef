"""From a port's name to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lnnc.verify.check import Report
from lnnc.verify.device.check import Model, Progress, check_board
from lnnc.verify.device.link import BAUD, SerialLink, choose_port
from lnnc.verify.device.session import Session
from lnnc.verify.vectors import Group, fewer


@dataclass(frozen=True)
class Line:
    """Where a board is, and how long to wait for it.

    Attributes:
        port: a serial port, a URL that pyserial opens, or "auto": the only board that is plugged in.
        patience: seconds to wait for an answer before a request is repeated.
        wait: seconds that a board may take to start after its port was opened.
    """

    port: str = "auto"
    baud: int = BAUD
    patience: float = 2.0
    wait: float = 6.0


def verify_board(
    model: Model, groups: Sequence[Group], count: int, line: Line, progress: Progress | None = None
) -> Report:
    """Open the port, play about `count` vectors, close it.

    Raises:
        LnncError: no port, no answer, another firmware, or a line that was lost in the middle.
    """
    port = choose_port(line.port)
    link = SerialLink(port, line.baud)
    try:
        return check_board(model, Session(link, port, line.patience), fewer(groups, count), progress, line.wait)
    finally:
        link.close()
