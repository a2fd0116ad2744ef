"""`lnnc simulate`: a model on a virtual board, proved over its serial line as on a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lnnc.codegen.bundle import bundle
from lnnc.codegen.emit import avr_refusal
from lnnc.codegen.names import check_layout_name
from lnnc.errors import LnncError
from lnnc.files import work_folder
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.pipeline import Compiled, plan_model
from lnnc.quantize.context import Options
from lnnc.targets import Build
from lnnc.verification import board_model, vectors_for
from lnnc.verify.check import Report
from lnnc.verify.device.check import Progress
from lnnc.verify.device.run import Line, verify_board
from lnnc.verify.sketches import AVR, Built, build_sketch
from lnnc.verify.virtual import BOARDS, Stack, boot, describe_board


@dataclass(frozen=True)
class Board:
    """A virtual board that runs the verification sketch with a model.

    Attributes:
        port: where its serial line is reached.
        machine: what emulates it.
        built: its image.
        stack: asks for the stack used so far; None where the emulator cannot tell.
    """

    port: str
    machine: str
    built: Built
    stack: Callable[[], Stack | None]


def check_board_name(board: str) -> str:
    """The name of a virtual board.

    Raises:
        LnncError: another word.
    """
    if board not in BOARDS:
        raise LnncError(f"expected {', '.join(BOARDS)}, found {board!r}", "BOARD", "lnnc simulate uno MODEL")
    return board


def board_library(compiled: Compiled) -> dict[str, str]:
    """A model as an Arduino library, {path: text}: what `lnnc compile --layout arduino` writes."""
    return bundle(compiled.files, compiled.identity, "arduino", compiled.stem)


@contextmanager
def virtual_board(board: str, library: Mapping[str, str]) -> Iterator[Board]:
    """Build the sketch Verify of a model's library for a board and boot it."""
    with work_folder() as folder:
        built = build_sketch(board, library, "Verify", folder)
        with boot(board, built.elf, folder) as running:
            yield Board(running.port, describe_board(board), built, running.stack)


def plan_board(
    board: str, model: str | Path | Checkpoint, name: str, options: Options, build: Mapping[str, Any]
) -> Compiled:
    """A model compiled as the library of a sketch for a virtual board.

    Raises:
        LnncError: another board, a bad model or one too large, a name that a library cannot have, another processor.
    """
    check_board_name(board)
    check_layout_name(name, name, "arduino")
    own = "avr" if board in AVR else "cortex-m4"
    chosen = Build(**{"target": own, **build})
    if chosen.target not in (own, "generic"):
        raise LnncError(f"{board} is no {chosen.target}", "--target", f"leave it out: {own} is what {board} has")
    compiled = plan_model(model, name, options, build=chosen)
    if board in AVR and (refusal := avr_refusal(compiled.program)):
        raise LnncError(refusal, board, "lnnc simulate cortex-m4, or a smaller model")
    return compiled


def prove(
    board: str, running: Board, compiled: Compiled, vectors: int = 128, seed: int = 0, timeout: float = 5.0,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Play about `vectors` steps to a virtual board that runs this model.

    Raises:
        LnncError: trouble on the line.
    """
    line = Line(running.port, patience=timeout)
    report = verify_board(board_model(compiled), vectors_for(compiled, vectors, seed), vectors, line, progress)
    return replace(report, target=board)
