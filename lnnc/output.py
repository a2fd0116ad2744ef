"""Where the generated files go: a pair of files, or the folder of a layout. Checked before any work, written whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lnnc.codegen.bundle import bundle
from lnnc.codegen.emit import Files, read_manifest
from lnnc.codegen.folder import check_layout_target, stale_zip, write_layout
from lnnc.codegen.names import check_header, check_layout_name
from lnnc.errors import LnncError
from lnnc.files import check_target, write_together
from lnnc.pipeline import Compiled
from lnnc.targets import LAYOUTS, PAIR


@dataclass(frozen=True)
class Output:
    """What is written, and where.

    Attributes:
        path: the .c file of a pair; the folder of any other layout.
        layout: one of `lnnc.targets.LAYOUTS`.
        name: prefix of every public C name.
        stem: name of the generated files without suffix.
    """

    path: Path
    layout: str
    name: str
    stem: str


def make_output(path: str | Path | None = None, name: str | None = None, layout: str = PAIR) -> Output:
    """An output from what its user says: the name, where none is given, is that of the file or folder.

    Raises:
        LnncError: no such layout.
    """
    if layout not in LAYOUTS:
        raise LnncError(f"expected one of {', '.join(LAYOUTS)}, found {layout!r}", "layout")
    pair = layout == PAIR
    where = Path(path if path is not None else "lnn.c" if pair else "lnn")
    prefix = name if name is not None else where.stem if pair else where.name
    return Output(where, layout, prefix, where.stem if pair else prefix)


def check_output(output: Output) -> None:
    """Refuse, before any work, what cannot be written or would replace what lnnc did not generate.

    Raises:
        LnncError: with what to choose instead.
    """
    if output.layout == PAIR:
        check_pair(output.path)
    else:
        check_layout_target(output.path, output.layout)
        check_layout_name(output.name, output.stem, output.layout)


def write_output(compiled: Compiled, output: Output) -> tuple[Path, ...]:
    """Write all of it or nothing.

    Returns:
        What was written: the three files; or the folder and, beside it, the zip where the layout has one.

    Raises:
        LnncError: the folder does not exist or cannot be written.
    """
    if output.layout == PAIR:
        return write_pair(compiled.files, output.path)
    texts = bundle(compiled.files, compiled.identity, output.layout, output.path.name)
    return tuple(write_layout(texts, output.path, output.layout))


def left_behind(output: Output) -> list[str]:
    """Warnings of what an earlier layout left beside a folder, and this one does not renew."""
    stale = None if output.layout == PAIR else stale_zip(output.path, output.layout)
    return [f"{stale} is still the library that an earlier compile wrote: remove it"] if stale else []


def check_pair(source: Path) -> None:
    """Refuse to write where it cannot be done or over a file that lnnc did not generate.

    Raises:
        LnncError: not a .c, a name that no #include can hold or that hides a header of C, a folder that cannot be
            written, another's file.
    """
    if source.suffix != ".c":
        raise LnncError(f"expected a name that ends in .c, found '{source}'", "--output", "-o lnn.c")
    if not re.fullmatch(r"[A-Za-z0-9_. +-]+", source.stem):  # it stands between the quotes of an #include
        expected = "expected a file name of ASCII letters, digits and _ . + -"
        raise LnncError(f"{expected}, found {source.name!r}", "--output", "-o lnn.c")
    check_header(source.stem, "--output", "-o lnn.c")
    for file in _pair(source):
        target = check_target(file)
        text = target.read_text(encoding="utf-8", errors="replace") if target.exists() else ""
        if text.strip() and read_manifest(text) is None:
            raise LnncError("exists, and lnnc did not generate it", str(file), "choose another name, or remove it")


def write_pair(files: Files, source: str | Path) -> tuple[Path, Path, Path]:
    """Write `<stem>.c`, `<stem>.h` and `<stem>_golden.h` beside each other, all of them or none.

    Raises:
        LnncError: the folder does not exist or cannot be written.
    """
    targets, texts = _pair(Path(source)), (files.source, files.header, files.golden)
    write_together([(target, partial(_write_text, text)) for target, text in zip(targets, texts, strict=True)])
    return targets


def _pair(source: Path) -> tuple[Path, Path, Path]:
    return source, source.with_suffix(".h"), source.with_name(f"{source.stem}_golden.h")


def _write_text(text: str, file: Path) -> None:
    file.write_text(text, encoding="ascii", newline="\n")
