"""Generated C against the reference, wherever it runs: what `lnnc verify` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lnnc._version import __version__
from lnnc.codegen.emit import Files
from lnnc.codegen.given import Given, first_other_line, read_given
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.storage import load_checkpoint
from lnnc.pipeline import Compiled, plan_model
from lnnc.quantize.calibrate import shaped
from lnnc.quantize.context import Options
from lnnc.targets import Build
from lnnc.verify.check import Report, check_model, model_of
from lnnc.verify.device.check import Model, Progress
from lnnc.verify.device.run import Line, verify_board
from lnnc.verify.places import find_places
from lnnc.verify.vectors import Group, make_groups


def verify_model(
    model: str | Path | Checkpoint, source: str | Path | None = None, on: Sequence[str] = ("host",), *,
    name: str | None = None, options: Options | Mapping[str, Any] | None = None, vectors: int = 128, seed: int = 0,
    route: str | None = None, build: Mapping[str, Any] | None = None, line: Line | None = None,
    progress: Progress | None = None,
) -> list[Report]:  # fmt: skip
    """Prove generated C equal to the reference, byte for byte, on every machine of `on`: "host", "m4", "device".

    Args:
        source: a generated .c file with its header beside it; None generates one. It carries its name and options.
        options: all of them, or only those that are asked for.
        build: fields of `Build`, those that are asked for.
        vectors: how much to run on each machine: see `vectors_for`; of that a device runs about so many steps.
        line: where a "device" is: what runs there must have been compiled from this model with these options.
        progress: called after every vector on a device.

    Raises:
        LnncError: a bad model, another model's file, options that a file was not generated with, a missing tool, code
            that does not compile or crashes; a board that cannot be reached or runs something else.
    """
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    places = find_places(on, route, line or Line())
    asked = asdict(options) if isinstance(options, Options) else dict(options or {})
    wanted = {"name": name, **asked, **(build or {})}
    given = None if source is None else read_given(source, checkpoint.digest(), wanted)
    chosen = given.options if given else Options(**asked)
    prefix = given.name if given else "lnn" if name is None else name
    laid = given.build if given else Build(**(build or {}))
    compiled = plan_model(checkpoint, prefix, chosen, given.stem if given else "", laid)
    compiled = replace(compiled, wide=given.wide) if given else compiled
    c_text, h_text = (given.source, given.header) if given else (compiled.files.source, compiled.files.header)
    groups = vectors_for(compiled, vectors, seed)
    reports = [compare_text(given, compiled.files)] if given and given.version == __version__ else []
    for target, machine in places.items():
        if isinstance(machine, Line):
            reports.append(verify_board(board_model(compiled, c_text), groups, vectors, machine, progress))
        else:
            reports.append(check_model(compiled.program, c_text, h_text, compiled.name, machine, groups, target))
    return reports


def board_model(compiled: Compiled, c_text: str = "") -> Model:
    """What a board must say of itself that runs this model, from a given file or from what is generated."""
    meaning = model_of(compiled.program, c_text or compiled.files.source)
    return Model(compiled.program, compiled.checkpoint.digest(), meaning)


def vectors_for(compiled: Compiled, count: int, seed: int) -> list[Group]:
    """Vectors for a model, some from its calibration data: see `make_groups`."""
    kept = compiled.checkpoint.calibration
    data = None if kept is None else shaped(compiled.checkpoint, kept)
    return make_groups(compiled.program, data, count, seed)


def compare_text(given: Given, fresh: Files) -> Report:
    """Whether a given pair is, comments and layout aside, what its model generates.

    Vectors cannot show every edit: a bias that is off by one may round away in all of them.
    """
    texts = (
        (".c", given.source, fresh.source),
        (".h", given.header, fresh.header),
        ("_golden.h", given.golden, fresh.golden),
    )
    compared, found = 0, ""
    for suffix, have, want in texts:
        if have is None:
            continue
        compared += len(have)
        line = first_other_line(have, want)
        if line and not found:
            found = f"{given.stem}{suffix} line {line} is not what lnnc {__version__} generates from this model"
    return Report("text", "the generated files", 0, compared, found)
