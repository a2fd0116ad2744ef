"""Reading an ONNX file: what it declares, checked before it is believed. onnx is imported when used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnnc.errors import Findings, LnncError
from lnnc.files import readable
from lnnc.frontend.checkpoint import WIDTH_MAX
from lnnc.frontend.fields import ELEMENTS_MAX

Constant = NDArray[Any]

FILE_MAX = 1 << 30
NODES_MAX = 8192
OPSET_MIN = 7
DOMAINS = ("", "ai.onnx")
_EXPORT = "export one step of the cell again, with its weights inside the file (torch.onnx.export, opset 13 or later)"


@dataclass(frozen=True)
class Signature:
    """An input or output of the graph; symbolic sides of its shape are 1."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a network as its file describes it.

    Attributes:
        model: the ModelProto, for the check against another interpreter.
        nodes: NodeProtos, in order of execution.
        opset: version of the standard operators.
        inputs: what is no initializer, in order.
        constants: the initializers.
        outputs: names, in order.
    """

    where: str
    model: Any
    nodes: tuple[Any, ...]
    opset: int
    inputs: tuple[Signature, ...]
    constants: Mapping[str, Constant]
    outputs: tuple[str, ...]

    def input(self, name: str) -> Signature:
        return next(entry for entry in self.inputs if entry.name == name)


def require_onnx() -> Any:
    """The onnx package.

    Raises:
        LnncError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise LnncError("needs the Python package onnx", "onnx", "pip install 'lnnc[onnx]'") from error
    return onnx


def read_step(path: str | Path) -> Step:
    """The step that an ONNX file holds.

    Raises:
        LnncError: not an ONNX file, weights in another file, no graph, shapes that are not known, types that are no
            numbers, nodes that read what no earlier node defines.
    """
    onnx = require_onnx()
    where = str(path)
    model = _inlined(onnx, _parse(onnx, path), where)
    graph = model.graph
    found = Findings(where)
    if not graph.node and not graph.output:
        raise LnncError("it holds no graph", where, _EXPORT)
    if len(graph.node) > NODES_MAX:
        message = f"expected one step of at most {NODES_MAX} nodes, found {len(graph.node)}"
        raise LnncError(message, where, "export one step of the cell, not a sequence")
    opset = _opset(model, found)
    constants = _constants(onnx, graph, found)
    inputs = tuple(_signature(onnx, value, found) for value in graph.input if value.name not in constants)
    outputs = tuple(value.name for value in graph.output)
    _check_names(graph, inputs, outputs, constants, found)
    found.raise_if_any(_EXPORT)
    return Step(where, model, tuple(graph.node), opset, inputs, constants, outputs)


def _parse(onnx: Any, path: str | Path) -> Any:
    file = readable(path, "give the path of a .onnx file")
    if file.stat().st_size > FILE_MAX:
        raise LnncError(
            f"expected at most {FILE_MAX >> 20} MB, found {file.stat().st_size >> 20} MB", str(path), _EXPORT
        )
    try:
        model = onnx.load_model_from_string(file.read_bytes())
    except Exception as error:  # protobuf raises kinds of its own, which need protobuf to be named
        raise LnncError("not a readable ONNX file (truncated, or of another format)", str(path), _EXPORT) from error
    if not model.ir_version or not model.HasField("graph"):
        raise LnncError("not an ONNX model: it holds no graph", str(path), _EXPORT)
    return model


def _inlined(onnx: Any, model: Any, where: str) -> Any:
    """The model with its local functions written out; torch's newer exporter wraps modules in them."""
    if not model.functions:
        return model
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # functions that call themselves, or that are not there
        raise LnncError("its functions cannot be written out", where, _EXPORT) from error


def _opset(model: Any, found: Findings) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    if len(versions) != 1 or not OPSET_MIN <= versions[0] <= 1000:
        have = ", ".join(f"{e.domain or 'ai.onnx'} {e.version}" for e in model.opset_import) or "none"
        found.add(f"expected one opset of ai.onnx, {OPSET_MIN} or later, found {have}")
        return OPSET_MIN
    return int(versions[0])


def _constants(onnx: Any, graph: Any, found: Findings) -> dict[str, Constant]:
    constants: dict[str, Constant] = {}
    if graph.sparse_initializer:
        found.add("sparse initializers are not supported: store them dense")
    for tensor in graph.initializer:
        array = tensor_array(onnx, tensor, tensor.name, found)
        if tensor.name in constants:
            found.add(f"initializer '{tensor.name}' is defined twice")
        constants[tensor.name] = array
    return constants


def tensor_array(onnx: Any, tensor: Any, name: str, found: Findings) -> Constant:
    """The numbers of a TensorProto, or a noted fault and a zero."""
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
    count = 1
    for side in tensor.dims:
        count *= max(int(side), 0)
    if outside:
        found.add(f"tensor '{name}': its numbers are in another file (external data)")
    elif count > ELEMENTS_MAX or any(side < 0 for side in tensor.dims):
        found.add(f"tensor '{name}': expected at most {ELEMENTS_MAX} numbers, found shape {list(tensor.dims)}")
    else:
        try:
            return _plain(np.asarray(onnx.numpy_helper.to_array(tensor)))
        except Exception as error:  # fewer bytes than its shape says, an unknown type
            found.add(f"tensor '{name}': not readable ({str(error)[:80]})")
    return np.zeros(())


def _plain(array: Constant) -> Constant:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"expected numbers, found {array.dtype}")
    return array


def _signature(onnx: Any, value: Any, found: Findings) -> Signature:
    """Name and shape of a graph input of one sample; what is symbolic (batch, sequence) is 1."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type != onnx.TensorProto.FLOAT:
        found.add(f"input '{value.name}': expected a tensor of float32")
        return Signature(value.name, (1,))
    if not kind.HasField("shape"):
        found.add(f"input '{value.name}': its shape is not declared")
        return Signature(value.name, (1,))
    sides = [side.dim_value if side.HasField("dim_value") else None for side in kind.shape.dim]
    if sides and sides[-1] is None:
        found.add(f"input '{value.name}': the last side of its shape must be a number, found {_shape_text(sides)}")
    shape = tuple(1 if side is None else int(side) for side in sides)
    if any(side < 1 or side > WIDTH_MAX for side in shape) or len(shape) > 8:
        found.add(f"input '{value.name}': expected sides of 1 ... {WIDTH_MAX}, found {_shape_text(sides)}")
        return Signature(value.name, (1,))
    if len(shape) == 2 and shape[0] != 1:
        found.add(f"input '{value.name}': a batch of 1 (or a symbolic one) is one step, found {_shape_text(sides)}")
    entry = Signature(value.name, shape)
    if entry.size > WIDTH_MAX:
        found.add(f"input '{value.name}': expected at most {WIDTH_MAX} values, found {entry.size}")
    return entry


def _shape_text(sides: list[Any]) -> str:
    return f"({', '.join('?' if side is None else str(side) for side in sides)})"


def _check_names(
    graph: Any, inputs: tuple[Signature, ...], outputs: tuple[str, ...], constants: Mapping[str, Constant],
    found: Findings,
) -> None:  # fmt: skip
    """Every tensor defined once and before it is read: a cycle shows here too."""
    unfit = [name for name in _names(graph) if not isinstance(name, str) or not name.isprintable()]
    if unfit or not all(outputs):
        found.add(f"expected printable names, found {str(unfit[0])[:40]!a}" if unfit else "an output has no name")
        return
    defined = {entry.name for entry in inputs} | set(constants) | {""}
    if len({entry.name for entry in inputs}) != len(inputs) or any(not entry.name for entry in inputs):
        found.add("two inputs share a name, or one has none")
    for node in graph.node:
        missing = [name for name in node.input if name not in defined]
        if missing:
            found.add(f"{titled(node)} reads '{missing[0]}', which no node before it defines")
        repeated = [name for name in node.output if name and name in defined]
        if repeated:
            found.add(f"{titled(node)} defines '{repeated[0]}' again")
        defined.update(node.output)
    found.faults.extend(f"output '{name}' is defined by no node" for name in outputs if name not in defined)
    if not inputs or not outputs:
        found.add(f"expected inputs and outputs, found {len(inputs)} and {len(outputs)}")
    if len(set(outputs)) != len(outputs):
        found.add("two outputs share a name")


def _names(graph: Any) -> Iterator[Any]:
    """Every name in a graph; what is not UTF-8 protobuf may give as bytes."""
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))


def titled(node: Any) -> str:
    """A node in a message: its op type, its name, what it reads."""
    domain = "" if node.domain in DOMAINS else f"{node.domain}."
    name = f" '{node.name}'" if node.name else f" -> '{node.output[0]}'" if node.output else ""
    return f"{domain}{node.op_type}{name[:120]}"
