"""Gates of CfC and GRU: what is fused, in which formats, and how close the integers stay to the float64 graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from lowered import INPUT, WIDE, files, graph, irregular, linear, percent, stream, trial

from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Act, Add, Blend, Concat, Graph, Linear, Mul, Op, Pure, Scale, State, Timed
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import A_MAX, exp_table, tanh_table
from lnnc.quantize.calibrate import measure
from lnnc.quantize.context import Options
from lnnc.quantize.lower import lower
from lnnc.reference.quantio import to_raw, to_real
from lnnc.verify.engines import run_machine, run_reference
from lnnc.verify.host import HostMachine

UNITS, INPUTS = 24, 3
GATED, OPEN = 0.05, 0.1  # mean error of a state, percent of its largest size


def cfc(mode: str, seed: int = 0, gain: float = 1.0, time: float = 1.0, units: int = UNITS) -> Graph:
    """A CfC cell of ncps with random weights and a layer behind it."""
    rng = np.random.default_rng(seed)
    width = INPUTS + units
    ops: list[Op] = [State("h", units, "y", "cell"), Concat("xh", (INPUT, "h"), "cell")]
    heads = ("f",) if mode == "pure" else ("f1", "f2", "ta", "tb")
    ops += [linear(head, "xh", (units, width), rng, gain) for head in heads]
    if mode == "pure":
        ops.append(Pure("y", "f", rng.uniform(0.5, 1.0, units), rng.uniform(0.0, 0.5, units), "cell"))
    else:
        ops += [Act("g1", "f1", "tanh", "cell"), Act("g2", "f2", "tanh", "cell"), Timed("tt", "ta", "tb", "cell")]
        ops.append(Act("s", "tt", "sigmoid", "cell"))
        ops += [Blend("y", "g1", "g2", "s", "cell")] if mode == "default" else no_gate()
    return graph([*ops, linear("head", "y", (1, units), rng)], "head", INPUTS, 1, time)


def no_gate(swapped: bool = False) -> list[Op]:
    if swapped:
        return [Mul("m", "s", "g2", "cell"), Add("y", "m", "g1", 1.0, "cell")]
    return [Mul("m", "g2", "s", "cell"), Add("y", "g1", "m", 1.0, "cell")]


def changed(network: Graph, ops: Sequence[Op]) -> Graph:
    return replace(network, ops=tuple(ops))


# ---- kernels -----------------------------------------------------------------------------------


def test_blend_is_a_weighted_mean() -> None:
    a, b, t = np.array([[100, 0, -32640, 32640]]), np.array([[300, 7, 32640, 32640]]), np.array([[8192, 16384, 0, 5]])
    (out,) = KERNELS["blend_s16"].eval(a=a, b=b, t=t, n=4, mult=2**18, lo=-A_MAX, hi=A_MAX)
    assert out.tolist() == [[200, 7, -32640, 32640]]


@pytest.mark.parametrize(("kernel", "top"), [("cfc_s16", 1.0), ("cfc_open_s16", 2.0)])
def test_a_gate_is_within_four_units_of_the_float_gate(kernel: str, top: float) -> None:
    rng = np.random.default_rng(0)
    a, b, t = rng.uniform(-4, 4, (3, 1, 4000))
    raw = [np.round(v * 2**16).astype(np.int64) for v in (a, b, t / 2)]
    mult = round(2.0**2 * A_MAX / top)
    (out,) = KERNELS[kernel].eval(
        a=raw[0], b=raw[1], t=raw[2], n=4000, a_up=0, b_up=0, t_up=0, table=tanh_table(), mult=mult, lo=-A_MAX, hi=A_MAX
    )
    s = 1.0 / (1.0 + np.exp(-t))
    exact = np.tanh(a) + (np.tanh(b) - (np.tanh(a) if top == 1.0 else 0.0)) * s
    assert np.abs(out - exact * A_MAX / top).max() < 4.0


@pytest.mark.parametrize("kernel", ["cfc_s16", "cfc_open_s16"])
def test_a_gate_fits_int32_where_every_table_saturates(kernel: str) -> None:
    ends = np.array([[s * (2**19 - 1) for s in (-1, 1)]])
    for a in ends[0]:
        for t in ends[0]:
            arrays = {"a": np.full((1, 2), a), "b": ends, "t": np.full((1, 2), t)}
            (out,) = KERNELS[kernel].eval(
                **arrays, n=2, a_up=0, b_up=0, t_up=0, table=tanh_table(), mult=130_560, lo=-A_MAX, hi=A_MAX
            )
            assert np.abs(out).max() <= A_MAX


def test_timed_rounds_the_product_to_nearest() -> None:
    a, b = np.array([[3, -3, 2**29]]), np.array([[10, 10, -(2**29)]])
    (out,) = KERNELS["timed_s32"].eval(a=a, b=b, dt=2**29, n=3, shift=30, up=1, lo=-(2**19), hi=2**19)
    assert out.tolist() == [[22, 19, -(2**19)]]


def test_pure_is_its_closed_form() -> None:
    x = np.linspace(-20, 20, 2001)[None]
    raw = np.round(x * 2**16).astype(np.int64)
    mult = np.full(2001, 2**20)  # amplitude 1, w in Q26, result in Q14
    (out,) = KERNELS["pure_s16"].eval(
        x=raw, n=2001, up=0, rate=np.full(2001, 2**14), table=exp_table(), limit=2**20, down=5, one=2**26, mult=mult,
        lo=-A_MAX, hi=A_MAX,
    )  # fmt: skip
    exact = 1.0 - np.exp(-0.25 - np.abs(x)) * x
    assert np.abs(out / 2**14 - exact).max() < 3e-4


# ---- whole cells -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("mode", "gain", "kernel", "limit"),
    [("default", 1.5, "cfc_s16", GATED), ("no_gate", 0.7, "cfc_open_s16", OPEN), ("pure", 1.5, "pure_s16", GATED)],
)
def test_a_cell_is_close_to_the_numbers_it_stands_for(
    mode: str, gain: float, kernel: str, limit: float, seed: int
) -> None:
    found = trial(cfc(mode, seed, gain), samples=1500)
    assert found.state_error < limit
    assert kernel in found.kernels and not {"tanh_s16", "sigmoid_s16", "add_s16", "mul_s16"} & found.kernels


@pytest.mark.parametrize("limits", [(0.5, 2.0), (0.01, 1.0), (0.002, 0.004)])
@pytest.mark.parametrize(
    ("mode", "gain", "kernel"),
    [("default", 1.5, "timed_s32"), ("no_gate", 0.7, "timed_s32"), ("pure", 1.0, "pure_dt_s16")],
)
def test_irregular_samples(mode: str, gain: float, kernel: str, limits: tuple[float, float]) -> None:
    options = Options(weight_bits="16", runtime_dt=limits)
    found = trial(cfc(mode, 1, gain), options, 800, irregular(800, *limits))
    assert found.state_error < (GATED if mode == "default" else OPEN)
    assert kernel in found.kernels


@pytest.mark.parametrize("time", [0.01, 0.5, 3.0, 40.0])
def test_pure_at_any_constant_time(time: float) -> None:
    found = trial(cfc("pure", 2, time=time), samples=400)
    assert found.state_error < GATED
    assert ("pure_dt_s16" in found.kernels) == (time < 0.5)
    assert found.lowered.program.time is None


def test_states_of_a_cfc_use_their_bounds() -> None:
    cases = (("default", 1.0 / A_MAX), ("no_gate", 2.0 / A_MAX))
    for mode, scale in cases:
        lowered = trial(cfc(mode, 0, 0.5), samples=20).lowered
        assert lowered.program.views[0].scale == scale
        assert "<=" in lowered.rules["h"]


def test_pure_takes_the_proved_bound_or_calibration() -> None:
    near, far = (trial(cfc("pure", 0, 0.3, time=time), samples=50).lowered for time in (1.0, 0.01))
    assert near.rules["h"].startswith("|x| <= ") and far.rules["h"].startswith("calibration")
    assert near.program.views[0].scale * A_MAX <= 1.0 * (1.0 + np.exp(-1.0)) + 1e-9


def test_a_constant_time_leaves_one_head_and_no_product() -> None:
    found = trial(cfc("default"), samples=20)
    calls = [call.kernel for call in found.lowered.program.calls()]
    assert calls.count("linear_w16_s32") == 3 and "timed_s32" not in calls


def test_heads_on_different_tensors_keep_a_product_with_a_constant() -> None:
    network = cfc("default", 3)
    ops = [replace(op, x="h", weight=op.weight[:, INPUTS:]) if op.out == "ta" else op for op in network.ops]  # type: ignore[call-arg,union-attr]
    found = trial(changed(network, ops))
    assert "timed_s32" in found.kernels and found.state_error < GATED


@pytest.mark.parametrize("swapped", [False, True])
def test_either_order_of_an_open_gate_is_found(swapped: bool) -> None:
    network = cfc("no_gate", 1, 0.6)
    ops = [op for op in network.ops if op.out not in ("m", "y", "head")]
    found = trial(changed(network, [*ops, *no_gate(swapped), network.ops[-1]]), samples=200)
    assert "cfc_open_s16" in found.kernels and found.state_error < OPEN


def test_a_scaled_sum_is_no_gate() -> None:
    network = cfc("no_gate", 1, 0.6)
    ops = [replace(op, gain=0.5) if isinstance(op, Add) else op for op in network.ops]
    found = trial(changed(network, ops), samples=300)
    assert "cfc_open_s16" not in found.kernels and found.state_error < OPEN


@pytest.mark.parametrize("shared", ["g1", "s", "f2", "tt"])
def test_what_others_read_too_is_not_swallowed(shared: str) -> None:
    """A second reader of a head, of a table's result or of the time gate's argument."""
    network = cfc("default", 4)
    rng = np.random.default_rng(9)
    side = [linear("side", shared, (1, UNITS), rng), Add("both", "head", "side", 1.0, "side")]
    last = Linear("last", "both", np.ones((1, 1)), np.zeros(1), "last")
    found = trial(replace(network, ops=(*network.ops, *side, last), result="last"))
    assert found.state_error < GATED and found.out_error < GATED
    assert ("cfc_s16" in found.kernels) == (shared in ("f2", "tt"))


def gru(seed: int = 0, units: int = 12) -> Graph:
    """h <- n + (h - n) z, with n = tanh(W x + r * (U h)) shortened to one layer."""
    rng = np.random.default_rng(seed)
    width = INPUTS + units
    ops: list[Op] = [
        State("h", units, "y", "gru"), Concat("xh", (INPUT, "h"), "gru"), linear("ln", "xh", (units, width), rng),
        linear("lz", "xh", (units, width), rng), Act("n", "ln", "tanh", "gru"), Act("z", "lz", "sigmoid", "gru"),
        Blend("y", "n", "h", "z", "gru"), linear("head", "y", (1, units), rng),
    ]  # fmt: skip
    return graph(ops, "head", INPUTS, 1)


def test_the_gate_of_a_gru_blends_tensors() -> None:
    found = trial(gru())
    assert "blend_s16" in found.kernels and found.state_error < GATED


def test_a_gate_between_formats_of_their_own() -> None:
    """a and b are layers, t is no table's result: all three are brought into the gate's formats."""
    rng = np.random.default_rng(0)
    ops = [
        linear("a", INPUT, (4, 3), rng, 5.0), linear("b", INPUT, (4, 3), rng, 0.3), linear("c", INPUT, (4, 3), rng),
        Act("s", "c", "sigmoid", "gate"), Mul("t", "s", "s", "gate"), Blend("y", "a", "b", "t", "gate"),
        linear("head", "y", (2, 4), rng),
    ]  # fmt: skip
    network, data = graph(ops, "head", 3, 2), stream(300, 3)[0]
    found = lower(network, measure(network, data), WIDE, "test.pt")
    raw = to_raw(data[:, None], found.program.inputs)
    rounded = to_real(raw, found.program.inputs)
    out = run_reference(found.program, rounded)[:, 0]
    assert percent(out, evaluate(found.exact, rounded[:, 0])["head"]) < 0.02


def test_the_output_may_be_the_state_itself() -> None:
    network = cfc("default", 5)
    ops = (*network.ops[:-1], Scale("scaled", "y", np.full(UNITS, 2.0), np.ones(UNITS), "output scaler"))
    found = trial(replace(network, ops=ops, result="scaled", outputs=(replace(network.outputs[0], size=UNITS),)))
    assert found.state_error < GATED and found.out_error < GATED


def test_int8_activations_keep_the_state_wide() -> None:
    found = trial(cfc("default", 6), Options("int8", weight_bits="16"))
    assert found.state_error < GATED and found.lowered.program.views[0].scale == 1.0 / A_MAX


@pytest.mark.needs("cc")
@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("limits", [None, (0.1, 2.0)])
def test_generated_c_is_the_reference(mode: str, limits: tuple[float, float] | None) -> None:
    options = Options(weight_bits="16", runtime_dt=limits)
    times = None if limits is None else irregular(60, *limits)
    found = trial(cfc(mode, 7, 0.7, units=7), options, 60, times).lowered
    made, data = files(found), stream(60, INPUTS)
    want = run_reference(found.program, data, times)
    got = run_machine(found.program, (made.source, made.header), "cell", HostMachine(sanitize=True), data, times)
    assert (want == got).all()
