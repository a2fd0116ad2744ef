"""The meaning of ONNX nodes as ops of a Graph: one small function for each kind of node.

Every value is one sample: a symbolic batch is 1. Shapes are known, so what only moves elements (Slice, Reshape, Expand,
...) is evaluated on indices, and what reads only constants is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lnnc.errors import Findings
from lnnc.frontend.onnx_draft import Draft, Value, View, check_size
from lnnc.frontend.onnx_fold import FOLDABLE, MOVES, UnsupportedError, attributes, check_form, run_node
from lnnc.frontend.onnx_math import MATH, Handler, Inputs, given, hint_of
from lnnc.frontend.onnx_read import DOMAINS, Constant, Step, require_onnx, tensor_array, titled
from lnnc.frontend.onnx_rnn import RECURRENT, recurrent


def convert(draft: Draft, step: Step, values: dict[str, Value]) -> dict[str, Value]:
    """Every value of a step, from those of its inputs and initializers.

    Raises:
        LnncError: naming every node without a counterpart, with what it reads and why.
    """
    known: dict[str, Value | None] = dict(values)
    found, lost_data = Findings(step.where), set[str]()
    for node in step.nodes:
        inputs = [known[name] if name else None for name in node.input]
        lost = any(name and known[name] is None for name in node.input)
        data = any(isinstance(value, View) for value in inputs) or not lost_data.isdisjoint(node.input)
        lost_data.update(node.output if data else ())
        try:
            _check_kind(node, data)
            check_form(node, step.opset)
            results = [] if lost else _node(draft, node, step.opset, inputs)
        except UnsupportedError as reason:
            found.add(f"{titled(node)} ({_read(node, known)}): {reason}")
            results = []
        known.update(dict.fromkeys(filter(None, node.output)))
        known.update({name: value for name, value in zip(node.output, results, strict=False) if name})
    found.raise_if_any(f"supported on data: {', '.join(sorted(SUPPORTED))}; on constants most others (docs/onnx.md)")
    return {name: value for name, value in known.items() if value is not None}


def _read(node: Any, known: dict[str, Value | None]) -> str:
    """What a node reads, for messages."""
    shapes = []
    for name in node.input[:6]:
        value = known.get(name)
        shapes.append(f"{name[:60]}{'' if value is None else ' ' + str(list(value.shape))}" if name else "-")
    return f"reads {', '.join(shapes)}" if shapes else "reads nothing"


def _check_kind(node: Any, data: bool) -> None:
    if node.domain not in DOMAINS:
        raise UnsupportedError("an operator of another domain")
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise UnsupportedError("it holds a graph of its own (a loop or a branch)")
    if node.op_type not in FOLDABLE and node.op_type not in SUPPORTED:
        raise UnsupportedError("not supported")
    if data and node.op_type not in SUPPORTED:
        raise UnsupportedError("supported only on constants")


def _node(draft: Draft, node: Any, opset: int, inputs: Inputs) -> Sequence[Value]:
    """The outputs of one node: folded where every input is a constant."""
    if node.op_type == "Constant":
        _check_constant(node)
    if node.op_type in FOLDABLE and not any(isinstance(value, View) for value in inputs):
        return run_node(node, opset, [None if v is None else np.asarray(v) for v in inputs])
    return SUPPORTED[node.op_type](draft, node, opset, inputs)


def _check_constant(node: Any) -> None:
    """A tensor in an attribute is read as carefully as an initializer."""
    found = Findings()
    for attribute in node.attribute:
        if attribute.HasField("t"):
            tensor_array(require_onnx(), attribute.t, node.output[0], found)
        elif attribute.HasField("sparse_tensor") or attribute.name.startswith("value_string"):
            found.add("expected numbers")
    if found.faults:
        raise UnsupportedError(found.faults[0])


def _move(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """What only moves elements, evaluated on their indices."""
    joined = node.op_type == "Concat"
    data = [v for v in (inputs if joined else inputs[:1]) if v is not None]
    if not all(isinstance(v, View) for v in data) and not joined:
        raise UnsupportedError("its indices are data")
    views = (
        [draft.view(v, f"{hint_of(node)}_constant") for v in data if isinstance(v, View) or v.size] if joined else data
    )
    if any(isinstance(v, View) for v in inputs[1:]) and not joined:
        raise UnsupportedError("its indices or its shape are data")
    tensors = tuple(dict.fromkeys(v.tensor for v in views if isinstance(v, View)))
    starts = np.cumsum([0, *(draft.sizes[tensor] for tensor in tensors)])
    start = dict(zip(tensors, starts, strict=False))
    moved = [v.index + start[v.tensor] for v in views if isinstance(v, View)]
    rest = [] if joined else [None if v is None else np.asarray(v) for v in inputs[1:]]
    node = _without_empty(node, inputs) if joined else node
    results = run_node(node, opset, [*moved, *rest])
    return [_scattered(draft, index, tensors, starts, hint_of(node)) for index in results]


def _without_empty(node: Any, inputs: Inputs) -> Any:
    """A Concat without its empty constant parts (an exporter's empty state)."""
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(f"i{k}" for k, v in enumerate(inputs) if v is not None and (isinstance(v, View) or v.size))
    return copy


def _scattered(draft: Draft, index: Constant, tensors: tuple[str, ...], starts: Constant, hint: str) -> View:
    """A view of elements that may come from several tensors, numbered through."""
    if not index.size:
        raise UnsupportedError("its result is empty")
    check_size(index.shape)
    flat = np.asarray(index, np.int64).reshape(-1)
    owner = np.searchsorted(starts, flat, side="right") - 1
    cuts = np.flatnonzero(np.diff(owner)) + 1
    runs = np.split(np.arange(flat.size), cuts)
    if len(runs) == 1:
        tensor = tensors[owner[0]]
        return View(tensor, (flat - starts[owner[0]]).reshape(index.shape))
    if len(runs) <= 2 * len(tensors):
        parts = tuple(View(tensors[owner[run[0]]], flat[run] - starts[owner[run[0]]]) for run in runs)
        return View(draft.concat(parts, hint).tensor, np.arange(flat.size).reshape(index.shape))
    whole = draft.concat(tuple(draft.whole(tensor, (draft.sizes[tensor],)) for tensor in tensors), hint)
    return View(whole.tensor, flat.reshape(index.shape))


def _same(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    """Dropout in inference."""
    training = inputs[2] if len(inputs) > 2 else None
    if isinstance(training, View) or (training is not None and bool(np.any(training))):
        raise UnsupportedError("training_mode is set")
    return [given(inputs, 0)]


def _cast(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    onnx = require_onnx()
    wanted = attributes(node).get("to")
    if wanted not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16):
        raise UnsupportedError("only a Cast to floats is")
    return [given(inputs, 0)]


def _shape(draft: Draft, node: Any, opset: int, inputs: Inputs) -> list[Value]:
    shape = np.array(given(inputs, 0).shape, np.int64)
    if node.op_type == "Size":
        return [np.array(np.prod(shape), np.int64)]
    options = attributes(node)
    return [shape[slice(options.get("start", 0), options.get("end"))]]


def _recurrent(draft: Draft, node: Any, opset: int, inputs: Inputs) -> Sequence[Value]:
    views = [v if v is None or isinstance(v, View) else np.asarray(v) for v in inputs]
    return recurrent(draft, node.op_type, attributes(node), views, hint_of(node))


SUPPORTED: dict[str, Handler] = {
    **MATH,
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(("Shape", "Size"), _shape),
    **dict.fromkeys(RECURRENT, _recurrent),
    "Cast": _cast,
    "Dropout": _same,
}
