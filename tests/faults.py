"""The table of seeded faults: one wrong place in C each, and which net must find it."""

from __future__ import annotations

import re
from dataclasses import dataclass


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
        "requant does not round",
        exactly("+ ((int64_t)1 << 31)) >> 32"),
        ") >> 32",
        ("linear_s16", "linear_s32", "sum_s32", "affine_s16", "affine_s32", "muladd_s32"),
        BOTH,
    ),
    Fault(
        "sign of the centre",
        exactly("lnn_clamp(*x - center"),
        "lnn_clamp(*x + center",
        ("center_s16",),
        BOTH,
        "'input'",
    ),
    Fault(
        "ports saturate at 32,767",
        exactly("center, -32640, 32640"),
        "center, -32768, 32767",
        ("center_s16",),
        BOTH,
        "'input'",
    ),
    Fault(
        "clamp with its bounds swapped",
        exactly("value < lo ? lo : value > hi ? hi"),
        "value < hi ? hi : value > lo ? lo",
        ("linear_s16", "tanh_s16", "norm_s16"),
        BOTH,
        "'input'",
    ),
    Fault(
        "16-bit accumulator",
        exactly("acc += (int32_t)LNN_S8(weight) * *x;"),
        "acc = (int16_t)(acc + LNN_S8(weight) * *x);",
        ("linear_s16",),
        ("window",),
        "encoder.3",
    ),
    Fault(
        "index of the table off by one",
        exactly("table + (size >> 11)"),
        "table + (size > 2047 ? (size >> 11) - 1 : 0)",
        ("tanh_s16", "sigmoid_s16", "euler_s16"),
        BOTH,
        "encoder.tanh5",
    ),
    Fault(
        "tanh is even", exactly("arg < 0 ? -value : value"), "value", ("tanh_s16", "euler_s16"), BOTH, "encoder.tanh5"
    ),
    Fault(
        "shift of the sigmoid off by one",
        exactly("(value + half) >> (shift + 1)"),
        "(value + half) >> shift",
        ("sigmoid_s16",),
        BOTH,
        "decoder.sigmoid4",
    ),
    Fault(
        "Euler sum in 32 bits",
        r"int64_t sum = \(int64_t\)LNN_S32\(decay \+ i\)",
        "int32_t sum = (int32_t)(uint32_t)LNN_S32(decay + i)",
        ("euler_s16",),
        BOTH,
        "dyn",
    ),
    Fault(
        "Euler does not round",
        exactly("const int64_t half = (int64_t)1 << (shift - 1);"),
        "const int64_t half = 0;",
        ("euler_s16",),
        BOTH,
        "dyn",
    ),
    Fault(
        "no epsilon",
        exactly("+ ((uint64_t)eps << eps_shift)"),
        "+ 1u",
        ("norm_s16", "norm_affine_s16", "norm_stats"),
        BOTH,
        "(norm_",
    ),
    Fault("three Newton steps", exactly("step < 4"), "step < 3", ("norm_stats",), BOTH, "(norm_"),
    Fault("mean not rounded", exactly("* inv_n + 16384)"), "* inv_n)", ("norm_stats",)),
    Fault("variance without the mean", exactly("- (int64_t)sum * sum"), "", ("norm_s16",), BOTH, "encoder.1"),
    Fault(
        "window moves by one value, not one sample",
        exactly("window[i + n]"),
        "window[i + 1]",
        ("push_s16",),
        ("stream",),
        "'window'",
    ),
    Fault("missing counts below zero", exactly("if (missing[0] > 0)"), "", ("push_s16",), ("stream",)),
    Fault(
        "copy runs one too far",
        exactly("for (i = 0; i < n; i++) out[i] = x[i];"),
        "for (i = 0; i <= n; i++) out[i] = x[i];",
        ("copy_s16",),
    ),
    Fault(
        "add reads what it wrote",
        exactly("(int64_t)b_gain * b[i]"),
        "(int64_t)b_gain * out[i]",
        ("add_s16",),
        BOTH,
        "res",
    ),
    # what is printed for a model
    Fault(
        "ReLU lets -1 through", r"(lnn_norm_s16\([^;]*), 0,(\s+)32640,", r"\1, -1,\g<2>32640,", (), BOTH, "encoder.1"
    ),
    Fault(
        "bias and multiplier exchanged",
        r"(lnn_encoder_3_)bias,(\s+)(lnn_encoder_3_)mult,",
        r"\1mult,\2\3bias,",
        (),
        BOTH,
        "encoder.3",
    ),
    Fault(
        "gamma and beta exchanged",
        r"(lnn_decoder_1_)gamma,(\s+)(lnn_decoder_1_)beta,",
        r"\1beta,\2\3gamma,",
        (),
        BOTH,
        "decoder.1",
    ),
    Fault("one Euler step too few", exactly("for (step = 0; step < 3;"), "for (step = 0; step < 2;", (), BOTH, "dyn"),
    Fault("one Euler step too many", exactly("for (step = 0; step < 3;"), "for (step = 0; step < 4;", (), BOTH),
    Fault(
        "state committed before its arguments",
        r"(?s)(    for \(step = 0; step < 3;[^\n]*\n)(.*?)" r"(        /\* dyn: Euler step.*?)(    \}\n)",
        r"\1\3\2\4",
        (),
        BOTH,
        "dyn",
    ),
    Fault("no drive", exactly("scratch->wide_a[0]"), "0", (), BOTH, "dyn"),
    Fault("state starts elsewhere", r"lnn_copy_s16\(scratch->b, 8, scratch->a\);", "", (), BOTH, "dyn"),
    Fault(
        "residual the wrong way round",
        exactly("scratch->a, scratch->b, 8,"),
        "scratch->b, scratch->a, 8,",
        (),
        BOTH,
        "res",
    ),
    Fault("one weight flipped", r"(lnn_encoder_0_weight\[240\][^{]*\{\s*)(-?\d+)", r"\1 ~ \2", (), BOTH, "encoder.0"),
    Fault(
        "last bias off by one", r"(lnn_decoder_5_bias\[3\][^{]*\{[^}]*\d)(\s*\})", r"\1 + 4096\2", (), BOTH, "decoder.5"
    ),
    Fault(
        "reset forgets that samples are missing",
        exactly("state->missing[0] = 12;"),
        "state->missing[0] = 11;",
        (),
        ("stream",),
    ),
    Fault("reset keeps the window", exactly("state->window[i] = 0;"), "(void)0;", (), ("stream",), "'window'"),
    Fault("a step without its window", exactly("if (missing > 0)"), "if (missing > 1)", (), ("stream",)),
)
