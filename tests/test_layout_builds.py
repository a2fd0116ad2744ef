"""Layouts as their build systems build them, and the sketches as they run: on this machine, and on an emulated Uno."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_layouts import compiled, library

from lnnc.codegen.folder import write_layout
from lnnc.codegen.names import hides_header
from lnnc.pipeline import Compiled
from lnnc.reference.quantio import to_real
from lnnc.resources import firmware_names
from lnnc.verify.engines import run_reference
from lnnc.verify.sketches import HARDWARE

SKETCHES = ("SelfTest", "Benchmark", "Forecast")  # those that need nothing but the model
WARNINGS = ("-Wall", "-Wextra", "-Werror")

# As much of an Arduino core as the sketches use, over standard input and output.
ARDUINO_H = """\
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define INPUT 0x0
#define OUTPUT 0x1
#define B1 1
class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))
struct SerialLine {
    void begin(unsigned long) {}
    operator bool() { return true; }
    int available() { int c = getchar(); if (c != EOF) ungetc(c, stdin); return c != EOF; }
    int read() { return getchar(); }
    void print(const __FlashStringHelper *text) { fputs(reinterpret_cast<const char *>(text), stdout); }
    void print(char c) { putchar(c); }
    void print(int value) { printf("%d", value); }
    void print(unsigned value) { printf("%u", value); }
    void print(unsigned long value) { printf("%lu", value); }
    void print(double value, int digits) { printf("%.*f", digits, value); }
    void println() { putchar('\\n'); }
    template <class T> void println(T value) { print(value); println(); }
};
static SerialLine Serial;
static unsigned long ticks;
static inline unsigned long micros() { return ticks += 3; }
static inline unsigned long millis() { return ticks += 1; }
"""
WORDS = ("nan", "-NAN", "inf", "-infinity", "1e999")  # strtod takes them
MAIN = "\nint main() { setup(); for (;;) { loop(); if (Serial.available() == 0) return 0; } }\n"


@pytest.mark.needs("arduino-builder", "avr-gcc")
def test_no_header_of_the_boards_is_hidden() -> None:
    """Every header that an AVR's C library, Arduino's core and the libraries beside it have."""
    core = Path(HARDWARE[0]) / "arduino" / "avr"
    folders = [
        *core.glob("cores/*"),
        *core.glob("variants/*"),
        *core.glob("libraries/*/src"),
        Path("/usr/lib/avr/include"),
    ]
    found = {file.stem for folder in folders for file in folder.glob("*.h")}
    assert {"Arduino", "Print", "pins_arduino", "SPI", "stdint"} <= found
    usable = [name for name in found if re.fullmatch(r"\w+", name) and not hides_header(name, arduino=True)]
    assert not usable


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that writes a layout of a model once and returns its folder."""
    root = tmp_path_factory.mktemp("layouts")

    def write(layout: str, name: str) -> Path:
        folder = root / layout / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            write_layout(library(layout, name), folder, layout)
        return folder

    return write


def run(*command: object, cwd: Path | None = None, said: str | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, input=said, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


# --- the sketches with a core of our own ---


def sketch_program(folder: Path, sketch: str, work: Path) -> Path:
    """The sketch as a program of this machine, without a warning as C++11 and C++14."""
    text = (folder / "examples" / sketch / f"{sketch}.ino").read_text()
    (work / "Arduino.h").write_text(ARDUINO_H)
    (work / "sketch.cpp").write_text(f'#include "Arduino.h"\n{text}{MAIN}')
    flags = ("-O1", *WARNINGS, "-I", work, "-I", folder / "src")
    run("g++", "-std=gnu++14", "-fsyntax-only", *flags, work / "sketch.cpp")
    run("g++", "-std=gnu++11", *flags, "-c", work / "sketch.cpp", "-o", work / "sketch.o")
    for source in sorted((folder / "src").glob("*.c")):
        run("gcc", "-std=gnu11", *flags, "-c", source, "-o", work / f"{source.stem}.o")
    run("g++", *sorted(work.glob("*.o")), "-o", work / "sketch")
    return work / "sketch"


@pytest.mark.needs("gcc", "g++")
@pytest.mark.parametrize("name", ["soh", "flow", "mixed", "timed"])
def test_forecast_answers_what_the_reference_computes(
    name: str, written: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """Outputs with every tenth sample, a window that fills, ports of several scales, the time as an argument."""
    model = compiled(name)
    lines, expected = conversation(model, 21)
    numbers = model.program.input_size + (model.program.time is not None)
    words = [" ".join(["1"] * (numbers - 1) + [word]) for word in WORDS]
    said = [*lines, "reset", lines[0].replace(" ", ",\t"), "1 2 x", "1 " * (numbers + 1), "1" * 30, *words, ""]
    program = sketch_program(written("arduino", name), "Forecast", tmp_path)
    answers = run(program, said="\r\n".join(said)).splitlines()
    assert len(answers) == len(lines) + 4 + len(WORDS)
    for answer, row in zip(answers, expected, strict=False):
        check_answer(answer, row, model)
    assert answers[len(lines)] == answers[0]
    assert answers[len(lines) + 1 :] == [f"expected numbers in a line: {numbers}"] * (3 + len(WORDS))


def conversation(model: Compiled, steps: int) -> tuple[list[str], np.ndarray]:
    """Lines of inputs that the ports can hold exactly, and a row of outputs for each, NaN where none is due."""
    rng, program = np.random.default_rng(0), model.program
    if model.checkpoint.architecture.mode == "window":
        streams = to_real(rng.integers(-9000, 9000, (steps, 1, program.input_size)), program.inputs)
    else:
        streams = to_real(rng.integers(-9000, 9000, (1, steps, program.input_size)), program.inputs)
    times = rng.integers(8, 17, streams.shape[:2]) / 8 if program.time else None
    outputs = run_reference(program, streams, times).reshape(steps, -1)
    rows = streams.reshape(steps, -1) if times is None else np.concatenate([streams[0], times.T], axis=1)
    return [" ".join(f"{value:.9g}" for value in row) for row in rows], outputs


def check_answer(answer: str, row: np.ndarray, model: Compiled) -> None:
    if np.isnan(row).any():
        assert re.fullmatch(r"[1-9]\d* more needed", answer)
        return
    numbers = np.array(answer.split(), dtype=float)
    units = np.abs(to_real(np.ones(len(numbers), dtype=np.int64), model.program.outputs))
    assert numbers.shape == row.shape
    assert (np.abs(numbers - row) <= 0.51 * units).all()  # so near that no other raw value could be meant


@pytest.mark.needs("gcc", "g++")
def test_forecast_refuses_a_time_out_of_range(written: Callable[[str, str], Path], tmp_path: Path) -> None:
    program = sketch_program(written("arduino", "timed"), "Forecast", tmp_path)
    assert run(program, said="0 0 9\n").splitlines() == ["the time is out of range"]


@pytest.mark.needs("gcc", "g++")
@pytest.mark.parametrize("name", ["soh", "timed"])
def test_the_other_sketches_run(name: str, written: Callable[[str, str], Path], tmp_path: Path) -> None:
    for sketch in ("SelfTest", "Benchmark"):
        (tmp_path / sketch).mkdir()
    folder = written("arduino", name)
    assert run(sketch_program(folder, "SelfTest", tmp_path / "SelfTest")) == "PASS\n"
    said = run(sketch_program(folder, "Benchmark", tmp_path / "Benchmark"))
    assert re.fullmatch(r"least \d+ us\nmean  \d+ us\nworst \d+ us\nmean  \d+\.\d{3} ms\n", said)


def with_another_output(golden: str) -> str:
    """Golden vectors of which the first output is one more."""
    table = golden.index("= {", golden.index("_golden_out["))
    found = re.compile(r"-?\d+").search(golden, table)
    assert found
    return golden[: found.start()] + str(int(found.group()) + 1) + golden[found.end() :]


@pytest.mark.needs("gcc", "g++")
def test_the_self_test_sketch_can_fail(tmp_path: Path) -> None:
    made = library("arduino", "timed")
    made["src/timed_golden.h"] = with_another_output(made["src/timed_golden.h"])
    write_layout(made, tmp_path / "timed", "arduino")
    (tmp_path / "work").mkdir()
    said = run(sketch_program(tmp_path / "timed", "SelfTest", tmp_path / "work"))
    assert re.fullmatch(r"FAIL: the first step that differs is \d+\n", said)


@pytest.mark.needs("arm-none-eabi-g++")
@pytest.mark.parametrize("sketch", SKETCHES)
def test_a_sketch_compiles_for_a_cortex_m4(sketch: str, written: Callable[[str, str], Path], tmp_path: Path) -> None:
    """There Benchmark counts cycles. int32_t is a long, as on the boards."""
    folder = written("arduino", "timed")
    text = (folder / "examples" / sketch / f"{sketch}.ino").read_text()
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "sketch.cpp").write_text(f'#include "Arduino.h"\n{text}')
    flags = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-funsigned-char", *WARNINGS, "-I", tmp_path, "-I", folder / "src")
    for standard in ("gnu++11", "gnu++14"):
        run("arm-none-eabi-g++", f"-std={standard}", *flags, "-S", tmp_path / "sketch.cpp", "-o", tmp_path / "sketch.s")
    assert ("cycles" in (tmp_path / "sketch.s").read_text()) == (sketch == "Benchmark")


@pytest.mark.needs("gcc")
def test_the_self_test_may_be_compiled_into_the_model(written: Callable[[str, str], Path], tmp_path: Path) -> None:
    """As with PlatformIO's build_flags = -DSOH_SELFTEST: the file of its own is then empty."""
    folder = written("platformio", "soh")
    main = "#include <soh.h>\nsoh_state s;\nsoh_scratch w;\nint main(void) { return soh_selftest(&s, &w); }\n"
    (tmp_path / "main.c").write_text(main)
    sources = (tmp_path / "main.c", *sorted((folder / "src").glob("*.c")))
    flags = ("-std=c99", "-pedantic", *WARNINGS, "-DSOH_SELFTEST", "-I", folder / "include", "-I", folder / "src")
    run("gcc", *flags, *sources, "-o", tmp_path / "main")
    run(tmp_path / "main")


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("name", ["soh", "timed", "brief"])
def test_the_example_of_the_readme_works(name: str, written: Callable[[str, str], Path], tmp_path: Path) -> None:
    """It gives a result: only a student waits for nine more samples first."""
    folder = written("zephyr", name)
    found = re.search(r"^```c\n(.*?\n)\n(static.*?\n)\n(.*?)^```$", (folder / "README.md").read_text(), re.M | re.S)
    assert found
    text = f"{found[1]}{found[2]}int main(void)\n{{\nfloat result = -1e30f;\n{found[3]}return result > -1e30f;\n}}\n"
    (tmp_path / "main.c").write_text(text)
    flags = ("-std=c99", *WARNINGS, "-I", folder / "include")
    run("gcc", *flags, tmp_path / "main.c", folder / "src" / f"{name}.c", "-o", tmp_path / "main")
    assert subprocess.run([tmp_path / "main"], check=False).returncode == (name != "soh")


# --- Arduino's own builder ---

BOARDS = {"uno": "arduino:avr:uno", "mega": "arduino:avr:mega:cpu=atmega2560", "leonardo": "arduino:avr:leonardo"}
EXTRA = [sketch for sketch in firmware_names("arduino") if sketch not in SKETCHES]
BUILDS = [
    *((sketch, "uno", "soh") for sketch in (*SKETCHES, *EXTRA)),
    ("SelfTest", "mega", "timed"), ("Forecast", "leonardo", "mixed"),
]  # fmt: skip


Build = Callable[[Path, str, str], tuple[Path, str]]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds a sketch of a library's folder: its ELF, and what the builder said of our files."""
    root = tmp_path_factory.mktemp("builds")
    (root / "cache").mkdir()

    def built(folder: Path, sketch: str, board: str) -> tuple[Path, str]:
        path = root / f"{folder.name}-{sketch}-{board}"
        path.mkdir(exist_ok=True)
        places = ("-hardware", HARDWARE[0], "-hardware", HARDWARE[1], "-tools", "/usr/bin", "-tools", HARDWARE[1])
        extra = "compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__"
        done = subprocess.run(
            ["arduino-builder", "-compile", *places, "-libraries", str(folder.parent), "-fqbn", BOARDS[board],
             "-warnings", "all", "-prefs", extra, "-build-cache", str(root / "cache"), "-build-path", str(path),
             str(folder / "examples" / sketch / f"{sketch}.ino")],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-3000:]
        ours = [line for line in said.splitlines() if "warning" in line and not line.startswith(HARDWARE[0])]
        return path / f"{sketch}.ino.elf", "\n".join(ours)

    return built


@pytest.mark.needs("arduino-builder", "avr-gcc")
@pytest.mark.parametrize(("sketch", "board", "name"), BUILDS)
def test_arduino_builds_it_without_a_warning(
    sketch: str, board: str, name: str, written: Callable[[str, str], Path], build: Build
) -> None:
    elf, warnings = build(written("arduino", name), sketch, board)
    assert warnings == ""
    assert ("golden" in run("avr-nm", elf)) == (sketch == "SelfTest"), "vectors in flash only where somebody runs them"


@pytest.mark.needs("arduino-builder", "avr-gcc")
def test_a_warning_would_be_seen(build: Build, tmp_path: Path) -> None:
    made = library("arduino", "odd")
    made["src/odd.h"] = made["src/odd.h"].replace("#include <stdint.h>", "#include <stdint.h>\nstatic int unused;")
    write_layout(made, tmp_path / "odd", "arduino")
    assert "unused" in build(tmp_path / "odd", "SelfTest", "uno")[1]


@pytest.mark.needs("arduino-builder", "avr-gcc", "simavr")
def test_the_self_test_passes_on_an_uno(written: Callable[[str, str], Path], build: Build) -> None:
    """The real core's serial line, link-time optimisation and all."""
    elf, _ = build(written("arduino", "soh"), "SelfTest", "uno")
    assert "PASS" in on_simavr(elf, "PASS|FAIL")


def on_simavr(elf: Path, until: str) -> str:
    """What a sketch prints, up to a pattern; a sketch does not end."""
    command = ["simavr", "-m", "atmega328p", "-f", "16000000", str(elf)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    try:
        assert running.stdout
        for line in running.stdout:
            said += line
            if re.search(until, line):
                break
    finally:
        running.kill()
        running.wait(timeout=10)
    return said


# --- CMake, and Zephyr's functions as stubs ---

PARENT = """\
cmake_minimum_required(VERSION 3.13)
project(parent LANGUAGES C)
add_executable(firmware main.c)
"""


@pytest.mark.needs("cmake", "make", "gcc")
def test_cmake_builds_and_tests_it_inside_another_project(tmp_path: Path) -> None:
    """With the lines and the command of its README, as they stand there."""
    made = library("cmake")
    write_layout(made, tmp_path / "soh", "cmake")
    found = re.search(r"^```cmake\n(.*?)^```$.*`(-D\w+=ON)`.*`(ctest .*?)`", made["README.md"], re.M | re.S)
    assert found
    lines, option, test = found.groups()
    (tmp_path / "CMakeLists.txt").write_text(PARENT + lines)
    main = "#include <soh.h>\nint main(void) { static soh_state s; soh_reset(&s); return 0; }\n"
    (tmp_path / "main.c").write_text(main)
    build = tmp_path / "build"
    flags = "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"
    run("cmake", "-S", tmp_path, "-B", build, option, flags)
    run("cmake", "--build", build)
    run(build / "firmware")
    assert "100% tests passed, 0 tests failed out of 1" in run(*test.split(), cwd=build)
    golden = tmp_path / "soh" / "src" / "soh_golden.h"
    golden.write_text(with_another_output(golden.read_text()))
    run("cmake", "--build", build)
    assert subprocess.run(test.split(), cwd=build, capture_output=True, check=False).returncode != 0


@pytest.mark.needs("cmake", "make", "gcc")
def test_cmake_builds_it_alone_without_its_test(written: Callable[[str, str], Path], tmp_path: Path) -> None:
    run("cmake", "-S", written("cmake", "timed"), "-B", tmp_path)
    run("cmake", "--build", tmp_path)
    assert (tmp_path / "libtimed.a").exists() and not list(tmp_path.glob("timed_selftest*"))


ZEPHYR = """\
function(zephyr_include_directories)
  message("include ${{ARGV}}")
endfunction()
function(zephyr_library)
  message("library")
endfunction()
function(zephyr_library_sources)
  message("sources ${{ARGV}}")
endfunction()
function(zephyr_compile_definitions_ifdef wanted)
  if(${{wanted}})
    message("define ${{ARGN}}")
  endif()
endfunction()
{settings}
include("{folder}/CMakeLists.txt")
"""


@pytest.mark.needs("cmake")
@pytest.mark.parametrize("settings", [(), ("CONFIG_LNNC_SOH",), ("CONFIG_LNNC_SOH", "CONFIG_LNNC_SOH_SELFTEST")])
def test_zephyr_takes_the_module(
    settings: tuple[str, ...], written: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = written("zephyr", "soh")
    lines = "\n".join(f"set({setting} y)" for setting in settings)
    (tmp_path / "stubs.cmake").write_text(ZEPHYR.format(settings=lines, folder=folder))
    done = subprocess.run(["cmake", "-P", "stubs.cmake"], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = ["include include", *["define SOH_SELFTEST"] * (len(settings) > 1), "library", "sources src/soh.c"]
    assert done.stderr.splitlines() == (expected if settings else [])
    assert (folder / "include" / "soh.h").exists() and (folder / "src" / "soh.c").exists()


def test_the_module_describes_itself() -> None:
    made = library("zephyr", "timed")
    assert re.search(r"^name: timed$\n^build:$\n^  cmake: \.$\n^  kconfig: Kconfig$", made["zephyr/module.yml"], re.M)
    defined = set(re.findall(r"^config (\w+)$", made["Kconfig"], re.M))
    used = set(re.findall(r"CONFIG_(\w+)", made["CMakeLists.txt"] + made["README.md"]))
    assert used == defined == {"LNNC_TIMED", "LNNC_TIMED_SELFTEST"}
    assert made["Kconfig"].count("\nif ") == made["Kconfig"].count("\nendif") == 1
