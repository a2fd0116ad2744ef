"""Stages of the pipeline as text and as tables. Plain text here; the CLI adds colour on a terminal."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lnnc.codegen.c_text import port_text, ram_text
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Euler, Graph, Linear, Norm, Op, reads
from lnnc.ir.program import Block, Call, Program
from lnnc.kernels import KERNELS
from lnnc.quantize.calibrate import Stats

Row = tuple[str, ...]


def columns(header: Row, rows: list[Row]) -> str:
    """Rows aligned under a header; columns whose cells are all numbers to the right."""
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    right = [all(row[i][:1].isdigit() or row[i][:1] in "-." for row in rows if row[i]) for i in range(len(header))]
    lines = []
    for row in table:
        cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The header of a checkpoint and the shapes of its tensors."""
    header = json.dumps(checkpoint.header(), indent=2)
    shapes: list[Row] = [(name, str(tuple(a.shape)), str(a.size)) for name, a in checkpoint.tensors.items()]
    data = checkpoint.calibration
    held = f"inputs {tuple(data.shape)}" if data is not None else f"ranges of {len(checkpoint.ranges or {})} tensors"
    origin = "\n".join(f"{key}: {value}" for key, value in checkpoint.provenance.items())
    return "\n\n".join(
        [header, columns(("tensor", "shape", "numbers"), shapes), f"calibration: {held}", origin]
    ).strip()


def op_text(op: Op) -> str:
    """An op's kind and shape."""
    match op:
        case Linear():
            return f"Linear {op.weight.shape[1]} -> {op.weight.shape[0]}"
        case Norm():
            return f"LayerNorm {len(op.gamma)}, epsilon {op.epsilon:g}"
        case Euler():
            form = (
                "full W"
                if op.weight is not None
                else f"diagonal + rank {op.left.shape[1] if op.left is not None else 0}"
            )
            return f"Euler {len(op.alpha)} units, {form}, {op.steps} x dt {op.dt:.6g}"
        case _:
            return type(op).__name__ + (f" {fn}" if (fn := getattr(op, "fn", "")) else "")


def graph_text(graph: Graph) -> str:
    """One line for each op: result <- operands, kind, size."""
    sizes = graph.sizes()
    rows: list[Row] = [(op.out, ", ".join(reads(op)), op_text(op), str(sizes[op.out])) for op in graph.ops]
    return columns(("tensor", "reads", "op", "size"), rows)


def stats_text(stats: dict[str, Stats]) -> str:
    """What calibration saw of each tensor."""
    rows: list[Row] = [
        (name, number(s.min), number(s.max), number(s.mean), number(s.percentile)) for name, s in stats.items()
    ]
    return columns(("tensor", "min", "max", "mean", "99.95 % of |x|"), rows)


def program_text(program: Program, weights: str = "flash") -> str:
    """Ports, buffers and calls of the integer program. weights: which memory holds its tables."""
    ports = [f"input   {port_text(p)}" for p in program.inputs] + [f"output  {port_text(p)}" for p in program.outputs]
    rows: list[Row] = []
    for block in program.blocks:
        rows += _block_rows(program, block)
    table = columns(("layer", "kernel", "what", "writes", "format", "in"), rows)
    return "\n".join([*ports, "", table, "", memory(program, weights)])


def _block_rows(program: Program, block: Block) -> list[Row]:
    mark = f"{block.repeat} x " if block.repeat > 1 else ""
    return [_call_row(program, call, mark) for call in block.calls]


def _call_row(program: Program, call: Call, mark: str) -> Row:
    names = {b.name: b for b in program.buffers}
    first = KERNELS[call.kernel].written()[0].name
    written = next(names[str(a)] for k, a in call.args if k in ("out", "window", "acc", first))
    where = f"scratch->{written.slot}" if written.slot else written.kind
    return (call.src, mark + call.kernel, call.does, f"{written.name}[{written.size}]", written.note, where)


def memory(program: Program, weights: str) -> str:
    """Sizes that follow from the program alone, and from which memory holds its tables (`Build.weights`)."""
    tables = sum(c.bytes for c in program.constants)
    ports = 2 * (program.input_size + program.output_size)
    return f"flash: {tables} bytes of tables, and the code\nRAM: {ram_text(program, weights)} + ports {ports} bytes"


def layer_rows(graph: Graph, stats: dict[str, Stats], program: Program) -> list[dict[str, Any]]:
    """One record for each op of the optimised graph: shapes, ranges, scale and bytes of flash."""
    sizes = graph.sizes()
    notes = {b.name: b.note for b in program.buffers}
    rows = []
    for op in graph.ops:
        seen = stats.get(op.out)
        rows.append({
            "layer": op.src,
            "op": op_text(op),
            "tensor": op.out,
            "size": sizes[op.out],
            "min": seen.min if seen else None,
            "max": seen.max if seen else None,
            "format": notes.get(_identifier(op.out), ""),
            "weights": weights_of(program, op.src),
            "flash": flash_of(program, op.src),
        })  # fmt: skip
    return rows


def _identifier(tensor: str) -> str:
    from lnnc.quantize.context import identifier

    return identifier(tensor)


LAYOUTS = {"linear": "rows", "packed": "blocks of 4 rows", "sparse": "nonzero"}  # kernel -> where its weights lie


def weights_of(program: Program, src: str) -> str:
    """How the weights of a layer lie in flash: such as "int8, blocks of 4 rows"; "" where it has none."""
    found = []
    for call in program.calls():
        kind = call.kernel.partition("_")[0]
        if kind in LAYOUTS and call.src in (src, f"{src}.U", f"{src}.V"):
            found.append(f"{program.constant(str(dict(call.args)['weight'])).dtype}, {LAYOUTS[kind]}")
    return "; ".join(dict.fromkeys(found))


def flash_of(program: Program, src: str) -> int:
    """Bytes of the tables that the calls of a layer use (the shared tanh table is nobody's)."""
    tables = {c.name: c.bytes for c in program.constants if c.name != "tanh_table"}
    used = {a for call in program.calls() if call.src in (src, f"{src}.U", f"{src}.V") for _, a in call.args}
    return sum(tables[a] for a in used if isinstance(a, str) and a in tables)


def layers_text(rows: list[dict[str, Any]]) -> str:
    """The table of `lnnc inspect`."""
    cells: list[Row] = [
        (
            r["layer"], r["op"], str(r["size"]), "" if r["min"] is None else number(r["min"]),
            "" if r["max"] is None else number(r["max"]), r["format"], r["weights"], str(r["flash"]),
        )
        for r in rows
    ]  # fmt: skip
    return columns(("layer", "op", "size", "min", "max", "format", "weights", "flash B"), cells)


def finite_summary(values: np.ndarray) -> str:
    """Rows with and without output, and the range, of an evaluation."""
    due = ~np.isnan(values).any(axis=-1)
    text = f"{int(due.sum())} rows with output" + (f", {int((~due).sum())} without" if not due.all() else "")
    return text + (f", {values[due].min():.6g} ... {values[due].max():.6g}" if due.any() else "")


def states_text(rows: list[dict[str, Any]]) -> str:
    """What the model remembers: size, how its range was found, how often calibration saturated it."""
    cells: list[Row] = [
        (r["state"], str(r["size"]), r["dtype"], f"+-{number(r['range'])}", r["rule"], r["saturated"]) for r in rows
    ]
    return columns(("state", "size", "type", "range", "from", "saturated"), cells)
