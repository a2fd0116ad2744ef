"""Records for the scalar functions of the C runtime, so that the kernels' harness can call them too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lnnc.codegen.c_text import kernel_texts, prelude
from lnnc.kernels import fixed, layernorm
from lnnc.kernels.fixed import INT32_MAX, Ints
from lnnc.kernels.lut import EXP_TABLE, TABLE
from lnnc.kernels.registry import Args, Kernel, Param, Ranges

INT32_MIN = -(2**31)
CHUNK = 16_384  # four int32 arrays of it fit the harness's arena
N = Param("n", "int", lo=1, hi=CHUNK)
OUT = Param("out", "out", "int32", ("n",))
PRELUDE = prelude("lnn")


def word(name: str, low: int = -INT32_MAX, high: int = INT32_MAX, dtype: str = "int32") -> Param:
    return Param(name, "in", dtype, ("n",), low, high)


def scalar(name: str, params: tuple[Param, ...], call: str, meaning: Callable[..., Ints]) -> tuple[Kernel, str]:
    """A kernel record that applies a scalar function to every element, and its C."""
    entry = Kernel(f"each_{name}", (*params, N, OUT), lambda n, **a: (meaning(**a),), always, as_drawn)
    body = f"{{\n    int32_t i;\n    for (i = 0; i < n; i++)\n        out[i] = lnn_{name}({call});\n}}"
    return entry, f"{entry.prototype()}\n{body}"


def always(args: Args, ranges: Ranges) -> str:
    return ""


def as_drawn(args: Args, rng: np.random.Generator) -> Args:
    return args


def smlaw_fits(args: Args, rng: np.random.Generator) -> Args:
    """The sum of the product and c stays inside int32; often at its very end."""
    product = (args["a"] * args["b"]) >> 16
    low, high = INT32_MIN - np.minimum(product, 0), INT32_MAX - np.maximum(product, 0)
    return {**args, "c": np.clip(args["c"], np.maximum(low, -INT32_MAX), high)}


REQUANT, REQUANT_C = scalar("requant", (word("acc", INT32_MIN), word("mult")), "acc[i], mult[i]", fixed.requant)
CLAMP, CLAMP_C = scalar(
    "clamp", (word("value", INT32_MIN), word("low"), word("high")), "value[i], low[i], high[i]",
    lambda value, low, high: np.where(value < low, low, np.where(value > high, high, value)),
)  # fmt: skip
SMLAW, SMLAW_C = scalar(
    "smlaw", (word("a", INT32_MIN), word("b", -(2**15), 2**15 - 1, "int16"), word("c")), "a[i], b[i], c[i]", fixed.smlaw
)
SMLAW = Kernel(SMLAW.name, SMLAW.params, SMLAW.eval, always, smlaw_fits)
TANH, TANH_C = scalar("tanh_q15", (word("arg"), TABLE), "arg[i], table", fixed.tanh_q15)
EXP, EXP_C = scalar("exp_q15", (word("z", INT32_MIN), EXP_TABLE), "z[i], table", fixed.exp_q15)
# The statistics of LayerNorm are a C function with a record's own shape: no wrapper needed.
STATS = Kernel(
    "norm_stats",
    (*layernorm._STATS, Param("scale", "out", "int32", (1,)), Param("offset", "out", "int32", (1,))),
    lambda **a: layernorm.stats(**{p.name: a[p.name] for p in layernorm._STATS}),
    lambda args, ranges: layernorm._check_stats(args),
    lambda args, rng: {k: v for k, v in layernorm._fit(args, rng).items() if k not in ("shift", "beta_shift")},
)
RECORDS = (REQUANT, CLAMP, SMLAW, TANH, EXP, STATS)
FUNCTIONS = [kernel.name.removeprefix("each_") for kernel in RECORDS]
TEXT = "\n\n".join([PRELUDE, *kernel_texts(FUNCTIONS, "lnn"), REQUANT_C, CLAMP_C, SMLAW_C, TANH_C, EXP_C])
