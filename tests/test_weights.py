"""Weights in 8 and 16 bits, dense and sparse, and layers whose inputs come in parts: integers against real numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lnnc.errors import LnncError
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import INPUT, Act, Array, Concat, Div, Gather, Graph, Linear, Mul, Op, Port, Scale
from lnnc.kernels import KERNELS
from lnnc.kernels.dense import accumulator_bound
from lnnc.kernels.fixed import A_MAX, INT32_MAX
from lnnc.kernels.sparse import pack, unpack
from lnnc.quantize.calibrate import measure
from lnnc.quantize.context import Options
from lnnc.quantize.formats import Format
from lnnc.quantize.lower import Lowered, lower
from lnnc.quantize.weights import W16_MAX, W_MAX, Misfit, Quantized, dequantize, quantize_linear
from lnnc.reference.interp import Machine
from lnnc.reference.quantio import to_raw, to_real

WIDTHS = (W_MAX, W16_MAX)


def random_layer(rng: np.random.Generator) -> tuple[Array, Array]:
    """Weights of 1 ... 40 rows over 1 ... 300 inputs: rows of very different sizes, some zero."""
    rows, cols = int(rng.integers(1, 41)), int(rng.integers(1, 301))
    weight = rng.normal(0, 1, (rows, cols)) * 2.0 ** rng.uniform(-6, 3, (rows, 1)) / np.sqrt(cols)
    weight *= rng.random((rows, cols)) < rng.choice([0.1, 0.5, 1.0])
    weight[rng.random(rows) < 0.1] = 0.0
    return weight, rng.normal(0, 1, rows) * (rng.random(rows) < 0.8)


def random_format(rng: np.random.Generator) -> Format:
    low, high = [(-A_MAX, A_MAX), (0, A_MAX), (-(2**14), 2**14), (-127, 127), (0, 255)][int(rng.integers(5))]
    return Format(float(2.0 ** rng.uniform(-17, -5)), low, high)


def quantized(seed: int, w_max: int) -> tuple[Array, Array, Format, Array, Quantized]:
    """A random layer in integers; its result has as many units as an int16 tensor or the argument of a table."""
    rng = np.random.default_rng(seed)
    weight, bias = random_layer(rng)
    x = random_format(rng)
    size = np.abs(weight).sum(axis=1) * x.scale * max(-x.lo, x.hi) + np.abs(bias) + 1e-6
    out_scale = np.full(len(bias), float(size.max()) / rng.choice([127.0, A_MAX, 2.0**22]))
    q = quantize_linear(weight, bias, x, out_scale, None, w_max)
    assert isinstance(q, Quantized)
    return weight, bias, x, out_scale, q


@given(st.integers(0, 2**32), st.sampled_from(WIDTHS))
def test_weights_are_off_by_half_a_unit_of_their_row(seed: int, w_max: int) -> None:
    """And the largest of a row keeps its bits, unless the sum needs them."""
    weight, bias, x, out_scale, q = quantized(seed, w_max)
    assert np.abs(q.weight).max(initial=0) <= w_max
    real, offset = dequantize(q, x, out_scale)
    scale = q.mult * 2.0 ** (q.shift - 32) * out_scale / x.scale
    rounding = 0.5001 / np.maximum(q.mult - 0.5, 0.5)  # of the multiplier, which `dequantize` includes
    assert (np.abs(real - weight) <= (0.5001 * scale + rounding * np.abs(weight).max(axis=1) + 1e-15)[:, None]).all()
    assert (np.abs(offset - bias) <= 0.5001 * x.scale * scale + rounding * np.abs(bias) + 1e-12).all()
    assert ((weight != 0) | (q.weight == 0)).all(), "an absent synapse stays absent"


@given(st.integers(0, 2**32), st.sampled_from(WIDTHS))
def test_no_sum_leaves_int32(seed: int, w_max: int) -> None:
    """Neither at the worst input of each row, which the kernel's own narrow() watches, nor in the proof."""
    _, bias, x, _, q = quantized(seed, w_max)
    assert (accumulator_bound(q.weight, q.bias, x.lo, x.hi) <= INT32_MAX >> q.shift).all()
    assert (q.mult >= 0).all() and (q.mult <= INT32_MAX).all()
    worst = np.where(q.weight * np.where(q.bias < 0, -1, 1)[:, None] >= 0, x.hi, x.lo)
    KERNELS["linear_w16_s32"].eval(
        x=worst, n_in=worst.shape[1], weight=q.weight.reshape(-1), bias=q.bias, mult=q.mult, n_out=len(bias),
        shift=q.shift, lo=-INT32_MAX, hi=INT32_MAX,
    )  # fmt: skip


@given(st.integers(0, 2**32))
def test_rows_of_16_bits_use_the_accumulator_or_the_weights_range(seed: int) -> None:
    """No row could be finer: its largest weight is near 32,640, or its sum near the limit."""
    weight, _, x, _, q = quantized(seed, W16_MAX)
    used = np.abs(weight).max(axis=1) > 0
    assume(used.any())
    reached = accumulator_bound(q.weight, q.bias, x.lo, x.hi) / (INT32_MAX >> q.shift)
    largest = np.abs(q.weight).max(axis=1)
    assert (np.maximum(largest / W16_MAX, reached)[used] > 0.99 - 4.0 * weight.shape[1] / (1.0 + largest[used])).all()


def test_weights_of_16_bits_lose_as_little_as_they_must() -> None:
    """128 equal weights: 65,794 / 128 units each, not the next power of two below."""
    q = quantize_linear(np.ones((1, 128)), np.zeros(1), Format(1 / A_MAX), np.array([128 / A_MAX]), None, W16_MAX)
    assert isinstance(q, Quantized)
    assert q.weight.tolist() == [[INT32_MAX // (128 * A_MAX)] * 128]
    few = quantize_linear(np.array([[1.0, 0.5]]), np.zeros(1), Format(1 / A_MAX), np.array([2 / A_MAX]), None, W16_MAX)
    assert isinstance(few, Quantized)
    assert few.weight.tolist() == [[32_640, 16_320]]


def test_a_result_finer_than_any_sum_is_a_misfit() -> None:
    for w_max in WIDTHS:
        found = quantize_linear(np.ones((2, 3)), np.zeros(2), Format(1.0), np.array([1.0, 1e-6]), None, w_max)
        assert isinstance(found, Misfit) and found.row == 1


@pytest.mark.parametrize("cols", [1, 3, 8, 16, 64])
@pytest.mark.parametrize("top", [2**14, A_MAX, 127, 255])
def test_weights_of_16_bits_are_fine_or_refused(top: int, cols: int) -> None:
    """Where sum |w| x comes near 2^30 units of the result, a coarser scale fits only once it rounds the weights away.

    For inputs of +-16,384 and a result in 2^-16, eight equal weights became zeros that way, and powers of 2 one bit.
    """
    x, unit, rng = Format(2.0**-14, -top, top), np.array([2.0**-16]), np.random.default_rng(cols)
    shapes = np.ones(cols), 2.0 ** -np.arange(cols), rng.normal(0, 1, cols)
    around = np.concatenate([2.0 ** np.arange(-3, 3), 1.0 + np.linspace(-3e-4, 3e-4, 61)])
    refused = []
    for shape in shapes:
        row = shape / np.abs(shape).sum() * 2.0**28 / top
        for part in around:
            q = quantize_linear(part * row[None, :], np.zeros(1), x, unit, None, W16_MAX)
            refused.append((part, isinstance(q, Misfit)))
            if isinstance(q, Quantized):
                assert np.abs(dequantize(q, x, unit)[0] / part - row).max() < 3e-4 * np.abs(row).max(), (part, q.shift)
    assert all(misfit == (part > 1.0) for part, misfit in refused if abs(part - 1.0) > 1e-3)


def test_a_layer_of_zeros_is_its_bias() -> None:
    x, unit = Format(1 / A_MAX), np.full(3, 1 / A_MAX)
    for w_max in WIDTHS:
        q = quantize_linear(np.zeros((3, 4)), np.array([0.5, -0.25, 0.0]), x, unit, None, w_max)
        assert isinstance(q, Quantized)
        weight, bias = dequantize(q, x, unit)
        assert not weight.any() and np.allclose(bias, [0.5, -0.25, 0.0], atol=1e-4)


@given(st.integers(0, 2**32), st.sampled_from([("", W_MAX), ("w16_", W16_MAX)]), st.sampled_from(["s16", "s32"]))
def test_a_sparse_layer_is_the_dense_one(seed: int, width: tuple[str, int], out: str) -> None:
    weight, _, x, _, q = quantized(seed, width[1])
    assume(q.weight.any() and weight.shape[1] <= 256)
    count, column, packed = pack(q.weight)
    assume(count.max() <= 255)
    assert (unpack(count, column, packed, weight.shape[1]) == q.weight).all()
    inputs = np.random.default_rng(seed).integers(x.lo, x.hi + 1, (20, weight.shape[1]))
    common = {
        "x": inputs, "n_in": weight.shape[1], "bias": q.bias, "mult": q.mult, "n_out": len(weight), "shift": q.shift,
        "lo": -A_MAX, "hi": A_MAX,
    }  # fmt: skip
    dense = KERNELS[f"linear_{width[0]}{out}"].eval(weight=q.weight.reshape(-1), **common)[0]
    tables = {"count": count, "column": column, "weight": packed, "nnz": len(packed)}
    sparse = KERNELS[f"sparse_{width[0]}{out}"]
    assert not sparse.check({**common, **tables}, {"x": (x.lo, x.hi)})
    assert (sparse.eval(**tables, **common)[0] == dense).all()


# ---- layers in a graph -------------------------------------------------------------------------


def linear(rng: np.random.Generator, out: str, x: str, rows: int, cols: int, density: float = 1.0) -> Linear:
    mask = rng.random((rows, cols)) < density
    return Linear(out, x, rng.normal(0, cols**-0.5, (rows, cols)) * mask, rng.normal(0, 0.1, rows), out)


def lowered(ops: Sequence[Op], inputs: Array, bits: str | None = None, activations: str = "int16") -> Lowered:
    graph = graph_of(ops, inputs)
    return lower(graph, measure(graph, inputs), Options(activations, weight_bits=bits), "a test")


def graph_of(ops: Sequence[Op], inputs: Array) -> Graph:
    sizes = Graph((Port("x", inputs.shape[1], "1"),), (), tuple(ops), "").sizes()
    result = ops[-1].out
    return Graph((Port("x", inputs.shape[1], "1"),), (Port("y", sizes[result], "1"),), tuple(ops), result)


def errors(
    ops: Sequence[Op], inputs: Array, bits: str | None = None, activations: str = "int16"
) -> tuple[float, float]:
    """Mean error against the trained and against the dequantized network, as parts of the largest output."""
    made = lowered(ops, inputs, bits, activations)
    program, graph = made.program, graph_of(ops, inputs)
    raw = to_raw(inputs, program.inputs)
    _, out = Machine(program, len(raw)).step(raw)
    assert out is not None
    real, seen = to_real(out, program.outputs), to_real(raw, program.inputs)
    trained, exact = (evaluate(g, seen)[graph.result] for g in (graph, made.exact))
    top = float(np.abs(trained).max())
    return float(np.abs(real - trained).mean()) / top, float(np.abs(real - exact).mean()) / top


def kernels(made: Lowered) -> list[str]:
    return [call.kernel for call in made.program.calls()]


def inputs_of(rng: np.random.Generator, size: int, rows: int = 300) -> Array:
    return np.asarray(rng.normal(0.4, 1.0, (rows, size)))


@pytest.mark.parametrize(("bits", "limit"), [("8", 0.01), ("16", 0.0002)])
def test_parts_with_scales_of_their_own(bits: str, limit: float) -> None:
    """A CfC's backbone reads (input, state): the input off zero and a thousand times as large."""
    rng = np.random.default_rng(1)
    inputs = 1000.0 * inputs_of(rng, 5) + 3000.0
    scaled = Linear("h", INPUT, rng.normal(0, 4e-4, (9, 5)), rng.normal(-1, 0.1, 9), "h")
    into = Linear("y", "c", np.hstack([rng.normal(0, 4e-4, (4, 5)), rng.normal(0, 0.3, (4, 9))]), np.zeros(4), "y")
    ops = [scaled, Act("t", "h", "tanh", "t"), Concat("c", (INPUT, "t"), "c"), into]
    trained, exact = errors(ops, inputs, bits)
    assert trained < limit and exact < 0.0002, (trained, exact)
    assert "affine_s16" not in kernels(lowered(ops, inputs, bits)), "nothing is rescaled"


def test_exact_is_the_layer_that_the_integers_compute() -> None:
    """Of 8-bit weights the rounding is all in `exact`: what remains is a twentieth of the error."""
    rng = np.random.default_rng(2)
    ops = [linear(rng, "h", INPUT, 20, 6), Act("t", "h", "relu", "t"), linear(rng, "y", "t", 3, 20)]
    trained, exact = errors(ops, inputs_of(rng, 6), "8")
    assert exact < 0.05 * trained and exact < 0.0001


def test_a_sparse_layer_is_stored_sparse_where_that_is_smaller() -> None:
    rng = np.random.default_rng(3)
    inputs = inputs_of(rng, 40)
    for density, bits, kernel in ((0.3, "8", "sparse_s16"), (0.6, "8", "linear_s16"), (0.4, "16", "sparse_w16_s16")):
        made = lowered([linear(rng, "y", INPUT, 12, 40, density)], inputs, bits)
        assert kernels(made)[-1] == kernel
        stored = sum(c.bytes for c in made.program.constants if not c.name.endswith(("_bias", "_mult")))
        assert stored <= 12 * 40 * int(bits) // 8
    none = lowered([Linear("y", INPUT, np.zeros((3, 40)), np.ones(3), "y")], inputs)
    assert kernels(none)[-1] == "linear_s16"


def test_wide_and_full_rows_stay_dense() -> None:
    rng = np.random.default_rng(4)
    beyond = linear(rng, "y", INPUT, 3, 257, 0.05)
    assert kernels(lowered([beyond], inputs_of(rng, 257)))[-1] == "linear_s16"
    full = linear(rng, "y", INPUT, 20, 256, 0.02)
    full.weight[0] = 1.0
    assert kernels(lowered([full], inputs_of(rng, 256)))[-1] == "linear_s16"


# ---- products, quotients, parts, activations ---------------------------------------------------


def before(rng: np.random.Generator) -> list[Op]:
    """h, g: layers; t = tanh h; p = phi g; a = |h| + 1."""
    ones = np.ones(7)
    return [
        linear(rng, "h", INPUT, 7, 6), linear(rng, "g", INPUT, 7, 6), Act("t", "h", "tanh", "t"),
        Act("p", "g", "phi", "p"), Act("s", "h", "abs", "s"), Scale("a", "s", ones, ones, "a"),
        Scale("n", "s", -ones, 0.0 * ones, "n"),
    ]  # fmt: skip


SOME = np.array([6, 0, 0, 3])
LAST: list[Op] = [
    Mul("r", "h", "t", "r"),
    Mul("r", "t", "p", "r"),
    Mul("r", "g", "p", "gelu"),
    Mul("r", "h", "h", "square"),
    Div("r", "h", "a", "softsign"),
    Div("r", "g", "a", "r"),
    Concat("r", ("h", "t", "p"), "r"),
    Concat("r", ("h", "h"), "r"),
    Concat("r", ("g",), "r"),
    Gather("r", "h", np.arange(2, 5), "r"),
    Gather("r", "h", SOME, "r"),
    Gather("r", INPUT, np.arange(6)[::-1], "r"),
    Act("r", "n", "exp", "r"),
    Act("r", "h", "abs", "r"),
    *(Act("r", "h", fn, "r") for fn in ("relu", "tanh", "sigmoid", "phi")),
]


# An input that is multiplied is rescaled first: only layers take it as it is.
WAYS = [(op, reader) for op in LAST for reader in ("port", "layer", "product")
        if not (isinstance(op, Gather) and op.x == INPUT and reader == "product")]  # fmt: skip


@pytest.mark.parametrize("activations", ["int16", "int8"])
@pytest.mark.parametrize(("last", "reader"), WAYS, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_elementwise_ops_wherever_their_result_goes(last: Op, reader: str, activations: str) -> None:
    """To a port, into a layer, and into an op that needs one format."""
    rng = np.random.default_rng(5)
    ops = [*before(rng), last]
    inputs = inputs_of(rng, 6)
    size = graph_of(ops, inputs).output_size
    ops += {"port": [], "layer": [linear(rng, "y", "r", 3, size)], "product": [Mul("y", "r", "r", "y")]}[reader]
    trained, exact = errors(ops, inputs, "16", activations)
    limit = 0.0003 if activations == "int16" else 0.01
    assert trained < limit and exact < limit, (trained, exact)


def test_a_part_of_parts() -> None:
    """A gather from a vector without one format keeps the scales that it takes."""
    rng = np.random.default_rng(6)
    parts = [*before(rng), Concat("c", (INPUT, "t", "g"), "c")]
    ops = [*parts, Gather("r", "c", np.array([0, 19, 7, 7, 5]), "r"), linear(rng, "y", "r", 2, 5),
           linear(rng, "z", "c", 2, 20), Concat("all", ("y", "z"), "all")]  # fmt: skip
    assert errors(ops, inputs_of(rng, 6), "16")[0] < 0.0003


def test_a_divisor_that_is_not_positive_is_refused() -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(LnncError, match=r"layer 'quotient': its divisor reaches -"):
        lowered([*before(rng), Div("r", "h", "g", "quotient")], inputs_of(rng, 6))


def test_a_divisor_that_is_hardly_resolved_is_refused() -> None:
    rng = np.random.default_rng(8)
    ops = before(rng)
    small = Scale("b", "s", np.full(7, 1.0), np.full(7, 1e-3), "b")
    with pytest.raises(LnncError, match=r"layer 'quotient': its divisor is as small as 0\.00"):
        lowered([*ops, small, Div("r", "h", "b", "quotient")], inputs_of(rng, 6, 2000))


def test_an_exp_of_positive_numbers_is_refused() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(LnncError, match="layer 'e': the argument of its exp reaches"):
        lowered([*before(rng), Act("r", "h", "exp", "e")], inputs_of(rng, 6))
