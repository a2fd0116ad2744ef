"""Seeded faults: a wrong digit anywhere in the generated C must be found, and found by the net that claims it.

Each fault is applied to the C text in memory. Two nets: the differential test of single kernels, and the check of a
whole program (windowed and streaming), whose report must also name the layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dsp_faults import DSP_FAULTS, PathFault
from faults import BOTH, FAULTS, Fault, exactly
from forecast_students import lives, random_student
from liquid import TABLE, liquid_checkpoint
from liquid_faults import LIQUID_FAULTS
from scalars import STATS
from series_faults import FORECASTS, SERIES_FAULTS

from lnnc.codegen.c_text import rename
from lnnc.errors import LnncError
from lnnc.frontend.parse import parse_checkpoint
from lnnc.kernels import KERNELS
from lnnc.pipeline import Compiled, compile_model, plan_model
from lnnc.quantize import lower_dense, lower_ltc, lower_state
from lnnc.quantize.calibrate import shaped
from lnnc.report.deviation import deviation
from lnnc.train.students.package import student_checkpoint
from lnnc.verify.check import check_model
from lnnc.verify.emulate import M4Machine
from lnnc.verify.host import HostMachine
from lnnc.verify.kernel_cases import Case, draw_cases
from lnnc.verify.kernel_run import amalgamated, build_kernels, compare, run_cases
from lnnc.verify.machine import Machine
from lnnc.verify.vectors import Group, make_groups

pytestmark = pytest.mark.needs("cc")
QEMU = pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
EVERY = FAULTS + LIQUID_FAULTS + SERIES_FAULTS
MODES = (*BOTH, *TABLE, *FORECASTS)
RECORDS = {**KERNELS, STATS.name: STATS}


def apply(fault: Fault, text: str) -> str:
    """The faulty text; fails where the pattern is not found exactly once, or changes nothing."""
    changed, count = re.subn(fault.old, fault.new, text)
    assert count == 1, f"'{fault.name}' matches {count} times: the table of faults is out of date"
    assert changed != text
    return changed


# ---- the model and its vectors -----------------------------------------------------------------


def document(mode: str) -> dict[str, Any]:
    """A small random network with every kind of layer; full recurrence in windows, low rank in streams."""
    rng = np.random.default_rng(3)
    window, features, width, outputs = 12, 2, 8, 3
    state: dict[str, np.ndarray] = {}

    def linear(key: str, rows: int, columns: int) -> None:
        state[f"{key}.weight"] = rng.normal(0, 1 / np.sqrt(columns), (rows, columns))
        state[f"{key}.bias"] = rng.normal(0, 0.2, rows)

    def norm(key: str, size: int, signs: tuple[int, ...] = (1,)) -> None:
        state[f"{key}.weight"] = rng.uniform(0.5, 1.5, size) * rng.choice(signs, size)
        state[f"{key}.bias"] = rng.normal(0, 0.3, size)

    for key, rows, columns in (
        ("encoder.0", 10, window * features), ("encoder.3", width, 10), ("decoder.0", 6, width), ("decoder.3", 5, 6),
        ("decoder.5", outputs, 5),
    ):  # fmt: skip
        linear(key, rows, columns)
    norm("encoder.1", 10)
    norm("encoder.4", width, (-1, 1))
    norm("decoder.1", 6, (-1, 1))
    state["dyn.alpha"], state["dyn.beta"] = rng.uniform(0.5, 2, width), rng.normal(0, 1.5, width)
    if mode == "window":
        state["dyn.W.weight"] = rng.normal(0, 0.5, (width, width))
    else:
        state["dyn.w_diag"] = rng.normal(0, 0.5, width)
        state["dyn.U"], state["dyn.V"] = rng.normal(0, 0.5, (2, width, 3))
    state["res"] = np.array(0.3)
    time = np.linspace(0, 6, 60)[None, :, None]
    streams = 1 + 1.4 * np.sin(time * rng.uniform(0.5, 2, (20, 1, features)) + rng.uniform(0, 6, (20, 1, features)))
    inputs = streams if mode == "stream" else streams[:, :window].reshape(20, -1)
    ops = {"encoder": ("linear", "norm", "relu", "linear", "norm", "tanh"),
           "decoder": ("linear", "norm", "relu", "linear", "sigmoid", "linear")}  # fmt: skip
    layers = {
        part: [
            {"op": op, "key": f"{part}.{i}"} if op in ("linear", "norm") else {"op": op} for i, op in enumerate(names)
        ]
        for part, names in ops.items()
    }
    port = {"unit": "1", "range": [-2.0, 4.0], "offset": 1.0, "scale": 1.5}
    dynamics = {"key": "dyn", "recurrence": "full" if mode == "window" else "low_rank", "steps": 3, "dt": 0.2}
    return {
        "format": "lnnc-checkpoint", "version": 1,
        "architecture": {"family": "dlnet", "mode": mode, "window": window, "features": features, **layers,
                         "dynamics": dynamics, "residual": "res"},
        "state_dict": state,
        "inputs": [{"name": "x", "size": inputs.shape[-1], **port}],
        "outputs": [{"name": "y", "size": outputs, **port}],
        "calibration": {"inputs": inputs},
    }  # fmt: skip


@cache
def compiled(mode: str) -> Compiled:
    if mode in TABLE:
        checkpoint, options = liquid_checkpoint(mode)
        return compile_model(checkpoint, "net", options)
    if mode in FORECASTS:
        return compile_model(student_checkpoint(random_student(*FORECASTS[mode], 4), lives(6, 400, 4), mode), "net")
    return compile_model(parse_checkpoint(document(mode), f"{mode}.pt"), "net")


@cache
def groups(mode: str) -> tuple[Group, ...]:
    made = compiled(mode)
    assert made.checkpoint.calibration is not None
    return tuple(make_groups(made.program, shaped(made.checkpoint, made.checkpoint.calibration), 64))


@cache
def cases(kernel: str) -> tuple[Case, ...]:
    return tuple(draw_cases(RECORDS[kernel], 120, 9)[0])


def runtime_text(kernels: tuple[str, ...]) -> str:
    return amalgamated([RECORDS[name] for name in kernels])


def kernel_net(
    kernels: tuple[str, ...], text: str, machine: Machine, folder: Path, flags: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    """What the differential test says of each kernel in this text."""
    entries = [RECORDS[name] for name in kernels]
    image = build_kernels(machine, entries, folder, text, flags, opt="-O1")
    return {k: compare(cases(k), run_cases(machine, image, entries, cases(k))) for k in kernels}


def program_net(mode: str, edit: Callable[[str], str], machine: Machine) -> str:
    """What the check of the whole program says of an edited text: "" if nothing."""
    made = compiled(mode)
    text = edit(made.files.source)
    return check_model(made.program, text, made.files.header, "net", machine, groups(mode), opt="-O1").difference


def in_model(fault: Fault) -> Callable[[str], str]:
    """The fault under the model's own prefix."""
    own = Fault(fault.name, rename(fault.old, "net"), rename(fault.new, "net"))
    return lambda text: apply(own, text)


# ---- the nets ----------------------------------------------------------------------------------


def test_unmodified_text_passes(tmp_path: Path) -> None:
    for mode in MODES:
        assert program_net(mode, str, HostMachine()) == ""
    every = tuple(RECORDS)
    found = kernel_net(every, runtime_text(every), HostMachine(), tmp_path)
    assert found == {name: [] for name in every}


def test_the_models_hold_every_kernel_that_a_fault_needs() -> None:
    used = {call.kernel for mode in MODES for call in compiled(mode).program.calls()}
    assert {kernel for fault in EVERY for kernel in fault.kernels} - used <= {"affine_s16", "affine_s32", STATS.name}


@pytest.mark.parametrize("fault", [f for f in EVERY if f.kernels], ids=lambda f: f.name)
def test_kernel_net_catches(fault: Fault, tmp_path: Path) -> None:
    text = apply(fault, runtime_text(fault.kernels))
    found = kernel_net(fault.kernels, text, HostMachine(), tmp_path)
    blind = [kernel for kernel, texts in found.items() if not texts]
    assert not blind, f"no case of {blind} shows it"


@QEMU
@pytest.mark.parametrize("fault", DSP_FAULTS, ids=lambda f: f.name)
def test_kernel_net_catches_on_its_code_path(fault: PathFault, tmp_path: Path) -> None:
    text = apply(fault, runtime_text(fault.kernels))
    machine = M4Machine(trap_unaligned=False)
    try:
        found = kernel_net(fault.kernels, text, machine, tmp_path, (f"-DLNN_PATH={fault.path}",))
    except LnncError as crash:  # wrong assembly may also leave the road
        if "running on" not in crash.where:
            raise
        return
    blind = [kernel for kernel, texts in found.items() if not texts]
    assert not blind, f"no case of {blind} shows it"


@pytest.mark.parametrize(
    ("fault", "mode"),
    [pytest.param(f, mode, id=f"{f.name}, {mode}") for f in EVERY for mode in f.modes],
)
def test_program_net_catches_and_names_the_layer(fault: Fault, mode: str) -> None:
    report = program_net(mode, in_model(fault), HostMachine())
    assert report
    assert fault.layer in report


def test_a_fault_that_changes_nothing_is_no_fault() -> None:
    with pytest.raises(AssertionError, match="matches 0 times"):
        apply(Fault("gone", "no such text", ""), runtime_text(("copy_s16",)))
    with pytest.raises(AssertionError):
        apply(Fault("same", exactly("out[i] = x[i];"), "out[i] = x[i];"), runtime_text(("copy_s16",)))


# ---- faults of the compiler itself: C and reference agree, but not with the trained network ------


def replaced(fault: str) -> tuple[Any, str, Any]:
    """(module, name, what stands there instead)."""
    pack, leaks, sums = lower_dense.pack, lower_ltc.leaks_of, lower_ltc._sum

    def shifted(weight: Any) -> Any:
        count, column, packed = pack(weight)
        return count, (column + 1) % weight.shape[1], packed

    def turned(op: Any, cell: Any) -> Any:
        found = leaks(op, cell)
        return replace(found, start=found.start * np.array([1, -1]))

    def silent(low: Any, op: Any, kind: str, *rest: Any) -> Any:
        return rest[-1] if kind == "sensory" else sums(low, op, kind, *rest)

    faults = {
        "set aside": (lower_state, "_set_aside", lambda low, state: low.names[state.next]),
        "columns": (lower_dense, "pack", shifted),
        "leak current": (lower_ltc, "leaks_of", turned),
        "sensory": (lower_ltc, "_sum", silent),
    }
    return faults[fault]


def deviation_net(mode: str) -> float:
    """Mean error of the outputs against the trained network, as a part of the largest output."""
    checkpoint, options = liquid_checkpoint(mode)
    assert checkpoint.calibration is not None
    made = plan_model(checkpoint, "net", options)
    return deviation(made.lowered, made.graph, shaped(checkpoint, checkpoint.calibration)).outputs.mean


@pytest.mark.parametrize(("fault", "mode"), [
    ("set aside", "plain"), ("columns", "cfc"), ("leak current", "ltc"), ("sensory", "ltc"),
])  # fmt: skip
def test_the_deviation_net_catches_the_compilers_own_faults(
    fault: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = deviation_net(mode)
    monkeypatch.setattr(*replaced(fault))
    wrong = deviation_net(mode)
    assert right < 0.005 and wrong > max(5 * right, 0.005), (right, wrong)


# ---- faults that only a sanitizer or a strict processor sees ------------------------------------

COPY = exactly("for (i = 0; i < n; i++) out[i] = x[i];")
WORDS = """\
for (i = 0; i + 1 < n; i += 2)
        *(uint32_t *)(void *)(out + i) = *(const uint32_t *)(const void *)(x + i);
    if (n & 1)
        out[n - 1] = x[n - 1];"""
MEMORY_FAULTS = (
    (Fault("halfwords read as words", COPY, WORDS), HostMachine(sanitize=True), "misaligned address"),
    (Fault("halfwords read as words", COPY, WORDS), M4Machine(), "unaligned word access"),
    (Fault("reads one too far", COPY, "for (i = 0; i < n; i++) out[i] = x[i + (x[i + 1] == 77)];"),
     HostMachine(sanitize=True), "AddressSanitizer"),
)  # fmt: skip


@pytest.mark.parametrize(("fault", "machine", "words"), [
    pytest.param(*row, id=f"{row[0].name}, {row[1].name}", marks=QEMU if isinstance(row[1], M4Machine) else ())
    for row in MEMORY_FAULTS
])  # fmt: skip
def test_memory_faults_stop_the_run(fault: Fault, machine: Machine, words: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=words):
        kernel_net(("copy_s16",), apply(fault, runtime_text(("copy_s16",))), machine, tmp_path)


PLAIN_WORDS = Fault(
    "words from the port, plain C",
    exactly("for (; x != end; x++, out++) *out = (int16_t)lnn_clamp(*x - center, -32640, 32640);"),
    """\
for (; x + 1 < end; x += 2, out += 2) {
        const uint32_t pair = *(const uint32_t *)(const void *)x;
        out[0] = (int16_t)lnn_clamp((int16_t)(pair & 65535u) - center, -32640, 32640);
        out[1] = (int16_t)lnn_clamp((int16_t)(pair >> 16) - center, -32640, 32640);
    }""",
)
DSP_WORDS = Fault(
    "words from the port, intrinsics", exactly("__qsub16(LNN_LOAD(x),"), "__qsub16(*(const int32_t *)(const void *)x,"
)


@pytest.mark.parametrize(("machine", "fault", "message"), [
    pytest.param(HostMachine(sanitize=True), PLAIN_WORDS, "misaligned address", id="host-sanitized"),
    pytest.param(M4Machine(), DSP_WORDS, "unaligned word access", id="m4", marks=QEMU),
])  # fmt: skip
def test_words_in_a_whole_program_fault_at_odd_halfwords(machine: Machine, fault: Fault, message: str) -> None:
    """The port `in` comes from the caller at any even address; the harness uses address % 4 == 2 every other step."""
    assert message in program_net("window", in_model(fault), machine)
    assert program_net("window", in_model(fault), HostMachine()) == ""  # a PC forgives it: hence the other machines


@pytest.mark.parametrize(("old", "new", "words"), [
    ("i < n; i++", "i <= n; i++", "wrote after an array"),
    ("out[i] = x[i];", "out[i - 1] = x[i];", "wrote before an array"),
    ("out[i] = x[i];", "{ out[i] = x[i]; ((int16_t *)(uintptr_t)x)[i] = 0; }", "changed an input"),
])  # fmt: skip
def test_kernel_harness_guards_memory(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = apply(Fault(words, exactly(old), new), runtime_text(("copy_s16",)))
    found = kernel_net(("copy_s16",), text, HostMachine(), tmp_path)["copy_s16"]
    assert any(words in each for each in found)
