"""examples/monitor/SohMonitor as boards compile it: an Uno for real, a Nano against stubs, and run on this machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from monitor_device import RAM, ROOT, SKETCH, STRICT, Device, capacities, write_library


STUB = ROOT / "tests" / "arduino_stub"
SOURCES = sorted(SKETCH.glob("*.c"))
DOCS = ROOT / "docs" / "monitor.md"
BUILDER = ["arduino-builder", "-compile", "-hardware", "/usr/share/arduino/hardware", "-hardware",
           "/usr/share/arduino-builder", "-tools", "/usr/bin", "-tools", "/usr/share/arduino-builder"]  # fmt: skip
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-funsigned-char")
COMPILERS = {
    "gcc": (), "clang": (), "g++": ("-xc++", "-std=c++11"), "avr-gcc": ("-mmcu=atmega328p", "-Os"),
    "arm-none-eabi-gcc": CORTEX_M4,
}  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    write_library(folder)
    return folder


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=pytest.mark.needs(name)) for name in COMPILERS])
def test_the_core_compiles_without_a_warning(compiler: str, libraries: Path) -> None:
    options = COMPILERS[compiler] or ("-std=c99", "-pedantic")
    for source in SOURCES:
        command = [compiler, *options, *STRICT, "-I", str(libraries / "soh" / "src"), "-c", str(source)]
        done = subprocess.run([*command, "-o", str(libraries / "out.o")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.needs("arduino-builder", "avr-gcc")
def test_the_sketch_fits_an_uno(libraries: Path, tmp_path: Path) -> None:
    """No warning from our files; what is left of the 2 KB is enough for the stack of a step."""
    command = [*BUILDER, "-libraries", str(libraries), "-fqbn", "arduino:avr:uno", "-warnings", "all"]
    command += ["-prefs", "compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__", "-build-path", str(tmp_path)]
    done = subprocess.run([*command, str(SKETCH / "SohMonitor.ino")], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert [line for line in said.splitlines() if "warning" in line and "/hardware/arduino/" not in line] == []
    flash, ram = (int(found) for found in re.findall(r"(?:Sketch|variables) uses? (\d+) bytes", said))
    assert flash <= 32_256 and 2048 - ram >= 600
    assert f"{flash:,} bytes of flash and {ram:,} of RAM" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param("g++", marks=pytest.mark.needs("g++")),
        pytest.param("arm-none-eabi-g++", marks=pytest.mark.needs("arm-none-eabi-g++")),
    ],
)
def test_the_nanos_branch_is_sound_cpp(compiler: str, libraries: Path) -> None:
    """Against stubs of ArduinoBLE and FlashIAP: the real mbed core cannot be linked here."""
    command = [compiler, "-fsyntax-only", "-std=gnu++14", "-Wall", "-Wextra", "-Werror", "-DARDUINO_ARDUINO_NANO33BLE"]
    command += ["-include", str(STUB / "Arduino.h"), "-I", str(STUB), "-I", str(SKETCH), "-I", str(libraries / "soh/src")]
    done = subprocess.run([*command, "-xc++", str(SKETCH / "SohMonitor.ino")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.needs("gcc", "g++")
def test_the_sketch_says_what_the_core_says(libraries: Path, tmp_path: Path) -> None:
    include = ["-I", str(STUB), "-I", str(SKETCH), "-I", str(libraries / "soh" / "src")]
    for source in [*SOURCES, libraries / "soh" / "src" / "soh.c"]:
        subprocess.run(["gcc", "-std=gnu11", "-O1", *include, "-c", str(source)], cwd=tmp_path, check=True)
    sketch = ["-include", "Arduino.h", "-xc++", str(SKETCH / "SohMonitor.ino"), str(STUB / "board.cpp"), "-xnone"]
    objects = sorted(str(path) for path in tmp_path.glob("*.o"))
    subprocess.run(["g++", "-std=gnu++14", *include, *sketch, *objects, "-o", "board"], cwd=tmp_path, check=True)
    lines = "".join(f"cap {cycle} {value}\n" for cycle, value in enumerate(capacities()[:25], 1)) + "status\n"
    done = subprocess.run([str(tmp_path / "board")], input=lines, capture_output=True, text=True, check=True)
    device = Device((RAM, 0, 0))
    expected = device.start()
    device.receive(lines.encode("ascii"))
    assert done.stdout.splitlines() == expected + device.sent().decode("ascii").splitlines()


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
