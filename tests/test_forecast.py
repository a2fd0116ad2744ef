"""Forecast students, all of them in the C: samples in, forecast out; cleaned, anchored, gated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batches import Case, variant, verify_everywhere
from forecast_students import KINDS, lives, random_student
from test_streaming_api import run_c

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.network import SCALED, Network, network_checkpoint
from lnnc.frontend.onnx_export import export_onnx
from lnnc.ir.graph import Linear, Op, State
from lnnc.ir.series import Clamp, Collect, Count, Gated, History, Polynomial, Robust, Slide, Spread, Trust
from lnnc.ir.series_faults import series_faults
from lnnc.ir.verify import op_faults
from lnnc.kernels.series import COUNT_LIMIT
from lnnc.pipeline import Compiled, Options, compile_model, run_model
from lnnc.quantize.calibrate import shaped
from lnnc.reference.interp import Machine
from lnnc.report.render import program_text
from lnnc.train.students import formulation as f
from lnnc.train.students.gate import gated
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import BASIS, forecast, observe
from lnnc.train.students.student import Student
from lnnc.verify.vectors import make_groups

SHAPES = [(kind, "stream", gate) for kind in KINDS for gate in (False, True)]
SHAPES += [(kind, "window", False) for kind in ("gated", "mlp", "linear")]
KNOWN = lives(12, 500, 1)
NEEDS = pytest.mark.needs("cc", "arm-none-eabi-gcc", "qemu-system-arm")


def compiled(student: Student, name: str = "soh", index: int = 0, width: str = "int16") -> Compiled:
    return compile_model(
        student_checkpoint(student, KNOWN, "student"), name, Options(width), build=variant(1, index)[0]
    )


def batch(seed: int, shapes: Sequence[tuple[str, str, bool]]) -> list[Case]:
    made: list[Case] = []
    for kind, mode, gate in shapes:
        for width in ("int16", "int8"):
            student = random_student(kind, mode, gate, seed + len(made))
            model = compiled(student, f"m{len(made)}", len(made), width)
            known = model.checkpoint.calibration
            assert known is not None
            groups = make_groups(model.program, shaped(model.checkpoint, known), 24, seed)
            made.append(Case(f"{kind} {mode} {gate} {width}", model, groups, variant(seed, len(made))[1]))
    return made


@NEEDS
@pytest.mark.parametrize(("number", "opt"), [(0, "-O2"), (1, "-Os")])
def test_students_equal_the_reference(number: int, opt: str, tmp_path: Path) -> None:
    """Every kind, mode and width, on the host and on a Cortex-M4, over resets, saved states and any legal state."""
    verify_everywhere(batch(100 * number, SHAPES[number::2]), tmp_path, opt, sanitize=number == 0, trap=number == 1)


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("number", range(8))
def test_many_students_equal_the_reference(number: int, tmp_path: Path) -> None:
    opt = ("-O2", "-Os", "-O0", "-O3")[number % 4]
    verify_everywhere(batch(1000 + 100 * number, SHAPES), tmp_path, opt, sanitize=False, trap=number % 2 == 0)


@pytest.mark.parametrize(("kind", "mode", "gate"), SHAPES)
def test_the_graph_means_what_was_trained(kind: str, mode: str, gate: bool) -> None:
    """Float64 graph and integers against the twin that training uses: it shares nothing with them but the equations."""
    student = random_student(kind, mode, gate, 3)
    checkpoint = student_checkpoint(student, KNOWN, "student")
    seen = [life[: 330 if mode == "stream" else 100] for life in lives(6, 330, 2)]
    signal = observe(seen, student.whole)
    terms = coefficients(student, signal)
    want = forecast(signal, gated(signal, terms)[0] if gate else terms)
    if mode == "stream":
        series = np.stack(seen)[:, :, None]
        exact, integer = (run_model(checkpoint, series, engine)[:, 9::10] for engine in ("float", "reference"))
    else:
        want = want[:, -1]
        exact, integer = (run_model(checkpoint, np.stack(seen), engine) for engine in ("float", "reference"))
    assert np.abs(exact - want).max() < 2e-3 and np.abs(exact - want).mean() < 2e-5
    assert np.abs(integer - exact).mean() < 3e-4


def test_outputs_come_with_every_tenth_sample_and_need_not_be_made(tmp_path: Path) -> None:
    """A step with 0 for `out` leaves the same state."""
    model = compiled(random_student("gated", "stream", True, 5))
    for suffix, text in ((".c", model.files.source), (".h", model.files.header)):
        (tmp_path / f"soh{suffix}").write_text(text, encoding="ascii")
    run_c(tmp_path, SKIPPING, "soh.c")
    machine = Machine(model.program)
    due = [machine.step(np.array([[16_000 + t]]))[0] for t in range(25)]
    assert due == [9 - t % 10 for t in range(25)]
    assert "pass 0 for `out`" in model.files.header and "if (!out)" in model.files.source


SKIPPING = """\
#include <string.h>
#include "soh.h"
int main(void)
{
    static soh_state all, some;
    static soh_scratch scratch;
    static int16_t out[SOH_OUTPUTS], last[SOH_OUTPUTS];
    int t;
    soh_reset(&all);
    soh_reset(&some);
    for (t = 0; t < 300; t++) {
        const int16_t soh = (int16_t)(17000 - 20 * t + t * t % 37);
        const int wanted = t % 70 == 69;
        if (soh_step(&all, &scratch, &soh, out) != soh_step(&some, &scratch, &soh, wanted ? last : 0))
            return 1;
        if (memcmp(&all, &some, sizeof all) != 0 || (wanted && memcmp(out, last, sizeof out) != 0))
            return 2;
    }
    return 0;
}
"""


def test_the_gate_leaves_a_network_that_is_wrong(tmp_path: Path) -> None:
    """Weights are part of the state, in Q14, and say whom the forecast follows."""
    student = random_student("gated", "stream", True, 8)
    arrays = dict(student.arrays) | {
        "head.weight": student.arrays["head.weight"] * 0,
        "head.bias": np.array([9.0, 9, 0, 0]),
    }
    model = compiled(replace(student, arrays=arrays))
    machine = Machine(model.program)
    for t in range(600):
        machine.step(np.array([[round((1.05 - 1e-4 * t) * 2**14)]]))
    weights = machine.state["trust_weights"][0]
    assert weights[0] < 300 and 16_000 < weights.sum() <= 2**14


def test_more_than_one_place_may_need_the_line() -> None:
    """The matrices are those of least squares."""
    means = np.random.default_rng(0).normal(1.0, 0.01, f.HISTORY)
    times = np.arange(1.0, f.HORIZON + 1)
    level, slope = f.line(4) @ means
    line = level + slope * times
    shape = BASIS
    longer, parabola = f.rivals()[:2] @ means, f.rivals()[2:] @ means
    fit = np.polyfit(f.CENTRES[10:], means[10:], 1), np.polyfit(f.CENTRES, means, 2)
    assert np.allclose(line + f.UNIT * shape[:, :2] @ longer, np.polyval(fit[0], times))
    assert np.allclose(line + f.UNIT * shape[:, :3] @ parabola, np.polyval(fit[1], times))
    said = np.array([f.SPAN * slope / f.UNIT, *np.random.default_rng(1).normal(size=4)])
    powers = np.linspace(-0.5, 0.5, f.HORIZON)[:, None] ** np.arange(4)
    assert np.allclose(level + powers @ f.monomials() @ said, line + f.UNIT * shape @ said[1:])


def _gated(steps: int = 1, size: int = 3) -> Gated:
    return Gated("y", "x", np.ones((2, size + 2)), np.ones(2), np.ones((2, size + 2)), np.ones(2), steps, True, "s")


def _trust(**changed: float) -> Trust:
    numbers = {"unit": 0.01, "keep": 0.9, "floor": 0.05, "most": 16.0, "rate": 0.4} | changed
    return Trust(
        "y", "four", "five", "one", "one", "one", np.ones(10), np.ones((10, 4)), np.ones(4), **numbers, src="s"
    )


SIZES = {"x": 6, "one": 1, "four": 4, "five": 5, "many": 65}
WRONG = [
    (Collect("y", "x", 0, "s"), "length"),
    (Spread("y", "x", 4, "s"), "odd"),
    (Spread("y", "x", 17, "s"), "odd"),
    (Spread("y", "x", 5, "s"), "no multiple"),
    (Robust("y", "x", "many", 3, 4, "s"), "spreads"),
    (Robust("y", "x", "one", 3, 0, "s"), "factor"),
    (History("y", "x", 5, "s"), "less than"),
    (Count("y", "x", 0.3, 1.0, "s"), "whole multiple"),
    (Count("y", "x", 0.001, 15.0, "s"), "whole multiple"),
    (Clamp("y", "x", 0.0, "s"), "above 0"),
    (_gated(4, 1), "divisor"),
    (_gated(1, 5), "shape"),
    (Slide("y", "x", np.ones((1, 17)), np.ones(1), 1, 1, "s"), "columns"),
    (Slide("y", "x", np.ones((1, 3)), np.ones(1), 0, 1, "s"), "hop"),
    (Polynomial("y", "x", "one", 10, "s"), "4 coefficients"),
    (Polynomial("y", "four", "x", 10, "s"), "one anchor"),
    (_trust(keep=1.0), "keep"),
    (_trust(most=17.0), "most"),
    (_trust(most=2.5), "most"),
    (replace(_trust(), network="x"), "expected 4"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "word"), WRONG, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_ops_that_do_not_fit_are_named(op: Gated | Trust | Slide, word: str) -> None:
    faults = op_faults(op, SIZES)
    assert len(faults) >= 1 and word in " ".join(faults)


def test_ops_that_fit_have_no_fault() -> None:
    fine = (_trust(), _gated(2, 3), Count("y", "x", 0.01, 15.0, "s"), Robust("y", "x", "x", 3, 4, "s"))
    assert [series_faults(op, SIZES) for op in fine] == [[], [], [], []]


def test_what_others_make_of_a_forecast() -> None:
    """`inspect` shows every call; ONNX has no form of these ops, and that is said."""
    model = compiled(random_student("gated", "stream", True, 2))
    text = program_text(model.program)
    assert all(call.kernel in text for call in model.program.calls())
    with pytest.raises(LnncError, match="has no form in ONNX"):
        export_onnx(model.graph, "student")


def _blocks(*ops: Op, result: str, size: int, span: float = 8.0) -> Checkpoint:
    """A network behind blocks of three samples."""
    inputs, outputs = [PortSpec("x", 1, "1", (-1.0, 1.0))], [PortSpec("y", size, "1", (-span, span))]
    known = np.random.default_rng(3).uniform(-1.0, 1.0, (4, 30, 1))
    network = Network((Collect("block", SCALED, 3, "block"), *ops), result)
    return network_checkpoint(network, where="blocks", inputs=inputs, outputs=outputs, calibration=known)


def test_an_output_may_depend_on_the_state_before_the_block() -> None:
    """It is made before the state takes its next value, though nothing that is remembered depends on it."""
    rng = np.random.default_rng(0)
    newest = Linear("newest", "block", rng.normal(size=(2, 3)), np.zeros(2), "newest")
    late = Linear("late", "h", rng.normal(size=(1, 2)), np.zeros(1), "late")
    checkpoint = _blocks(State("h", 2, "newest", "h"), newest, late, result="late", size=1)
    seen = rng.uniform(-1.0, 1.0, (3, 30, 1))
    exact, integer = (run_model(checkpoint, seen, engine)[:, 2::3] for engine in ("float", "reference"))
    assert np.ptp(exact) > 1.0 and np.abs(integer - exact).max() < 0.01


def test_an_anchor_counts_in_units_of_the_port() -> None:
    """A layer whose sums do not fit those is given coarser ones: then it is no anchor, and the forecast is refused."""
    huge = Linear("anchor", "block", np.full((1, 3), 4e4), np.zeros(1), "anchor")
    powers = Linear("powers", "block", np.zeros((4, 3)), np.zeros(4), "powers")
    checkpoint = _blocks(huge, powers, Polynomial("y", "powers", "anchor", 5, "y"), result="y", size=5)
    with pytest.raises(LnncError, match="'anchor' is resolved to"):
        compile_model(checkpoint)


def test_a_student_needs_series_that_are_long_enough() -> None:
    with pytest.raises(LnncError, match="no series of 100 samples"):
        student_checkpoint(random_student("gated", "stream", True, 1), [np.ones(99)], "short.h5")


def test_ports_that_a_forecast_cannot_serve_are_refused() -> None:
    checkpoint = student_checkpoint(random_student("gated", "stream", False, 1), KNOWN, "student")
    with pytest.raises(LnncError, match="a forecast needs one output port"):
        compile_model(checkpoint, options=Options(input_frac=14, output_frac=1))


def test_a_clamp_follows_its_layer() -> None:
    """Its integers are the layer's own, saturated by the layer."""
    model = compiled(random_student("gated", "stream", True, 2))
    clamps = [op for op in model.optimized.ops if isinstance(op, Clamp)]
    assert len(clamps) == 3 and all(isinstance(model.optimized.producer(op.x), Linear) for op in clamps)
    assert {model.program.buffer(name).hi for name in ("features_free", "network_free")} == {COUNT_LIMIT}
