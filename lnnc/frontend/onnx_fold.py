"""Nodes evaluated while importing: constants, and the movement of elements, with the reference evaluator of onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lnnc.frontend.fields import ELEMENTS_MAX
from lnnc.frontend.onnx_read import Constant

MOVES = (
    "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Slice", "Split", "Gather",
    "GatherElements", "GatherND", "Tile", "Concat",
)  # fmt: skip
_ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Exp", "Log", "Sqrt", "Reciprocal", "Tanh", "Sigmoid", "Relu",
    "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "HardSwish", "Erf", "Gelu", "Clip", "Min", "Max",
    "Sum", "Mean", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Mod", "Where", "Equal", "Less", "LessOrEqual",
    "Greater", "GreaterOrEqual", "And", "Or", "Not", "Cast", "CastLike", "IsNaN", "IsInf",
)  # fmt: skip
_OTHER = (
    "Constant", "ConstantOfShape", "Shape", "Size", "Range", "MatMul", "Gemm", "ReduceSum", "ReduceMean", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare", "Softmax", "CumSum", "Trilu", "LayerNormalization",
    "ScatterND", "ScatterElements",
)  # fmt: skip
FOLDABLE = frozenset((*MOVES, *_ELEMENTWISE, *_OTHER))


class UnsupportedError(Exception):
    """Why a node has no counterpart in a Graph."""


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as Python values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def check_form(node: Any, opset: int) -> None:
    """Whether a node has the inputs and the attributes, of the types, that its operator has.

    Raises:
        UnsupportedError: it has not.
    """
    from onnx import checker

    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 8, {"": opset}
    try:
        checker.check_node(node, context)
    except Exception as error:  # ValidationError, or what Python makes of bytes that are no text
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(f"malformed: {text[:120]}") from error


def run_node(node: Any, opset: int, inputs: Sequence[Constant | None]) -> list[Constant]:
    """The outputs of one node for given inputs (None where an optional one is left out).

    Raises:
        UnsupportedError: the node cannot be evaluated, or would make more numbers than a model may have.
    """
    from onnx.reference import ReferenceEvaluator

    if node.op_type not in FOLDABLE:
        raise UnsupportedError("no constant of this kind")
    given = [array for array in inputs if array is not None]
    feeds = {name: array for name, array in zip(node.input, inputs, strict=True) if name and array is not None}
    try:
        if _size_bound(node, given) > ELEMENTS_MAX:
            raise UnsupportedError(f"it would make more than {ELEMENTS_MAX} numbers")
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(node, opsets={"": opset}).run(None, feeds)
    except UnsupportedError:
        raise
    except Exception as error:  # the evaluator raises whatever NumPy does with shapes that do not fit
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(f"cannot be evaluated ({text[:120]})") from error
    return [np.asarray(result) for result in results]


def _size_bound(node: Any, inputs: Sequence[Constant]) -> int:
    """At least as many numbers as the node makes, so that a few bytes cannot ask for all memory."""
    total = sum(array.size for array in inputs)
    match node.op_type:
        case "ConstantOfShape":
            return _product(inputs[0])
        case "Expand":
            return _broadcast(inputs[0].shape, tuple(int(side) for side in np.ravel(inputs[1])))
        case "Tile":
            return int(inputs[0].size) * _product(inputs[1])
        case "Range":
            start, limit, delta = (float(array.reshape(-1)[0]) for array in inputs[:3])
            return int(min(abs((limit - start) / delta), 1e18)) if delta else 0
        case "Gather":
            return int(inputs[0].size) // max(_side(node, inputs[0]), 1) * int(inputs[1].size)
        case "GatherND":
            return int(inputs[0].size * inputs[1].size)
        case "MatMul" | "Gemm":
            return int(total + inputs[0].size * max(inputs[1].shape[-1], 1))
        case op if op in _ELEMENTWISE:
            return _broadcast(*(array.shape for array in inputs))
        case _:
            return total


def _side(node: Any, array: Constant) -> int:
    return int(array.shape[int(attributes(node).get("axis", 0))])


def _product(sides: Constant) -> int:
    result = 1
    for side in np.ravel(sides):
        result *= max(int(side), 0)
    return result


def _broadcast(*shapes: tuple[int, ...]) -> int:
    return _product(np.array(np.broadcast_shapes(*shapes), np.int64))
