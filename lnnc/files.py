"""Files that are read, or replaced whole: clear errors before, a rename at the end."""

from __future__ import annotations

import errno
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lnnc.errors import LnncError


def readable(path: str | Path, hint: str) -> Path:
    """The path, if it is that of a file with content that may be read.

    Raises:
        LnncError: no such file, a folder, a device, an empty file, or no permission.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise LnncError("it is a folder, expected a file", str(path), hint)
        if not file.is_file():
            what = "it is not a regular file" if file.exists() else "no such file"
            raise LnncError(what, str(path) or "''", hint)
        if file.stat().st_size == 0:
            raise LnncError("the file is empty", str(path), "get or save it again")
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        raise LnncError(f"cannot read it ({reason(error)})", str(path)[:200], hint) from error


def reason(error: Exception) -> str:
    """What the system says of a failed call, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def check_target(file: Path) -> Path:
    """The path that writing `file` will replace (a link's target), if it may be written.

    A rename needs no permission for the file it replaces, so a write-protected one is looked for here: whoever
    protected it did not want it replaced, be it by root.

    Raises:
        LnncError: the folder does not exist or is write-protected; the file is a folder, a device or write-protected.
    """
    try:
        return _checked_target(file, Path(os.path.realpath(file)))
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be searched
        raise LnncError(f"cannot write ({reason(error)})", str(file)[:200], "choose another path") from error


def _checked_target(file: Path, target: Path) -> Path:
    _check_parent(file, target)
    if target.exists() and not target.is_file():
        raise LnncError("cannot write: it is no regular file", str(file), "choose another path")
    if target.exists() and _protected(target):
        raise LnncError("cannot write: the file is write-protected", str(file), "choose another path")
    return target


def _check_parent(file: Path, target: Path) -> None:
    folder = target.parent
    if not folder.is_dir():
        _tell_missing(file, folder)
    if _protected(folder):
        raise LnncError(f"cannot write into '{folder}' (it is write-protected)", str(file), "choose another folder")


def _tell_missing(file: Path, folder: Path) -> None:
    """Say of a folder that is none what it is, and where a link led there, that it did."""
    wrong = "is no folder" if folder.exists() else "does not exist"
    if file.is_symlink():
        raise LnncError(f"it is a link into '{folder}', which {wrong}", str(file), "choose another path")
    if folder.exists():
        raise LnncError(f"'{file.parent}' is no folder", str(file), "choose another path")
    raise LnncError(f"the folder '{file.parent}' does not exist", str(file), "create it, or choose another path")


def check_folder(folder: Path) -> Path:
    """As `check_target`, for a folder that will be replaced.

    Raises:
        LnncError: its parent does not exist or is write-protected; it is a file, or write-protected.
    """
    with _told(folder):
        target = Path(os.path.realpath(folder))
        _check_parent(folder, target)
        if target.exists() and not target.is_dir():
            raise LnncError("cannot write: it is no folder", str(folder), "choose another path")
        if target.exists() and _protected(target):
            raise LnncError("cannot write: the folder is write-protected", str(folder), "choose another path")
    return target


def check_inside(folder: Path) -> None:
    """As `check_folder`, for what a folder holds.

    Raises:
        LnncError: a file or folder in it is write-protected.
    """
    with _told(folder):
        for path in sorted(folder.rglob("*")):
            if not path.is_symlink() and _protected(path):
                what = "folder" if path.is_dir() else "file"
                raise LnncError(f"cannot write: the {what} is write-protected", str(path), "choose another folder")


def _protected(path: Path) -> bool:
    return not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def check_not_same(output: str | Path, given: str | Path, what: str) -> None:
    """Refuse to write over a file that was read.

    Raises:
        LnncError: both paths lead to the same file.
    """
    if Path(output).exists() and Path(given).exists() and os.path.samefile(output, given):
        raise LnncError(f"would overwrite {what} '{given}'", "--output", "choose another path")


def write_atomically(file: Path, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary file beside `file`, then rename it. See `write_together`."""
    write_together([(file, write)])


def write_together(parts: Sequence[tuple[Path, Callable[[Path], None]]]) -> None:
    """Write several files: each to a temporary beside its place, and only when all are whole, rename them.

    Raises:
        LnncError: a folder does not exist or cannot be written, a file is protected, or the disk is full; no file has
            then been replaced.
    """
    with ExitStack() as stack:
        renames = []
        for file, write in parts:
            with _told(file):
                target = check_target(file)
                temporary = _temporary(target)
                stack.callback(temporary.unlink, missing_ok=True)
                write(temporary)
                temporary.chmod(0o666 & ~_umask())
            renames.append((file, temporary, target))
        for file, temporary, target in renames:
            with _told(file):
                temporary.replace(target)


class NoRoomError(LnncError):
    """There is no temporary folder to work in, or no room in it: the fault of nothing that is worked on."""


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder in which compilers and emulators work; gone afterwards.

    Raises:
        NoRoomError: it cannot be made, or is full.
    """
    hint = "make room there, or name another folder: TMPDIR=... lnnc ..."
    try:
        made = tempfile.TemporaryDirectory(prefix="lnnc-")
    except OSError as error:
        raise NoRoomError(f"no temporary folder can be made ({reason(error)})", "TMPDIR", hint) from error
    try:
        yield Path(made.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = str(Path(made.name).parent)
        raise NoRoomError(f"the temporary folder is full ({reason(error)})", where, hint) from error
    finally:
        with _undisturbed():
            made.cleanup()


def write_folder(folder: Path, contents: Mapping[str, bytes], beside: Mapping[Path, bytes]) -> None:
    """Write a folder, and files beside it, whole: into a temporary folder first, then renamed.

    What was there is moved aside, comes back when anything fails or is interrupted, and is gone at the end.

    Raises:
        LnncError: the folder or something in it cannot be written, or the disk is full; nothing has then been replaced.
    """
    with _told(folder), _undisturbed():
        target = check_folder(folder)
        check_inside(folder)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
            room = Path(temporary)
            for path, data in contents.items():
                (room / "0" / path).parent.mkdir(parents=True, exist_ok=True)
                (room / "0" / path).write_bytes(data)
            for number, data in enumerate(beside.values(), 1):
                (room / str(number)).write_bytes(data)
            _exchange([target, *map(check_target, beside)], room)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for the end of some quick work: a clean-up that is interrupted leaves things behind."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of signals
        yield
        return
    caught: list[int] = []
    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [name for name in names if callable(signal.getsignal(name))]
    before = {name: signal.signal(name, lambda number, _: caught.append(number)) for name in heard}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        if caught:
            signal.raise_signal(caught[0])


def _exchange(places: Sequence[Path], room: Path) -> None:
    """Put `room`/0, 1, ... in their places and move what was there into `room`; on any failure, back."""
    with ExitStack() as undo:
        for number, place in enumerate(places):
            new, old = room / str(number), room / f"{number}.old"
            undo.callback(_put_back, place, new, old)  # before anything is moved: it looks how far that got
            if os.path.lexists(place):
                place.rename(old)
            new.rename(place)
        undo.pop_all()


def _put_back(place: Path, new: Path, old: Path) -> None:
    if not new.exists():
        place.rename(new)
    if old.exists():
        old.rename(place)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What the system refuses, as an error that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        hint = "choose a writable path with room on it"
        raise LnncError(f"cannot write ({reason(error)})", str(file)[:200], hint) from error


def _temporary(target: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
