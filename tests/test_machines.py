"""The machines run a tiny hand-written model alike, and say clearly how a run went wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lnnc.errors import LnncError
from lnnc.resources import firmware_text
from lnnc.verify import model_run, tools
from lnnc.verify.emulate import M4Machine, find_m4
from lnnc.verify.host import HostMachine, find_host
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import Event, Garbage, Record, Reset, Step

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual", "-Wundef")
STRICT = (*WARNINGS, "-pedantic", "-Werror")

# Sums of squares over samples of three; the first two samples only fill it.
TINY_H = """\
#ifndef TINY_H
#define TINY_H
#include <stdint.h>
#define TINY_INPUTS 3
#define TINY_OUTPUTS 2
typedef struct { int32_t sum; int16_t seen; int16_t last; } tiny_state;
typedef struct { int32_t squares[3]; } tiny_scratch;
void tiny_reset(tiny_state *state);
int tiny_step(tiny_state *state, tiny_scratch *scratch, const int16_t *in, int16_t *out);
#endif
"""
TINY_C = """\
#include "tiny.h"
#ifndef TINY_TRACE
#define TINY_TRACE(id, data, bytes)
#endif

static void square(int32_t *to, const int16_t *in)
{
    int i;
    for (i = 0; i < TINY_INPUTS; i++) {
        to[i] = (int32_t)in[i] * in[i];
    }
}

void tiny_reset(tiny_state *state)
{
    state->sum = 0;
    state->seen = 0;
    state->last = 0;
}

int tiny_step(tiny_state *state, tiny_scratch *scratch, const int16_t *in, int16_t *out)
{
    uint32_t sum = (uint32_t)state->sum;
    square(scratch->squares, in);
    TINY_TRACE(7, scratch->squares, 12u);
    sum += (uint32_t)scratch->squares[0] + (uint32_t)scratch->squares[1] + (uint32_t)scratch->squares[2];
    state->sum = (int32_t)(sum & 0x7FFFFFFFu);
    state->last = in[2];
    /* FAULT */
    if (state->seen < 2) {
        state->seen++;
        return 3 - state->seen;
    }
    out[0] = (int16_t)(state->sum >> 16);
    out[1] = state->last;
    return 0;
}
"""
STATE_BYTES = 8


def meaning(records: list[Record], trace: bool) -> list[Event]:
    """The tiny model in Python."""
    events = []
    total = seen = last = 0
    for record in records:
        if isinstance(record, Reset):
            total = seen = last = 0
        if isinstance(record, Step):
            values = [int(value) for value in record.values]
            squares = np.array([value * value for value in values], "<i4")
            total, last = (total + sum(value * value for value in values)) & 0x7FFFFFFF, values[2]
            ret = max(2 - seen, 0)
            seen = min(seen + 1, 2)
            out = np.array([total >> 16, last] if ret == 0 else [0x5A5A] * 2).astype(np.int16)
            if trace:
                events.append(Event("T", trace_id=7, data=squares.tobytes()))
        state = np.array([total], "<i4").tobytes() + np.array([seen, last], "<i2").tobytes()
        if isinstance(record, Step):
            events.append(Event("S", ret, out, state))
        if isinstance(record, Reset):
            events.append(Event("R", state=state))
    return events


def stream(steps: int) -> list[Record]:
    rng = np.random.default_rng(1)
    rows = rng.integers(-32768, 32767, (steps, 3), dtype=np.int16, endpoint=True)
    records: list[Record] = [Garbage(), Reset(), *(Step(row, odd=i % 2 == 1) for i, row in enumerate(rows))]
    return [*records, Garbage(), Reset(), *(Step(row) for row in rows)]


def assert_same(got: list[Event], expected: list[Event]) -> None:
    assert [event.kind for event in got] == [event.kind for event in expected]
    for one, other in zip(got, expected, strict=True):
        assert (one.ret, one.state, one.trace_id, one.data) == (
            other.ret,
            other.state,
            other.trace_id,
            other.data,
        )
        assert np.array_equal(one.out, other.out)


MACHINES = [
    pytest.param(HostMachine(), id="host", marks=pytest.mark.needs("cc")),
    pytest.param(HostMachine(sanitize=True), id="host-sanitized", marks=pytest.mark.needs("cc")),
    pytest.param(M4Machine(), id="arm-qemu", marks=pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")),
    pytest.param(
        M4Machine(trap_unaligned=False),
        id="arm-qemu-untrapped",
        marks=pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm"),
    ),
    pytest.param(
        M4Machine(emulator="unicorn"),
        id="arm-unicorn",
        marks=pytest.mark.needs("arm-none-eabi-gcc", "unicorn", "elftools"),
    ),
    pytest.param(
        M4Machine("zig", "unicorn"),
        id="zig-unicorn",
        marks=pytest.mark.needs("ziglang", "unicorn", "elftools"),
    ),
]
QEMU = pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
UNICORN = pytest.mark.needs("arm-none-eabi-gcc", "unicorn", "elftools")


@pytest.mark.parametrize("trace", [False, True], ids=["plain", "trace"])
@pytest.mark.parametrize("machine", MACHINES)
def test_machine_runs_the_model(machine: Machine, trace: bool, tmp_path: Path) -> None:
    image = model_run.build_model(machine, TINY_C, TINY_H, "tiny", tmp_path, trace=trace, flags=STRICT)
    records = stream(20)
    output = machine.run(image, model_run.encode_records(records))
    assert_same(model_run.decode_output(output, 2, STATE_BYTES), meaning(records, trace))


@pytest.mark.parametrize("opt", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("machine", MACHINES)
def test_any_optimisation_level(machine: Machine, opt: str, tmp_path: Path) -> None:
    image = model_run.build_model(machine, TINY_C, TINY_H, "tiny", tmp_path, opt=opt, flags=STRICT)
    output = machine.run(image, model_run.encode_records([Reset(), Step(np.array([1, 2, 3]))]))
    assert_same(model_run.decode_output(output, 2, STATE_BYTES), meaning([Reset(), Step(np.array([1, 2, 3]))], False))


@pytest.mark.parametrize("machine", MACHINES)
def test_output_larger_than_the_buffers(machine: Machine, tmp_path: Path) -> None:
    windows = np.random.default_rng(2).integers(-999, 999, (20_000, 3), dtype=np.int16)
    odd = np.arange(len(windows)) % 3 == 0
    image = model_run.build_model(machine, TINY_C, TINY_H, "tiny", tmp_path)
    steps = model_run.decode_windows(machine.run(image, model_run.encode_windows(windows, odd)), 2, STATE_BYTES)
    assert np.all(steps.ret == 2)
    assert np.all(steps.out == model_run.SENTINEL)
    totals = steps.state[:, :4].copy().view("<i4")[:, 0]
    assert np.array_equal(totals, (windows.astype(np.int64) ** 2).sum(axis=1))


@pytest.mark.parametrize("machine", MACHINES)
def test_refuses_bad_records(machine: Machine, tmp_path: Path) -> None:
    image = model_run.build_model(machine, TINY_C, TINY_H, "tiny", tmp_path)
    for data in (b"\x07", b"\x00\x01\x00\x00"):
        with pytest.raises(LnncError, match="refused its input"):
            machine.run(image, data)


def run_with(fault: str, machine: Machine, tmp_path: Path, timeout: float = 60, opt: str = "-O2") -> bytes:
    """One odd step of the tiny model with a statement planted into it."""
    text = TINY_C.replace("/* FAULT */", fault)
    image = model_run.build_model(machine, text, TINY_H, "tiny", tmp_path, opt=opt)
    step = Step(np.array([1, 2, 3]), odd=True)
    return machine.run(image, model_run.encode_records([Reset(), step]), timeout)


@pytest.mark.parametrize("machine", MACHINES)
def test_compile_error_names_file_and_line(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"refused the code\n(.*\n)*tiny\.c:\d+:") as caught:
        run_with("oops;", machine, tmp_path)
    assert "oops" in str(caught.value)


@pytest.mark.parametrize("machine", MACHINES)
def test_endless_loop_times_out(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"no end after 1\.5 s"):
        run_with("for (;;) { *(volatile int32_t *)&state->sum = 1; }", machine, tmp_path, timeout=1.5)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "fault",
    [
        "*(volatile int16_t *)(out - 1) = 3;",
        "*(volatile int16_t *)(out + TINY_OUTPUTS) = 3;",
        "*(volatile int16_t *)(uintptr_t)in = 9;",
        "*((volatile char *)(state + 1)) = 9;",
        "*((volatile char *)scratch - 1) = 9;",
    ],
)
def test_writing_outside_is_seen(machine: Machine, fault: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"outside|AddressSanitizer"):
        run_with(fault, machine, tmp_path)


@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("state->sum = in[TINY_INPUTS];", "AddressSanitizer"),
        ("state->sum = INT32_MAX - state->seen; state->sum += in[2];", "signed integer overflow"),
        ("state->sum = *(const volatile int32_t *)(const void *)in;", "misaligned"),
    ],
)
def test_sanitizers_report(fault: str, report: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=report):
        run_with(fault, HostMachine(sanitize=True), tmp_path, opt="-O0")


@pytest.mark.needs("cc")
def test_host_crash_names_the_signal(tmp_path: Path) -> None:
    with pytest.raises(LnncError, match="SIGSEGV"):
        run_with("*(volatile int32_t *)0 = 1;", HostMachine(), tmp_path)


BAD_POINTER = "*(volatile int32_t *)(uintptr_t)0x60000000u = 1;"
ODD_WORD = "state->sum = *(const volatile int32_t *)(const void *)in;"
ODD_PAIR = """{
    int32_t a, b;
    __asm volatile("ldrd %0, %1, [%2]" : "=r"(a), "=r"(b) : "r"(in));
    state->sum = a + b;
}"""


@pytest.mark.parametrize(
    ("machine", "fault"),
    [
        pytest.param(M4Machine(), BAD_POINTER, id="pointer-qemu", marks=QEMU),
        pytest.param(M4Machine(emulator="unicorn"), BAD_POINTER, id="pointer-unicorn", marks=UNICORN),
        pytest.param(M4Machine(), ODD_WORD, id="odd-word", marks=QEMU),
        pytest.param(M4Machine(), ODD_PAIR, id="odd-ldrd", marks=QEMU),
        pytest.param(M4Machine(trap_unaligned=False), ODD_PAIR, id="odd-ldrd-untrapped", marks=QEMU),
        pytest.param(M4Machine(), '__asm volatile("udf #0");', id="undefined", marks=QEMU),
        pytest.param(M4Machine(emulator="unicorn"), '__asm volatile("udf #0");', id="undefined-unicorn", marks=UNICORN),
    ],
)
def test_processor_faults_are_reported(machine: Machine, fault: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"took a fault\nHardFault at pc 0x0000[0-9a-f]{4}"):
        run_with(fault, machine, tmp_path)


@QEMU
def test_a_board_allows_unaligned_words(tmp_path: Path) -> None:
    assert run_with(ODD_WORD, M4Machine(trap_unaligned=False), tmp_path)


@pytest.mark.parametrize("machine", MACHINES[2:])
def test_other_programs_run_too(machine: Machine, tmp_path: Path) -> None:
    """Any program over harness.h: here with 64-bit division, struct copies and the DSP intrinsics."""
    text = """\
#include "harness.h"
#include <arm_acle.h>
#ifndef __ARM_FEATURE_DSP
#error "no DSP instructions"
#endif
typedef struct { int32_t v[40]; } block;
static block a, b;
int harness_run(const uint8_t *input, uint32_t length)
{
    const uint32_t count = length / 4u;
    const uint32_t *words = (const uint32_t *)(const void *)input;
    const float half = 0.5f * (float)count;
    int64_t quotient = (int64_t)INT64_MIN / ((int32_t)words[1] - 1000);
    a.v[0] = __smlad((int16x2_t)words[0], (int16x2_t)words[1], (int32_t)half);
    a.v[1] = (int32_t)(quotient & 0x7FFFFFFF);
    b = a;
    harness_write(&b, 8u);
    return HARNESS_OK;
}
"""
    image = machine.build({"program.c": text}, tmp_path, defines=["ANY=1"])
    got = np.frombuffer(machine.run(image, np.array([3, -2, 5, 7], "<i2").tobytes()), "<i4")
    quotient = -(2**63 // ((7 << 16) + 5 - 1000))
    assert got.tolist() == [3 * 5 - 2 * 7 + 1, quotient & 0x7FFFFFFF]


@pytest.mark.needs("clang", "arm-none-eabi-gcc")
@pytest.mark.parametrize("cc", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_harness_is_warning_free(cc: str, tmp_path: Path) -> None:
    machine = M4Machine() if cc.startswith("arm") else HostMachine(cc=cc)
    model_run.build_model(machine, TINY_C, TINY_H, "tiny", tmp_path, trace=True, flags=STRICT)


def test_decoding_refuses_what_is_cut_short() -> None:
    whole = b"R" + bytes(8) + b"T\x07\x00\x02\x00\x00\x00ab" + b"S" + bytes(4 + 4 + 8)
    assert [event.kind for event in model_run.decode_output(whole, 2, 8)] == ["R", "T", "S"]
    for length in range(1, len(whole)):
        if length in (9, 18):  # between two records
            continue
        with pytest.raises(LnncError, match="ends at byte"):
            model_run.decode_output(whole[:length], 2, 8)
    with pytest.raises(LnncError, match="out of step"):
        model_run.decode_output(b"Q", 2, 8)
    with pytest.raises(LnncError, match="multiple"):
        model_run.decode_windows(whole, 2, 8)


def test_header_is_the_first_quoted_include() -> None:
    assert model_run.header_name('#include <stdint.h>\n#include "a_b.h"\n#include "c.h"\n') == "a_b.h"
    assert model_run.header_name("int x;\n") == "lnn.h"


def test_missing_tools_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("LNNC_M4", raising=False)
    monkeypatch.setattr(tools, "_find_module", lambda _module: None)
    with pytest.raises(LnncError, match=r'apt install gcc-arm-none-eabi or pip install "lnnc\[emulate\]"'):
        find_m4()
    with pytest.raises(LnncError, match="apt install gcc;"):
        find_host()
    with pytest.raises(LnncError, match="qemu-system-arm is not installed"):
        tools.require_tool("qemu")
    assert all(row.path is None and row.version == "" for row in tools.status())


def test_routes_fall_back_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"arm-none-eabi-gcc", "unicorn", "ziglang"}
    monkeypatch.setattr("lnnc.verify.emulate.find_tool", lambda name: Path(name) if name in here else None)
    monkeypatch.delenv("LNNC_M4", raising=False)
    assert find_m4() == M4Machine("arm-none-eabi-gcc", "unicorn")
    assert find_m4("pip") == M4Machine("zig", "unicorn")
    monkeypatch.setenv("LNNC_M4", "pip")
    assert find_m4() == M4Machine("zig", "unicorn")
    with pytest.raises(LnncError, match="qemu-system-arm not installed"):
        find_m4("debian")
    with pytest.raises(LnncError, match="unknown Cortex-M4 route 'arm'"):
        find_m4("arm")


def test_every_file_of_the_harness_is_found() -> None:
    for name in ("harness.h", "model_harness.c", "io_host.c", "m4_startup.c", "m4_io.c", "mps2_an386.ld"):
        assert firmware_text(f"harness/{name}")
