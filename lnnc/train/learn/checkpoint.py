"""The file that a training is resumed from: what it belongs to, when it is written, how it is refused."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lnnc.errors import LnncError
from lnnc.files import write_atomically

if TYPE_CHECKING:
    from lnnc.train.learn.loop import Schedule

_FORMAT = "lnnc training 1"
_FRESH = "delete it, or give another path, to train from the beginning"


def identity(model: nn.Module, schedule: Schedule, label: str, about: Mapping[str, str]) -> dict[str, str]:
    """What a checkpoint must agree with to be resumed: schedule, weights at the start, and what the caller says.

    The weights at the start stand for the model and for the seed that made them.
    """
    start = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        start.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        start.update(tensor.detach().contiguous().numpy().tobytes())
    settings = {name: repr(value) for name, value in asdict(schedule).items()}
    return {**settings, "label": label, "initial weights": start.hexdigest()[:16], **about}


def restore(file: Path | None, known: Mapping[str, str]) -> dict[str, Any] | None:
    """The state in a checkpoint; None where there is no file.

    Raises:
        LnncError: the file cannot be read, is no training checkpoint, or is one of another training.
    """
    if file is None or not file.exists():
        return None
    held = _read(file)
    theirs: dict[str, str] = held["identity"]
    differ = [name for name in {**known, **theirs} if known.get(name) != theirs.get(name)]
    if differ:
        said = "; ".join(
            f"{name} was {theirs.get(name, 'not given')}, is {known.get(name, 'not given')}" for name in differ
        )
        raise LnncError(f"this checkpoint belongs to another training: {said}", str(file), _FRESH)
    state: dict[str, Any] = held["state"]
    return state


def _read(file: Path) -> dict[str, Any]:
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; what counts is that no state comes out of this file
        raise LnncError(
            f"cannot be read as a training checkpoint ({type(error).__name__})", str(file), _FRESH
        ) from error
    if not isinstance(held, dict) or held.get("format") != _FORMAT:
        raise LnncError("it is no checkpoint of a training by this version", str(file), _FRESH)
    return held


class Saver:
    """Writes the state every few seconds, at the end, and when the process is asked to stop; file None: never.

    A signal that arrives in the middle of a step waits for its end, so that what is written is a whole step. A second
    one does not wait.
    """

    def __init__(
        self, file: Path | None, known: Mapping[str, str], state: Callable[[], dict[str, Any]], every: float
    ) -> None:
        self.file, self.known, self.state, self.every = file, dict(known), state, every
        self.asked = 0  # the number of the signal
        self.before: dict[int, Any] = {}
        self.written = time.monotonic()

    def __enter__(self) -> Saver:
        if self.file is not None and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._give_signals_back()
        if kind is None:
            self.write()
        if kind is None and self.asked:  # it came after the last step
            self._stop()

    def after_step(self) -> None:
        """Write if it is time to, and stop if that was asked for."""
        if self.asked:
            self.write()
            self._stop()
        if time.monotonic() - self.written >= self.every:
            self.write()

    def write(self) -> None:
        """Write the file now, under a temporary name first."""
        if self.file is not None:
            held = {"format": _FORMAT, "identity": self.known, "state": self.state()}
            write_atomically(self.file, lambda temporary: torch.save(held, temporary))
        self.written = time.monotonic()

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.asked = number
        self._give_signals_back()

    def _give_signals_back(self) -> None:
        while self.before:
            number, handler = self.before.popitem()
            signal.signal(number, handler)

    def _stop(self) -> None:
        """End as the signal would have, had nobody listened."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.asked)
