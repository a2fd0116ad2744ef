"""A pipeline as stages over files: each is done once for the same content, and a run goes on wherever it stopped.

    run/stages/<stage>-<key>/        what a stage made, whole: it appears by one rename
    run/stages/<stage>-<key>.part/   what an unfinished stage has so far, to go on from
    run/<stage>                      a link to the stage's folder that the last run used
    run/search/                      studies and what was trained for them, to be extended

The key is the sha256 of the stage's name and version, lnnc's version, its settings, and the digests of what the stages
before it made. A stage whose key is there already is not run again; a setting changed back finds the old folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lnnc._version import __version__
from lnnc.errors import LnncError
from lnnc.files import write_atomically

RECORD, FORMAT = "stage.json", "lnnc stage 1"
KEY = 12  # hexadecimal digits of the key in a folder's name
DONE, STOPPED, OPEN = "done", "stopped", "to do"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Workspace:
    """Where a stage works.

    Attributes:
        folder: to write into. After an interruption it still holds what was written, so a stage writes each file whole
            (`write_atomically`) and looks what is there.
        inputs: folder of each stage that it needs.
        run: the folder of the whole run, for what outlives a stage's settings, such as a study that is extended.
        say: for progress in words.
    """

    folder: Path
    inputs: Mapping[str, Path]
    say: Say
    run: Path


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline.

    Attributes:
        needs: stages whose files it reads.
        settings: JSON types; all that decides about its result, besides those files.
        run: does the work and tells in a few lines what came out.
        version: is raised when the same settings give something else than before.
        scratch: patterns of files that only serve to go on after an interruption; removed at the end.
    """

    name: str
    needs: tuple[str, ...]
    settings: Mapping[str, Any]
    run: Callable[[Workspace], Sequence[str]]
    version: int = 1
    scratch: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """A stage that is done: its folder, and the record in it."""

    folder: Path
    digest: str
    seconds: float
    summary: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """How far a stage is: DONE, STOPPED (it can go on) or OPEN."""

    name: str
    state: str
    made: Made | None = None


def run_stages(
    stages: Sequence[Stage], run: Path, say: Say = lambda _: None, until: str | None = None
) -> dict[str, Made]:
    """Run what is not done yet, in order, up to and including `until`.

    Raises:
        LnncError: another pipeline works in this folder, it cannot be written, or a stage failed (which one is said).
    """
    _check_order(stages)
    made: dict[str, Made] = {}
    with _locked(run):
        for stage in stages:
            made[stage.name] = _make(stage, run, made, say)
            _link(run / stage.name, made[stage.name].folder)
            if stage.name == until:
                break
    return made


def _check_order(stages: Sequence[Stage]) -> None:
    seen: set[str] = set()
    for stage in stages:
        assert set(stage.needs) <= seen and stage.name not in seen, stage.name
        seen.add(stage.name)


def _make(stage: Stage, run: Path, made: Mapping[str, Made], say: Say) -> Made:
    folder = _folder(run, stage, made)
    found = _finished(folder)
    if found is None and folder.exists():
        say(f"{stage.name}: its files were changed by hand; they are kept in {_set_aside(folder).name}, and made again")
    if found is not None:
        say(_line(stage.name, found, "as before"))
        return found
    part = folder.with_name(f"{folder.name}.part")
    say(f"{stage.name} ..." + (" goes on" if part.exists() else ""))
    part.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        summary = stage.run(Workspace(part, {name: made[name].folder for name in stage.needs}, say, run))
    except LnncError as error:
        where = f"stage {stage.name}" + (f", {error.where}" if error.where else "")
        raise LnncError(error.message, where, error.hint) from error
    _seal(part, stage, summary, time.monotonic() - began)
    os.replace(part, folder)
    done = _finished(folder)
    assert done is not None
    say(_line(stage.name, done, f"{done.seconds:.1f} s"))
    return done


def _line(name: str, made: Made, how: str) -> str:
    return "\n".join([f"{name}: {how}", *(f"  {line}" for line in made.summary)])


def _folder(run: Path, stage: Stage, made: Mapping[str, Made]) -> Path:
    """Where a stage's result belongs, by the content of everything that decides about it."""
    parts = [stage.name, stage.version, __version__, stage.settings, {name: made[name].digest for name in stage.needs}]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return run / "stages" / f"{stage.name}-{key[:KEY]}"


def _seal(part: Path, stage: Stage, summary: Sequence[str], seconds: float) -> None:
    """Remove what was needed to go on only, and write the record, which lists every file."""
    for pattern in stage.scratch:
        for path in sorted(part.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    record = {
        "format": FORMAT, "stage": stage.name, "lnnc": __version__, "settings": dict(stage.settings),
        "seconds": round(seconds, 1), "summary": list(summary), "files": _digests(part),
    }  # fmt: skip
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write_atomically(part / RECORD, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / RECORD)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finished(folder: Path) -> Made | None:
    """The record of a folder, if every file in it is as the stage left it."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files: dict[str, str] = record["files"]
        if record["format"] != FORMAT or any(file_digest(folder / name) != digest for name, digest in files.items()):
            return None
    except (OSError, ValueError, KeyError):
        return None
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return Made(folder, digest, float(record["seconds"]), tuple(record["summary"]))


def _set_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.changed-{number}")).exists():
        number += 1
    os.replace(folder, aside)
    return aside


def _link(link: Path, folder: Path) -> None:
    """Point a link at a folder; a link that was there is replaced at once."""
    if link.exists() and not link.is_symlink():
        raise LnncError("it is in the way of a link to a stage's folder", str(link), "move it elsewhere")
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.relative_to(link.parent))
    os.replace(temporary, link)


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """One pipeline at a time in a folder; the lock goes with the process that holds it."""
    try:
        (run / "stages").mkdir(parents=True, exist_ok=True)
        lock = (run / "stages" / ".lock").open("w")
    except OSError as error:
        raise LnncError(f"cannot write there ({error.strerror})", str(run), "choose another folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LnncError(
                "another pipeline is at work in this folder", str(run), "wait, or choose another"
            ) from error
        yield


def status(stages: Sequence[Stage], run: Path) -> list[Status]:
    """How far each stage is; nothing is run or written."""
    made: dict[str, Made] = {}
    found = []
    for stage in stages:
        state, done = OPEN, None
        if set(stage.needs) <= set(made):
            folder = _folder(run, stage, made)
            done = _finished(folder)
            state = DONE if done else STOPPED if folder.with_name(f"{folder.name}.part").exists() else OPEN
        if done is not None:
            made[stage.name] = done
        found.append(Status(stage.name, state, done))
    return found


def status_text(found: Sequence[Status]) -> str:
    """One line for each stage, with what came out."""
    width = max(len(status.name) for status in found)
    lines = []
    for status in found:
        time_ = f"{status.made.seconds:8.1f} s" if status.made else " " * 10
        first, *rest = status.made.summary if status.made and status.made.summary else ("",)
        lines.append(f"{status.name:{width}}  {status.state:7} {time_}  {first}".rstrip())
        lines += [f"{'':{width}}  {'':7} {'':10}  {line}" for line in rest]
    return "\n".join(lines)
