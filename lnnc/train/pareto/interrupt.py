"""Ctrl-C at a moment of our choosing: never in the middle of a write to a storage that others share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Within the block Ctrl-C waits for `check`, or for the end of the block, unless the code is inside `allowed`."""

    def __init__(self) -> None:
        self.asked = self.open = False
        self.before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Code that may be interrupted anywhere."""
        self.open = True
        try:
            self.check()
            yield
        finally:
            self.open = False

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.asked = True
        if self.open:
            self.open = False  # what cleans up is not interrupted again
            raise KeyboardInterrupt
