"""Virtual boards: Arduino sketches built and booted, driven by the shipped commands over their serial lines."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from boards import with_another_weight
from liquid import liquid_checkpoint
from small import lnnc

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.storage import load_checkpoint, save_checkpoint
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.resources import example_path, firmware_text
from lnnc.simulation import board_library, prove, virtual_board
from lnnc.targets import Build
from lnnc.verify.device.link import SerialLink
from lnnc.verify.sketches import AVR, build_avr, build_m4, build_sketch, link_m4
from lnnc.verify.virtual import BOARDS, Stack, boot

MODELS = ("soh", "cfc", "ltc")
ROOT = Path(__file__).resolve().parent.parent
UNO_FLASH, UNO_RAM = 16 * 1024, 1229  # 16 KB and 1.2 KB
pytestmark = pytest.mark.needs("arduino-builder", "simavr", "qemu-system-arm", "arm-none-eabi-g++", "serial")


def checkpoint(name: str) -> tuple[Checkpoint, Options]:
    if name == "soh":
        return load_checkpoint(example_path("soh/student.pt")), Options()
    return liquid_checkpoint(name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[str]]]:
    """Return a function: a model's name -> its file, and the options of every command on it."""
    folder = tmp_path_factory.mktemp("models")

    def get(name: str) -> tuple[Path, list[str]]:
        kept, options = checkpoint(name)
        file = folder / f"{name}.pt"
        if not file.exists():
            save_checkpoint(kept, file)
        wide = ["--weight-bits", options.weight_bits] if options.weight_bits else []
        return file, ["--name", name, *wide]

    return get


def compiled(name: str, target: str = "cortex-m4") -> Compiled:
    kept, options = checkpoint(name)
    return compile_model(kept, name, options, build=Build(target=target))


def library(name: str, target: str = "cortex-m4") -> dict[str, str]:
    return board_library(compiled(name, target))


def our_warnings(messages: str) -> list[str]:
    """What compilers said of our files, not of Arduino's core."""
    return [line for line in messages.splitlines() if "warning:" in line and "/usr/share/arduino" not in line]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("board", BOARDS)
def test_golden_trajectories_pass_over_serial(
    board: str, name: str, models: Callable[[str], tuple[Path, list[str]]]
) -> None:
    file, options = models(name)
    result = lnnc("simulate", board, file, *options, "--vectors", 100)
    assert result.code == 0, result
    assert result.last == f"PASS: every byte equal on {board}"
    assert int(re.search(r"(\d+) vectors", result.out)[1]) >= 100  # type: ignore[index]
    if board in AVR:
        flash, ram = map(int, re.search(r"flash (\d+) bytes, RAM (\d+) bytes", result.out).groups())  # type: ignore[union-attr]
        assert re.search(r"a step takes [\d.]+ ms on average, [\d.]+ ms at most", result.out)
        if (board, name) == ("uno", "soh"):
            assert flash <= UNO_FLASH
            assert ram <= UNO_RAM
        stack, room = map(int, re.search(r"stack: (\d+) bytes at most, of (\d+)", result.out).groups())  # type: ignore[union-attr]
        assert 100 < stack < room == AVR[board].ram - ram


def change(path: str, edit: Callable[[str], str]) -> Callable[[dict[str, str]], None]:
    """A change of one file of a library, which must really change it."""

    def apply(texts: dict[str, str]) -> None:
        before = texts[path]
        texts[path] = edit(before)
        assert texts[path] != before

    return apply


def test_one_changed_weight_fails_over_serial(models: Callable[[str], tuple[Path, list[str]]]) -> None:
    file, options = models("cfc")
    texts = library("cfc")
    change("src/cfc.c", with_another_weight)(texts)
    with virtual_board("cortex-m4", texts) as running:
        result = lnnc("verify", file, *options, "--on", "device", "--port", running.port, "--vectors", 100)
    assert result.code == 1, result
    assert result.last == "FAIL: model and C differ on device"


def test_a_stale_sketch_is_refused_over_serial(models: Callable[[str], tuple[Path, list[str]]]) -> None:
    file, options = models("cfc")
    with virtual_board("cortex-m4", library("ltc")) as running:
        result = lnnc("verify", file, *options, "--on", "device", "--port", running.port)
    assert result.code == 2
    assert "the board runs another model" in result.err
    assert "PASS" not in result.out


def without_linkage(header: str) -> str:
    return header.replace('extern "C" {', "/* C++ */ namespace { }").replace(
        "\n}\n#endif\n\n#endif", "\n#endif\n\n#endif"
    )


@pytest.mark.parametrize("board", ["uno", "cortex-m4"])
def test_without_extern_c_a_sketch_does_not_link(board: str, tmp_path: Path) -> None:
    texts = library("cfc")
    change("src/cfc.h", without_linkage)(texts)
    with pytest.raises(LnncError, match="undefined reference"):
        build_sketch(board, texts, "SelfTest", tmp_path)


def ram_of(sizes: str) -> int:
    return int(re.search(r"RAM (\d+)", sizes)[1])  # type: ignore[index]


def test_without_progmem_the_ram_figure_rises(tmp_path: Path) -> None:
    texts = library("soh")
    good = build_sketch("uno", texts, "Verify", tmp_path / "good")
    assert our_warnings(good.messages) == [], "the library form, too"
    change("src/soh.c", lambda text: text.replace("#define SOH_FLASH PROGMEM", "#define SOH_FLASH"))(texts)
    bad = build_sketch("mega", texts, "Verify", tmp_path / "bad")  # an Uno's 2 KB would not hold them
    tables = sum(constant.bytes for constant in compiled("soh").program.constants)
    assert ram_of(bad.sizes) - ram_of(good.sizes) > 0.9 * tables


@pytest.mark.parametrize("board", sorted(AVR))
def test_the_sketch_form_builds_without_a_warning(board: str, tmp_path: Path) -> None:
    """All files in the sketch's own folder, no library."""
    sketch = tmp_path / "Verify"
    sketch.mkdir()
    for path, text in library("soh").items():
        if path.startswith("src/") or path == "examples/Verify/Verify.ino":
            (sketch / Path(path).name).write_text(text, encoding="utf-8")
    built = build_avr(AVR[board], sketch / "Verify.ino", tmp_path)
    assert built.elf.exists()
    assert our_warnings(built.messages) == []
    assert "warning:" in our_messages_of_a_bad_sketch(sketch, tmp_path) if board == "uno" else True


def our_messages_of_a_bad_sketch(sketch: Path, folder: Path) -> str:
    """The warnings of the same sketch with an unused variable."""
    file = sketch / "Verify.ino"
    file.write_text(file.read_text().replace("void loop()\n{", "void loop()\n{\n    int unused;"))
    return "\n".join(our_warnings(build_avr(AVR["uno"], file, folder).messages))


def test_what_arduino_makes_of_the_sketch_runs_on_the_cortex_m4(
    models: Callable[[str], tuple[Path, list[str]]], tmp_path: Path
) -> None:
    """The builder's own C++ of the sketch, with its prototypes and #line directives, instead of ours."""
    texts = library("soh")
    build_sketch("uno", texts, "Verify", tmp_path)
    made = (tmp_path / "build-uno" / "sketch" / "Verify.ino.cpp").read_text(encoding="utf-8")
    assert "#line 1" in made
    root = tmp_path / "libraries" / "model"
    built = build_m4(made, sorted(root.glob("src/*.c")), tmp_path / "m4")
    assert our_warnings(built.messages) == []
    file, options = models("soh")
    with boot("cortex-m4", built.elf, tmp_path) as running:
        result = lnnc("verify", file, *options, "--on", "device", "--port", running.port, "--vectors", 100)
    assert result.last == "PASS: every byte equal on device", result


def test_the_firmware_runs_without_arduino(models: Callable[[str], tuple[Path, list[str]]], tmp_path: Path) -> None:
    """firmware/mps2/main.c: the port for bare metal, here with the self-test built in."""
    kept, options = checkpoint("ltc")
    made = compile_model(kept, "lnn", options).files
    texts = {
        Path(name).name: firmware_text(name) for name in ("device/lnn_device.c", "device/lnn_device.h", "mps2/main.c")
    }
    texts |= {"lnn.c": made.source, "lnn.h": made.header, "lnn_golden.h": made.golden}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    built = link_m4(sorted(tmp_path.glob("*.c")), tmp_path / "work", ["-DLNN_SELFTEST"])
    assert built.messages == ""
    file, wide = models("ltc")
    with boot("cortex-m4", built.elf, tmp_path) as running:
        result = lnnc("verify", file, *wide[2:], "--on", "device", "--port", running.port, "--vectors", 100)
    assert "MPS2 AN386, bare metal" in result.out
    assert "self-test passed" in result.out
    assert result.last == "PASS: every byte equal on device", result


@pytest.mark.parametrize(("words", "said"), [
    (("nano", "student.pt"), "expected uno, mega, cortex-m4, found 'nano'"),
    (("uno", "missing.pt"), "no such file"),
    (("uno", example_path("soh/student.pt"), "--name", "arduino"), "'arduino.h' would hide another"),
    (("mega", example_path("soh/student.pt"), "--target", "cortex-m4"), "mega is no cortex-m4"),
])  # fmt: skip
def test_wrong_words_are_told(words: tuple[str, str], said: str) -> None:
    result = lnnc("simulate", *words)
    assert result.code == 2
    assert said in result.err


def test_a_model_with_the_name_of_one_of_our_files(models: Callable[[str], tuple[Path, list[str]]]) -> None:
    file, (_, _, *options) = models("ltc")
    assert lnnc("simulate", "cortex-m4", file, *options, "--name", "board", "--vectors", 1).code == 0


def open_late(board: str, image: Path, folder: Path) -> None:
    with boot(board, image, folder) as running:
        time.sleep(1)
        SerialLink(running.port)


def test_an_emulator_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(LnncError, match="the emulator ended"):
        open_late("cortex-m4", tmp_path / "none.elf", tmp_path)
    (tmp_path / "no.elf").write_bytes(b"no image")
    with pytest.raises(LnncError, match="the emulator ended"):
        open_late("uno", tmp_path / "no.elf", tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_emulator_is_left_behind(number: signal.Signals, models: Callable[[str], tuple[Path, list[str]]]) -> None:
    file, options = models("ltc")
    command = [sys.executable, "-m", "lnnc", "simulate", "cortex-m4", str(file), *options, "--keep", "--vectors", "1"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with started:
        assert started.stdout is not None
        port = next(int(found[1]) for line in started.stdout if (found := re.search(r"runs on at \S+:(\d+)", line)))
        socket.create_connection(("127.0.0.1", port)).close()
        started.send_signal(number)
        try:
            assert started.wait(timeout=30) == 0
        finally:
            started.kill()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def ballasted(kind: str, size: int) -> dict[str, str]:
    """A library whose sketch Verify has a table of so many bytes more, of this kind."""
    value = " = {1}" if "const" in kind else ""
    touch = f"(void)*(volatile const uint8_t *)&ballast[{size - 1}];"
    table = f"{kind} ballast[{size}]{value};\nvoid setup()\n{{\n    {touch}"
    texts = library("soh", "avr")
    change("examples/Verify/Verify.ino", lambda text: text.replace("void setup()\n{", table))(texts)
    return texts


@pytest.mark.parametrize(("kind", "said"), [
    ("const uint8_t PROGMEM", r"it does not fit: [\d,]+ bytes more than the flash"),
    ("uint8_t", r"it does not fit: [\d,]+ bytes of variables, and the RAM has 2,048"),
    ("nonsense", "it does not build"),
])  # fmt: skip
def test_a_sketch_that_does_not_fit_is_told(kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=said):
        build_sketch("uno", ballasted(kind, 30_000), "Verify", tmp_path)


def stack_beside(ballast: int) -> Stack | None:
    """What an Uno's stack used after some vectors, with so many bytes more among the variables."""
    with virtual_board("uno", ballasted("uint8_t", ballast)) as running:
        assert not prove("uno", running, compiled("soh", "avr"), 20).difference
        return running.stack()


def test_a_stack_that_reaches_the_variables_is_told() -> None:
    """On a board it would change them and what follows could be anything; the emulator sees it."""
    stack = stack_beside(500)
    assert stack is not None
    assert 200 < stack.used < stack.room < 2048 - 500
    with pytest.raises(LnncError, match=r"uno: the stack ran into the variables, which leave it \d+ bytes of RAM"):
        stack_beside(500 + stack.room - stack.used + 40)


def test_the_path_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From pip to a proved board: as written, but with the builder and the board that are here."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Onto a board")[1].split("\n## ")[0]
    lines = [line.partition("  #")[0].split() for line in section.split("```")[1].strip().splitlines()]
    assert len(lines) <= 6
    assert [" ".join(words[:2]) for words in lines] == [
        "pip install", "lnnc compile", "arduino-cli core", "arduino-cli compile", "lnnc verify",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "student.pt").write_bytes(Path(example_path("soh/student.pt")).read_bytes())
    assert lnnc(*lines[1][1:]).code == 0
    flash = lines[3]
    folder, sketch = tmp_path / flash[flash.index("--library") + 1], tmp_path / flash[-1]
    texts = {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}
    built = build_sketch("uno", texts, sketch.name, tmp_path / "work")
    with boot("uno", built.elf, tmp_path / "work") as running:
        result = lnnc(*lines[4][1:-1], running.port, "--vectors", 20)
    assert result.last == "PASS: every byte equal on device", result
