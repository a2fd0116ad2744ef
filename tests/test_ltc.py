"""The LTC cell in integers: how near it comes to float64 with the same numbers, its bounds, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lnnc.errors import LnncError
from lnnc.frontend import cells
from lnnc.frontend.checkpoint import PortSpec
from lnnc.frontend.layers import Net
from lnnc.frontend.network import Network, network_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import INPUT, Graph, Ltc, Port, Scale, State, Synapses
from lnnc.ir.verify import verify_graph
from lnnc.pipeline import plan_model
from lnnc.quantize.calibrate import measure
from lnnc.quantize.context import Options
from lnnc.quantize.lower import Lowered, lower
from lnnc.quantize.ltc_bounds import check_cell, conductance_ends, equilibrium_ends, largest_ratio
from lnnc.reference.interp import Machine
from lnnc.verify.check import check_model
from lnnc.verify.host import HostMachine
from lnnc.verify.vectors import make_groups

Reals = NDArray[np.float64]
INPUTS, STEPS, GATE = 3, 1000, 0.05  # the gate: mean error in percent of the largest state
NONE = Synapses(np.zeros(0, np.int64), np.zeros(0, np.int64), *(np.zeros(0) for _ in range(4)))


def drawn(rng: np.random.Generator, adjacency: NDArray[Any]) -> Synapses:
    """Synapses of a wiring with the ranges that ncps 1.0.1 initialises; adjacency: (pre, post) of -1, 0, 1."""
    post, pre = np.nonzero(adjacency.T)
    m = len(pre)
    sigma, mu, w = rng.uniform(3, 8, m), rng.uniform(0.3, 0.8, m), rng.uniform(0.001, 1, m)
    return Synapses(pre, post, sigma, -sigma * mu, w, w * adjacency[pre, post])


def cell(seed: int, units: int, density: float = 1.0, unfolds: int = 6, explicit: bool = False) -> Ltc:
    """An LTC of FullyConnected's polarities (two of three excitatory), some synapses absent."""
    rng = np.random.default_rng([seed, units])

    def adjacency(rows: int) -> NDArray[Any]:
        signs = rng.choice([-1, 1, 1], (rows, units)) * (rng.random((rows, units)) < density)
        return np.asarray(signs)

    return _cell(rng, adjacency(INPUTS), adjacency(units), unfolds, explicit)


def _cell(rng: np.random.Generator, sensory: Any, recurrent: Any, unfolds: int, explicit: bool) -> Ltc:
    n = len(recurrent)
    leak = rng.uniform(0.001, 1, n)
    return Ltc(
        "next", "x", "v", drawn(rng, sensory), drawn(rng, recurrent), leak, leak * rng.uniform(-0.2, 0.2, n),
        rng.uniform(0.4, 0.6, n), unfolds, explicit, "ltc",
    )  # fmt: skip


def ncp(units: int, unfolds: int = 6) -> Ltc:
    """An LTC with ncps' AutoNCP wiring of four outputs."""
    wirings = pytest.importorskip("ncps.wirings")
    wiring = wirings.AutoNCP(units, 4)
    wiring.build(INPUTS)
    rng = np.random.default_rng(units)
    return _cell(rng, wiring.sensory_adjacency_matrix, wiring.adjacency_matrix, unfolds, False)


def stream(seed: int, steps: int) -> Reals:
    """Chirp, slow cosine and square wave, of another phase for each input: (steps, inputs)."""
    t = np.arange(steps)[:, None]
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (3, INPUTS))
    chirp = np.sin(phase[0] + 2 * np.pi * (0.002 * t + 0.02 * t * t / steps))
    slow, square = np.cos(phase[1] + 2 * np.pi * t / 400), np.sign(np.sin(phase[2] + 2 * np.pi * t / 97))
    return np.asarray(0.3 + 0.4 * chirp + 0.3 * slow + 0.3 * square)


def graph_of(op: Ltc, time: float) -> Graph:
    n = len(op.leak)
    scaler = Scale("x", INPUT, np.ones(INPUTS), np.zeros(INPUTS), "input")
    out = Scale("y", "next", np.ones(n), np.zeros(n), "output")
    ports = (Port("u", INPUTS, "1"),), (Port("y", n, "1"),)
    return verify_graph(Graph(*ports, (scaler, State("v", n, "next", "ltc"), op, out), "y", time))


def lowered(op: Ltc, time: float = 1.0, times: tuple[float, float] | None = None) -> Lowered:
    graph = graph_of(op, time)
    inputs = np.stack([stream(seed, 200) for _ in range(2) for seed in (101, 102)])
    drawn_times = None if times is None else irregular(times, inputs.shape[:2])
    return lower(graph, measure(graph, inputs, drawn_times), Options(runtime_dt=times), "test")


def irregular(times: tuple[float, float], shape: tuple[int, ...]) -> Reals:
    return np.asarray(np.exp(np.random.default_rng(3).uniform(*np.log(times), shape)))


def states(found: Lowered, inputs: Reals, raw_times: NDArray[np.int64] | None = None) -> Reals:
    """The state after every sample, in real units, from raw inputs."""
    machine, view = Machine(found.program), found.program.views[0]
    rows = []
    for k, row in enumerate(inputs):
        machine.step(row[None, :], None if raw_times is None else int(raw_times[k]))
        rows.append(machine.state[view.buffer][0] * view.scale)
    return np.array(rows)


def error(found: Lowered, steps: int = STEPS, times: tuple[float, float] | None = None) -> Reals:
    """Difference to float64 with the same numbers, in percent of the largest state: (steps, units)."""
    unit = 2.0 ** -found.program.inputs[0].frac
    raw, dt, real = np.round(stream(7, steps) / unit).astype(np.int64), None, None
    if times is not None and found.program.time is not None:
        time = found.program.time
        dt = np.clip(np.round(irregular(times, (steps,)) * 2.0**time.frac), time.lo, time.hi).astype(np.int64)
        real = dt[None, :] * 2.0**-time.frac
    want = evaluate(found.exact, raw[None] * unit, real)["next"]
    return np.asarray((states(found, raw, dt) - want) / np.abs(want).max() * 100)


def assert_near(difference: Reals) -> None:
    tail = np.abs(difference[-100:]).mean()
    assert np.abs(difference).mean() <= GATE and tail <= GATE, (np.abs(difference).mean(), tail, difference.mean())


# ---- nearness to float64 -----------------------------------------------------------------------


@pytest.mark.parametrize("time", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("units", [8, 24])
def test_a_dense_cell_is_near(units: int, time: float) -> None:
    assert_near(error(lowered(cell(1, units), time)))


@pytest.mark.parametrize("time", [1.0, 0.1, 0.02])
def test_a_wired_cell_is_near(time: float) -> None:
    assert_near(error(lowered(ncp(32), time)))


@pytest.mark.slow
@pytest.mark.parametrize("time", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("units", [16, 32, 64])
def test_every_size_is_near(units: int, time: float) -> None:
    assert_near(error(lowered(cell(2, units), time)))
    assert_near(error(lowered(ncp(units), time)))


@pytest.mark.parametrize("unfolds", [1, 3, 12])
def test_any_number_of_unfolds(unfolds: int) -> None:
    found = lowered(ncp(16, unfolds))
    assert_near(error(found, 300))
    assert [b.repeat for b in found.program.blocks if len(b.calls) == 2] == [unfolds]


def test_code_does_not_grow_with_unfolds() -> None:
    few, many = (lowered(ncp(16, unfolds)).program for unfolds in (2, 60))
    assert len(few.calls()) == len(many.calls())
    assert sum(c.bytes for c in few.constants) == sum(c.bytes for c in many.constants)


@pytest.mark.parametrize("times", [(0.02, 1.0), (0.1, 0.11), (0.001, 1.0)])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_time_for_each_sample(times: tuple[float, float], explicit: bool) -> None:
    op = cell(3, 8, 0.6, explicit=explicit)
    op = replace(op, capacitance=op.capacitance * (8.0 if explicit else 1.0))
    assert_near(error(lowered(op, times=times), 400, times))


def test_an_explicit_cell_is_near() -> None:
    assert_near(error(lowered(cell(4, 12, 0.5, explicit=True), 0.1), 400))


def test_negative_conductances_are_near_and_named() -> None:
    op = cell(5, 8)
    signs = np.where(np.arange(len(op.recurrent.pre)) % 9 == 4, -1.0, 1.0)
    flipped = replace(op.recurrent, conductance=op.recurrent.conductance * signs, current=op.recurrent.current * signs)
    found = lowered(replace(op, recurrent=flipped), 0.1)
    assert_near(error(found, 400))
    loose = [str(i) for i, least in enumerate(conductance_ends(replace(op, recurrent=flipped))[0]) if least <= 0]
    assert loose and len(found.warnings) == 1
    assert f"neuron {', '.join(loose)}: nothing bounds the state" in found.warnings[0]


def test_a_current_without_conductance() -> None:
    op = cell(6, 8, 0.5)
    silent = np.where(np.arange(len(op.recurrent.pre)) % 4 == 0, 0.0, op.recurrent.conductance)
    assert_near(error(lowered(replace(op, recurrent=replace(op.recurrent, conductance=silent))), 400))


@pytest.mark.parametrize("sensory", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_kinds_of_synapse_may_be_absent(sensory: bool, recurrent: bool) -> None:
    op = cell(7, 6)
    op = replace(op, sensory=op.sensory if sensory else NONE, recurrent=op.recurrent if recurrent else NONE)
    assert_near(error(lowered(op), 300))


def test_neurons_without_synapses() -> None:
    op = cell(8, 8)
    keep = op.recurrent.post % 3 != 0
    some = Synapses(*(getattr(op.recurrent, name)[keep] for name in Synapses.__dataclass_fields__))
    op = replace(op, sensory=NONE, recurrent=some, leak=np.where(np.arange(8) == 6, 0.0, op.leak))
    op = replace(op, leak_current=np.where(np.arange(8) == 6, 0.0, op.leak_current))
    assert_near(error(lowered(op), 300))


def test_closed_gates_carry_nothing() -> None:
    """Strong synapses that stay closed do not move a neuron of small leak."""
    op = cell(16, 6)
    closed = replace(op.recurrent, offset=np.full_like(op.recurrent.offset, -60.0))
    op = replace(op, sensory=NONE, recurrent=closed, leak=np.full(6, 1e-3), leak_current=np.full(6, 1e-4))
    found = lowered(op)
    assert np.allclose(states(found, stream(1, 400))[-1], evaluate(graph_of(op, 1.0), stream(1, 400)[None])["next"][-1],
                       atol=1e-5)  # fmt: skip


def test_flash_follows_the_synapses() -> None:
    sizes = {}
    for density in (1.0, 0.1):
        op = cell(9, 32, density)
        tables = [c for c in lowered(op).program.constants if c.name.startswith("next_")]
        per_neuron = 32 * (2 + 2 + 8 + 4 + 1)  # two counts, leaks, inertia, shift
        sizes[density] = sum(c.bytes for c in tables) - per_neuron, len(op.sensory.pre) + len(op.recurrent.pre)
    assert all(left == 11 * synapses for left, synapses in sizes.values()), sizes


def test_more_than_256_neurons() -> None:
    found = lowered(cell(10, 300, 0.02))
    assert "synapse_far_s32" in {call.kernel for call in found.program.calls()}
    assert_near(error(found, 100))


# ---- bounds ------------------------------------------------------------------------------------


def test_largest_ratio_is_that_of_a_corner() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        conductance, current = rng.uniform(-0.1, 1, 7), rng.normal(size=7)
        leak, leak_current = 0.8, float(rng.normal())
        gates = (np.arange(128)[:, None] >> np.arange(7)) & 1
        every = (leak_current + gates @ current) / (leak + gates @ conductance)
        assert np.isclose(largest_ratio(current, conductance, leak_current, leak), every.max())


def test_states_stay_inside_their_bound() -> None:
    op = cell(11, 12, 0.7)
    least, _ = conductance_ends(op)
    ends = np.array([equilibrium_ends(op, i, float(least[i])) for i in range(12)])
    hull = np.minimum(ends[:, 0], 0.0), np.maximum(ends[:, 1], 0.0)
    inputs = np.random.default_rng(1).normal(0, 4, (300, INPUTS))
    found = evaluate(graph_of(op, 1.0), inputs[None])["next"]
    assert (found >= hull[0]).all() and (found <= hull[1]).all()
    assert (np.abs(found).max(axis=0) > 0.3 * np.maximum(-hull[0], hull[1])).any(), "the bound says nothing"


# ---- refusals ----------------------------------------------------------------------------------


def refusal(op: Ltc, longest: float) -> LnncError:
    with pytest.raises(LnncError) as caught:
        check_cell(op, longest, "m.pt")
    return caught.value


def test_a_capacitance_must_be_positive() -> None:
    op = cell(12, 4)
    broken = replace(op, capacitance=np.array([0.5, 0.5, 0.0, 0.5]))
    assert "layer 'ltc', neuron 2: expected a capacitance above 0" in refusal(broken, 1.0).message


def test_a_denominator_must_be_positive() -> None:
    op = cell(13, 4)
    broken = replace(op, recurrent=replace(op.recurrent, conductance=-4.0 * op.recurrent.conductance))
    found = refusal(broken, 1.0)
    safe = float(found.hint.split("below ")[1].split()[0])
    assert "the denominator of its step can reach -" in found.message
    check_cell(broken, 0.98 * safe, "m.pt")
    assert refusal(broken, 1.02 * safe)


def test_an_unstable_explicit_step_is_refused() -> None:
    op = cell(14, 8, explicit=True)
    found = refusal(op, 3.0)
    safe = float(found.hint.split("at most ")[1].split()[0])
    assert "the explicit step is unstable" in found.message and "neuron" in found.message
    check_cell(op, 0.99 * safe, "m.pt")
    assert refusal(op, 1.01 * safe)


# ---- generated C -------------------------------------------------------------------------------


def mixed(seed: int) -> tuple[Net, Network]:
    """An LTC whose state passes through an LSTM between two steps."""
    rng = np.random.default_rng(seed)
    net, units = Net(INPUTS), 6

    def block(rows: int) -> Synapses:
        mask = (rng.random((rows, units)) < 0.6).astype(float)
        w, erev = rng.uniform(0.001, 1, mask.shape), rng.choice([-1.0, 1.0], mask.shape)
        return cells.synapses(w, rng.uniform(3, 8, mask.shape), rng.uniform(0.3, 0.8, mask.shape), erev, mask)

    leak = rng.uniform(0.1, 1, units)
    ltc = cells.LtcCell(
        INPUTS, block(INPUTS), block(units), leak, leak * 0.1, rng.uniform(0.4, 0.6, units), 4, False, 2,
        np.ones(2), np.zeros(2),
    )  # fmt: skip
    gates = {
        name: cells.Dense(rng.uniform(-0.5, 0.5, (units, INPUTS + units)), rng.uniform(-0.2, 0.2, units))
        for name in "ifgo"
    }
    cells.ltc(net, "ltc", ltc, cells.LstmCell(gates), "ltc.lstm")
    return net, Network(tuple(net.ops), net.tensor, 0.5)


@pytest.mark.needs("cc")
@pytest.mark.parametrize("times", [None, (0.05, 0.5)])
@pytest.mark.parametrize("memory", [False, True])
def test_generated_c_agrees(memory: bool, times: tuple[float, float] | None) -> None:
    if memory:
        net, network = mixed(15)
        width = net.width
    else:
        op = replace(cell(15, 7, 0.5), x="scaled")
        network, width = Network((State("v", 7, "next", "ltc"), op), "next", 0.5), 7
    checkpoint = network_checkpoint(
        network, where="test", inputs=[PortSpec("x", INPUTS, "1", None)], outputs=[PortSpec("y", width, "1", None)],
        calibration=np.stack([stream(seed, 120) for seed in (1, 2, 3)]),
    )  # fmt: skip
    made = plan_model(checkpoint, "m", Options(runtime_dt=times))
    groups = make_groups(made.program, None, 200)
    report = check_model(made.program, made.files.source, made.files.header, "m", HostMachine(sanitize=True), groups)
    assert not report.difference
