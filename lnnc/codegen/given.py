"""A generated pair that a user hands back: which model, name and options it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lnnc.codegen.emit import read_manifest
from lnnc.codegen.names import check_name
from lnnc.errors import Findings, LnncError
from lnnc.ir.program import ARITHMETIC
from lnnc.quantize.context import Options
from lnnc.targets import Build

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9_.]+|[^\sA-Za-z0-9_.]")
_AGAIN = "compile the model again"


@dataclass(frozen=True)
class Given:
    """Texts of the files (golden: None where it is not beside them), and what the manifest says."""

    stem: str
    source: str
    header: str
    golden: str | None
    version: str
    name: str
    options: Options
    build: Build
    wide: tuple[str, ...] | None = None


def read_given(source: str | Path, digest: str, asked: Mapping[str, Any]) -> Given:
    """A generated .c file with its header, checked to come from the model with this digest.

    Args:
        asked: name and options that the user gave; None values were not given.

    Raises:
        LnncError: no generated file, another model's, another arithmetic's, or made with other options than asked for.
    """
    path = Path(source)
    if path.suffix != ".c":
        raise LnncError("expected the generated .c file", str(path), "lnnc verify MODEL lnn.c")
    if not path.is_file():
        raise LnncError("no such file", str(path), f"lnnc compile MODEL -o {path}")
    text = _read(path)
    manifest = read_manifest(text)
    if manifest is None:
        raise LnncError("not a file that lnnc generated: it carries no lnnc-manifest line", str(path), _AGAIN)
    _check_origin(manifest, digest, str(path))
    header = _header_of(path)
    if not header.is_file():
        raise LnncError(f"its header '{header.name}' is not beside it", str(path), "keep the pair together")
    name, options, build, wide = _carried(manifest, str(path))
    _check_asked({"name": name, **asdict(options), **asdict(build)}, asked, str(path))
    golden = path.with_name(f"{path.stem}_golden.h")
    return Given(
        path.stem,
        text,
        _read(header),
        _read(golden) if golden.is_file() else None,
        str(manifest.get("lnnc")),
        name,
        options,
        build,
        wide,
    )


def _header_of(source: Path) -> Path:
    """The header beside a source, or in the folder `include` of its layout."""
    beside = source.with_suffix(".h")
    apart = source.absolute().parent.parent / "include" / beside.name
    return apart if not beside.is_file() and apart.is_file() else beside


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def first_other_line(text: str, other: str) -> int:
    """Number of the first line of C that differs, comments and white space aside; 0 if there is none."""
    ours, theirs = _code(text), _code(other)
    for (number, a), (_, b) in zip(ours, theirs, strict=False):
        if a != b:
            return number
    if len(ours) == len(theirs):
        return 0
    return ours[len(theirs)][0] if len(ours) > len(theirs) else (ours[-1][0] if ours else 1)


def _code(text: str) -> list[tuple[int, str]]:
    """(line, token) of every token that is no comment."""
    bare = _COMMENT.sub(lambda m: "\n" * m[0].count("\n") or " ", text)
    return [(number, token) for number, line in enumerate(bare.split("\n"), 1) for token in _TOKEN.findall(line)]


def _check_origin(manifest: Mapping[str, Any], digest: str, where: str) -> None:
    found = str(manifest.get("model"))
    if found != digest:
        message = f"generated from another model (sha256 {found[:12]}..., the model given is {digest[:12]}...)"
        raise LnncError(message, where, _AGAIN)
    if manifest.get("arithmetic") != ARITHMETIC:
        raise LnncError(f"arithmetic {manifest.get('arithmetic')}, this lnnc has {ARITHMETIC}", where, _AGAIN)


def _carried(manifest: Mapping[str, Any], where: str) -> tuple[str, Options, Build, tuple[str, ...] | None]:
    try:
        if not isinstance(manifest["name"], str):
            raise TypeError(f"name {manifest['name']!r}")
        options: dict[str, Any] = dict(manifest["options"])
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        build = Build(**manifest.get("build", {}))
        wide = manifest.get("wide")
        return check_name(manifest["name"]), Options(**options), build, None if wide is None else tuple(map(str, wide))
    except (KeyError, TypeError, ValueError, LnncError) as error:
        raise LnncError(f"its manifest is damaged ({error})", where, _AGAIN) from error


def _check_asked(carried: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> None:
    found = Findings(where)
    for key, value in asked.items():
        if value is not None and value != carried[key]:
            found.add(f"it was generated with {key} {carried[key]}, asked for {value}")
    found.raise_if_any("leave the option out (the file carries its own), or compile again")
