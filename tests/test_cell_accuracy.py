"""Integer cells against float64, over whole streams: the arithmetic, the weights, and the choice of their width."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from recurrent import CELLS, random_network, signals

from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.network import with_weight_bits
from lnnc.ir.graph import Array, Linear
from lnnc.pipeline import Options, plan_model
from lnnc.quantize.calibrate import irregular
from lnnc.report.deviation import Deviation, deviation
from lnnc.tune import LIMIT, choose_weight_bits
from lnnc.verify.engines import run_float

# Mean error as a part of the largest |state|, against float64 with the same dequantized numbers. A gate that adds
# (no_gate) amplifies: float64 with nothing but the state rounded shows it too.
ARITHMETIC = {"no_gate": 0.001}
MEAN = 0.0005
WEIGHTS = 0.005  # outputs against the network as trained
UNITS, SLOW_UNITS = (8, 24), (8, 16, 32, 64)
CALM, SETTLED = 10.0, 5  # growth of a change, against its largest in the first samples
TIMED = [kind for kind in CELLS if kind not in ("gru", "lstm", "elman")]


def fresh(checkpoint: Checkpoint, samples: int, seed: int) -> Array:
    """Streams of the kind that the network was calibrated on."""
    port = checkpoint.inputs[0]
    rng = np.random.default_rng([seed, 77])
    return signals(rng, 2, samples, checkpoint.architecture.features) * port.scale + port.offset


def measured(checkpoint: Checkpoint, options: Options, samples: int, seed: int = 0) -> Deviation:
    data = fresh(checkpoint, samples, seed)
    compiled = plan_model(checkpoint, options=options)
    times = None if options.runtime_dt is None else irregular(data, options.runtime_dt)
    return deviation(compiled.lowered, compiled.graph, data, times)


def check(kind: str, found: Deviation) -> None:
    limit = ARITHMETIC.get(kind, MEAN)
    assert found.state.mean <= limit, f"state: {found.state.mean:.4%} over the stream"
    assert found.state.last <= limit, f"state: {found.state.last:.4%} over its last 100 samples"
    assert abs(found.state.bias) <= limit / 2
    assert found.arithmetic.mean <= 2 * limit


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("kind", CELLS)
def test_states_follow_float(kind: str, units: int) -> None:
    network = random_network((21, units), kind, units, wild=False)
    found = measured(network.checkpoint, Options(weight_bits="16"), 300)
    check(kind, found)


@pytest.mark.parametrize("span", [(0.02, 0.1), (0.5, 2.0)])
@pytest.mark.parametrize("kind", TIMED)
def test_states_follow_float_in_irregular_time(kind: str, span: tuple[float, float]) -> None:
    network = random_network((22, 12), kind, 12, wild=False)
    check(kind, measured(network.checkpoint, Options(weight_bits="16", runtime_dt=span), 200))


@pytest.mark.parametrize("kind", CELLS)
def test_outputs_follow_the_trained_network(kind: str) -> None:
    """With the widths of weights that `auto` chooses, on streams that the choice has not seen."""
    checkpoint = random_network((23, 12), kind, 12, wild=False).checkpoint
    found = measured(checkpoint, Options(weight_bits="auto"), 300)
    assert found.outputs.mean <= 1.5 * WEIGHTS


@pytest.mark.parametrize("width", ["int16", "int8"])
@pytest.mark.parametrize("kind", TIMED)
def test_a_constant_time_is_a_time_that_does_not_change(kind: str, width: str) -> None:
    """The program with the time as an argument, given the constant, says what the other says (within its rounding)."""
    checkpoint = random_network((24, 8), kind, 8, wild=False).checkpoint
    assert checkpoint.calibration is not None
    data, time = checkpoint.calibration, plan_model(checkpoint).graph.time
    fixed = plan_model(checkpoint, options=Options(width, weight_bits="16"))
    given = plan_model(checkpoint, options=Options(width, weight_bits="16", runtime_dt=(time, 1.5 * time)))
    times = np.full(data.shape[:2], time)
    first, second = (
        deviation(plan.lowered, plan.graph, data, each) for plan, each in ((fixed, None), (given, times))
    )  # fmt: skip
    assert max(first.outputs.mean, second.outputs.mean) <= (0.01 if width == "int8" else 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("units", SLOW_UNITS)
@pytest.mark.parametrize("kind", CELLS)
def test_states_follow_float_over_a_thousand_samples(kind: str, units: int) -> None:
    drawn = (random_network((25, units, seed), kind, units, wild=False).checkpoint for seed in range(60))
    calm = list(islice((checkpoint for checkpoint in drawn if growth(checkpoint, 1000) <= CALM), 3))
    assert len(calm) == 3
    for seed, checkpoint in enumerate(calm):
        check(kind, measured(checkpoint, Options(weight_bits="16"), 1000, seed))


def growth(checkpoint: Checkpoint, samples: int) -> float:
    """How much larger a tiny change of the first sample ever gets, in float64.

    Some random liquid layers are chaotic: a change of 1e-9 is as large as the state after a thousand samples. No other
    arithmetic can follow them, and floats added in another order could not either.
    """
    graph, port = plan_model(checkpoint).graph, checkpoint.inputs[0]
    data = fresh(checkpoint, samples, 0)
    moved = data.copy()
    moved[:, 0] += 1e-6 * port.scale
    change = np.abs(run_float(graph, data, None) - run_float(graph, moved, None)).max(axis=(0, 2))
    return float(change.max() / change[:SETTLED].max())


# --- the choice of widths ---


def hard_network() -> Checkpoint:
    """An LSTM-like network whose 8-bit weights alone cost more than the limit."""
    for seed in range(40):
        checkpoint = random_network((26, seed), "elman", 16, wild=False).checkpoint
        if choose_weight_bits(checkpoint).bits:
            return checkpoint
    raise AssertionError("no such network among forty")


def test_auto_takes_the_fewest_layers_and_says_why() -> None:
    checkpoint = hard_network()
    choice = choose_weight_bits(checkpoint)
    layers = {op.src for op in plan_model(checkpoint).optimized.ops if isinstance(op, Linear)}
    assert 0 < len(choice.bits) <= len(layers)
    assert set(choice.bits) <= layers
    assert choice.error <= LIMIT or len(choice.bits) == len(layers)
    assert all(name in " ".join(choice.why) for name in choice.bits) or len(choice.bits) == len(layers)
    kept = with_weight_bits(checkpoint, choice.bits)
    assert plan_model(kept).weight_bits == dict(choice.bits)
    assert plan_model(kept).files.source.count("_w16_") > 0


def test_auto_leaves_an_easy_network_alone() -> None:
    choice = choose_weight_bits(random_network((27, 2), "liquid", 8, wild=False).checkpoint, limit=0.05)
    assert not choice.bits
    assert "8-bit weights everywhere" in choice.why[0]


def test_a_network_of_ranges_gets_wide_weights() -> None:
    from lnnc.pipeline import with_ranges

    checkpoint = with_ranges(random_network((28, 1), "cfc", 8, wild=False).checkpoint)
    choice = choose_weight_bits(checkpoint)
    assert choice.bits
    assert "ranges only" in choice.why[0]
    timed = plan_model(checkpoint, options=Options(runtime_dt=(0.5, 2.0))).lowered
    assert timed.program.time is not None
    assert any("were measured at the time" in warning for warning in timed.warnings)


def test_a_port_that_is_coarse_against_its_scaler_is_pointed_out() -> None:
    checkpoint = random_network((29, 1), "gru", 6, wild=False).checkpoint
    port = checkpoint.inputs[0]
    assert checkpoint.calibration is not None
    far = (checkpoint.calibration - port.offset) / port.scale * 1e-3 + 5.0
    coarse = replace(checkpoint, inputs=(replace(port, offset=5.0, scale=1e-3),), calibration=far)
    (warning,) = plan_model(coarse).lowered.warnings
    assert "input port 'x'" in warning
    assert "subtract the offset" in warning
    assert not plan_model(checkpoint).lowered.warnings
