"""The layouts of `lnnc compile`: what build systems ask, the same bytes, and folders replaced whole or not."""

from __future__ import annotations

import functools
import io
import os
import re
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from library_rules import ARDUINO, PLATFORMIO, Library
from liquid import liquid_checkpoint, liquid_model
from networks import small_models
from small import document, lnnc, save

from lnnc import files
from lnnc.codegen.bundle import bundle, example_time, facts, named, zipped
from lnnc.convert import Model
from lnnc.errors import LnncError
from lnnc.frontend.parse import parse_checkpoint
from lnnc.frontend.storage import load_checkpoint
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.resources import example_path, firmware_names, firmware_text
from lnnc.targets import FOLDERS

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def compiled(name: str) -> Compiled:
    """The student whose outputs come with every tenth sample; models of several ports; two that take a time."""
    if name == "soh":
        return compile_model(example_path("soh/student.pt"), "soh")
    if name == "timed":
        return liquid_model("timed")
    if name == "brief":
        checkpoint, options = liquid_checkpoint("timed")
        return compile_model(checkpoint, name, replace(options, runtime_dt=(0.01, 0.1)))
    described, width = small_models()[name]
    return compile_model(parse_checkpoint(described, name), name, Options(width))


def library(layout: str, name: str = "soh") -> Library:
    model = compiled(name)
    return bundle(model.files, model.identity, layout, name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(document(), tmp_path_factory.mktemp("model") / "m.pt")


# --- what the build systems ask ---


@pytest.mark.parametrize("name", ["soh", "mixed", "timed"])
@pytest.mark.parametrize("rule", ARDUINO)
def test_an_arduino_library_keeps_the_rules(rule: str, name: str) -> None:
    assert not ARDUINO[rule].wrong(library("arduino", name), name)


@pytest.mark.parametrize("layout", ["arduino", "platformio"])
@pytest.mark.parametrize("rule", PLATFORMIO)
def test_a_platformio_library_keeps_the_rules(rule: str, layout: str) -> None:
    assert not PLATFORMIO[rule].wrong(library(layout), "soh")


@pytest.mark.parametrize("rule", ARDUINO)
def test_an_arduino_rule_can_be_broken(rule: str) -> None:
    assert ARDUINO[rule].wrong(*ARDUINO[rule].broken(library("arduino")))


@pytest.mark.parametrize("rule", PLATFORMIO)
def test_a_platformio_rule_can_be_broken(rule: str) -> None:
    assert PLATFORMIO[rule].wrong(*PLATFORMIO[rule].broken(library("platformio")))


# --- the texts ---


@pytest.mark.parametrize("layout", FOLDERS)
def test_every_text_is_plain_and_free(layout: str) -> None:
    for path, text in library(layout).items():
        assert text.isascii() and "\r" not in text and text.endswith("\n"), path
        assert "\t" not in text or path in ("keywords.txt", "Kconfig"), path
        assert not re.search(r"\blnn_|\bLNN_|\{\{|\{%", text), path  # nothing of the templates, no other model's name
        if path.endswith((".c", ".h", ".ino", ".txt", ".yml", "Kconfig")) and path != "keywords.txt":
            assert "SPDX-License-Identifier: 0BSD" in text, path


def test_the_readme_says_which_model_and_how() -> None:
    for layout in FOLDERS:
        text = library(layout)["README.md"]
        assert compiled("soh").checkpoint.digest() in text
        assert "lnnc verify MODEL soh/src/soh.c" in text
        assert all(fact in text for fact in facts(compiled("soh").files.header))
    arduino = library("arduino")["README.md"]
    assert all(f"**{sketch}**" in arduino for sketch in firmware_names("arduino"))
    assert "timed_dt_from_real(1.0f)" in library("cmake", "timed")["README.md"]
    assert "brief_dt_from_real(0.06f)" in library("cmake", "brief")["README.md"]  # its range is 0.01 ... 0.1


@pytest.mark.parametrize(("frac", "low", "high"), [
    (30, 10**9, 2**31 - 1), (20, 12_345, 12_345), (0, 99, 101), (-4, 10, 4000), (24, 1, 2), (16, 1, 65_536),
])  # fmt: skip
def test_the_time_that_is_shown_is_in_the_range(frac: int, low: int, high: int) -> None:
    header = f"#define M_DT_FRAC ({frac})\n#define M_DT_MIN {low}\n#define M_DT_MAX {high}\n"
    assert low <= float(example_time(header, "M").removesuffix("f")) * 2.0**frac <= high


def test_every_public_name_is_coloured() -> None:
    words = dict(line.split("\t") for line in library("arduino", "timed")["keywords.txt"].splitlines() if "\t" in line)
    assert words["timed_state"] == "KEYWORD1"
    assert words["timed_step"] == words["timed_selftest"] == words["timed_dt_from_real"] == "KEYWORD2"
    assert words["TIMED_DT_FRAC"] == words["TIMED_BAD_DT"] == "LITERAL1"
    assert not any(word.endswith("_H") for word in words)


def test_files_may_be_named_otherwise_than_functions() -> None:
    text = '#include <lnn.h>\n# include "lnn_device.h"\n#include <math.h>\nlnn_step(LNN_INPUTS);\n'
    expected = '#include <pump-2.h>\n# include "pump-2_device.h"\n#include <math.h>\nsoh_step(SOH_INPUTS);\n'
    assert named(text, "soh", "pump-2") == expected
    model = replace(compiled("soh"), stem="pump-2")
    made = bundle(model.files, model.identity, "arduino", "pump")
    assert {"src/pump-2.c", "src/pump-2.h", "src/pump-2_golden.h", "src/pump-2_selftest.c"} <= set(made)
    assert "#include <pump-2.h>" in made["examples/Forecast/Forecast.ino"]
    assert "includes=pump-2.h" in made["library.properties"]


def test_what_the_firmware_has_for_boards_is_in_the_library() -> None:
    """Every sketch is an example; the device core, where there is one, lies beside the model."""
    made = library("arduino")
    assert {path for path in made if path.startswith("examples/")} == {
        f"examples/{name}/{name}.ino" for name in firmware_names("arduino")
    }
    core = firmware_names("device") if "device" in firmware_names("") else []
    assert {f"src/{name.replace('lnn', 'soh', 1)}" for name in core} <= set(made)
    for name in firmware_names("arduino"):
        assert firmware_text(f"arduino/{name}/{name}.ino").startswith("/* "), "its first line says what it is for"


# --- the same bytes ---


def test_the_same_model_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert lnnc("compile", model, "--layout", "arduino", "-o", tmp_path / "a" / "soh").code == 0
    command = [sys.executable, "-m", "lnnc", "compile", str(model), "--layout", "arduino", "-o", "soh"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(command, cwd=tmp_path / "b", env=env, check=True, capture_output=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_zip_holds_the_folder() -> None:
    made = library("arduino")
    with zipfile.ZipFile(io.BytesIO(zipped(made, "soh"))) as archive:
        assert archive.namelist() == [f"soh/{path}" for path in sorted(made)]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("soh/src/soh.c").decode() == made["src/soh.c"]


# --- written whole, over nobody's work ---


def compile_to(model: Path, folder: Path, layout: str = "arduino", *more: object) -> tuple[int, str]:
    result = lnnc("compile", model, "--layout", layout, "-o", folder, *more)
    assert (result.code == 0) == (result.err == "")
    return result.code, result.err or result.out


@pytest.mark.parametrize("layout", FOLDERS)
def test_verify_takes_what_a_layout_wrote(layout: str, model: Path, tmp_path: Path) -> None:
    code, said = compile_to(model, tmp_path / "soh", layout)
    assert code == 0 and "soh_step, int16" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["soh", *["soh.zip"] * (layout == "arduino")]
    assert lnnc("compile", model, "-o", tmp_path / "soh.c").code == 0
    for name in ("soh.c", "soh.h", "soh_golden.h"):  # the very files of the pair
        assert next((tmp_path / "soh").glob(f"*/{name}")).read_bytes() == (tmp_path / name).read_bytes()
    checked = lnnc("verify", model, tmp_path / "soh" / "src" / "soh.c", "--vectors", 4)
    assert checked.last == "PASS: every byte equal on host", checked
    header = next((tmp_path / "soh").glob("*/soh.h"))
    header.write_text(header.read_text().replace("SOH_STATES 0", "SOH_STATES 1"))
    assert lnnc("verify", model, tmp_path / "soh" / "src" / "soh.c", "--vectors", 4).code == 1


def test_by_default_the_folder_is_lnn(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lnnc("compile", model, "--layout", "cmake").code == 0
    assert "int lnn_step(" in (tmp_path / "lnn" / "include" / "lnn.h").read_text()


def test_what_lnnc_wrote_is_replaced(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "soh"
    assert compile_to(model, folder)[0] == 0
    first = contents(tmp_path)
    (folder / "README.md").unlink()
    (folder / "src" / "soh.h").write_text("damaged")
    assert compile_to(model, folder)[0] == 0
    assert contents(tmp_path) == first
    (tmp_path / "soh.zip").unlink()
    assert compile_to(model, folder, "zephyr", "--name", "pump")[0] == 0
    assert not (folder / "library.properties").exists() and (folder / "include" / "pump.h").exists()
    (tmp_path / "empty").mkdir()
    assert compile_to(model, tmp_path / "empty", "cmake", "--name", "soh")[0] == 0


def test_what_others_wrote_is_left_alone(model: Path, tmp_path: Path) -> None:
    sketch = tmp_path / "sketch"
    sketch.mkdir()
    (sketch / "sketch.ino").write_text("mine")
    assert "lnnc did not generate it" in refused(model, sketch)
    assert lnnc("compile", model, "-o", sketch / "soh.c").code == 0
    assert "no part of a layout" in refused(model, sketch)  # a pair in a sketch is no folder of ours
    assert compile_to(model, tmp_path / "soh")[0] == 0
    (tmp_path / "soh" / "examples" / "Mine").mkdir()
    (tmp_path / "soh" / "examples" / "Mine" / "Mine.ino").write_text("mine")
    assert "'examples/Mine/Mine.ino'" in refused(model, tmp_path / "soh")
    (tmp_path / "other.zip").write_bytes(b"PK")
    assert "other.zip: exists" in refused(model, tmp_path / "other")
    (tmp_path / "file").write_text("mine")
    assert "it is no folder" in refused(model, tmp_path / "file")
    assert "does not exist" in refused(model, tmp_path / "no" / "soh")


def test_a_stale_zip_is_told(model: Path, tmp_path: Path) -> None:
    folder, stale = tmp_path / "soh", tmp_path / "soh.zip"
    assert compile_to(model, folder)[1].count("warning") == 0
    for _ in range(2):
        result = lnnc("compile", model, "--layout", "cmake", "-o", folder)
        assert result.code == 0 and result.err.startswith(f"warning: {stale} is still the library")
        assert result.err.count("\n") == 1 and stale.exists()
    stale.rename(tmp_path / "pump.zip")  # the library of another folder: compile_to expects no warning
    assert compile_to(model, folder, "cmake")[0] == compile_to(model, tmp_path / "pump", "cmake")[0] == 0
    stale.write_bytes(b"PK")
    assert compile_to(model, folder, "cmake")[0] == 0


@pytest.mark.parametrize("path", ["README.md", "src/soh.c", "examples/Verify", "examples/Verify/Verify.ino"])
def test_what_is_write_protected_is_left_alone(path: str, model: Path, tmp_path: Path) -> None:
    """As a protected pair or zip: a rename would not ask."""
    assert compile_to(model, tmp_path / "soh")[0] == 0
    protected = tmp_path / "soh" / path
    protected.chmod(protected.stat().st_mode & ~0o222)
    said = refused(model, tmp_path / "soh", layout="cmake")
    assert str(protected) in said and "write-protected" in said
    with pytest.raises(LnncError, match="write-protected"):
        files.write_folder(tmp_path / "soh", {"a": b"1"}, {})
    protected.chmod(0o755)
    assert compile_to(model, tmp_path / "soh")[0] == 0


def test_a_place_that_is_none_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert f"'{tmp_path / 'file'}' is no folder" in refused(model, tmp_path / "file" / "soh", layout="cmake")
    (tmp_path / "soh").symlink_to(tmp_path / "no" / "soh")
    assert f"a link into '{tmp_path / 'no'}', which does not exist" in refused(model, tmp_path / "soh", layout="cmake")
    (tmp_path / "soh").unlink()
    (tmp_path / "soh").symlink_to(tmp_path / "file" / "soh")
    assert f"'{tmp_path / 'file'}', which is no folder" in refused(model, tmp_path / "soh", layout="cmake")


def refused(model: Path, folder: Path, *more: object, layout: str = "arduino") -> str:
    before = contents(folder.parent) if folder.parent.exists() else {}
    code, said = compile_to(model, folder, layout, *more)
    assert code == 2 and said.startswith("error: ")
    assert before == (contents(folder.parent) if folder.parent.exists() else {})
    return said


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"]
)
@pytest.mark.parametrize("after", range(6))
def test_a_failure_leaves_everything_as_it_was(
    after: int, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write or rename is the last that works: the old folder and zip stand, and nothing else."""
    folder, beside = tmp_path / "soh", tmp_path / "soh.zip"
    files.write_folder(folder, {"a": b"1", "deep/b": b"2"}, {beside: b"3"})
    before, count = contents(tmp_path), 0

    def failing(method: object) -> object:
        def call(self: Path, *args: object) -> object:
            nonlocal count
            count += 1
            if count == after + 1:
                raise failure
            return method(self, *args)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", failing(Path.write_bytes))
        patch.setattr(Path, "rename", failing(Path.rename))
        with pytest.raises((LnncError, KeyboardInterrupt)):
            files.write_folder(folder, {"a": b"4"}, {beside: b"5"})
    assert contents(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["soh", "soh.zip"]
    files.write_folder(folder, {"a": b"4"}, {beside: b"5"})
    assert contents(tmp_path) == {"soh/a": b"4", "soh.zip": b"5"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_folder_is_written(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every write, rename and removal; it counts afterwards."""
    folder, beside = tmp_path / "soh", tmp_path / "soh.zip"
    files.write_folder(folder, {"a": b"1"}, {beside: b"3"})

    def signalling(method: object) -> object:
        def call(*args: object, **named: object) -> object:
            signal.raise_signal(number)
            return method(*args, **named)  # type: ignore[operator]

        return call

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            for where, name in ((Path, "write_bytes"), (Path, "rename"), (os, "rmdir")):
                patch.setattr(where, name, signalling(getattr(where, name)))
            with pytest.raises(KeyboardInterrupt):
                files.write_folder(folder, {"a": b"4"}, {beside: b"5"})
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert contents(tmp_path) == {"soh/a": b"4", "soh.zip": b"5"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["soh", "soh.zip"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "soh").symlink_to("real")
    files.write_folder(tmp_path / "soh", {"a": b"1"}, {})
    assert (tmp_path / "soh").is_symlink() and (tmp_path / "real" / "a").read_bytes() == b"1"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o777 & ~files._umask()


# --- odd names ---


@pytest.mark.parametrize(("layout", "folder", "more", "part"), [
    ("cmake", "soh.c", (), "writes a folder"),
    ("arduino", "soh.zip", (), "writes a folder"),
    ("arduino", "so h", ("--name", "soh"), "expected the name of a folder"),
    ("arduino", "s" * 64, ("--name", "soh"), "expected the name of a folder"),
    ("zephyr", "..", (), "expected the name of a folder"),
    ("cmake", "soh-1", (), "cannot prefix C names"),
    ("cmake", "test", (), "CMake has a target"),
    ("arduino", "Arduino_net", (), "Arduino's own"),
    ("arduino", "Math", (), "would hide another"),
    ("arduino", "stream", (), "would hide another"),
    ("platformio", "soh", ("--name", "Print"), "would hide another"),
    ("pair", "math.c", ("--name", "soh"), "'math.h' would hide another"),
    ("zephyr", "soh", ("--name", "stdint"), "would hide another"),
    ("platformio", "soh", ("--name", "double"), "keyword"),
])  # fmt: skip
def test_names_that_cannot_be(
    layout: str, folder: str, more: tuple[str, ...], part: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    assert part in refused(model, tmp_path / "in" / folder, *more, layout=layout)


def test_a_folder_may_have_another_name(model: Path, tmp_path: Path) -> None:
    assert compile_to(model, tmp_path / "soh-1.2", "arduino", "--name", "Cell_7")[0] == 0
    made = tmp_path / "soh-1.2"
    assert "#include <Cell_7.h>" in (made / "examples" / "SelfTest" / "SelfTest.ino").read_text()
    assert "CELL_7_SELFTEST" in (made / "examples" / "SelfTest" / "SelfTest.ino").read_text()
    assert "`soh-1.2.zip`" in (made / "README.md").read_text()


def test_python_writes_what_the_command_writes(model: Path, tmp_path: Path) -> None:
    """The name is that of the folder; wrong layouts and places are refused before anything is written."""
    read = Model(load_checkpoint(model))
    assert read.compile(tmp_path / "gait", layout="arduino") == (tmp_path / "gait", tmp_path / "gait.zip")
    mine = (tmp_path / "gait.zip").read_bytes()
    lnnc("compile", model, "--layout", "arduino", "-o", tmp_path / "gait")
    assert (tmp_path / "gait.zip").read_bytes() == mine
    assert b"gait_step(" in mine
    with pytest.raises(LnncError, match="expected one of pair, arduino"):
        read.compile(tmp_path / "other", layout="Arduino")
    with pytest.raises(LnncError, match="writes a folder"):
        read.compile(tmp_path / "other.c", layout="cmake")
    assert not list(tmp_path.glob("other*"))
