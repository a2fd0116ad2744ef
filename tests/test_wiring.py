"""Networks that are wired in ways which no importer makes, but which a checkpoint may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.network import Network, network_checkpoint
from lnnc.ir.graph import Act, Concat, Leaky, Linear, Ltc, Mul, Op, Scale, State, Timed
from lnnc.pipeline import compile_model, run_model
from lnnc.quantize.calibrate import irregular
from lnnc.quantize.context import Options
from lnnc.verification import verify_model
from tests.recurrent import ltc_cell, signals

UNITS, INPUTS = 4, 2
CLOSE = 0.005  # mean error of the outputs, as a part of the largest
WIDE = Options(weight_bits="16")  # what is left is an error of the wiring


def network(ops: Sequence[Op], result: str, outputs: int) -> Checkpoint:
    """A network of these ops, calibrated on chirps."""
    ports = [PortSpec("x", INPUTS, "1", None)], [PortSpec("y", outputs, "1", None)]
    data = signals(np.random.default_rng(0), 4, 120, INPUTS)
    return network_checkpoint(
        Network(tuple(ops), result), where="wired", inputs=ports[0], outputs=ports[1], calibration=data
    )


def matrix(seed: int, rows: int, columns: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.0, 0.4, (rows, columns))


def layer(out: str, seed: int, x: str = "scaled", inputs: int = INPUTS) -> Linear:
    return Linear(out, x, matrix(seed, UNITS, inputs), np.zeros(UNITS), out)


def leaky(out: str, x: str, drive: str, seed: int) -> Leaky:
    beta = np.random.default_rng(seed).normal(0.0, 1.0, UNITS)
    return Leaky(out, x, drive, matrix(seed, UNITS, UNITS), np.full(UNITS, 0.3), beta, 3, out)


def ltc(out: str, v: str, seed: int) -> Ltc:
    cell = ltc_cell(np.random.default_rng(seed), INPUTS, UNITS, 1.0, False, False)
    return Ltc(
        out, "scaled", v, cell.sensory, cell.recurrent, cell.leak, cell.leak_current, cell.capacitance, cell.unfolds,
        cell.explicit, out,
    )  # fmt: skip


def error(checkpoint: Checkpoint, options: Options = WIDE, time: float | None = None) -> float:
    """Mean error of the integer program, as a part of the largest output."""
    data = checkpoint.calibration
    assert data is not None
    times = None if time is None else np.full(data.shape[:2], time)
    want, got = (run_model(checkpoint, data, engine, options=options, times=times) for engine in ("float", "reference"))
    return float(np.abs(got - want).mean() / np.abs(want).max())


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("kind", ["leaky", "ltc"])
def test_two_cells_begin_with_one_state(kind: str, first: str) -> None:
    """Only the cell that makes the state's next value may update it in place."""
    drives = [layer("da", 1), layer("db", 2)] if kind == "leaky" else []
    cells: dict[str, Op] = {
        name: leaky(name, "h", f"d{name}", seed) if kind == "leaky" else ltc(name, "h", seed)
        for name, seed in (("a", 3), ("b", 4))
    }
    order = [cells[first], cells["b" if first == "a" else "a"]]
    both = Concat("both", ("a", "b"), "both")
    checkpoint = network([State("h", UNITS, "a", "h"), *drives, *order, both], "both", 2 * UNITS)
    assert error(checkpoint) < CLOSE
    assert all(report.passed for report in verify_model(checkpoint, vectors=32))


def test_a_cell_whose_state_is_its_own_drive() -> None:
    assert error(network([layer("d", 1), leaky("a", "d", "d", 3)], "a", UNITS)) < CLOSE


def test_a_cell_that_nothing_drives() -> None:
    cell = leaky("a", "h", "d", 3)
    still = Leaky("a", "h", "d", cell.weight, cell.alpha, np.zeros(UNITS), 3, "a")
    ops = [State("h", UNITS, "a", "h"), layer("d", 1), still, Concat("both", ("a", "scaled"), "both")]
    checkpoint = network(ops, "both", UNITS + INPUTS)
    assert error(checkpoint) < CLOSE


def test_a_state_and_a_scaler_that_calibration_saw_at_rest() -> None:
    """relu of what is never positive here: its state and all that reads it stay 0."""
    shy = Linear("d", "scaled", matrix(1, UNITS, INPUTS), np.full(UNITS, -9.0), "d")
    gain = Scale("g", "h", np.full(UNITS, 0.7), np.zeros(UNITS), "g")
    ops = [shy, Act("r", "d", "relu", "r"), State("h", UNITS, "r", "h"), gain, Act("t", "g", "tanh", "t")]
    checkpoint = network([*ops, Concat("both", ("t", "scaled"), "both")], "both", UNITS + INPUTS)
    assert error(checkpoint) < CLOSE


@pytest.mark.parametrize("name", ["int", "class", "PI", "B1"])
def test_a_state_with_a_name_that_c_or_arduino_has_taken(name: str) -> None:
    ops = [
        State(name, UNITS, "t", "h"),
        Concat("both", ("scaled", name), "both"),
        layer("d", 1, "both", UNITS + INPUTS),
    ]
    checkpoint = network([*ops, Act("t", "d", "tanh", "t")], "t", UNITS)
    assert f" {name}_[{UNITS}];" in compile_model(checkpoint).files.header
    assert all(report.passed for report in verify_model(checkpoint, vectors=16))


@pytest.mark.parametrize(
    ("ops", "result", "fault"),
    [
        ([Mul("m", "input", "input", "m")], "m", "op 'm' reads 'input'"),
        ([Act("t", "scaled", "tanh", "t")], "input", "op 'output' reads 'input'"),
        ([State("h", INPUTS, "input", "h"), Mul("m", "h", "h", "m")], "m", "next value is the port 'input'"),
        ([State("h", INPUTS, "output", "h"), Mul("m", "h", "h", "m")], "m", "next value is the port 'output'"),
    ],
)
def test_ops_read_between_the_scalers(ops: list[Op], result: str, fault: str) -> None:
    with pytest.raises(LnncError, match=fault):
        network(ops, result, INPUTS)


def test_times_count_where_nothing_is_remembered() -> None:
    """The float engine and calibration take the times of a network without states too."""
    ops = [layer("a", 1), layer("b", 2), Timed("t", "a", "b", "t"), Act("y", "t", "sigmoid", "y")]
    checkpoint = network(ops, "y", UNITS)
    assert error(checkpoint, replace(WIDE, runtime_dt=(0.1, 3.0)), 0.55) < CLOSE


def test_a_cell_without_a_state_of_its_own() -> None:
    assert error(network([layer("v", 1), ltc("a", "v", 3)], "a", UNITS)) < CLOSE


@pytest.mark.parametrize("streams", [1, 2, 3, 7])
def test_calibration_sees_both_ends_of_the_times(streams: int) -> None:
    drawn = irregular(np.zeros((streams, 30, 1)), (0.25, 4.0))
    assert drawn.shape == (streams, 30)
    shortest, longest = (drawn == 0.25).mean(), (drawn == 4.0).mean()
    assert 0.2 < shortest < 0.5 and 0.2 < longest < 0.5
    assert drawn.min() == 0.25 and drawn.max() == 4.0 and (shortest + longest < 1.0)


@pytest.mark.parametrize("pair", [(1e-12, 1e-11), (1e-6, 1.0), (2.0**-16, 1.0)])
def test_times_that_30_bits_do_not_resolve(pair: tuple[float, float]) -> None:
    with pytest.raises(LnncError, match=r"3\.05176e-05 <= MIN"):
        Options(runtime_dt=pair)


def test_the_rule_of_an_ltc_is_told() -> None:
    checkpoint = network([State("h", UNITS, "a", "h"), ltc("a", "h", 3)], "a", UNITS)
    rule = compile_model(checkpoint).lowered.rules["h"]
    assert rule.startswith("|v| <= ") or rule.startswith("calibration: 2 times")
