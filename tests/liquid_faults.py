"""Seeded faults of the recurrent networks: one wrong place in C each, and which net must find it.

Modes are models of tests/liquid.py.
"""

from __future__ import annotations

from faults import Fault, exactly


def inside(function: str, text: str) -> str:
    """A pattern for this text in a function before its first closing brace; \\1 is what stands before it."""
    return rf"({function}\(const[^}}]*){exactly(text)}"


LIQUID_FAULTS = (
    # layers
    Fault(
        "weights of 16 bits read as 8",
        exactly("(int32_t)LNN_S16(weight + 2) * x[2]"),
        "(int32_t)(int8_t)LNN_S16(weight + 2) * x[2]",
        ("linear_w16_s32",), ("cfc", "leaky"),
    ),
    Fault(
        "sums of 16-bit weights in 16 bits",
        exactly("acc += (int32_t)LNN_S16(weight) * x[0] + (int32_t)LNN_S16(weight + 1) * x[1];"),
        "acc = (int16_t)(acc + LNN_S16(weight) * x[0] + LNN_S16(weight + 1) * x[1]);",
        ("linear_w16_s16",), ("cfc",), "near.backbone.0",
    ),
    Fault(
        "column off by one",
        inside("lnn_sparse_w16_s32", "x[LNN_U8(column)]"),
        r"\g<1>x[LNN_U8(column) > 0 ? LNN_U8(column) - 1 : 0]",
        ("sparse_w16_s32",), ("cfc",), "far.ff1",
    ),
    Fault(
        "last weight of a row left out",
        inside("lnn_sparse_s32", "left > 0;"), r"\g<1>left > 1;",
        ("sparse_s32",), ("plain", "timed"), "cfc",
    ),
    Fault(
        "columns of seven bits",
        inside("lnn_sparse_s16", "x[LNN_U8(column)]"),
        r"\g<1>x[(LNN_U8(column) & 127)]",
        ("sparse_s16",),
    ),
    Fault(
        "second part over the first", exactly("out[n_a + i] = b[i];"), "out[i] = b[i];",
        ("concat_s16",), ("cfc", "open", "plain", "leaky"),
    ),
    Fault("slice from the start", exactly("out[i] = x[start + i];"), "out[i] = x[i];", ("slice_s16",)),
    Fault(
        "gather without its index", exactly("x[LNN_S16(index + i)]"), "x[i < n_x ? i : 0]",
        ("gather_s16",), ("open", "wide"),
    ),
    Fault(
        "product not rounded",
        exactly("lnn_requant((int32_t)a[i] * b[i], mult)"),
        "(int32_t)(((int64_t)((int32_t)a[i] * b[i]) * mult) >> 32)",
        ("mul_s16",), ("cfc", "leaky", "open", "plain"),
    ),
    Fault(
        "quotient not rounded", exactly("(size + (below >> 1)) / below"), "size / below",
        ("div_s16",), ("open",), "softsign",
    ),
    Fault("quotient without a sign", exactly("a[i] < 0 ? -value : value, lo"), "value, lo",
          ("div_s16",), ("open",), "softsign"),
    Fault("divisor down to 1", exactly("b[i] < least ? least : b[i]"), "b[i] < 1 ? 1 : b[i]", ("div_s16",)),
    Fault("absolute value of what is positive", exactly("x[i] < 0 ? -x[i] : x[i]"), "x[i]",
          ("abs_s16",), ("open",), "around"),
    Fault(
        "knot of exp off by one", exactly("table + (size >> 12)"), "table + (size > 4095 ? (size >> 12) - 1 : 0)",
        ("exp_s16", "pure_s16", "pure_dt_s16"), ("open", "timed"),
    ),
    # gates
    Fault(
        "gate the wrong way round",
        exactly("a[i] * (int32_t)16384 + ((int32_t)b[i] - a[i]) * t[i]"),
        "b[i] * (int32_t)16384 + ((int32_t)a[i] - b[i]) * t[i]",
        ("blend_s16",), ("leaky",), "gru",
    ),
    Fault("CfC gate reversed", exactly("(f2 - f1) * s"), "(f1 - f2) * s", ("cfc_s16",), ("cfc", "plain", "timed")),
    Fault("CfC gate not rounded", inside("lnn_cfc_s16", "32769"), r"\g<1>32768", ("cfc_s16",), ("cfc",), "near"),
    Fault("CfC without its first head", exactly("f1 * 32768 + f2 * s"), "f2 * s + (f1 - f1)",
          ("cfc_open_s16",), ("open",), "no_gate"),
    Fault(
        "time gate in 32 bits",
        exactly("(int64_t)a[i] * dt + half"), "(int64_t)(int32_t)((uint32_t)a[i] * (uint32_t)dt) + half",
        ("timed_s32",), ("timed",), "cfc.layer_0",
    ),
    Fault("time gate without its constant", exactly(">> shift) + b[i] * ((int64_t)1 << up)"), ">> shift) + b[i] - b[i]",
          ("timed_s32",), ("timed",), "cfc.layer_0"),
    Fault(
        "decay of a signed argument", inside("lnn_pure_s16", "(v < 0 ? -v : v) + LNN_S32(rate + i)"),
        r"\g<1>v + LNN_S32(rate + i)", ("pure_s16",), ("open",), "pure",
    ),
    Fault("long times wrap", exactly("z > INT32_MAX ? INT32_MAX : (int32_t)z"), "(int32_t)z", ("pure_dt_s16",)),
    # states that integrate
    Fault("leak with the wrong sign", r"(lnn_leaky_s32\([^}]*)- lnn_requant\(x\[i\]", r"\g<1>+ lnn_requant(x[i]",
          ("leaky_s32",), ("leaky",), "euler"),
    Fault("leaky copy not rounded", r"(lnn_leaky_s32\([^}]*)\(x\[i\] \+ half\)", r"\g<1>(x[i] + half - half)",
          ("leaky_s32",), ("leaky",), "euler"),
    Fault("time of a leaky step forgotten", exactly("lnn_requant(change, part)"), "(change + part - part)",
          ("leaky_dt_s32",), ("timed",), "leaky"),
    Fault("narrow does not round", exactly("(int16_t)lnn_clamp((x[i] + half) >> shift"),
          "(int16_t)lnn_clamp((x[i] + half - half) >> shift", ("narrow_s16",), ("ltc", "leaky", "open", "timed")),
    Fault("state not widened enough", exactly("out[i] = x[i] * ((int32_t)1 << shift);"),
          "out[i] = x[i] * ((int32_t)1 << shift >> 1);", ("widen_s32",), ("open",), "mixed"),
    # synapses and what they move
    Fault("current weighed by the conductance", inside("lnn_synapse_s32", "current + k"), r"\g<1>conductance + k",
          ("synapse_s32",), ("ltc", "open")),
    Fault("conductance with the wrong sign", inside("lnn_synapse_s32", "g += "), r"\g<1>g -= ",
          ("synapse_s32",), ("ltc",), "wired"),
    Fault("synapses of the next neuron", inside("lnn_sensory_s32", "k + LNN_S16(count + i)"),
          r"\g<1>k + LNN_S16(count + (i + 1 < n ? i + 1 : i))", ("sensory_s32",), ("ltc",), "wired"),
    Fault("a closed synapse leaks", exactly("(32768 + lnn_tanh_q15((slope"), "(32769 + lnn_tanh_q15((slope",
          ("synapse_s32", "sensory_s32", "synapse_far_s32", "sensory_far_s32"), ("ltc",), "wired"),
    Fault("index of a far neuron cut", inside("lnn_synapse_far_s32", "x[LNN_S16(pre + k)]"),
          r"\g<1>x[(uint8_t)LNN_S16(pre + k)]", (), ("wide",), "wide"),
    Fault("quotient of a fused step not rounded",
          exactly("rest < 0 ? rest - (below >> 1) : rest + (below >> 1)"), "rest",
          ("fused_s16", "fused_dt_s16"), ("ltc", "timed")),
    Fault("pull with the wrong sign", exactly("(sums[1] >> 1) - lnn_requant"), "(sums[1] >> 1) + lnn_requant",
          ("fused_s16", "explicit_s16", "explicit_dt_s16"), ("ltc", "open", "timed")),
    Fault("inertia of a time not rounded", exactly("+ (dt >> 1)) / dt"), ") / dt", ("inertia_s32",)),
    Fault("sensory sums forgotten", r"(lnn_synapse_s32\([^;]*)scratch->wide_a, (scratch->wide_b\);)",
          r"\g<1>lnn_wired_v_next_leak, \2", (), ("ltc",), "wired"),
    Fault("sums that grow with every unfold",
          r"(?s)(lnn_synapse_s32\([^;]*scratch->wide_a, )scratch->wide_b(\);.*?lnn_fused_s16\()scratch->wide_b",
          r"\g<1>scratch->wide_a\2scratch->wide_a", (), ("ltc",), "wired"),
    Fault("one unfold too few", exactly("for (step = 0; step < 6;"), "for (step = 0; step < 5;", (), ("ltc",), "wired"),
    Fault("one leaky step too few", exactly("for (step = 0; step < 3;"), "for (step = 0; step < 2;",
          (), ("leaky",), "euler"),
    # the step
    Fault("a state is not committed", exactly("lnn_copy_s16(scratch->a, 6, state->near_h);"), "", (), ("cfc",), "near"),
    Fault("states committed crosswise", exactly("lnn_copy_s16(scratch->b, 5, state->far_h);"),
          "lnn_copy_s16(scratch->a, 5, state->far_h);", (), ("cfc",), "far"),
    Fault("a state committed before it is set aside",
          r"(?s)(    lnn_copy_s16\(state->delay_once, 2, scratch->d\);\n)(.*?)"
          r"(    lnn_copy_s16\(scratch->a, 2, state->delay_once\);\n)",
          r"\3\2\1", (), ("plain",), "delay"),
    Fault("shortest time refused", exactly("dt < LNN_DT_MIN"), "dt <= LNN_DT_MIN", (), ("timed",)),
    Fault("longest time but one", exactly("dt > LNN_DT_MAX"), "dt > LNN_DT_MAX + 1", (), ("timed",)),
    Fault("reset keeps a wide state", exactly("state->wired_v[i] = 0;"), "(void)0;", (), ("ltc",), "wired"),
    Fault("reset keeps one number", exactly("for (i = 0; i < 7; i++) state->wired_v[i] = 0;"),
          "for (i = 0; i < 6; i++) state->wired_v[i] = 0;", (), ("ltc",), "wired"),
)  # fmt: skip
