"""docs/generated-c.md: its program and its sketch compile and give what the reference gives; its promises hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest
from streams import toy_files, toy_program

from lnnc.codegen.emit import Files
from lnnc.output import write_pair
from lnnc.pipeline import Compiled, compile_model
from lnnc.reference.interp import Machine
from lnnc.reference.quantio import to_raw, to_real
from lnnc.resources import example_path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "generated-c.md").read_text(encoding="utf-8")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic", "-Werror")
# The page's sketch on a machine without an Arduino: enough of Arduino.h, and one turn of loop().
ARDUINO = """#include <cstdio>
struct Port { void begin(long) {} void println(float v, int digits) { std::printf("%.*f\\n", digits, double(v)); } };
static Port Serial;
static void delay(unsigned long) {}
#include "sketch.inc"
int main() { setup(); loop(); return 0; }
"""

needs_cc = pytest.mark.needs("cc")


def block(language: str) -> str:
    """The page's only code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def soh() -> Compiled:
    return compile_model(example_path("dlnet/student.pt"), "soh")


@pytest.fixture
def folder(soh: Compiled, tmp_path: Path) -> Path:
    """A folder with soh.c, soh.h, soh_golden.h and the page's main.c."""
    write_pair(soh.files, tmp_path / "soh.c")
    (tmp_path / "main.c").write_text(block("c"))
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_and_run(folder: Path, *arguments: str) -> str:
    run(["cc", "-std=c99", "-O2", *WARNINGS, *arguments, "-o", "program"], folder)
    return run(["./program"], folder)


def forecast(soh: Compiled, real: np.ndarray) -> np.ndarray:
    """What the reference gives for one window."""
    _, out = Machine(soh.program).step(to_raw(real[None].astype(np.float32).astype(np.float64), soh.program.inputs))
    assert out is not None
    return to_real(out, soh.program.outputs)[0]


@needs_cc
@pytest.mark.parametrize("define", ["-DPLAIN", "-DSOH_SELFTEST"])
def test_the_program_prints_what_the_reference_computes(soh: Compiled, folder: Path, define: str) -> None:
    printed = [float(line) for line in build_and_run(folder, define, "soh.c", "main.c").splitlines()]
    ramp = np.float32(1) - np.float32(0.0005) * np.arange(100, dtype=np.float32)
    np.testing.assert_allclose(printed, forecast(soh, ramp), atol=5.1e-5)


@needs_cc
def test_a_wrong_table_fails_the_self_test(folder: Path) -> None:
    source = (folder / "soh.c").read_text()
    broken = re.sub(r"(soh_decoder_\w*bias\[\d+\] SOH_FLASH = \{\n\s*)", r"\g<1>1000000 + ", source, count=1)
    assert broken != source
    (folder / "soh.c").write_text(broken)
    run(["cc", "-std=c99", "-DSOH_SELFTEST", "soh.c", "main.c", "-o", "program"], folder)
    done = subprocess.run(["./program"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "self-test failed\n")


@pytest.mark.needs("g++", "cc")
def test_the_sketch_runs(soh: Compiled, folder: Path) -> None:
    (folder / "sketch.inc").write_text(block("cpp"))
    (folder / "sketch.cpp").write_text(ARDUINO)
    run(["cc", "-c", "-Os", "-funsigned-char", *WARNINGS, "soh.c"], folder)
    run(["g++", "-Os", "-funsigned-char", *WARNINGS, "sketch.cpp", "soh.o", "-o", "program"], folder)
    expected = forecast(soh, np.full(100, 0.95))[-1]
    assert float(run(["./program"], folder)) == pytest.approx(expected, abs=5.1e-5)


@pytest.mark.needs("g++")
def test_it_is_cpp_too(folder: Path) -> None:
    run(["g++", "-x", "c++", "-std=c++11", *WARNINGS, "-c", "soh.c", "main.c"], folder)


@needs_cc
def test_no_float_leaves_no_float(folder: Path) -> None:
    run(["cc", "-std=c99", *WARNINGS, "-DSOH_NO_FLOAT", "-c", "soh.c"], folder)
    text = run(["cc", "-std=c99", "-DSOH_NO_FLOAT", "-E", "-P", "soh.c"], folder)
    assert not re.search(r"\b(float|double)\b", text)


@needs_cc
def test_two_models_in_one_unit(folder: Path) -> None:
    write_pair(compile_model(example_path("dlnet/student.pt"), "other", stem="other").files, folder / "other.c")
    (folder / "both.c").write_text('#include "soh.c"\n#include "other.c"\n')
    assert len(build_and_run(folder, "both.c", "main.c").splitlines()) == 100


@needs_cc
def test_the_trace_hook_counts_the_calls(soh: Compiled, folder: Path) -> None:
    (folder / "trace.h").write_text(
        "#include <stdint.h>\nvoid trace_hook(int id, const void *data, uint32_t bytes);\n"
        "#define SOH_TRACE(id, data, bytes) trace_hook(id, data, bytes)\n"
    )
    (folder / "hook.c").write_text(
        '#include "trace.h"\n#include <stdio.h>\nvoid trace_hook(int id, const void *data, uint32_t bytes)\n'
        '{\n    (void)data;\n    printf("%d %lu\\n", id, (unsigned long)bytes);\n}\n'
    )
    run(["cc", "-c", "soh.c", "-include", "trace.h"], folder)
    lines = build_and_run(folder, "soh.o", "main.c", "hook.c").splitlines()
    seen = [int(line.split()[0]) for line in lines if " " in line]
    assert sorted(set(seen)) == list(range(len(soh.program.calls())))
    assert len(seen) == sum(len(b.calls) * b.repeat for b in soh.program.blocks)


@needs_cc
def test_helpers_round_and_saturate(folder: Path) -> None:
    (folder / "main.c").write_text(
        '#include "soh.h"\n#include <stdio.h>\n#include <math.h>\nint main(void)\n{\n'
        '    printf("%d %d %d %d %d %d\\n", soh_from_real(0, 1.5f / 16384), soh_from_real(0, -1.5f / 16384),\n'
        "        soh_from_real(0, 9.0f), soh_from_real(0, -9.0f), soh_from_real(0, NAN), soh_from_real(0, 0.5f));\n"
        "    return 0;\n}\n"
    )
    assert build_and_run(folder, "soh.c", "main.c").split() == ["2", "-2", "32767", "-32768", "-32768", "8192"]


@pytest.mark.needs("avr-gcc")
def test_an_avr_keeps_the_tables_in_flash(soh: Compiled, folder: Path) -> None:
    run(["avr-gcc", "-mmcu=atmega328p", "-std=c99", "-Os", *WARNINGS, "-c", "soh.c"], folder)
    sizes = run(["avr-size", "-A", "soh.o"], folder)
    sections = {line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")}
    assert sections.get(".data", 0) == sections.get(".bss", 0) == 0
    assert sum(n for name, n in sections.items() if "progmem" in name) >= sum(c.bytes for c in soh.program.constants)


def recurrent() -> Files:
    """A model with a state and an argument dt."""
    return toy_files(toy_program(time=True), "soh")


def test_every_public_name_is_described(soh: Compiled) -> None:
    for header in (soh.files.header, recurrent().header):
        names = set(re.findall(r"\b(?:soh|SOH)_\w+", header)) - {"SOH_H", "soh_golden"}
        assert names
        missing = sorted(name for name in names if not re.search(rf"\b{name}\b", TEXT))
        assert not missing


def test_every_code_is_what_the_page_says(soh: Compiled) -> None:
    defined = dict(re.findall(r"#define (SOH_(?:LOAD_\w+|BAD_DT)) \((-\d)\)", recurrent().header))
    assert len(defined) == 6
    told = dict(re.findall(r"^\| `(SOH_(?:LOAD_\w+|BAD_DT))` \| (-\d)", TEXT, re.MULTILINE))
    assert told == defined
    assert "#define SOH_STATES 0 " in soh.files.header


def snippet(word: str) -> str:
    """The page's only block of C without a language that holds a word."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (found,) = [text for language, text in blocks if not language and word in text]
    return str(found)


@needs_cc
def test_a_state_survives_as_the_page_shows(tmp_path: Path) -> None:
    """The snippets of saving and of time, run: the forecast after a loss of power is the one without."""
    files = recurrent()
    for name, text in (("soh.c", files.source), ("soh.h", files.header)):
        (tmp_path / name).write_text(text)
    declared, saving = snippet("soh_save").split("\n\n")
    timed = snippet("soh_dt_from_real").replace("    ...\n", '    printf("%d\\n", out[0]);\n')
    lost = "for (i = 0; i < sizeof state; i++) ((unsigned char *)&state)[i] = 0x5A;"
    program = f"""
#include "soh.h"
#include <stdio.h>
static soh_state state;
static soh_scratch scratch;
static int16_t in[SOH_INPUTS] = {{300, -300}}, out[SOH_OUTPUTS];
{declared}
static void step(void)
{{
{indent(timed, "    ")}
}}
int main(void)
{{
    unsigned i;
    soh_reset(&state);
    step();
{indent(saving.replace("/* ... power is gone and comes back ... */", lost), "    ")}
    step();
    soh_reset(&state);
    step();
    step();
    return 0;
}}
"""
    (tmp_path / "main.c").write_text(program)
    lines = build_and_run(tmp_path, "soh.c", "main.c").split()
    assert len(lines) == 4 and lines[:2] == lines[2:] and lines[0] != lines[1]
