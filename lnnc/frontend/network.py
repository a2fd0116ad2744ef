"""The network family: a checkpoint that lists the ops of its Graph, as import from torch, ncps and ONNX finds them.

The document holds the ops' names and plain numbers; their arrays stand in the state_dict under "<out>.<field>". The
ops read `SCALED`, the inputs after the scaler of their port; what an op reads is defined above it, but for a state's
`next`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lnnc.errors import Findings
from lnnc.frontend.checkpoint import (
    NETWORK,
    STEPS_MAX,
    WIDTH_MAX,
    Architecture,
    Checkpoint,
    NetworkSpec,
    PortSpec,
)
from lnnc.frontend.fields import get, is_number, shown, unknown_keys
from lnnc.ir import graph as g
from lnnc.ir import series
from lnnc.ir.evaluate import ACTIVATIONS
from lnnc.ir.graph import INPUT, Array, Graph, Op, Scale, Synapses
from lnnc.ir.verify import op_faults, verify_graph

SCALED, OUTPUT = "scaled", "output"  # the network's input; the result in real units
OPS_MAX = 4096
TIME_MIN, TIME_MAX = 1e-9, 1e6  # of the constant T
KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (
        g.Linear, g.Norm, g.Act, g.Mean, g.Add, g.Scale, g.Euler, g.State, g.Concat, g.Gather, g.Mul, g.Div, g.Blend,
        g.Timed, g.Pure, g.Leaky, g.Ltc, series.Collect, series.Spread, series.Robust, series.History, series.Count,
        series.Clamp, series.Gated, series.Slide, series.Trust, series.Polynomial,
    )
}  # fmt: skip
_ARRAYS = ("Array", "Indices", "Array | None")


@dataclass(frozen=True, eq=False)
class Network:
    """What lies between the scalers of the ports.

    Attributes:
        ops: they read `SCALED` and each other.
        result: the tensor that the output ports carry, before their scaler.
        time: T, the time between two samples where it is constant.
    """

    ops: tuple[Op, ...]
    result: str
    time: float = 1.0


def network_checkpoint(
    network: Network, *, where: str, inputs: Sequence[PortSpec], outputs: Sequence[PortSpec],
    calibration: Array | None, ranges: Mapping[str, Mapping[str, Any]] | None = None,
    provenance: Mapping[str, Any] | None = None, weight_bits: Mapping[str, int] | None = None,
) -> Checkpoint:  # fmt: skip
    """A checkpoint of a network, its numbers rounded to float32 as a file would keep them.

    Args:
        calibration: inputs in real units, (N, T, features), or None with `ranges`.
        weight_bits: layers whose weights are not 8 bits wide.

    Raises:
        LnncError: the ops do not fit together; every fault is named.
    """
    spec, tensors = network_spec(network, weight_bits or {})
    features = sum(port.size for port in inputs)
    checkpoint = Checkpoint(
        where, Architecture(NETWORK, "stream", 1, features, (), None, "", (), spec), tuple(inputs), tuple(outputs),
        {name: _single(array) for name, array in tensors.items()},
        None if calibration is None else _single(calibration), ranges, dict(provenance or {}),
    )  # fmt: skip
    build_network(checkpoint)
    return checkpoint


def _single(array: Array) -> Array:
    return np.asarray(array, np.float32).astype(np.float64)


def network_spec(network: Network, weight_bits: Mapping[str, int]) -> tuple[NetworkSpec, dict[str, Array]]:
    """The plain part of a network, and its arrays by name."""
    tensors: dict[str, Array] = {}
    ops = tuple(_record(op, tensors) for op in network.ops)
    return NetworkSpec(ops, network.result, network.time, dict(weight_bits)), tensors


def _record(op: Op, tensors: dict[str, Array]) -> dict[str, Any]:
    record: dict[str, Any] = {"op": type(op).__name__.lower()}
    for f in fields(op):
        value = getattr(op, f.name)
        if isinstance(value, Synapses):
            tensors.update({f"{op.out}.{f.name}.{s.name}": getattr(value, s.name) for s in fields(Synapses)})
        elif isinstance(value, np.ndarray):
            tensors[f"{op.out}.{f.name}"] = value
        elif value is not None:
            record[f.name] = list(value) if isinstance(value, tuple) else value
    return record


def parse_network(table: Mapping[str, Any], found: Findings) -> Architecture:
    """The architecture of a document of this family; what needs the tensors is checked by `build_network`."""
    label = "architecture"
    unknown_keys(table, ("family", "mode", "features", "ops", "result", "time", "weight_bits"), label, found)
    features = get(table, "features", int, label, found)
    if not 1 <= features <= WIDTH_MAX:
        found.add(f"{label}.features: expected 1 ... {WIDTH_MAX}, found {shown(features)}")
    if table.get("mode", "stream") != "stream":
        found.add(f'{label}.mode: a network is a "stream", found {shown(table["mode"])}')
    result = get(table, "result", str, label, found)
    time = float(get(table, "time", float, label, found))
    if not TIME_MIN <= time <= TIME_MAX:
        found.add(f"{label}.time: expected a time step of {TIME_MIN:g} ... {TIME_MAX:g}, found {time}")
    ops = table.get("ops")
    if not isinstance(ops, list | tuple) or not 1 <= len(ops) <= OPS_MAX:
        found.add(f"{label}.ops: expected a list of 1 ... {OPS_MAX} ops, found {shown(ops)}")
        ops = ()
    records = tuple(_checked_record(op, f"{label}.ops[{i}]", found) for i, op in enumerate(ops))
    bits = _weight_bits(table.get("weight_bits"), found)
    return Architecture(NETWORK, "stream", 1, features, (), None, "", (), NetworkSpec(records, result, time, bits))


def _checked_record(value: Any, label: str, found: Findings) -> dict[str, Any]:
    """An op's record with every plain field of its type."""
    kind = KINDS.get(value["op"]) if isinstance(value, Mapping) and isinstance(value.get("op"), str) else None
    if kind is None:
        found.add(f"{label}: expected an op of {', '.join(KINDS)}, found {shown(value)}")
        return {"op": ""}
    plain = [f for f in fields(kind) if f.type not in (*_ARRAYS, "Synapses")]
    unknown_keys(value, ("op", *(f.name for f in plain)), label, found)
    record: dict[str, Any] = {"op": value["op"]}
    types = {"str": str, "float": float, "int": int}
    for f in plain:
        if str(f.type) in types:
            record[f.name] = get(value, f.name, types[str(f.type)], label, found)
        elif f.type == "bool":
            record[f.name] = value.get(f.name) is True
        else:
            parts = value.get(f.name)
            fine = isinstance(parts, list | tuple) and parts and all(isinstance(p, str) for p in parts)
            record[f.name] = list(parts) if fine else []
            if not fine:
                found.add(f"{label}.{f.name}: expected a list of tensor names, found {shown(parts)}")
    found.faults.extend(f"{label}.{fault}" for fault in _number_faults(record))
    return record


def _number_faults(record: Mapping[str, Any]) -> list[str]:
    """Plain numbers outside what the ops mean."""
    faults = []
    for key in ("steps", "unfolds"):
        if key in record and not 1 <= record[key] <= STEPS_MAX:
            faults.append(f"{key}: expected 1 ... {STEPS_MAX}, found {shown(record[key])}")
    if "size" in record and not 1 <= record["size"] <= WIDTH_MAX:
        faults.append(f"size: expected 1 ... {WIDTH_MAX}, found {shown(record['size'])}")
    if "fn" in record and record["fn"] not in ACTIVATIONS:
        faults.append(f"fn: expected one of {', '.join(ACTIVATIONS)}, found {shown(record['fn'])}")
    if "epsilon" in record and not 0 < record["epsilon"] < 1:
        faults.append(f"epsilon: expected a number in (0, 1), found {shown(record['epsilon'])}")
    faults += [
        f"{key}: expected a finite number" for key, v in record.items() if isinstance(v, float) and not is_number(v)
    ]
    return faults


def _weight_bits(value: Any, found: Findings) -> dict[str, int]:
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(k, str) and v in (8, 16) for k, v in value.items()):
        return dict(value)
    found.add(f"architecture.weight_bits: expected layer names with 8 or 16, found {shown(value)}")
    return {}


def build_network(checkpoint: Checkpoint) -> Graph:
    """The float meaning of a checkpoint of this family.

    Raises:
        LnncError: naming every tensor that is missing, misshaped or of no op, and the op that reads what is not there.
    """
    spec = checkpoint.architecture.network
    assert spec is not None
    found = Findings(checkpoint.where)
    used: set[str] = set()
    ops = [_op(record, checkpoint.tensors, used, found) for record in spec.ops]
    for key in sorted(set(checkpoint.tensors) - used):
        found.add(f"key '{key}' of the state_dict belongs to no op of the architecture")
    found.raise_if_any("import the network again")
    graph = _with_ports(checkpoint, tuple(op for op in ops if op), spec)
    _check_wiring(graph, found)
    found.raise_if_any("import the network again")
    return verify_graph(graph)


def _with_ports(checkpoint: Checkpoint, ops: tuple[Op, ...], spec: NetworkSpec) -> Graph:
    scale, offset = (port_elements(checkpoint.inputs, name) for name in ("scale", "offset"))
    enter = Scale(SCALED, INPUT, 1.0 / scale, -offset / scale, "input scaler")
    leave = Scale(
        OUTPUT, spec.result, port_elements(checkpoint.outputs, "scale"), port_elements(checkpoint.outputs, "offset"),
        "output scaler",
    )  # fmt: skip
    inputs, outputs = (tuple(p.port() for p in ports) for ports in (checkpoint.inputs, checkpoint.outputs))
    return Graph(inputs, outputs, (enter, *ops, leave), OUTPUT, spec.time)


def port_elements(ports: Sequence[PortSpec], name: str) -> Array:
    """One value per port element."""
    return np.concatenate([np.full(port.size, getattr(port, name)) for port in ports])


def _op(record: Mapping[str, Any], tensors: Mapping[str, Array], used: set[str], found: Findings) -> Op | None:
    kind = KINDS[record["op"]]
    values = {key: value for key, value in record.items() if key != "op"}
    before = len(found.faults)
    for f in fields(kind):
        key = f"{record['out']}.{f.name}"
        if f.type == "Synapses":
            parts = {s.name: _array(f"{key}.{s.name}", str(s.type), tensors, used, found) for s in fields(Synapses)}
            values[f.name] = Synapses(**parts) if len(found.faults) == before else None
        elif f.type in _ARRAYS:
            absent = f.type == "Array | None" and key not in tensors
            values[f.name] = None if absent else _array(key, str(f.type), tensors, used, found)
        elif f.name in values and isinstance(values[f.name], list):
            values[f.name] = tuple(values[f.name])
    return kind(**values) if len(found.faults) == before else None


def _array(key: str, kind: str, tensors: Mapping[str, Array], used: set[str], found: Findings) -> Any:
    used.add(key)
    array = tensors.get(key)
    if array is None:
        found.add(f"key '{key}' is missing from the state_dict")
        return np.zeros(1)
    if kind != "Indices":
        return np.asarray(array, np.float64)
    if array.size and ((array != np.floor(array)) | (array < 0) | (array > WIDTH_MAX)).any():
        found.add(f"tensor '{key}': expected whole numbers of 0 ... {WIDTH_MAX}")
        return np.zeros(array.shape, np.int64)
    return array.astype(np.int64)


def _check_wiring(graph: Graph, found: Findings) -> None:
    """Every tensor defined once, before it is read, of a shape that fits."""
    sizes = {INPUT: graph.input_size}
    names: dict[str, str] = {}
    for op in graph.ops:
        missing = [name for name in g.reads(op) if name not in sizes or (name == INPUT and op.out != SCALED)]
        if missing:
            found.add(f"op '{op.out}' reads {', '.join(map(repr, missing))}, which no op above it defines")
            return
        plain = op.out.replace(".", "_")
        if plain in names or not _usable(op.out) or not _usable(op.src.replace(" ", "_")):
            found.add(f"op name {op.out!r}: expected letters, digits, '_' and '.', once, and not {names.get(plain)!r}")
            return
        names[plain] = op.out
        found.faults.extend(f"op '{op.out}': {fault}" for fault in op_faults(op, sizes))
        if found.faults:
            return
        sizes[op.out] = g.out_size(op, sizes)
        if sizes[op.out] > WIDTH_MAX:
            found.add(f"op '{op.out}': {sizes[op.out]} values, expected at most {WIDTH_MAX}")
            return
    _check_ends(graph, sizes, found)


def _check_ends(graph: Graph, sizes: Mapping[str, int], found: Findings) -> None:
    for state in graph.states:
        if state.next in (INPUT, OUTPUT):
            found.add(f"state '{state.out}': its next value is the port '{state.next}'; expected the result of an op")
        elif sizes.get(state.next) != state.size:
            have = sizes.get(state.next)
            found.add(f"state '{state.out}': {state.size} values, but its next value '{state.next}' has {have}")
    if sizes[graph.result] != graph.output_size:
        found.add(f"outputs: the ports hold {graph.output_size} values, the network gives {sizes[graph.result]}")


def _usable(name: str) -> bool:
    """Whether a name can stand in a C comment, and as an identifier once its dots are underscores."""
    text = name.replace(".", "_").replace("_", "")
    return 1 <= len(name) <= 96 and name[0].isalpha() and text.isascii() and text.isalnum()


def with_weight_bits(checkpoint: Checkpoint, weight_bits: Mapping[str, int]) -> Checkpoint:
    """The checkpoint with another choice of the layers whose weights have 16 bits."""
    spec = checkpoint.architecture.network
    assert spec is not None
    architecture = replace(checkpoint.architecture, network=replace(spec, weight_bits=dict(weight_bits)))
    return replace(checkpoint, architecture=architecture)
