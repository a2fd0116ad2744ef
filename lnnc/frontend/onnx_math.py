"""ONNX nodes that compute: element by element, matrices, sums, normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lnnc.frontend.onnx_draft import WEIGHT_MAX, Draft, Value, View, as_numbers, broadcast, check_size
from lnnc.frontend.onnx_fold import UnsupportedError, attributes
from lnnc.frontend.onnx_read import Constant
from lnnc.ir.graph import Add, Array, Div, Mean, Mul, Norm

Inputs = Sequence[Value | None]
Handler = Callable[[Draft, Any, int, Inputs], Sequence[Value]]
_ACTS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Exp": "exp", "Abs": "abs"}


def hint_of(node: Any) -> str:
    """What the ops of a node are called after."""
    return str(node.name or node.output[0])


def given(inputs: Inputs, position: int) -> Value:
    """An input that must be there."""
    value = inputs[position] if position < len(inputs) else None
    if value is None:
        raise UnsupportedError(f"its input {position} is missing")
    return value


def _data(inputs: Inputs, position: int = 0) -> View:
    value = given(inputs, position)
    if not isinstance(value, View):
        raise UnsupportedError(f"its input {position} is a constant, expected data")
    return value


def _fixed(inputs: Inputs, position: int, default: Any = None) -> Constant:
    """A constant input, or a default where it is left out."""
    value = inputs[position] if position < len(inputs) else None
    if isinstance(value, View):
        raise UnsupportedError(f"its input {position} is data, expected a constant")
    if value is None and default is None:
        raise UnsupportedError(f"its input {position} is missing")
    return np.asarray(default if value is None else value)


def _act(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    return [draft.act(_data(inputs), _ACTS[node.op_type], hint_of(node))]


def _erf(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """erf(x) = 2 phi(sqrt(2) x) - 1."""
    hint, zero = hint_of(node), np.zeros(())
    inner = draft.scale(_data(inputs), np.array(math.sqrt(2.0)), zero, f"{hint}_argument")
    return [draft.scale(draft.act(inner, "phi", hint), np.array(2.0), np.array(-1.0), f"{hint}_range")]


def _gelu(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    if attributes(node).get("approximate", b"none") not in (b"none", "none"):
        raise UnsupportedError("only approximate='none' is")
    x = _data(inputs)
    return [_product(draft, x, draft.act(x, "phi", f"{hint_of(node)}_phi"), hint_of(node))]


def _swish(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    x, alpha = _data(inputs), np.array(attributes(node).get("alpha", 1.0))
    gate = draft.act(
        draft.scale(x, alpha, np.zeros(()), f"{hint_of(node)}_argument"), "sigmoid", f"{hint_of(node)}_gate"
    )
    return [_product(draft, x, gate, hint_of(node))]


def _neg(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    return [draft.scale(_data(inputs), np.array(-1.0), np.zeros(()), hint_of(node))]


def _pair(draft: Draft, a: View, b: View) -> tuple[str, str, tuple[int, ...]]:
    """Two views as flat tensors of one shape."""
    shape = broadcast(a.shape, b.shape)
    check_size(shape)
    left, right = (draft.flat(View(v.tensor, np.broadcast_to(v.index, shape))) for v in (a, b))
    return left, right, shape


def _sum(draft: Draft, a: Value, b: Value, gain: float, hint: str) -> Value:
    """a + gain * b."""
    if isinstance(a, View) and isinstance(b, View):
        left, right, shape = _pair(draft, a, b)
        name = draft.name(hint)
        return draft.push(Add(name, left, right, gain, name), shape)
    if isinstance(a, View):
        return draft.scale(a, np.ones(()), gain * as_numbers(np.asarray(b)), hint)
    assert isinstance(b, View)
    return draft.scale(b, np.array(gain), as_numbers(a), hint)


def _product(draft: Draft, a: Value, b: Value, hint: str) -> Value:
    if isinstance(a, View) and isinstance(b, View):
        left, right, shape = _pair(draft, a, b)
        name = draft.name(hint)
        return draft.push(Mul(name, left, right, name), shape)
    data, constant = (a, b) if isinstance(a, View) else (b, a)
    assert isinstance(data, View)
    return draft.scale(data, np.asarray(constant), np.zeros(()), hint)


def _binary(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    a, b, hint = given(inputs, 0), given(inputs, 1), hint_of(node)
    match node.op_type:
        case "Add":
            return [_sum(draft, a, b, 1.0, hint)]
        case "Sub":
            return [_sum(draft, a, b, -1.0, hint)]
        case "Mul":
            return [_product(draft, a, b, hint)]
        case _:
            return [_quotient(draft, a, b, hint)]


def _quotient(draft: Draft, a: Value, b: Value, hint: str) -> Value:
    if not isinstance(b, View):
        divisor = as_numbers(b)
        if not divisor.all():
            raise UnsupportedError("it divides by 0")
        return _product(draft, a, 1.0 / divisor, hint)
    left, right, shape = _pair(draft, draft.view(a, f"{hint}_constant"), b)
    name = draft.name(hint)
    return draft.push(Div(name, left, right, name), shape)


def _reciprocal(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    return [_quotient(draft, np.ones(()), _data(inputs), hint_of(node))]


def _total(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """Sum of any number of values."""
    result = given(inputs, 0)
    for position in range(1, len(inputs)):
        other = given(inputs, position)
        if isinstance(result, View) or isinstance(other, View):
            result = _sum(draft, result, other, 1.0, hint_of(node))
        else:
            result = result + other
    return [result]


def _power(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    x, exponent = _data(inputs), _fixed(inputs, 1)
    if exponent.size != 1 or float(exponent.reshape(-1)[0]) not in (1.0, 2.0):
        raise UnsupportedError("on data only the exponents 1 and 2 are")
    return [x if float(exponent.reshape(-1)[0]) == 1.0 else _product(draft, x, x, hint_of(node))]


def _clip(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """Max(x, 0), or a Clip from 0 without an upper bound, is a ReLU."""
    data = [v for v in inputs if isinstance(v, View)]
    bounds = [np.asarray(v) for v in inputs if v is not None and not isinstance(v, View)]
    ends = attributes(node) if node.op_type == "Clip" else {}
    bounds += [np.array(ends["min"])] if "min" in ends else []
    upper = "max" in ends or (node.op_type == "Clip" and len(inputs) > 2 and inputs[2] is not None)
    if len(data) != 1 or len(bounds) != 1 or upper or np.any(bounds[0]):
        raise UnsupportedError("only the lower bound 0 is (a ReLU)")
    return [draft.act(data[0], "relu", hint_of(node))]


def _matmul(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    a, b = given(inputs, 0), given(inputs, 1)
    return [_matrix(draft, a, b, None, hint_of(node))]


def _gemm(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """alpha A' B' + beta C, A' = A or its transpose."""
    options, hint = attributes(node), hint_of(node)
    a, b = (_turned(given(inputs, k), options.get(key, 0)) for k, key in ((0, "transA"), (1, "transB")))
    alpha, beta = float(options.get("alpha", 1.0)), float(options.get("beta", 1.0))
    a, b = (
        (a, alpha * b)
        if isinstance(a, View) and not isinstance(b, View)
        else (a if isinstance(a, View) else alpha * a, b)
    )
    c = inputs[2] if len(inputs) > 2 else None
    if c is None or not isinstance(c, View):
        return [_matrix(draft, a, b, None if c is None else beta * as_numbers(np.asarray(c)), hint)]
    product = _matrix(draft, a, b, None, hint)
    scaled = c if beta == 1.0 else draft.scale(c, np.array(beta), np.zeros(()), f"{hint}_beta")
    return [_sum(draft, product, scaled, 1.0, f"{hint}_sum")]


def _turned(value: Value, transposed: int) -> Value:
    if len(value.shape) != 2:
        raise UnsupportedError(f"expected matrices, found shape {list(value.shape)}")
    if not transposed:
        return value
    return View(value.tensor, value.index.T) if isinstance(value, View) else value.T


def _matrix(draft: Draft, a: Value, b: Value, bias: Array | None, hint: str) -> View:
    """a @ b, one of them a constant matrix, plus a bias that is broadcast."""
    if isinstance(a, View) and isinstance(b, View):
        raise UnsupportedError("a product of two data tensors (one must be a constant matrix)")
    data, constant = (a, _two(b)) if isinstance(a, View) else (b, _two(a))
    assert isinstance(data, View)
    shape = data.shape if len(data.shape) > 1 else ((1, *data.shape) if data is a else (*data.shape, 1))
    side = shape[-1] if data is a else shape[-2]
    if side != constant.shape[0 if data is a else 1]:
        raise UnsupportedError(f"shapes {list(a.shape)} and {list(b.shape)} do not fit together")
    if data is a:
        count, out = int(np.prod(shape[:-1])), (*shape[:-1], constant.shape[1])
    else:
        count, out = shape[-1], (*shape[:-2], constant.shape[0], shape[-1])
        if int(np.prod(shape[:-2])) != 1:
            raise UnsupportedError("a batch of matrices behind a constant")
    size = int(np.prod(out))
    check_size(out)
    if size * data.index.size > WEIGHT_MAX:
        raise UnsupportedError(f"its matrix would hold {size * data.index.size} numbers")
    weight = np.kron(np.eye(count), constant.T) if data is a else np.kron(constant, np.eye(count))
    final = out if len(data.shape) > 1 else (constant.shape[1] if data is a else constant.shape[0],)
    offset = np.zeros(size) if bias is None else _spread(bias, out)
    return draft.linear(data, np.asarray(weight, np.float64), offset, final, hint)


def _two(constant: Value) -> Array:
    """A constant matrix; sides of 1 before it are dropped."""
    assert not isinstance(constant, View)
    numbers = as_numbers(constant)
    if numbers.ndim < 2 or any(side != 1 for side in numbers.shape[:-2]):
        raise UnsupportedError(f"expected a constant matrix, found shape {list(numbers.shape)}")
    return numbers.reshape(numbers.shape[-2:])


def _spread(bias: Array, shape: tuple[int, ...]) -> Array:
    if broadcast(bias.shape, shape) != shape:
        raise UnsupportedError(f"a bias of shape {list(bias.shape)} does not fit {list(shape)}")
    return np.broadcast_to(bias, shape).reshape(-1)


def _reduce(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """Sum or mean over axes: a Linear layer of zeros and ones, or the Mean of a whole tensor."""
    options, x, hint = attributes(node), _data(inputs), hint_of(node)
    axes = options.get("axes", _fixed(inputs, 1, ()).reshape(-1).tolist() if len(inputs) > 1 else [])
    rank = len(x.shape)
    if any(not -rank <= int(axis) < rank for axis in axes):
        raise UnsupportedError(f"axes {list(axes)} of a tensor of shape {list(x.shape)}")
    if not axes and options.get("noop_with_empty_axes", 0):
        return [x]
    reduced = sorted({int(axis) % rank for axis in axes} or set(range(rank)))
    kept = tuple(axis for axis in range(rank) if axis not in reduced)
    groups = np.transpose(x.index, (*kept, *reduced)).reshape(math.prod(x.shape[axis] for axis in kept), -1)
    out = tuple(x.shape[axis] for axis in kept)
    if options.get("keepdims", 1):
        out = tuple(1 if axis in reduced else side for axis, side in enumerate(x.shape))
    if groups.shape[1] == 1:
        return [View(x.tensor, x.index.reshape(out))]
    return [_grouped(draft, x.tensor, groups, out, node.op_type == "ReduceMean", hint)]


def _grouped(draft: Draft, tensor: str, groups: Constant, out: tuple[int, ...], mean: bool, hint: str) -> View:
    """The sum or mean of each row of indices."""
    size = draft.sizes[tensor]
    if mean and len(groups) == 1 and np.array_equal(np.sort(groups[0]), np.arange(size)):
        name = draft.name(hint)
        return draft.push(Mean(name, tensor, 1.0, 0.0, name), out)
    if len(groups) * size > WEIGHT_MAX:
        raise UnsupportedError(f"its matrix would hold {len(groups) * size} numbers")
    weight = np.zeros((len(groups), size))
    np.add.at(weight, (np.arange(len(groups))[:, None], groups), 1.0 / groups.shape[1] if mean else 1.0)
    return draft.linear(draft.whole(tensor, (size,)), weight, np.zeros(len(groups)), out, hint)


def _norm(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    options, x = attributes(node), _data(inputs)
    axis = int(options.get("axis", -1))
    rank = len(x.shape)
    if not -rank <= axis < rank or any(side != 1 for side in x.shape[: axis % rank]):
        raise UnsupportedError(f"it normalises axis {axis} of shape {list(x.shape)}, expected the whole sample")
    if len(node.output) > 1 and any(node.output[1:]):
        raise UnsupportedError("its mean and deviation are read too")
    shape = x.shape[axis % rank :]
    gamma, beta = (_spread(as_numbers(_fixed(inputs, k, d)), shape) for k, d in ((1, 1.0), (2, 0.0)))
    name = draft.name(hint_of(node))
    epsilon = float(options.get("epsilon", 1e-5))
    return [draft.push(Norm(name, draft.flat(x), gamma, beta, epsilon, name), x.shape)]


MATH: dict[str, Handler] = {
    **dict.fromkeys(_ACTS, _act),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _binary),
    **dict.fromkeys(("ReduceSum", "ReduceMean"), _reduce),
    **dict.fromkeys(("Max", "Clip"), _clip),
    "Erf": _erf, "Gelu": _gelu, "Gemm": _gemm, "LayerNormalization": _norm, "MatMul": _matmul, "Neg": _neg,
    "Pow": _power, "Reciprocal": _reciprocal, "Sum": _total, "Swish": _swish,
}  # fmt: skip
