"""A recurrent model by hand, and streams of it: what the tests of the streaming interface share."""

from __future__ import annotations

import numpy as np

from lnnc.codegen.emit import Files, Identity, emit
from lnnc.ir.program import Block, Buffer, Call, Constant, Program, ProgramPort, ProgramTime, StateView
from lnnc.ir.verify import verify_program
from lnnc.kernels.fixed import tanh_table
from lnnc.quantize.plan import plan_memory
from lnnc.verify.vectors import make_golden

SIZE, REACH = 5, 20_000  # neurons; |h| in raw units
PRE = 2**29
TIME = ProgramTime(16, 6_554, 131_072)  # 0.1 ... 2
DIGEST, OPTIONS = "ab" * 32, {"activations": "int16", "runtime_dt": [0.1, 2.0]}


def toy_program(time: bool, seed: int = 1) -> Program:
    """h <- decay h + gain tanh(W h + V x + dt): two states, int16 and int32 (the drive of the step before)."""
    rng = np.random.default_rng(seed)
    limits = {"h": (-REACH, REACH), "next": (-REACH, REACH), "pre": (-PRE, PRE), "late": (-PRE, PRE)}
    buffers = [
        Buffer("in", "int16", 2, "input", -32_768, 32_767), Buffer("out", "int16", SIZE, "output", -32_640, 32_640),
        Buffer("h", "int16", SIZE, "state", *limits["h"], note="liquid state", reset=7),
        Buffer("late", "int32", SIZE, "state", *limits["late"], note="arguments of the step before"),
        Buffer("x", "int16", 2, "scratch", -32_640, 32_640), Buffer("pre", "int32", SIZE, "scratch", *limits["pre"]),
        Buffer("next", "int16", SIZE, "scratch", *limits["next"]),
    ]  # fmt: skip
    buffers += [Buffer("dt", "int32", 1, "time", TIME.lo, TIME.hi)] if time else []
    constants = [
        _constant("weight", "int8", rng.integers(-127, 128, SIZE * SIZE)),
        _constant("inlet", "int8", rng.integers(-127, 128, SIZE * 2)),
        _constant("bias", "int32", rng.integers(-900, 900, SIZE)),
        _constant("mult", "int32", rng.integers(2**29, 2**30, SIZE)),
        _constant("decay", "int32", rng.integers(2**19, 2**20, SIZE)),
        _constant("gain", "int32", rng.integers(2**18, 2**19, SIZE)),
        _constant("tanh_table", "int16", tanh_table()),
    ]
    linear = {"bias": "bias", "mult": "mult", "n_out": SIZE, "shift": 0, "lo": -PRE, "hi": PRE}
    euler = {"n": SIZE, "table": "tanh_table", "decay": "decay", "gain": "gain", "shift": 20, "lo": -REACH, "hi": REACH}
    calls = (
        _call("center_s16", "input", x="in", n=2, center=100, out="x"),
        _call("linear_s32", "cell", x="h", n_in=SIZE, weight="weight", **linear, out="pre"),
        _call("euler_s16", "cell", x="h", pre="late", drive="dt" if time else 4_000, **euler, out="next"),
        _call("copy_s16", "cell", x="next", n=SIZE, out="h"),
        _call("euler_s16", "head", x="h", pre="pre", drive=0, **euler, out="out"),
        _call("linear_s32", "inlet", x="x", n_in=2, weight="inlet", **linear, out="late"),
    )
    ports = tuple(ProgramPort(name, size, "1", 12, None, None) for name, size in (("x", 2), ("y", SIZE)))
    views = (StateView("h", 2.0**-14), StateView("late", 0.3, 0.125))
    program = Program(
        ports[:1], ports[1:], tuple(buffers), tuple(constants), (Block(calls),), 1, views, TIME if time else None
    )
    return verify_program(plan_memory(program))


def _constant(name: str, dtype: str, data: np.ndarray) -> Constant:
    return Constant(name, dtype, np.asarray(data, np.int64), (len(data),))  # type: ignore[arg-type]


def _call(kernel: str, src: str, **args: str | int) -> Call:
    return Call(kernel, tuple(args.items()), src)


def toy_files(program: Program, name: str = "toy", digest: str = DIGEST) -> Files:
    """The toy as C."""
    return emit(program, Identity(name, name, digest, OPTIONS, "a toy"), make_golden(program))
