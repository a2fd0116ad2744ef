"""examples/monitor/SohMonitor as boards compile and run it: an emulated Uno and Cortex-M4; a Nano against stubs."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from forecast_students import lives, random_student
from monitor_device import HALVES, RAM, ROOT, SKETCH, STRICT, Device, capacities, checked, write_library

from lnnc.output import write_pair
from lnnc.pipeline import compile_model
from lnnc.train.students.package import student_checkpoint
from lnnc.verify.sketches import AVR, build_avr, build_m4
from lnnc.verify.virtual import boot

STUB = ROOT / "tests" / "nano_stub"
SOURCES = sorted(SKETCH.glob("*.c"))
DOCS = ROOT / "docs" / "monitor.md"
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-funsigned-char")
COMPILERS = {
    "gcc": (), "clang": (), "g++": ("-xc++", "-std=c++11"), "avr-gcc": ("-mmcu=atmega328p", "-Os"),
    "arm-none-eabi-gcc": CORTEX_M4,
}  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketch") / "libraries"
    folder.mkdir()
    write_library(folder)
    return folder


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=pytest.mark.needs(name)) for name in COMPILERS])
def test_the_core_compiles_without_a_warning(compiler: str, libraries: Path) -> None:
    options = COMPILERS[compiler] or ("-std=c99", "-pedantic")
    for source in SOURCES:
        command = [compiler, *options, *STRICT, "-I", str(libraries / "soh" / "src"), "-c", str(source)]
        done = subprocess.run([*command, "-o", str(libraries / "out.o")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.needs("gcc", "g++")
@pytest.mark.parametrize("gate", [True, False])
def test_a_model_without_a_trust_gate_is_refused_by_the_header(gate: bool, tmp_path: Path) -> None:
    """In C and in the sketch's C++, with a line that says what is missing."""
    student = random_student("linear", "stream", gate, 1)
    model = compile_model(student_checkpoint(student, lives(4, 300, 1), "student"), "soh")
    write_pair(model.files, tmp_path / "soh.c")
    for language in ("c", "c++"):
        command = ["gcc", "-x", language, "-fsyntax-only", "-I", str(tmp_path), str(SKETCH / "monitor.h")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert ("model_needs_a_trust_gate" in done.stderr) == (done.returncode != 0) == (not gate), done.stderr


@pytest.mark.needs("cc")
def test_the_command_of_the_host_program_works(libraries: Path, tmp_path: Path) -> None:
    """As its comment has it, from the root of the repository with the library where docs/monitor.md puts it."""
    text = (SKETCH.parent / "host.c").read_text(encoding="utf-8")
    found = re.search(r"^ \*     (cc .*?)\n \*/", text, re.M | re.S)
    assert found
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "soh").symlink_to(libraries / "soh")
    subprocess.run(found[1].replace("\n *", "\n"), shell=True, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "monitor"], input="cap 1 1.1\n", capture_output=True, text=True, check=True)
    assert "ok 1 q14=16384 missing=9" in done.stdout


# --- the sketch on virtual boards ---


def talk(port: str, commands: list[str]) -> list[list[str]]:
    """What a board answers to each of these commands, once it listens."""
    serial = importlib.import_module("serial")
    with serial.serial_for_url(port, 115_200, timeout=1) as line:
        wait_for(line)
        line.timeout = 60
        return [ask(line, command, ("ok ", "error ")) for command in commands]


def wait_for(line: Any) -> None:
    """What a board is told before it has started is lost, and whole or in part: ask until it answers, as the page does.

    How many answers follow nobody knows; the refusal of a word that nothing else is refused for ends them.
    """
    for _ in range(60):
        if ask(line, "status", ("ok ",))[-1].startswith("ok "):
            break
    line.timeout = 60
    assert ask(line, "nonsense", ("error ",))[-1].startswith("error ")


def ask(line: Any, command: str, last: tuple[str, ...]) -> list[str]:
    """The lines until one that begins so, or until none comes."""
    line.write(f"{command}\n".encode("ascii"))
    answers: list[str] = []
    while not (answers and answers[-1].startswith(last)):
        data = line.readline()
        answers.append(data.decode("ascii").strip())
        if not data.endswith(b"\n"):
            break
    return answers


def conversation(memory: tuple[int, int, int], cycles: int) -> tuple[list[str], list[list[str]]]:
    """Commands, and what the core on this machine answers."""
    commands = [checked(f"cap {cycle} {value}") for cycle, value in enumerate(capacities()[:cycles], 1)]
    commands += ["status", "cap 3 1.0", "forecast", "nonsense"]
    device = Device(memory)
    return commands, [list(map(checked, device.ask(command))) for command in commands]


@pytest.mark.needs("arduino-builder", "avr-gcc", "simavr", "serial")
def test_the_sketch_fits_an_uno_and_runs_there(libraries: Path) -> None:
    """No warning from our files, and what is left of the 2 KB is enough for the stack. Every line as here."""
    built = build_avr(AVR["uno"], SKETCH / "SohMonitor.ino", libraries.parent)
    warnings = [line for line in built.messages.splitlines() if "warning" in line]
    assert [line for line in warnings if "/hardware/arduino/" not in line] == []
    flash, ram = map(int, re.findall(r"(\d+) bytes", built.sizes))
    assert flash <= 32_256 and 2048 - ram >= 600
    assert f"{flash / 1000:.0f} KB of flash and {ram / 1000:.1f} KB of RAM" in DOCS.read_text(encoding="utf-8")
    commands, expected = conversation(HALVES, 25)
    with boot("uno", built.elf, libraries.parent) as running:
        assert talk(running.port, commands) == expected


@pytest.mark.needs("arm-none-eabi-g++", "qemu-system-arm", "serial")
def test_the_sketch_runs_on_a_cortex_m4(libraries: Path, tmp_path: Path) -> None:
    text = (SKETCH / "SohMonitor.ino").read_text(encoding="utf-8")
    built = build_m4(text, [*SOURCES, libraries / "soh" / "src" / "soh.c"], tmp_path)
    assert built.messages == ""
    commands, expected = conversation((RAM, 0, 0), 120)
    with boot("cortex-m4", built.elf, tmp_path) as running:
        assert talk(running.port, commands) == expected


@pytest.mark.parametrize(
    "compiler", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("g++", "arm-none-eabi-g++")]
)
def test_the_nanos_branch_is_sound_cpp(compiler: str, libraries: Path) -> None:
    """Against stubs of ArduinoBLE and FlashIAP: the real mbed core cannot be linked here."""
    command = [compiler, "-fsyntax-only", "-std=gnu++14", "-Wall", "-Wextra", "-Werror", "-DARDUINO_ARDUINO_NANO33BLE"]
    include = [ROOT / "firmware" / "arduino_shim", STUB, SKETCH, libraries / "soh" / "src"]
    command += [word for folder in include for word in ("-I", str(folder))]
    sketch = ["-include", "Arduino.h", "-xc++", str(SKETCH / "SohMonitor.ino")]
    done = subprocess.run([*command, *sketch], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]


# --- docs/monitor.md ---


def test_the_documentation_names_every_characteristic() -> None:
    text, header = DOCS.read_text(encoding="utf-8"), (SKETCH / "gatt.h").read_text(encoding="utf-8")
    template = re.search(r'GATT_UUID\(number\) "(\w+)" number "([\w-]+)"', header)
    assert template
    uuids = dict(re.findall(r'#define GATT_(\w+) GATT_UUID\("(\d+)"\)', header))
    assert len(uuids) == 7
    for name, number in uuids.items():
        assert f"| {name.lower()} | `{template[1]}{number}{template[2]}` |" in text
    page = (SKETCH.parent / "index.html").read_text(encoding="utf-8")
    assert f"`{template[1]}000${{number}}{template[2]}`" in page


def test_the_documentation_names_every_word_that_is_said() -> None:
    text = DOCS.read_text(encoding="utf-8")
    said = "".join((SKETCH / name).read_text(encoding="utf-8") for name in ("say.c", "lines.c"))
    words = {word for found in re.findall(r'TEXT\("([^"]*)"\)', said) for word in re.findall(r"[a-z]{2,}", found)}
    assert {"cap", "forecast", "checksum", "duplicate", "eeprom"} <= words
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", text)) == []
