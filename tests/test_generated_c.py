"""What the generated files are and do: includes, self-test, conversions, the same bytes every time."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from liquid import FOR_AN_UNO, TABLE, liquid_model
from networks import small_models

from lnnc.codegen.emit import STACK_BOUND, Identity, emit
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.program import ProgramPort
from lnnc.output import write_pair
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.reference.quantio import fracs, to_raw, to_real
from lnnc.report.size import CFLAGS, assembly_pushes, measure
from lnnc.resources import example_path
from lnnc.targets import Build
from lnnc.verify.check import check_model
from lnnc.verify.host import HostMachine
from lnnc.verify.vectors import make_golden, make_groups

PLAIN = ("soh", "flow", "mixed", "odd")
MODELS = (*PLAIN, *TABLE)
INCLUDES = {"<stdint.h>", "<avr/pgmspace.h>", "<arm_acle.h>"}
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
ROOT = Path(__file__).resolve().parent.parent

MAIN = """\
{includes}
int main(void)
{{
    int failed = 0;
{calls}
    return failed;
}}
"""
CALL = """\
    {{
        static {name}_state state;
        static {name}_scratch scratch;
        failed |= {name}_selftest(&state, &scratch);
    }}
"""


@functools.cache
def compiled(name: str) -> Compiled:
    if name in TABLE:
        return liquid_model(name)
    document, width = small_models()[name]
    return compile_model(parse_checkpoint(document, name), name, Options(width))


def main_text(*names: str) -> str:
    includes = "\n".join(f'#include "{name}.h"' for name in names)
    return MAIN.format(includes=includes, calls="".join(CALL.format(name=name) for name in names))


def build_and_run(folder: Path, *command: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Write main.c (or what `files` name: main_c -> main.c), compile, run."""
    for name, text in files.items():
        (folder / name.replace("_c", ".c").replace("_h", ".h")).write_text(text, encoding="utf-8")
    built = subprocess.run([*command, "-o", "program"], cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:3000]
    return subprocess.run([str(folder / "program")], capture_output=True, text=True, timeout=60, check=False)


def selftest(folder: Path, name: str, *flags: str) -> int:
    command = ("gcc", "-std=c99", *flags, f"-D{name.upper()}_SELFTEST", "main.c", f"{name}.c")
    return build_and_run(folder, *command, main_c=main_text(name)).returncode


# --- text ---


@pytest.mark.parametrize("name", MODELS)
def test_includes_nothing_but_stdint(name: str) -> None:
    files = compiled(name).files
    own = {f'"{name}.h"', f'"{name}_golden.h"'}
    for text in (files.source, files.header, files.golden):
        found = set(re.findall(r"^[ \t]*#[ \t]*include[ \t]*(\S+)", text, re.MULTILINE))
        assert found <= INCLUDES | own
        assert text.isascii()
        assert "\r" not in text and "\t" not in text and text.endswith("\n")
        assert max(map(len, text.splitlines())) <= 400  # the manifest is one line


@pytest.mark.parametrize("name", MODELS)
def test_source_has_no_float_and_no_plain_char(name: str) -> None:
    code = re.sub(r"/\*.*?\*/", "", compiled(name).files.source, flags=re.DOTALL)
    assert not re.search(r"\b(float|double|char|malloc|free|long)\b", code)
    assert not re.search(r"\d\.\d|\de-?\d", code)


# --- the self-test ---


@pytest.mark.needs("gcc")
@pytest.mark.parametrize(
    "flags", [("-O0",), ("-O2",), ("-O3",), ("-Os", "-funsigned-char"), ("-O1", *SANITIZE)], ids=" ".join
)
@pytest.mark.parametrize("name", MODELS)
def test_selftest_passes(name: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    write_pair(compiled(name).files, tmp_path / f"{name}.c")
    assert selftest(tmp_path, name, *flags) == 0


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("name", MODELS)
def test_selftest_fails_on_one_changed_value(name: str, tmp_path: Path) -> None:
    """One golden output, one bit of one weight, one kernel constant: each is noticed."""
    write_pair(compiled(name).files, tmp_path / f"{name}.c")
    golden, source = tmp_path / f"{name}_golden.h", tmp_path / f"{name}.c"
    text = golden.read_text(encoding="ascii")
    golden.write_text(change_last_number(text, "golden_out"), encoding="ascii")
    assert selftest(tmp_path, name, "-O1") > 0
    golden.write_text(text, encoding="ascii")
    assert selftest(tmp_path, name, "-O1") == 0
    text = source.read_text(encoding="ascii")
    table = next(c.name for c in compiled(name).program.constants if c.name.endswith(("_bias", "_mult")))
    source.write_text(change_last_number(text, f"{name}_{table}["), encoding="ascii")
    assert selftest(tmp_path, name, "-O1") > 0


def change_last_number(text: str, table: str) -> str:
    """The text with the last number of a table changed by a quarter of itself, and one."""
    end = text.index("};", text.index(table))
    number = list(re.finditer(r"-?\d+", text[:end]))[-1]
    value = int(number.group())
    return text[: number.start()] + str(value - value // 4 - 1) + text[number.end() :]


@pytest.mark.needs("gcc")
def test_all_models_in_one_program(tmp_path: Path) -> None:
    """Linked from separate files, and included into one translation unit."""
    for name in MODELS:
        write_pair(compiled(name).files, tmp_path / f"{name}.c")
    defines = [f"-D{name.upper()}_SELFTEST" for name in MODELS]
    sources = [f"{name}.c" for name in MODELS]
    linked = build_and_run(tmp_path, "gcc", "-std=c99", "-O1", *defines, "main.c", *sources, main_c=main_text(*MODELS))
    assert linked.returncode == 0
    whole = "".join(f'#include "{source}"\n' for source in sources) + main_text(*MODELS)
    assert build_and_run(tmp_path, "gcc", "-std=c99", "-O1", *defines, "all.c", all_c=whole).returncode == 0


# --- a sketch ---

# Of Arduino.h and binary.h: what could meet a name of ours. Functions of the C library stand in for macros' callees.
ARDUINO_H = """\
#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1
#define INPUT_PULLUP 0x2
#define PI 3.1415926535897932384626433832795
#define HALF_PI 1.5707963267948966192313216916398
#define TWO_PI 6.283185307179586476925286766559
#define EULER 2.718281828459045235360287471352
#define SERIAL 0x0
#define DISPLAY 0x1
#define DEFAULT 1
#define EXTERNAL 0
#define INTERNAL 3
#define CHANGE 1
#define B0 0
#define B1 1
#define B01 1
#define B10 2
#define A0 14
#define F(string_literal) (string_literal)
#define min(a,b) ((a)<(b)?(a):(b))
#define max(a,b) ((a)>(b)?(a):(b))
#define abs(x) ((x)>0?(x):-(x))
#define constrain(amt,low,high) ((amt)<(low)?(low):((amt)>(high)?(high):(amt)))
#define round(x) ((x)>=0?(long)((x)+0.5):(long)((x)-0.5))
#define radians(deg) ((deg)*0.017453292519943295)
#define degrees(rad) ((rad)*57.295779513082320)
#define sq(x) ((x)*(x))
#define lowByte(w) ((unsigned char) ((w) & 0xff))
#define highByte(w) ((unsigned char) ((w) >> 8))
#define bitRead(value, bit) (((value) >> (bit)) & 0x01)
#define bitSet(value, bit) ((value) |= (1UL << (bit)))
#define bit(b) (1UL << (b))
#define _BV(bit) (1 << (bit))
#define interrupts() sei()
#define cbi(sfr, bit) (sfr &= ~_BV(bit))
#define P1 1
#define D1 1
typedef unsigned int word;
typedef bool boolean;
typedef unsigned char byte;
"""
SKETCH = """\
#include "Arduino.h"
#include "soh.h"
#include "flow.h"

static soh_state state;
static soh_scratch scratch;
static flow_state flow;
static flow_scratch room;

static int setup_and_loop()
{
    int16_t in[SOH_INPUTS], out[SOH_OUTPUTS], sample[FLOW_INPUTS], answer[FLOW_OUTPUTS];
    soh_reset(&state);
    flow_reset(&flow);
    for (int i = 0; i < SOH_INPUTS; i++)
        in[i] = soh_from_real(i, 0.9f);
    if (soh_step(&state, &scratch, in, out) != 0 || soh_to_real(0, out[0]) != soh_to_real(0, out[0]))
        return 1;
    for (int i = 0; i < FLOW_INPUTS; i++)
        sample[i] = flow_from_real(i, 3.7f);
    if (flow_step(&flow, &room, sample, answer) != 5)
        return 2;
    return soh_selftest(&state, &scratch) || flow_selftest(&flow, &room);
}

int main() { return setup_and_loop(); }
"""


@pytest.mark.needs("gcc", "g++")
def test_a_sketch_takes_the_headers(tmp_path: Path) -> None:
    """C++ with the macros of Arduino.h before the headers, the models compiled as C: it needs extern "C"."""
    for name in ("soh", "flow"):
        write_pair(compiled(name).files, tmp_path / f"{name}.c")
        command = ["gcc", "-std=gnu11", "-Os", "-funsigned-char", f"-D{name.upper()}_SELFTEST", "-c", f"{name}.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "Arduino.h").write_text(ARDUINO_H, encoding="ascii")
    (tmp_path / "sketch.cpp").write_text(SKETCH, encoding="ascii")
    flags = ("-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-DSOH_SELFTEST", "-DFLOW_SELFTEST")
    assert build_and_run(tmp_path, "g++", *flags, "sketch.cpp", "soh.o", "flow.o").returncode == 0


# --- conversions of the header ---

CONVERT = """\
#include <stdio.h>
#include <stdlib.h>
#include "{name}.h"
int main(void)
{{
    int i, q;
    float real;
    char line[128];
    for (i = 0; i < {upper}_OUTPUTS; i++)
        for (q = -32768; q <= 32767; q += 77)
            printf("%.17g ", (double){name}_to_real(i, (int16_t)q));
    while (fgets(line, sizeof line, stdin)) {{
        char *end;
        i = (int)strtol(line, &end, 10);
        real = strtof(end, NULL);
        printf("%d ", {name}_from_real(i, real));
    }}
    return 0;
}}
"""


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("name", ["soh", "mixed"])
def test_conversions_equal_the_reference(name: str, tmp_path: Path) -> None:
    program = compiled(name).program
    write_pair(compiled(name).files, tmp_path / f"{name}.c")
    (tmp_path / "main.c").write_text(CONVERT.format(name=name, upper=name.upper()), encoding="ascii")
    subprocess.run(["gcc", "-std=c99", "-O1", "main.c", "-o", "program"], cwd=tmp_path, check=True)
    elements = np.unique(np.cumsum([0] + [p.size for p in program.inputs])[:-1])
    reals = {int(i): interesting(2.0 ** float(fracs(program.inputs)[i])) for i in elements}
    asked = "".join(f"{i} {float(v)!r}\n" for i, values in reals.items() for v in values)
    done = subprocess.run([str(tmp_path / "program")], input=asked, capture_output=True, text=True, check=True)
    answers = done.stdout.split()
    got = np.array([int(a) for a in answers[-asked.count("\n") :]])
    want = [expected_raw(float(v), i, program.inputs) for i, values in reals.items() for v in values]
    assert got.tolist() == want
    raw = np.arange(-32768, 32768, 77)
    back = np.array([float(a) for a in answers[: -asked.count("\n")]]).reshape(program.output_size, -1).T
    assert (back == to_real(np.repeat(raw[:, None], program.output_size, axis=1), program.outputs)).all()


def interesting(scale: float) -> np.ndarray:
    """Reals around every kind of edge: halves, saturation, infinities, NaN, denormals. float32."""
    rng = np.random.default_rng(0)
    raw = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        0.25,
        32767,
        32767.4,
        32767.5,
        32768,
        -32768,
        -32768.5,
        -32769,
        1e9,
        -1e30,
    ]
    numbers = np.concatenate([raw, rng.uniform(-33000, 33000, 300), rng.integers(-32768, 32767, 100) + 0.5]) / scale
    return np.concatenate([numbers, [np.inf, -np.inf, np.nan, 1e-45, 3e38]]).astype(np.float32)


def expected_raw(real: float, element: int, ports: tuple[ProgramPort, ...]) -> int:
    """What the reference says; a NaN is the lowest value in C, and no number for the reference."""
    if np.isnan(real):
        return -32768
    values = np.zeros(sum(p.size for p in ports))
    values[element] = real
    return int(to_raw(values, ports)[element])


# --- the same bytes ---

DIGESTS = """\
import hashlib
from test_generated_c import MODELS, compiled
for name in MODELS:
    files = compiled(name).files
    print(hashlib.sha256((files.source + files.header + files.golden).encode()).hexdigest())
"""


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Three hash seeds in processes of their own, and this one."""
    here = [
        hashlib.sha256((f.source + f.header + f.golden).encode()).hexdigest()
        for f in (compiled(name).files for name in MODELS)
    ]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGESTS], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        )
        for seed in ("0", "1", "4242")
    ]  # fmt: skip
    for run in runs:
        text, _ = run.communicate(timeout=120)
        assert run.returncode == 0
        assert text.split() == here


# --- an AVR, emulated: int has 16 bits there ---

AVR_MAIN = """\
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
{includes}
static void say(char letter)
{{
    while (!(UCSR0A & (1 << UDRE0))) {{}}
    UDR0 = (uint8_t)letter;
}}
int main(void)
{{
    int failed = 0;
    UCSR0B = 1 << TXEN0;
{calls}
    say(failed ? 'F' : 'P');
    say('\\n');
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}}
"""


@pytest.mark.needs("avr-gcc", "simavr")
@pytest.mark.parametrize(("name", "chip"), [
    *((name, chip) for name in PLAIN for chip in ("atmega328p", "atmega2560")),
    *((name, "atmega328p") for name in FOR_AN_UNO), ("wide", "atmega2560"),
])  # fmt: skip
def test_selftest_passes_on_an_avr(name: str, chip: str, tmp_path: Path) -> None:
    write_pair(compiled(name).files, tmp_path / f"{name}.c")
    assert run_on_avr(name, chip, tmp_path) == "P"
    golden = tmp_path / f"{name}_golden.h"
    golden.write_text(change_last_number(golden.read_text(encoding="ascii"), "golden_out"), encoding="ascii")
    assert run_on_avr(name, chip, tmp_path) == "F"


@pytest.mark.needs("arm-none-eabi-gcc")
@pytest.mark.parametrize("name", MODELS)
def test_the_stack_stays_below_what_the_banner_says(name: str) -> None:
    files = compiled(name).files
    assert f"at most {STACK_BOUND} bytes" in files.source
    assert measure(files.source, files.header, name).stack <= STACK_BOUND


@pytest.mark.needs("arm-none-eabi-gcc")
@pytest.mark.parametrize("name", PLAIN)
def test_assembly_counts_as_stack(name: str) -> None:
    """What the loop of packed layers pushes is in the figure, and below the banner's."""
    document, width = small_models()[name]
    made = compile_model(parse_checkpoint(document, name), name, Options(width), build=Build(packing="blocks"))
    plain, whole = (
        measure(made.files.source, made.files.header, name, (*CFLAGS, f"-D{name.upper()}_PATH={path}")).stack
        for path in (1, 2)
    )
    swept = f"{name}_packed_s16(" in made.files.source
    assert assembly_pushes(made.files.source) == ({f"{name}_sweep_s16": 56} if swept else {})
    assert plain <= STACK_BOUND and 56 * swept < whole <= STACK_BOUND
    assert swept == (name != "odd"), "its one dense layer feeds a table"


@pytest.mark.needs("avr-gcc", "simavr")
@pytest.mark.parametrize("model", ["dlnet/student.pt", "soh/student.pt"])
def test_the_bundled_student_runs_on_an_uno(model: str, tmp_path: Path) -> None:
    """The second one has every kernel of forecasts: their products of int16 need more than an int of 16 bits."""
    write_pair(compile_model(example_path(model), "soh").files, tmp_path / "soh.c")
    assert run_on_avr("soh", "atmega328p", tmp_path) == "P"


def run_on_avr(name: str, chip: str, folder: Path) -> str:
    """P or F, as the program said on its serial port before it went to sleep for good."""
    text = AVR_MAIN.format(includes=f'#include "{name}.h"', calls=CALL.format(name=name))
    (folder / "main.c").write_text(text, encoding="ascii")
    flags = ["-std=c99", "-Os", f"-mmcu={chip}", "-DF_CPU=16000000UL", f"-D{name.upper()}_SELFTEST"]
    subprocess.run(["avr-gcc", *flags, "main.c", f"{name}.c", "-o", "image.elf"], cwd=folder, check=True)
    command = ["simavr", "-m", chip, "-f", "16000000", "image.elf"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    said = re.search(r"\b([PF])\.", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr))
    return said.group(1) if said else done.stdout + done.stderr


@pytest.mark.parametrize("activations", ["int16", "int8"])
def test_a_state_that_is_not_updated_in_place_is_committed(activations: str) -> None:
    """With a slot of its own for every tensor the loop must copy the next state back; the bytes stay the same."""
    made = compile_model(example_path("dlnet/student.pt"), "soh", Options(activations))
    assert "_copy_s16(scratch->own" not in made.files.source
    owned = (replace(b, slot=f"own{i}") if b.kind == "scratch" else b for i, b in enumerate(made.program.buffers))
    apart = replace(made.program, buffers=tuple(owned))
    files = emit(apart, Identity("soh", "soh", "0", {}, "apart"), make_golden(apart))
    commit = re.search(r"\n +soh_copy_s16\(scratch->(own\d+), 10, scratch->(own\d+)\);\n    }", files.source)
    assert commit and commit[1] != commit[2]
    groups = make_groups(apart, None, 32)
    assert check_model(apart, files.source, files.header, "soh", HostMachine(), groups).difference == ""
    lost = files.source.replace(commit[0], "\n    }")
    flags = ["-Wno-error=unused-function"]
    assert "dynamics" in check_model(apart, lost, files.header, "soh", HostMachine(), groups, flags=flags).difference
