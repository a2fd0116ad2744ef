"""The streaming interface of the generated C: state read, set, saved and loaded, several models at once, time given."""

from __future__ import annotations

import functools
import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import document
from streams import DIGEST, OPTIONS, SIZE, TIME, toy_files, toy_program

from lnnc.codegen.emit import Files
from lnnc.errors import LnncError
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.program import Program, struct_bytes
from lnnc.ir.saved import model_id, save_bytes
from lnnc.pipeline import Options, compile_model
from lnnc.reference import persist
from lnnc.reference.interp import BAD_DT, Machine
from lnnc.reference.quantio import to_real
from lnnc.verify.check import check_model, first_difference, model_of, observe
from lnnc.verify.emulate import M4Machine
from lnnc.verify.engines import run_machine, run_reference
from lnnc.verify.host import HostMachine
from lnnc.verify.machine import Machine as Target
from lnnc.verify.model_run import Garbage, Load, Record, Reset, Save, Step, build_model
from lnnc.verify.script import make_script
from lnnc.verify.vectors import make_groups

pytestmark = pytest.mark.needs("cc")
M4 = pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
TARGETS = [
    pytest.param(HostMachine(sanitize=True), id="host-sanitized"),
    pytest.param(M4Machine(), id="m4", marks=M4),
]
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual", "-Wundef", "-pedantic")
MODELS = ("flow", "flow8", "whole", "toy", "timed")


@functools.cache
def made(name: str) -> tuple[Program, Files]:
    """A stream of windows (int16, int8), a model of whole windows without a state, the toy without and with dt."""
    if name in ("toy", "timed"):
        program = toy_program(name == "timed")
        return program, toy_files(program, name)
    mode = "window" if name == "whole" else "stream"
    checkpoint = parse_checkpoint(document(mode, 1 if mode == "window" else 2), name)
    compiled = compile_model(checkpoint, name, Options("int8" if name == "flow8" else "int16"))
    return compiled.program, compiled.files


def write(folder: Path, *names: str) -> None:
    for name in names:
        files = made(name)[1]
        (folder / f"{name}.c").write_text(files.source, encoding="ascii")
        (folder / f"{name}.h").write_text(files.header, encoding="ascii")
        (folder / f"{name}_golden.h").write_text(files.golden, encoding="ascii")


def run_c(folder: Path, text: str, *sources: str, flags: Sequence[str] = (), data: bytes = b"") -> bytes:
    """Compile and run a program here, under the sanitizers."""
    (folder / "main.c").write_text(text, encoding="ascii")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    command = ["gcc", "-std=c99", "-O1", *sanitize, *STRICT, "-Werror", *flags, "main.c", *sources, "-o", "program"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:3000]
    done = subprocess.run([str(folder / "program")], input=data, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[:3000])
    return done.stdout


def steps_of(program: Program, count: int, seed: int = 5) -> list[Step]:
    """Random steps; legal times."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-32_768, 32_768, (count, program.input_size)).astype(np.int16)
    times = rng.integers(TIME.lo, TIME.hi + 1, count)
    return [Step(row, i % 2 == 1, int(times[i]) if program.time else None) for i, row in enumerate(rows)]


# --- the whole interface against the reference ---


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_every_call_agrees_with_the_reference(name: str, target: Target) -> None:
    program, files = made(name)
    groups = make_groups(program, None, 64)
    assert any(group.keeps for group in groups)
    report = check_model(program, files.source, files.header, name, target, groups, flags=STRICT)
    assert report.difference == ""


def test_a_recurrent_stream_is_verified_as_one() -> None:
    program, _ = made("timed")
    (group,) = make_groups(program, None, 64)
    assert group.inputs.shape[1] >= 64 and 0 < group.resets[1] < group.inputs.shape[1] and group.starts
    assert group.times is not None
    illegal = (group.times < TIME.lo) | (group.times > TIME.hi)
    assert illegal.any() and (illegal.all(axis=0) == illegal.any(axis=0)).all()
    assert {TIME.lo, TIME.hi} < set(group.times.ravel().tolist())
    events = make_script(program, group, bytes(16)).events[0]
    assert {"R", "S", "G", "P", "V", "L"} == {e.kind for e in events}
    codes = {e.ret for e in events if e.kind == "L"}
    assert codes >= {0, persist.LOAD_SIZE, persist.LOAD_CRC, persist.LOAD_MODEL, persist.LOAD_RANGE}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["flow", "toy", "timed"])
def test_steps_are_the_sequence(name: str, target: Target) -> None:
    """One call that runs whole streams together gives what the steps of each stream by itself give."""
    program, files = made(name)
    rng = np.random.default_rng(3)
    streams = to_real(rng.integers(-32_768, 32_768, (4, 50, program.input_size)), program.inputs)
    times = rng.uniform(0.1, 2.0, (4, 50)) if program.time else None
    together = run_reference(program, streams, times)
    got = run_machine(program, (files.source, files.header), name, target, streams, times)
    assert np.isfinite(together).any() and np.array_equal(got, together, equal_nan=True)
    for i in range(4):
        alone = run_reference(program, streams[i : i + 1], None if times is None else times[i : i + 1])
        assert np.array_equal(alone[0], together[i], equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["flow", "flow8", "toy", "timed"])
def test_saved_and_loaded_at_every_step(name: str, target: Target, tmp_path: Path) -> None:
    """200 steps; state and scratch are garbage between a save and its load. Every byte as without interruption."""
    program, files = made(name)
    image = build_model(target, files.source, files.header, name, tmp_path)
    steps = steps_of(program, 200)
    saving = observe(program, target, image, [[Reset(), *(r for s in steps for r in (s, Save()))]])[0]
    saved = [e.data for e in saving if e.kind == "V"]
    again: list[Record] = [Reset()]
    for step, data in zip(steps, saved, strict=True):
        again += [step, Save(), Garbage(), Load(data)]
    broken = observe(program, target, image, [again])[0]
    plain = observe(program, target, image, [[Garbage(), Reset(), *steps]])[0]
    assert [e.data for e in broken if e.kind == "V"] == saved
    assert {e.ret for e in broken if e.kind == "L"} == {0}
    used = struct_bytes(program.of_kind("state"))[0]  # what pads the structure means nothing
    plain = [replace(e, state=e.state[:used]) for e in plain]
    for kept in ([e for e in saving if e.kind in "RS"], [e for e in broken if e.kind in "RS"]):
        assert first_difference([plain], [kept]) is None
    assert [e.state[:used] for e in broken if e.kind == "L"] == [e.state for e in plain if e.kind == "S"]


# --- what must not be loaded ---

FUZZ = """\
#include "harness.h"
#include "{name}.c"

static {name}_state state, before;
static {name}_scratch scratch;
static uint8_t good[{upper}_SAVE_BYTES], room[3 * {upper}_SAVE_BYTES];
static int32_t counts[8]; /* by -code; [6]: any other; [7]: how often a state was touched that must not be */
static uint32_t seed = 1u;

static uint32_t draw(uint32_t below)
{{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}}

static void copy(void *to, const void *from, uint32_t bytes)
{{
    uint32_t i;
    for (i = 0u; i < bytes; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}}

/* The bytes end where the room ends, so that AddressSanitizer sees a read beyond them. */
static void load(const uint8_t *data, uint32_t bytes)
{{
    uint8_t *const at = room + (sizeof room - bytes);
    uint32_t i, touched = 0u;
    int code;
    copy(at, data, bytes);
    copy(&before, &state, sizeof state);
    code = {name}_load(&state, at, bytes);
    counts[code <= 0 && code >= -5 ? -code : 6]++;
    for (i = 0u; i < (uint32_t)sizeof state; i++)
        touched |= (uint32_t)(((const uint8_t *)&state)[i] ^ ((const uint8_t *)&before)[i]);
    counts[7] += code != 0 && touched != 0u;
}}

static void sign(uint8_t *data, uint32_t bytes)
{{
    {name}_put_bytes(data + bytes - 4u, {name}_crc32(data, bytes - 4u), 4);
}}

static void report(void)
{{
    uint32_t i;
    harness_write(counts, sizeof counts);
    for (i = 0u; i < 8u; i++)
        counts[i] = 0;
}}

int harness_run(const uint8_t *input, uint32_t length)
{{
    static int16_t in[{upper}_INPUTS], out[{upper}_OUTPUTS];
    static uint8_t bad[3 * {upper}_SAVE_BYTES];
    const uint32_t rounds = input[0] + 256u * input[1];
    uint32_t i, j, bytes;
    (void)length;
    {name}_reset(&state);
    for (i = 0u; i < 30u; i++) {{
        for (j = 0u; j < {upper}_INPUTS; j++)
            in[j] = (int16_t)((int32_t)draw(65536u) - 32768);
        (void){name}_step(&state, &scratch, in,{dt} out);
    }}
    {name}_save(&state, good);
    {name}_reset(&state);
    for (bytes = 0u; bytes < {upper}_SAVE_BYTES; bytes++)
        load(good, bytes);
    copy(bad, good, {upper}_SAVE_BYTES);
    for (bytes = {upper}_SAVE_BYTES + 1u; bytes < 3u * {upper}_SAVE_BYTES; bytes++)
        load(bad, bytes);
    report(); /* cut short, too long */
    for (i = 0u; i < 8u * {upper}_SAVE_BYTES; i++) {{
        copy(bad, good, {upper}_SAVE_BYTES);
        bad[i / 8u] = (uint8_t)(bad[i / 8u] ^ (1u << (i % 8u)));
        load(bad, {upper}_SAVE_BYTES);
    }}
    report(); /* every single bit */
    for (i = 0u; i < rounds; i++) {{
        bytes = draw(2u * {upper}_SAVE_BYTES);
        for (j = 0u; j < bytes; j++)
            bad[j] = (uint8_t)draw(256u);
        if (i % 3u == 1u)
            copy(bad, good, bytes < 9u ? bytes : 9u);
        load(bad, i % 3u == 1u && bytes > 9u ? {upper}_SAVE_BYTES : bytes);
    }}
    report(); /* random bytes, a third of them behind a right beginning */
    for (i = 0u; i < rounds; i++) {{
        copy(bad, good, {upper}_SAVE_BYTES);
        j = 9u + draw(16u);
        bad[j] = (uint8_t)(bad[j] ^ (1u + draw(255u)));
        sign(bad, {upper}_SAVE_BYTES);
        load(bad, {upper}_SAVE_BYTES);
    }}
    report(); /* whole, of another model */
    for (i = 0u; i < rounds; i++) {{
        copy(bad, good, {upper}_SAVE_BYTES);
        for (j = 25u; j < {upper}_SAVE_BYTES - 4u; j++)
            bad[j] = (uint8_t)draw(256u);
        sign(bad, {upper}_SAVE_BYTES);
        load(bad, {upper}_SAVE_BYTES);
    }}
    report(); /* whole, of this model, with any numbers: some may be legal */
    load(good, {upper}_SAVE_BYTES);
    report();
    return HARNESS_OK;
}}
"""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["flow", "toy", "timed", "whole"])
def test_fuzzed_buffers_are_refused(name: str, target: Target, tmp_path: Path) -> None:
    program, files = made(name)
    dt = f" {TIME.lo}," if program.time else ""
    sources = {f"{name}.h": files.header, "model.inc": files.source}
    text = FUZZ.format(name=name, upper=name.upper(), dt=dt).replace(f'#include "{name}.c"', '#include "model.inc"')
    image = target.build({**sources, "program.c": text}, tmp_path, flags=STRICT)
    rounds = 20_000 if isinstance(target, HostMachine) else 1_000
    counts = np.frombuffer(target.run(image, struct.pack("<H", rounds)), "<i4").reshape(6, 8)
    cut, flipped, wild, foreign, numbers, good = counts
    assert not counts[:, 6].any() and not counts[:, 7].any(), "another code, or a state that was touched"
    size = save_bytes(program)
    assert cut[0] == 0 and cut.sum() == 3 * size - 1 and cut[1] == cut.sum()
    assert flipped[0] == 0 and flipped.sum() == 8 * size
    assert (flipped[1], flipped[2]) == (32, 40)  # the bits of the length; of magic and layout
    assert wild[0] == 0 and wild.sum() == rounds and wild[3] > rounds // 8
    assert foreign[4] == foreign.sum() == rounds
    assert numbers[0] + numbers[5] == rounds and (numbers[5] > rounds // 2 or name == "whole")
    assert good[0] == good.sum() == 1


def test_a_state_of_another_model_is_refused() -> None:
    """Other weights, another activation width, another arithmetic of the ports; another prefix is the same model."""
    base = parse_checkpoint(document("stream", 2), "flow")
    other = parse_checkpoint(document("stream", 2, seed=2), "other")
    variants = {
        "same": (base, "prefix", Options()),
        "weights": (other, "flow", Options()),
        "width": (base, "flow", Options("int8")),
        "port": (base, "flow", Options(input_frac=13)),
    }
    found: dict[str, tuple[str, bytes]] = {}
    for key, (checkpoint, name, options) in variants.items():
        compiled = compile_model(checkpoint, name, options)
        row = re.search(r"_save_head\[25\][^{]*\{([^}]*)\}", compiled.files.source)
        assert row
        found[key] = name, bytes(int(each, 16) for each in row[1].split(","))
        program = compiled.program
    heads = {key: head for key, (_, head) in found.items()}
    assert len(set(heads.values())) == 4 and made("flow")[1].source.count("_save_head[25]") == 1
    here = made("flow")[0]
    id_of = heads["same"][9:]
    saved = persist.save(Machine(program), heads["port"][9:])[0]
    assert persist.unpack(here, id_of, saved)[0] == persist.LOAD_MODEL
    machine = Machine(here)
    assert persist.load(machine, id_of, persist.save(Machine(here), id_of)) == 0


def test_the_model_id_depends_on_all_that_gives_numbers_their_meaning() -> None:
    program = toy_program(False)
    ids = {model_id(program, DIGEST, OPTIONS), model_id(program, "cd" * 32, OPTIONS)}
    ids.add(model_id(program, DIGEST, {**OPTIONS, "activations": "int8"}))
    ids.add(model_id(replace(program, views=()), DIGEST, OPTIONS))
    turned = tuple(replace(b, size=b.size + 1) if b.name == "h" else b for b in program.buffers)
    ids.add(model_id(replace(program, buffers=turned), DIGEST, OPTIONS))
    assert len(ids) == 5 and all(len(each) == 16 for each in ids)


def test_the_layout_on_record() -> None:
    """The bytes of one saved state, by hand."""
    machine, model = Machine(toy_program(False)), bytes(range(100, 116))
    numbers = np.array([[1, -2, 300, -70_000, 2**29, 5, -6, 7, 256, -20_000]])
    assert persist.set_state_raw(machine, numbers) == 0
    text = b"LNNS\x01" + (30).to_bytes(4, "little") + model
    text += struct.pack("<5i5h", *numbers[0].tolist())
    assert persist.save(machine, model) == [text + struct.pack("<I", zlib.crc32(text))]


# --- numbers, raw and real ---

REAL = """\
#include "{name}.h"
#include <stdio.h>
static {name}_state state;
static float real[{upper}_STATES + 1];
static int32_t raw[{upper}_STATES + 1];
int main(void)
{{
    {name}_reset(&state);
    while (fread(real, sizeof(float), {upper}_STATES, stdin) == {upper}_STATES) {{
        const int32_t code = {name}_set_state(&state, real);
        {name}_get_state_raw(&state, raw);
        {name}_get_state(&state, real);
        fwrite(&code, 4, 1, stdout);
        fwrite(raw, 4, {upper}_STATES, stdout);
        fwrite(real, 4, {upper}_STATES, stdout);
    }}
    return 0;
}}
"""


def real_rows(program: Program) -> np.ndarray:
    """Real states around every edge: legal ones, halves, ends of the ranges, one step beyond, NaN, infinities."""
    rng, machine = np.random.default_rng(4), Machine(program)
    low, high = persist.limits(program)
    ends = []
    for raw in (low, high, (low + high) // 2):
        persist.set_state_raw(machine, raw[None])
        ends.append(persist.get_state(machine)[0])
    share = rng.uniform(0, 1, (200, len(low)))
    inside = (ends[0] + share * (ends[1] - ends[0])).astype(np.float32)
    rows = [*ends, *inside]
    for value in (np.nan, np.inf, -np.inf, 1e30, -1e30):
        for at in (0, len(low) - 1):
            rows.append(ends[2].copy())
            rows[-1][at] = value
    rows += [np.nextafter(ends[0], np.float32(-np.inf)), np.nextafter(ends[1], np.float32(np.inf))]
    halves = rng.integers(-9, 9, (50, len(low))) + 0.5
    rows += list((halves * 2.0**-14).astype(np.float32))
    return np.array(rows, np.float32)


@pytest.mark.parametrize("name", ["flow", "toy"])
def test_real_states_equal_the_reference(name: str, tmp_path: Path) -> None:
    program, _ = made(name)
    write(tmp_path, name)
    rows = real_rows(program)
    output = run_c(tmp_path, REAL.format(name=name, upper=name.upper()), f"{name}.c", data=rows.tobytes())
    n = len(persist.limits(program)[0])
    got = np.frombuffer(output, np.dtype([("code", "<i4"), ("raw", "<i4", (n,)), ("real", "<f4", (n,))]))
    machine, codes = Machine(program), []
    for row, answer in zip(rows, got, strict=True):
        codes.append(persist.set_state(machine, row[None]))
        assert answer["code"] == codes[-1]
        assert (answer["raw"] == persist.get_state_raw(machine)[0]).all()
        assert (answer["real"] == persist.get_state(machine)[0]).all()
    assert {0, -1} == set(codes) and sum(codes) < -5


def test_what_get_state_gives_is_accepted_and_is_the_same_state() -> None:
    """All but the wide numbers come back exactly; those to 24 bits."""
    program, _ = made("toy")
    machine = Machine(program, 50)
    low, high = persist.limits(program)
    numbers = np.random.default_rng(1).integers(low, high, (50, len(low)), endpoint=True)
    numbers[:2] = low, high
    assert persist.set_state_raw(machine, numbers) == 0
    assert persist.set_state(machine, persist.get_state(machine)) == 0
    back = persist.get_state_raw(machine)
    assert (back[:, SIZE:] == numbers[:, SIZE:]).all()
    assert np.abs(back - numbers).max() <= 2**6


def test_a_refused_state_changes_nothing() -> None:
    program, _ = made("toy")
    machine = Machine(program)
    low, high = persist.limits(program)
    before = persist.get_state_raw(machine)
    for at in range(len(low)):
        for raw in (low[at] - 1, high[at] + 1):
            wrong = before.copy()
            wrong[0, at] = raw
            assert persist.set_state_raw(machine, wrong) == persist.REFUSED
            assert (persist.get_state_raw(machine) == before).all()


# --- several at once ---

TOGETHER = """\
{includes}
#include <string.h>
#define STEPS 60
static uint32_t seed;
static int16_t draw(void)
{{
    seed = seed * 1664525u + 1013904223u;
    return (int16_t)((int32_t)(seed >> 16) - 32768);
}}
{models}
int main(void)
{{
    int t, failed = 0;
{separate}
    for (t = 0; t < STEPS; t++) {{
{together}
    }}
{compare}
    return failed;
}}
"""
EACH = """\
static {name}_state state_{id};
static int16_t apart_{id}[STEPS][{upper}_OUTPUTS], woven_{id}[STEPS][{upper}_OUTPUTS];
static void step_{id}(int t, int16_t *out)
{{
    int16_t in[{upper}_INPUTS];
    int i;
    if (t == 0)
        {name}_reset(&state_{id});
    seed = {id}u * 977u + (uint32_t)t;
    for (i = 0; i < {upper}_INPUTS; i++)
        in[i] = draw();
    (void){name}_step(&state_{id}, &scratch_{name}, in,{dt} out);
}}
"""


def together(includes: str, names: Sequence[str]) -> str:
    """A program that runs instances one after the other, then step by step in turn, and compares the outputs."""
    models, separate, woven, compare = "", "", "", ""
    for name in dict.fromkeys(names):
        models += f"static {name}_scratch scratch_{name};\n"
    for number, name in enumerate(names):
        dt = f" {TIME.lo} + 90 * t," if made(name)[0].time else ""
        models += EACH.format(name=name, upper=name.upper(), id=number, dt=dt)
        separate += f"    for (t = 0; t < STEPS; t++)\n        step_{number}(t, apart_{number}[t]);\n"
        woven += f"        step_{number}(t, woven_{number}[t]);\n"
        compare += f"    failed |= memcmp(apart_{number}, woven_{number}, sizeof apart_{number}) != 0;\n"
    return TOGETHER.format(includes=includes, models=models, separate=separate, together=woven, compare=compare)


@pytest.mark.parametrize("one_unit", [False, True])
def test_instances_and_models_do_not_disturb_each_other(one_unit: bool, tmp_path: Path) -> None:
    """Two instances each of two models, and two models more; instances of a model share their scratch."""
    names = ("flow", "flow", "timed", "timed", "toy", "whole")
    every = tuple(dict.fromkeys(names))
    write(tmp_path, *every)
    includes = "\n".join(f'#include "{name}.{"c" if one_unit else "h"}"' for name in every)
    sources = [] if one_unit else [f"{name}.c" for name in every]
    run_c(tmp_path, together(includes, names), *sources)


# --- time ---


def test_the_reference_refuses_times_out_of_range() -> None:
    program, _ = made("timed")
    machine = Machine(program, 3)
    inputs = np.full((3, 2), 500)
    assert machine.step(inputs, np.array([[TIME.lo], [TIME.hi], [9_999]]))[0] == 0
    before = {name: array.copy() for name, array in machine.state.items()}
    for dt in (TIME.lo - 1, TIME.hi + 1, 0, -5, 2**31 - 1, -(2**31)):
        assert machine.step(inputs, dt) == (BAD_DT, None)
    assert all((machine.state[name] == array).all() for name, array in before.items())


def test_a_time_matters() -> None:
    program, _ = made("timed")
    outs = []
    for dt in (TIME.lo, TIME.hi):
        machine = Machine(program)
        outs.append([machine.step(np.array([[0, 0]]), dt)[1] for _ in range(3)][-1])
    assert outs[0] is not None and outs[1] is not None and (outs[0] != outs[1]).any()


DT_MAIN = """\
#include "timed.h"
#include <math.h>
#include <stdio.h>
int main(void)
{
    static timed_state state;
    static timed_scratch scratch;
    static const float times[] = {0.1f, 2.0f, 1.0f, 0.5f, 0.09f, 2.01f, 0.0f, -1.0f, 1e30f, -1e30f, NAN, INFINITY};
    int16_t in[TIMED_INPUTS] = {0, 0}, out[TIMED_OUTPUTS];
    unsigned i;
    timed_reset(&state);
    for (i = 0; i < sizeof times / sizeof times[0]; i++) {
        const int32_t dt = timed_dt_from_real(times[i]);
        printf("%ld %d\\n", (long)dt, timed_step(&state, &scratch, in, dt, out));
    }
    printf("%d %d %d\\n", TIMED_DT_FRAC, TIMED_BAD_DT, timed_selftest(&state, &scratch));
    return 0;
}
"""


def test_real_times_become_raw_ones(tmp_path: Path) -> None:
    write(tmp_path, "timed")
    lines = run_c(tmp_path, DT_MAIN, "timed.c", flags=["-DTIMED_SELFTEST"]).decode().splitlines()
    answers = [tuple(map(int, line.split())) for line in lines]
    refused = (TIME.lo - 1, BAD_DT)
    assert answers[:4] == [(6_554, 0), (131_072, 0), (65_536, 0), (32_768, 0)]
    assert answers[4:-1] == [refused] * 8
    assert answers[-1] == (16, BAD_DT, 0)


def test_engines_say_what_is_wrong_with_times() -> None:
    data = np.zeros((1, 3, 2))
    for name, times, message in (
        ("timed", None, "takes the time since the last sample"),
        ("toy", np.ones((1, 3)), "takes no times"),
        ("timed", np.array([[1.0, 1.0, 2.5]]), r"step 2: 2\.5 is not in 0\.1.* \.\.\. 2"),
        ("timed", np.array([[1.0, np.nan, 1.0]]), "step 1: nan"),
    ):
        with pytest.raises(LnncError, match=message):
            run_reference(made(name)[0], data, times)
    assert np.isfinite(run_reference(made("timed")[0], data, np.array([[0.1, 2.0, 1.0]]))).all()


# --- what it costs, and what it may not hold ---


@pytest.mark.needs("arm-none-eabi-gcc", "arm-none-eabi-nm")
@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_called_is_not_linked(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-ffreestanding", "-nostdlib", "-ffunction-sections"]
    flags += ["-fdata-sections", "-Wl,--gc-sections", f"-Wl,-u,{name}_step", f"-Wl,-u,{name}_reset", "-Wl,-e,0"]
    command = ["arm-none-eabi-gcc", *flags, f"{name}.c", "-lgcc", "-o", "image"]
    subprocess.run(command, cwd=tmp_path, check=True)
    listed = subprocess.run(["arm-none-eabi-nm", "image"], cwd=tmp_path, capture_output=True, text=True, check=True)
    symbols = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert f"{name}_step" in symbols
    assert not [s for s in symbols if re.search(r"_(save|load|crc32|state_|get_|set_|put_|head)", s)]


@pytest.mark.parametrize("name", MODELS)
def test_no_float_leaves_no_float(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    command = ["gcc", "-std=c99", f"-D{name.upper()}_NO_FLOAT", "-E", "-P", f"{name}.c"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\b(float|double)\b", text)
    assert f"{name}_set_state_raw" in text and f"{name}_set_state(" not in text


COMPILERS = {
    "gcc": ("gcc", "-std=c99"), "clang": ("clang", "-std=c99"), "g++": ("g++", "-x", "c++", "-std=c++11"),
    "clang-c++": ("clang", "-x", "c++", "-std=c++17"),
    "cortex-m4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99"),
    "atmega328p": ("avr-gcc", "-mmcu=atmega328p", "-std=c99"),
}  # fmt: skip
USER = '#include "{name}.h"\nint use({name}_state *s, float *r);\nint use({name}_state *s, float *r)\n'
USER += "{{\n    {name}_get_state(s, r);\n    return {name}_set_state(s, r);\n}}\n"


@pytest.mark.needs("gcc", "g++", "clang", "arm-none-eabi-gcc", "avr-gcc")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_warning(compiler: str, tmp_path: Path) -> None:
    for name in MODELS:
        write(tmp_path, name)
        (tmp_path / f"{name}_user.c").write_text(USER.format(name=name), encoding="ascii")
        for source in (f"{name}.c", f"{name}_user.c"):
            for opt in ("-O2", "-Os", "-O0"):
                flags = [*STRICT, "-Werror", opt, f"-D{name.upper()}_SELFTEST", "-c", "-o", "object"]
                done = subprocess.run(
                    [*COMPILERS[compiler], *flags, source], cwd=tmp_path, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr[:3000]


# --- seeded faults ---

FAULTS = {
    "another polynomial": (r"0xEDB88320u", "0x82F63B78u"),
    "no final inversion": (r"crc \^ 0xFFFFFFFFu", "crc"),
    "big endian": (r"\*to\+\+ = \(uint8_t\)\(bits & 255u\);", "to[width - 1 - i] = (uint8_t)(bits & 255u);"),
    "no sign": (r"\? 0xFFFFFFFFu : 0u;", "? 0u : 0u;"),
    "CRC is not looked at": (r"\(buffer \+ \(bytes - 4\), 4\) != ", "(buffer + (bytes - 4), 4) > 0u + "),
    "another model is taken": (r"if \(!toy_head_agrees\(buffer, 5, 25\)\)", "if (0)"),
    "length is not looked at": (r"!= bytes - 29\)", "> 99999u)"),
    "set writes before it looks": (r"if \(!toy_state_allows\(i, q\[i\]\)\)",
                                   "if (toy_state_put(state, i, q[i]), !toy_state_allows(i, q[i]))"),
    "load looks at no range": (r"if \(!toy_state_allows\(i, toy_get_bytes\(from, toy_state_width\(i\)\)\)\)", "if (0)"),
    "range too wide by one": (r"q <= 20000;", "q <= 20001;"),
    "range too narrow by one": (r"q >= -20000", "q >= -19999"),
    "members exchanged": (r"return \*\(state->late \+ i\);", "return *(state->late + 4 - i);"),
    "digest of another model": (r"(_save_head\[25\][^}]*)0x(\w\w)\n\}", r"\1(0x\2 ^ 1)\n}"),
    "save writes too much": (r"toy_put_bytes\(to, toy_crc32\(buffer, TOY_SAVE_BYTES - 4\), 4\);",
                             "*toy_put_bytes(to, toy_crc32(buffer, TOY_SAVE_BYTES - 4), 4) = 0;"),
    "get writes too much": (r"(int32_t i;\n    for \(i = 0; i <)( TOY_STATES; i\+\+\)\n        q\[i\])", r"\1=\2"),
    "loading fails and writes": (r"return TOY_LOAD_CRC;", "return state->h[0] = 1, TOY_LOAD_CRC;"),
}  # fmt: skip
SLACK = ("-Wno-error", "-Wno-unused-function")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    program, files = made("toy")
    groups = make_groups(program, None, 64)
    broken, count = re.subn(FAULTS[fault][0], FAULTS[fault][1], files.source)
    assert count == 1 and broken != files.source, f"the pattern matches {count} times"
    report = check_model(program, broken, files.header, "toy", HostMachine(), groups, flags=SLACK)
    assert report.difference


TIME_FAULTS = {
    "dt is not looked at": (r"if \(dt < TIMED_DT_MIN \|\| dt > TIMED_DT_MAX\)\n        return TIMED_BAD_DT;", ""),
    "the longest dt is refused": (r"dt > TIMED_DT_MAX", "dt >= TIMED_DT_MAX"),
    "the shortest dt is refused": (r"dt < TIMED_DT_MIN", "dt <= TIMED_DT_MIN"),
    "dt too short is taken": (r"dt < TIMED_DT_MIN", "dt < TIMED_DT_MIN - 1"),
    "a constant dt": (r"state->late, dt, ", "state->late, 9000, "),
}


@pytest.mark.parametrize("fault", TIME_FAULTS)
def test_a_fault_of_time_is_found(fault: str) -> None:
    program, files = made("timed")
    broken, count = re.subn(*TIME_FAULTS[fault], files.source)
    assert count == 1
    groups = make_groups(program, None, 64)
    assert check_model(program, broken, files.header, "timed", HostMachine(), groups).difference


def test_the_harness_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    program, files = made("toy")
    image = build_model(HostMachine(sanitize=True), files.source, files.header, "toy", tmp_path)
    for data in (b"\x05abc", b"\x07\x01", b"\x07\x05\x00\x00\x00abcd", b"\x07\xff\xff\xff\xff", b"\x08"):
        with pytest.raises(LnncError, match="refused its input"):
            HostMachine(sanitize=True).run(image, data)


def test_events_tell_what_differs() -> None:
    """A report names the call, and the member of the state."""
    program, files = made("toy")
    groups = make_groups(program, None, 64)

    def difference(edit: Callable[[str], str]) -> str:
        return check_model(program, edit(files.source), files.header, "toy", HostMachine(), groups).difference

    assert "save gave 0x" in difference(lambda t: t.replace("0xEDB88320u", "0xEDB88321u"))
    assert "load returned -1, expected -3" in difference(lambda t: t.replace("return TOY_LOAD_CRC", "return -1"))
    assert "'h' of the state after reset" in difference(lambda t: t.replace("state->h[i] = 7;", "state->h[i] = 6;"))
    assert "manifest" in difference(lambda t: t.replace("lnnc-manifest", "manifest"))


# --- an AVR, emulated: int has 16 bits there ---

AVR = """\
#include "{name}.h"
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
static {name}_state state;
static {name}_scratch scratch;
static const uint8_t want[{upper}_SAVE_BYTES] = {{ {want} }};
static uint8_t saved[{upper}_SAVE_BYTES];
static void say(char letter)
{{
    while (!(UCSR0A & (1 << UDRE0))) {{}}
    UDR0 = (uint8_t)letter;
}}
static int agree(void)
{{
    unsigned i;
    {name}_save(&state, saved);
    for (i = 0; i < sizeof saved; i++)
        if (saved[i] != want[i])
            return 0;
    return 1;
}}
int main(void)
{{
    static int16_t in[{upper}_INPUTS], out[{upper}_OUTPUTS];
    unsigned i;
    int fine;
    UCSR0B = 1 << TXEN0;
    {name}_reset(&state);
    for (i = 0; i < 9u; i++)
        (void){name}_step(&state, &scratch, in,{dt} out);
    fine = agree();
    {name}_reset(&state);
    for (i = 0; i < 8u * sizeof saved; i++) {{
        saved[i / 8u] ^= (uint8_t)(1u << i % 8u);
        fine &= {name}_load(&state, saved, sizeof saved) < 0;
        saved[i / 8u] ^= (uint8_t)(1u << i % 8u);
    }}
    fine &= !agree();
    fine &= {name}_load(&state, want, sizeof want) == 0 && agree();
    say(fine ? 'P' : 'F');
    say('\\n');
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}}
"""


@pytest.mark.needs("avr-gcc", "simavr")
@pytest.mark.parametrize("name", ["flow", "toy", "timed"])
def test_saved_bytes_are_the_same_on_an_avr(name: str, tmp_path: Path) -> None:
    program, files = made(name)
    machine = Machine(program)
    for _ in range(9):
        machine.step(np.zeros((1, program.input_size)), TIME.lo if program.time else None)
    want = ", ".join(map(str, persist.save(machine, model_of(program, files.source))[0]))
    write(tmp_path, name)
    dt = f" {TIME.lo}," if program.time else ""
    (tmp_path / "main.c").write_text(AVR.format(name=name, upper=name.upper(), want=want, dt=dt), encoding="ascii")
    flags = ["-std=c99", "-Os", "-mmcu=atmega328p", "-DF_CPU=16000000UL"]
    subprocess.run(["avr-gcc", *flags, "main.c", f"{name}.c", "-o", "image.elf"], cwd=tmp_path, check=True)
    command = ["simavr", "-m", "atmega328p", "-f", "16000000", "image.elf"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    said = re.search(r"\b([PF])\.", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr))
    assert said and said[1] == "P", done.stdout + done.stderr
