"""Seeded faults: a wrong digit anywhere in the generated C must be found, and found by the net that claims it.

Each fault is applied to the C text in memory. Two nets: the differential test of single kernels, and the check of a
whole program (windowed and streaming), whose report must also name the layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lnnc.codegen.c_text import rename
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import parse_checkpoint
from lnnc.kernels import KERNELS
from lnnc.pipeline import Compiled, compile_model
from lnnc.quantize.calibrate import shaped
from lnnc.verify.check import check_model
from lnnc.verify.emulate import M4Machine
from lnnc.verify.host import HostMachine
from lnnc.verify.kernel_cases import Case, draw_cases
from lnnc.verify.kernel_run import amalgamated, build_kernels, compare, run_cases
from lnnc.verify.machine import Machine
from lnnc.verify.vectors import Group, make_groups

pytestmark = pytest.mark.needs("cc")
QEMU = pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")


@dataclass(frozen=True)
class Fault:
    """One wrong place in C.

    Attributes:
        old, new: a pattern that matches once, and what stands there instead; runtime names begin with lnn_.
        kernels: the kernels whose test must see it.
        modes: the program checks, "window" and "stream", that must see it.
        layer: what the report of those must name.
    """

    name: str
    old: str
    new: str
    kernels: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    layer: str = ""


def exactly(text: str) -> str:
    """A pattern for this text, whatever its line breaks."""
    return r"\s+".join(re.escape(word) for word in text.split())


BOTH = ("window", "stream")
FAULTS = (
    # arithmetic of the runtime
    Fault(
        "requant does not round", exactly("+ ((int64_t)1 << 31)) >> 32"), ") >> 32",
        ("linear_s16", "linear_s32", "sum_s32", "affine_s16", "affine_s32", "muladd_s32"), BOTH,
    ),
    Fault("sign of the centre", exactly("lnn_clamp(x[i] - center"), "lnn_clamp(x[i] + center", ("center_s16",), BOTH, "'input'"),
    Fault(
        "ports saturate at 32,767", exactly("center, -32640, 32640"), "center, -32768, 32767", ("center_s16",), BOTH,
        "'input'",
    ),
    Fault(
        "clamp with its bounds swapped", exactly("value < lo ? lo : value > hi ? hi"), "value < hi ? hi : value > lo ? lo",
        ("linear_s16", "tanh_s16", "norm_s16"), BOTH, "'input'",
    ),
    Fault(
        "16-bit accumulator", r"(lnn_linear_s16\(const[^}]*)acc \+= \(int32_t\)LNN_S8\(weight\) \* x\[c\];",
        r"\1acc = (int16_t)(acc + LNN_S8(weight) * x[c]);", ("linear_s16",), BOTH, "encoder.0",
    ),
    Fault(
        "index of the table off by one", exactly("table + (size >> 11)"), "table + (size > 2047 ? (size >> 11) - 1 : 0)",
        ("tanh_s16", "sigmoid_s16", "euler_s16"), BOTH, "encoder.tanh5",
    ),
    Fault("tanh is even", exactly("arg < 0 ? -value : value"), "value", ("tanh_s16", "euler_s16"), BOTH, "encoder.tanh5"),
    Fault(
        "shift of the sigmoid off by one", exactly("(value + half) >> (shift + 1)"), "(value + half) >> shift",
        ("sigmoid_s16",), BOTH, "decoder.sigmoid4",
    ),
    Fault(
        "Euler sum in 32 bits", r"int64_t sum = \(int64_t\)LNN_S32\(decay \+ i\)",
        "int32_t sum = (int32_t)(uint32_t)LNN_S32(decay + i)", ("euler_s16",), BOTH, "dyn",
    ),
    Fault("Euler does not round", exactly("const int64_t half = (int64_t)1 << (shift - 1);"), "const int64_t half = 0;",
          ("euler_s16",), BOTH, "dyn"),
    Fault("no epsilon", exactly("+ ((uint64_t)eps << eps_shift)"), "+ 1u", ("norm_s16", "norm_affine_s16"), BOTH, "(norm_"),
    Fault("three Newton steps", exactly("step < 4"), "step < 3", ("norm_affine_s32",), BOTH, "(norm_"),
    Fault("mean not rounded", exactly("* inv_n + 16384)"), "* inv_n)", ("norm_affine_s32",)),
    Fault("variance without the mean", exactly("- (int64_t)sum * sum"), "", ("norm_s16",), BOTH, "encoder.1"),
    Fault(
        "window moves by one value, not one sample", exactly("window[i + n]"), "window[i + 1]", ("push_s16",), ("stream",),
        "'window'",
    ),
    Fault("missing counts below zero", exactly("if (missing[0] > 0)"), "", ("push_s16",), ("stream",)),
    Fault("copy runs one too far", exactly("for (i = 0; i < n; i++) out[i] = x[i];"), "for (i = 0; i <= n; i++) out[i] = x[i];",
          ("copy_s16",)),
    Fault("add reads what it wrote", exactly("(int64_t)b_gain * b[i]"), "(int64_t)b_gain * out[i]", ("add_s16",), BOTH, "res"),
    # what is printed for a model
    Fault("ReLU lets -1 through", r"(lnn_norm_s16\([^;]*), 0,(\s+)32640,", r"\1, -1,\g<2>32640,", (), BOTH, "encoder.1"),
    Fault(
        "bias and multiplier exchanged", r"(lnn_encoder_3_)bias,(\s+)(lnn_encoder_3_)mult,", r"\1mult,\2\3bias,", (), BOTH,
        "encoder.3",
    ),
    Fault(
        "gamma and beta exchanged", r"(lnn_decoder_1_)gamma,(\s+)(lnn_decoder_1_)beta,", r"\1beta,\2\3gamma,", (), BOTH,
        "decoder.1",
    ),
    Fault("one Euler step too few", exactly("for (step = 0; step < 3;"), "for (step = 0; step < 2;", (), BOTH, "dyn"),
    Fault("one Euler step too many", exactly("for (step = 0; step < 3;"), "for (step = 0; step < 4;", (), BOTH),
    Fault(
        "state committed before its arguments", r"(?s)(    for \(step = 0; step < 3;[^\n]*\n)(.*?)(        /\* dyn: Euler step.*?)(    \}\n)",
        r"\1\3\2\4", (), BOTH, "dyn",
    ),
    Fault("no drive", exactly("scratch->wide_a[0]"), "0", (), BOTH, "dyn"),
    Fault("state starts elsewhere", r"lnn_copy_s16\(scratch->b, 8, scratch->a\);", "", (), BOTH, "dyn"),
    Fault("residual the wrong way round", exactly("scratch->a, scratch->b, 8,"), "scratch->b, scratch->a, 8,", (), BOTH, "res"),
    Fault("one weight flipped", r"(lnn_encoder_0_weight\[240\][^{]*\{\s*)(-?\d+)", r"\1 ~ \2", (), BOTH, "encoder.0"),
    Fault("last bias off by one", r"(lnn_decoder_5_bias\[3\][^{]*\{[^}]*\d)(\s*\})", r"\1 + 4096\2", (), BOTH, "decoder.5"),
    Fault("reset forgets that samples are missing", exactly("state->missing[0] = 12;"), "state->missing[0] = 11;", (), ("stream",)),
    Fault("reset keeps the window", exactly("state->window[i] = 0;"), "(void)0;", (), ("stream",), "'window'"),
    Fault("a step without its window", exactly("if (missing > 0)"), "if (missing > 1)", (), ("stream",)),
)  # fmt: skip


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
        part: [{"op": op, "key": f"{part}.{i}"} if op in ("linear", "norm") else {"op": op} for i, op in enumerate(names)]
        for part, names in ops.items()
    }
    port = {"unit": "1", "range": [-2.0, 4.0], "offset": 1.0, "scale": 1.5}
    dynamics = {"key": "dyn", "recurrence": "full" if mode == "window" else "low_rank", "steps": 3, "dt": 0.2}
    return {
        "format": "lnnc-checkpoint", "version": 1,
        "architecture": {"family": "dlnet", "mode": mode, "window": window, "features": features, **layers,
                         "dynamics": dynamics, "residual": "res"},
        "state_dict": state,
        "inputs": [{"name": "x", "size": inputs.shape[-1], **port}], "outputs": [{"name": "y", "size": outputs, **port}],
        "calibration": {"inputs": inputs},
    }  # fmt: skip


@cache
def compiled(mode: str) -> Compiled:
    return compile_model(parse_checkpoint(document(mode), f"{mode}.pt"), "net")


@cache
def groups(mode: str) -> tuple[Group, ...]:
    made = compiled(mode)
    assert made.checkpoint.calibration is not None
    return tuple(make_groups(made.program, shaped(made.checkpoint, made.checkpoint.calibration), 64))


@cache
def cases(kernel: str) -> tuple[Case, ...]:
    return tuple(draw_cases(KERNELS[kernel], 120, 9)[0])


def runtime_text(kernels: tuple[str, ...]) -> str:
    return amalgamated([KERNELS[name] for name in kernels])


def kernel_net(kernels: tuple[str, ...], text: str, machine: Machine, folder: Path) -> dict[str, list[str]]:
    """What the differential test says of each kernel in this text."""
    entries = [KERNELS[name] for name in kernels]
    image = build_kernels(machine, entries, folder, text, opt="-O1")
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
    for mode in BOTH:
        assert program_net(mode, str, HostMachine()) == ""
    every = tuple(KERNELS)
    found = kernel_net(every, runtime_text(every), HostMachine(), tmp_path)
    assert found == {name: [] for name in every}


def test_the_models_hold_every_kernel_that_a_fault_needs() -> None:
    used = {call.kernel for mode in BOTH for call in compiled(mode).program.calls()}
    assert {kernel for fault in FAULTS for kernel in fault.kernels} - used <= {"affine_s16", "affine_s32"}


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.kernels], ids=lambda f: f.name)
def test_kernel_net_catches(fault: Fault, tmp_path: Path) -> None:
    text = apply(fault, runtime_text(fault.kernels))
    found = kernel_net(fault.kernels, text, HostMachine(), tmp_path)
    blind = [kernel for kernel, texts in found.items() if not texts]
    assert not blind, f"no case of {blind} shows it"


@pytest.mark.parametrize(
    ("fault", "mode"),
    [pytest.param(f, mode, id=f"{f.name}, {mode}") for f in FAULTS for mode in f.modes],
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


@pytest.mark.parametrize(("machine", "message"), [
    pytest.param(HostMachine(sanitize=True), "misaligned address", id="host-sanitized"),
    pytest.param(M4Machine(), "unaligned word access", id="m4", marks=QEMU),
])  # fmt: skip
def test_words_in_a_whole_program_fault_at_odd_halfwords(machine: Machine, message: str) -> None:
    """The port `in` comes from the caller at any even address; the harness uses address % 4 == 2 every other step."""
    loop = exactly("for (i = 0; i < n; i++) out[i] = (int16_t)lnn_clamp(x[i] - center, -32640, 32640);")
    words = """\
for (i = 0; i + 1 < n; i += 2) {
        const uint32_t pair = *(const uint32_t *)(const void *)(x + i);
        out[i] = (int16_t)lnn_clamp((int16_t)(pair & 65535u) - center, -32640, 32640);
        out[i + 1] = (int16_t)lnn_clamp((int16_t)(pair >> 16) - center, -32640, 32640);
    }"""
    fault = Fault("words from the port", loop, words)
    with pytest.raises(LnncError, match=message):
        program_net("window", in_model(fault), machine)
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
