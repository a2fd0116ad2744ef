"""A layout's folder on the disk: whose it is, and that it is written whole."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from lnnc.codegen.bundle import contents, zipped
from lnnc.codegen.emit import read_manifest
from lnnc.errors import LnncError
from lnnc.files import check_folder, check_inside, check_target, write_folder
from lnnc.targets import FOLDERS

# What the Arduino IDE takes as the folder of a library, for every layout: more needs quoting somewhere.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_OTHER = "choose another folder, or remove it"


def check_layout_target(folder: Path, layout: str) -> None:
    """Refuse, before any work, to write where it cannot be done or over anything that lnnc did not generate.

    Raises:
        LnncError: a name that build systems do not take, a folder that cannot be written, or with another's files.
    """
    if folder.suffix in (".c", ".h", ".zip"):
        raise LnncError(
            f"--layout {layout} writes a folder, found '{folder}'", "--output", f"-o {folder.stem or 'lnn'}"
        )
    if not _NAME.fullmatch(folder.name):
        expected = "expected the name of a folder, at most 63 ASCII letters, digits and _ . - after a letter or digit"
        raise LnncError(f"{expected}, found {str(folder)[:80]!r}", "--output", "-o lnn")
    target = check_folder(folder)
    if target.exists() and any(target.iterdir()):
        _check_ours(target, folder)
    if layout == "arduino":
        _check_zip(zip_beside(folder))


def _check_ours(target: Path, folder: Path) -> None:
    """Refuse a folder that is not a layout, or one to which somebody has added files: they would be lost."""
    sources = [path for path in (*target.glob("*.c"), *target.glob("src/*.c")) if path.is_file()]
    stems = {path.stem for path in sources if read_manifest(_text(path)) is not None}
    if not stems:  # found out without a walk through what may be a whole home
        raise LnncError("exists, and lnnc did not generate it", str(folder), _OTHER)
    ours = {path for stem in stems for layout in FOLDERS for path in contents(layout, stem)}
    files = (path for path in target.rglob("*") if not path.is_dir() or path.is_symlink())
    foreign = sorted({path.relative_to(target).as_posix() for path in files} - ours)
    if foreign:
        raise LnncError(f"holds '{foreign[0]}', which is no part of a layout and would be lost", str(folder), _OTHER)
    check_inside(folder)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _check_zip(file: Path) -> None:
    target = check_target(file)
    if target.exists() and not _is_our_zip(target):
        raise LnncError("exists, and lnnc did not generate it", str(file), _OTHER)


def _is_our_zip(file: Path, inside: str = "") -> bool:
    """Whether it is a zip with C that lnnc generated, in a folder that begins with `inside`."""
    try:
        with zipfile.ZipFile(file) as archive:
            sources = [name for name in archive.namelist() if name.startswith(inside) and name.endswith(".c")]
            return any(read_manifest(archive.read(name).decode("utf-8", "replace")) is not None for name in sources)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return False


def zip_beside(folder: Path) -> Path:
    """The zip of an Arduino library: what the IDE installs."""
    return folder.with_name(f"{folder.name}.zip")


def stale_zip(folder: Path, layout: str) -> Path | None:
    """The zip beside a folder that has become another layout: the library that was there before.

    It is told, not removed: somebody may have put it aside just there.
    """
    file = zip_beside(folder)
    return file if layout != "arduino" and _is_our_zip(file, f"{folder.name}/") else None


def write_layout(texts: Mapping[str, str], folder: Path, layout: str) -> list[Path]:
    """Write a layout's folder, and its zip where it has one: all of it or nothing.

    Returns:
        The folder, and the zip.

    Raises:
        LnncError: the folder cannot be written.
    """
    beside = {zip_beside(folder): zipped(texts, folder.name)} if layout == "arduino" else {}
    write_folder(folder, {path: text.encode("ascii") for path, text in texts.items()}, beside)
    return [folder, *beside]
