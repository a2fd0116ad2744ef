"""`lnnc simulate`: a model on a virtual board, proved over its serial line as on a real one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lnnc.codegen.bundle import bundle
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.pipeline import Compiled, plan_model, verify_model
from lnnc.quantize.context import Options
from lnnc.targets import Build
from lnnc.verify.check import Report
from lnnc.verify.device.check import Progress
from lnnc.verify.device.run import Line
from lnnc.verify.virtual import AVR, BOARDS, Built, boot, build_sketch, describe_board


@dataclass(frozen=True)
class Board:
    """A virtual board that runs the verification sketch with a model.

    Attributes:
        port: where its serial line is reached.
        machine: what emulates it.
        built: its image.
    """

    port: str
    machine: str
    built: Built


def check_board_name(board: str) -> str:
    """The name of a virtual board.

    Raises:
        LnncError: another word.
    """
    if board not in BOARDS:
        raise LnncError(f"expected {', '.join(BOARDS)}, found {board!r}", "BOARD", "lnnc simulate uno MODEL")
    return board


@contextmanager
def virtual_board(
    board: str, compiled: Compiled, change: Callable[[dict[str, str]], None] | None = None
) -> Iterator[Board]:
    """Build the sketch Verify with a model for a board and boot it.

    Args:
        change: alters the library before it is built.
    """
    library = bundle(compiled.files, compiled.identity, "arduino", compiled.stem)
    if change is not None:
        change(library)
    with tempfile.TemporaryDirectory(prefix="lnnc-") as folder:
        built = build_sketch(board, library, "Verify", Path(folder))
        with boot(board, built.elf, Path(folder)) as port:
            yield Board(port, describe_board(board), built)


@contextmanager
def simulated(
    board: str, model: str | Path | Checkpoint, *, name: str = "lnn", options: Mapping[str, Any] | None = None,
    build: Mapping[str, Any] | None = None, vectors: int = 128, seed: int = 0, timeout: float = 5.0,
    progress: Progress | None = None,
) -> Iterator[tuple[Report, Board]]:  # fmt: skip
    """Prove a model on a virtual board, over its serial line; the board runs until the block ends.

    Args:
        board: "uno", "mega" or "cortex-m4".

    Raises:
        LnncError: another board, a bad model, one that does not fit, a missing tool, trouble on the line.
    """
    check_board_name(board)
    laid = {"target": "avr" if board in AVR else "cortex-m4", **(build or {})}
    compiled = plan_model(model, name, Options(**(options or {})), build=Build(**laid))
    with virtual_board(board, compiled) as running:
        line = Line(running.port, patience=timeout)
        asked = asdict(compiled.options)
        report, *_ = verify_model(
            compiled.checkpoint, None, ["device"], name=name, options=asked, vectors=vectors, seed=seed, build=laid,
            line=line, progress=progress,
        )  # fmt: skip
        yield replace(report, target=board), running
