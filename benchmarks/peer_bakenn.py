"""Compiles an ONNX step with bakeNN: `python peer_bakenn.py MODEL.onnx SAMPLES.npy FOLDER VARIANT`.

A program of its own: `peers.py` starts it with a Python that has bakeNN, torch and onnx, and perhaps no lnnc.

bakeNN reads torch modules, so the ONNX graph becomes one, node by node. It has no tanh, but a sigmoid, and
tanh(a) = 2 sigmoid(2 a) - 1: between two Gemm nodes the factors move into their weights. SAMPLES (N, inputs) calibrate;
FOLDER/reference.npy is what bakeNN's own reference gives for them, int8. What bakeNN refuses ends the program with
status 3 and the reason on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bakenn
import numpy as np
import onnx
import torch
from bakenn.frontends.torch_export import ALLOWED_ATEN_TARGETS
from onnx import numpy_helper
from torch.nn import functional

NAME = "peer"
REFUSED = 3
Attributes = dict[str, Any]
BINARY = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}
NEEDED = {
    "Tanh": "aten.tanh.default", "Sub": "aten.sub.Tensor", "Div": "aten.div.Tensor", "MatMul": "aten.matmul.default",
    "LayerNormalization": "aten.layer_norm.default", "Gather": "aten.index_select.default",
}  # fmt: skip
UNARY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Relu": torch.relu,
    "Tanh": torch.tanh,
    # Where a Sigmoid stands directly behind a Linear layer, bakeNN 1.0.0 clips that layer to the sigmoid's range as if
    # it were a ReLU, an error of 10 % of the output's range; a reshape between them costs nothing and keeps it apart.
    "Sigmoid": lambda x: torch.sigmoid(x.reshape(x.shape[0], x.shape[1])),
    "Identity": lambda x: x,
}


class Step(torch.nn.Module):
    """An ONNX graph as a torch module of one input and one output, which is all that bakeNN takes.

    Several inputs (a sample and states) lie behind one another in it, and so do several outputs.
    """

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self.nodes = [
            (node.op_type, tuple(node.input), node.output[0],
             {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute})
            for node in graph.node
        ]  # fmt: skip
        self.outputs = [value.name for value in graph.output]
        sizes = [value.type.tensor_type.shape.dim[1].dim_value for value in graph.input]
        ends = [int(end) for end in np.cumsum(sizes)]
        self.inputs = list(zip((value.name for value in graph.input), [0, *ends[:-1]], ends, strict=True))
        self.width = ends[-1]
        constants = {value.name: numpy_helper.to_array(value).copy() for value in graph.initializer}
        self.named = {name: f"constant_{index}" for index, name in enumerate(constants)}
        for name, value in constants.items():
            self.register_buffer(self.named[name], torch.from_numpy(value))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """One step."""
        values: dict[str, Any] = {self.inputs[0][0]: given}
        if len(self.inputs) > 1:
            values = {name: given[:, start:end] for name, start, end in self.inputs}
        values |= {name: getattr(self, buffer) for name, buffer in self.named.items()}
        for kind, inputs, output, attributes in self.nodes:
            values[output] = apply(kind, [values[name] for name in inputs], attributes)
        results = [values[name] for name in self.outputs]
        return results[0] if len(results) == 1 else torch.cat(results, 1)


def apply(kind: str, given: Sequence[Any], attributes: Attributes) -> Any:
    """One node."""
    if kind in BINARY:
        return BINARY[kind](*given)
    if kind in UNARY:
        return UNARY[kind](*given)
    if kind == "Gemm" and attributes.get("transB") == 1 and attributes.get("alpha", 1.0) == 1.0:
        return functional.linear(*given)
    if kind == "MatMul":
        return torch.matmul(*given)
    if kind == "Concat":
        return torch.cat(list(given), attributes["axis"])
    if kind == "Gather":
        return torch.index_select(given[0], attributes.get("axis", 0), given[1].reshape(-1))
    if kind == "LayerNormalization":
        return functional.layer_norm(given[0], given[1].shape, given[1], given[2], attributes.get("epsilon", 1e-5))
    if kind == "ReduceMean":
        return torch.mean(given[0], dim=-1, keepdim=True)
    raise bakenn.CompileError(f"{kind}: peer_bakenn.py does not know this ONNX operator")


def without_tanh(graph: Any) -> int:
    """Turn every Tanh between Gemm nodes into a Sigmoid; the graph is changed. Returns how many."""
    constants = {value.name: value for value in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    done = 0
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == "Tanh" else None
        readers = [other for other in graph.node if node.output[0] in other.input]
        sole = before is not None and sum(before.output[0] in other.input for other in graph.node) == 1
        if before is None or before.op_type != "Gemm" or not sole or any(r.op_type != "Gemm" for r in readers):
            continue
        for name in before.input[1:]:
            replace(constants[name], 2.0 * numpy_helper.to_array(constants[name]))
        for reader in readers:
            weight, bias = (numpy_helper.to_array(constants[name]) for name in reader.input[1:])
            replace(constants[reader.input[1]], 2.0 * weight)
            replace(constants[reader.input[2]], bias - weight.sum(axis=1))
        node.op_type = "Sigmoid"
        done += 1
    return done


def replace(constant: Any, value: np.ndarray) -> None:
    """Give a constant another value."""
    constant.CopyFrom(numpy_helper.from_array(value.astype(np.float32), constant.name))


def missing(graph: Any) -> str:
    """What of a graph bakeNN has no operator for, "" where it has all."""
    kinds = dict.fromkeys(node.op_type for node in graph.node)
    return ", ".join(kind for kind in kinds if kind in NEEDED and NEEDED[kind] not in ALLOWED_ATEN_TARGETS)


def options(variant: str) -> dict[str, Any]:
    """bakeNN's options for "portable", "smlad" (its own kernels) and "cmsis" (CMSIS-NN, one scale for a matrix)."""
    policy = bakenn.KernelPolicy.PORTABLE if variant == "portable" else bakenn.KernelPolicy.STATIC_PRIORITY
    backend = bakenn.CBackendOptions(
        kernel_policy=policy, enable_cmsis_nn=variant == "cmsis", target=bakenn.CORTEX_M4
    )  # fmt: skip
    granularity = bakenn.LinearWeightGranularity
    weights = granularity.PER_TENSOR if variant == "cmsis" else granularity.PER_CHANNEL
    return {"backend_options": backend, "ptq_options": bakenn.PTQOptions(linear_weight_granularity=weights)}


def main(arguments: list[str]) -> int:
    """Compile; returns the exit status."""
    model, samples = onnx.load(arguments[0]), np.load(arguments[1]).astype(np.float32)
    folder = Path(arguments[2])
    without_tanh(model.graph)
    absent = missing(model.graph)
    if absent:
        print(f"no {absent}" + ("; no state" if len(model.graph.input) > 1 else ""), file=sys.stderr)
        return REFUSED
    step = Step(model.graph).eval()
    samples = np.pad(samples, ((0, 0), (0, step.width - samples.shape[1])))  # states: 0, as after a reset
    rows = [torch.from_numpy(row[None]) for row in samples]
    try:
        made = bakenn.compile_torch_ptq(
            step, torch.zeros(1, step.width), rows, folder, name=NAME, **options(arguments[3])
        )
    except bakenn.BakeNNError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return REFUSED
    outputs = [bakenn.run_reference(made.plan, bakenn.quantize_input(made.plan, row[None])) for row in samples]
    np.save(folder / "reference.npy", np.concatenate(outputs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
