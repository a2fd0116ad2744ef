"""The leaky cell: its bounds and formats, its increments, and how close the integers stay to the float64 graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lowered import INPUT, WIDE, files, graph, irregular, linear, lowered, stream, trial

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Concat, Graph, Leaky, Op, State
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import A_MAX, tanh_table
from lnnc.quantize.context import Options
from lnnc.verify.engines import run_machine, run_reference
from lnnc.verify.host import HostMachine

UNITS, INPUTS = 24, 3
LIMIT = 0.05  # mean error of the state, percent of its largest size


def leaky(
    seed: int = 0, alpha: tuple[float, float] = (0.5, 2.0), steps: int = 1, time: float = 0.1, units: int = UNITS,
    beta: float | None = None,
) -> Graph:  # fmt: skip
    """A leaky integrator (beta = alpha), or DLNet's neuron with normal beta, and a layer behind it."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(*alpha, units)
    gain = rate if beta is None else rng.normal(0, beta, units)
    cell = Leaky("y", "h", "d", rng.normal(0, 1.2 / np.sqrt(units), (units, units)), rate, gain, steps, "cell.rec")
    ops: list[Op] = [State("h", units, "y", "cell"), linear("d", INPUT, (units, INPUTS), rng), cell]
    return graph([*ops, linear("head", "y", (1, units), rng)], "head", INPUTS, 1, time)


def with_cell(network: Graph, **changes: object) -> Graph:
    ops = tuple(replace(op, **changes) if isinstance(op, Leaky) else op for op in network.ops)  # type: ignore[arg-type]
    return replace(network, ops=ops)


# ---- kernels -----------------------------------------------------------------------------------


def step(x: int, pre: int, drive: int, decay: float, gain: float, **more: object) -> tuple[int, int]:
    """One neuron, Q30: (x, int16 copy)."""
    found = KERNELS["leaky_dt_s32" if "dt" in more else "leaky_s32"].eval(
        x=np.array([[x]]), pre=np.array([[pre]]), drive=np.array([[drive]]), n=1, table=tanh_table(),
        decay=np.array([round(decay * 2**32)]), gain=np.array([round(gain * 2**31)]), up=0, lo=-(2**30), hi=2**30,
        shift=16, **more,
    )  # fmt: skip
    return int(found[0][0, 0]), int(found[1][0, 0])


def test_increments_below_one_unit_of_int16_add_up() -> None:
    x = 0
    for _ in range(2000):
        x, copy = step(x, 2**16, 0, 1e-4, 1e-4)
    exact = np.tanh(1.0) * (1.0 - (1.0 - 1e-4) ** 2000)
    assert x / 2**30 == pytest.approx(exact, abs=1e-4)
    assert copy == round(x / 2**16)


def test_the_time_scales_the_whole_change() -> None:
    """dt << norm stands for a quarter of 2^32."""
    whole = step(2**29, -(2**17), 2**15, 0.25, 0.25)[0] - 2**29
    quarter = step(2**29, -(2**17), 2**15, 0.25, 0.25, dt=2**20, norm=10)[0] - 2**29
    assert quarter == pytest.approx(whole / 4, abs=1)


def test_widen_and_narrow_are_inverse() -> None:
    x = np.arange(-A_MAX, A_MAX + 1)[None]
    for shift in (0, 7, 16):
        (wide,) = KERNELS["widen_s32"].eval(x=x, n=x.size, shift=shift)
        (back,) = KERNELS["narrow_s16"].eval(x=wide, n=x.size, shift=shift, lo=-A_MAX, hi=A_MAX)
        assert (back == x).all()


# ---- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [5, 24])
@pytest.mark.parametrize("alpha", [(0.2, 9.0), (2.0, 17.0)])
def test_no_state_leaves_its_bound(alpha: tuple[float, float], units: int) -> None:
    """A drive that swings between its ends at every step of the slowest and fastest neurons."""
    network = leaky(1, alpha, units=units, beta=3.0)
    found = lowered(network, samples=300)
    cell = next(op for op in network.ops if isinstance(op, Leaky))
    dt = network.time
    rate = dt * cell.alpha
    bound = np.where(rate <= 1.0, np.abs(cell.beta) / cell.alpha, dt * np.abs(cell.beta) / (2.0 - rate))
    x, signs = np.zeros(units), np.sign(cell.beta)
    for k in range(2000):
        drive = signs * np.where(rate > 1.0, (-1.0) ** k, 1.0)
        x = x + dt * (-cell.alpha * x + cell.beta * drive)
        assert (np.abs(x) <= bound * (1 + 1e-12)).all()
    assert np.abs(x) == pytest.approx(bound, rel=1e-3)
    assert found.rules["h"] == f"|x| <= {bound.max():.4g}: |beta| / alpha, or dt |beta| / (2 - dt alpha)"


def test_a_leaky_integrator_has_a_state_of_30_fraction_bits() -> None:
    found = lowered(leaky())
    view = found.program.views[0]
    assert view.scale == 2.0**-30 and found.program.buffer(view.buffer).hi == 2**30


def test_unstable_steps_are_refused_with_the_longest_safe_time() -> None:
    alpha = np.full(UNITS, 5.0)
    alpha[3] = 25.0
    with pytest.raises(LnncError, match=r"layer 'cell.rec': unstable step size: neuron 3 has alpha dt = 2.5") as error:
        lowered(with_cell(leaky(), alpha=alpha), samples=20)
    assert "below 0.08, or take more than 1 steps" in str(error.value)
    lowered(replace(with_cell(leaky(), alpha=alpha), time=0.079), samples=20)


def test_the_longest_time_decides_stability() -> None:
    network = leaky(alpha=(15.0, 15.0))
    with pytest.raises(LnncError, match="alpha dt = 3"):
        lowered(network, Options(runtime_dt=(0.01, 0.2)), 20, irregular(20, 0.01, 0.1))


def test_growing_neurons_saturate_with_a_warning() -> None:
    alpha = np.full(UNITS, 1.0)
    alpha[[2, 7]] = -0.01, 0.0
    found = trial(with_cell(leaky(), alpha=alpha), samples=300)
    assert found.state_error < LIMIT
    assert "alpha <= 0 in neuron 2, 7" in found.lowered.warnings[0]
    assert found.lowered.rules["h"].startswith("calibration") and "neuron 2, 7" in found.lowered.rules["h"]


def test_a_bound_far_beyond_calibration_is_not_used() -> None:
    found = trial(with_cell(leaky(), alpha=np.full(UNITS, 1e-3)), samples=300)
    assert found.lowered.rules["h"].startswith("calibration") and found.state_error < LIMIT


# ---- whole cells -------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("alpha", [(0.5, 2.0), (0.02, 0.1), (4.0, 12.0)])
@pytest.mark.parametrize("bits", ["8", "16"])
def test_a_cell_is_close_to_the_numbers_it_stands_for(alpha: tuple[float, float], steps: int, bits: str) -> None:
    found = trial(leaky(3, alpha, steps), Options(weight_bits=bits), 1500)
    assert found.state_error < LIMIT / 5


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("limits", [(0.05, 0.2), (0.001, 0.3), (10.0, 60.0)])
def test_irregular_samples(limits: tuple[float, float], steps: int) -> None:
    options = Options(weight_bits="16", runtime_dt=limits)
    longest = limits[1]
    network = leaky(4, (0.1 / longest, 1.5 / longest), steps, longest)
    found = trial(network, options, 1500, irregular(1500, *limits))
    assert found.state_error < LIMIT / 5
    assert "leaky_dt_s32" in found.kernels


def test_code_does_not_grow_with_the_steps() -> None:
    programs = [lowered(leaky(steps=steps)).program for steps in (2, 50)]
    assert len(programs[0].calls()) == len(programs[1].calls())
    assert [block.repeat for block in programs[1].blocks if block.repeat > 1] == [50]


def test_the_state_needs_no_copies() -> None:
    """The int16 copy is written where the weights read it; only the kernel itself moves the state."""
    found = lowered(leaky(steps=6))
    called = [call.kernel for call in found.program.calls()]
    assert called.count("narrow_s16") == 1 and "copy_s16" not in called
    assert not any(block.carry for block in found.program.blocks)


def test_others_may_read_the_state_before_the_step() -> None:
    network = leaky(5, steps=3)
    rng = np.random.default_rng(1)
    ops = (*network.ops[:-1], Concat("both", ("h", "y"), "cell"), linear("head", "both", (1, 2 * UNITS), rng))
    found = trial(replace(network, ops=ops))
    assert found.state_error < LIMIT and found.out_error < LIMIT


@pytest.mark.parametrize("drive", ["tanh", "shared"])
def test_a_drive_that_is_no_layer_of_its_own(drive: str) -> None:
    network = leaky(6)
    state, layer, cell, head = network.ops
    if drive == "tanh":
        ops: list[Op] = [state, layer, Act("t", "d", "tanh", "cell"), replace(cell, drive="t"), head]  # type: ignore[call-arg]
    else:
        rng = np.random.default_rng(2)
        ops = [state, layer, cell, Concat("both", ("d", "y"), "cell"), linear("head", "both", (1, 2 * UNITS), rng)]
    found = trial(replace(network, ops=tuple(ops)))
    assert found.state_error < LIMIT and found.out_error < LIMIT


@pytest.mark.parametrize("start", ["layer", "table"])
def test_a_cell_may_start_from_another_tensor(start: str) -> None:
    """As in mixed memory, where the state comes out of an LSTM."""
    network = leaky(7, steps=2)
    state, layer, cell, head = network.ops
    rng = np.random.default_rng(3)
    ops: list[Op] = [state, layer, linear("mixed", "h", (UNITS, UNITS), rng, 0.9)]
    ops += [Act("begun", "mixed", "tanh", "cell")] if start == "table" else []
    ops += [replace(cell, x="begun" if start == "table" else "mixed"), head]  # type: ignore[call-arg]
    found = trial(replace(network, ops=tuple(ops)))
    assert found.state_error < LIMIT
    assert "widen_s32" in found.kernels


@pytest.mark.needs("cc")
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("limits", [None, (0.01, 0.1)])
def test_generated_c_is_the_reference(limits: tuple[float, float] | None, steps: int) -> None:
    options = replace(WIDE, runtime_dt=limits)
    times = None if limits is None else irregular(80, *limits)
    found = lowered(leaky(8, steps=steps, units=7), options, 80, times)
    made, data = files(found), stream(80, INPUTS)
    want = run_reference(found.program, data, times)
    got = run_machine(found.program, (made.source, made.header), "cell", HostMachine(sanitize=True), data, times)
    assert (want == got).all()
