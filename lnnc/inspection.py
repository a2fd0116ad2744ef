"""A compilation as `lnnc inspect` and `--stop-after` show it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lnnc.codegen.c_text import scratch_bytes, state_bytes
from lnnc.errors import LnncError
from lnnc.ir.graph import Linear
from lnnc.ir.program import ARITHMETIC
from lnnc.pipeline import Compiled, summary
from lnnc.quantize.calibrate import shaped
from lnnc.report import render
from lnnc.report.size import CFLAGS
from lnnc.report.size import measure as measure_size
from lnnc.report.states import state_rows


def inspection(compiled: Compiled, measure: bool = False, optional: bool = False) -> dict[str, Any]:
    """What `lnnc inspect` shows, as JSON types.

    Args:
        measure: also compile for the Cortex-M4 and measure flash, RAM and stack.
        optional: without the cross compiler leave the measurement out instead of raising.
    """
    program = compiled.program
    table: dict[str, Any] = {
        "model": summary(compiled.checkpoint),
        "digest": compiled.checkpoint.digest(),
        "arithmetic": ARITHMETIC,
        "options": asdict(compiled.options),
        "build": asdict(compiled.build),
        "layers": render.layer_rows(compiled.optimized, compiled.stats, program),
        "tables": sum(c.bytes for c in program.constants),
        "state": state_bytes(program),
        "scratch": scratch_bytes(program),
        "ports": 2 * (program.input_size + program.output_size),
    }
    if compiled.checkpoint.architecture.network:
        table["weight bits"] = _weight_bits(compiled)
        table["states"] = _states(compiled)
        table["warnings"] = list(compiled.lowered.warnings)
    if measure:
        table["measured"] = _measured(compiled, optional)
    return table


def _weight_bits(compiled: Compiled) -> dict[str, int]:
    """Width of the weights of each Linear layer: one for all where an option says so."""
    layers = [op.src for op in compiled.optimized.ops if isinstance(op, Linear)]
    given = compiled.options.weight_bits
    if given in ("8", "16"):
        return dict.fromkeys(layers, int(given))
    return {layer: compiled.weight_bits.get(layer, 8) for layer in layers}


def _states(compiled: Compiled) -> list[dict[str, Any]]:
    data = compiled.checkpoint.calibration
    return state_rows(compiled.lowered, None if data is None else shaped(compiled.checkpoint, data))


def _measured(compiled: Compiled, optional: bool) -> dict[str, Any] | None:
    try:
        found = measure_size(compiled.files.source, compiled.files.header, compiled.name)
    except LnncError as error:
        if optional:
            return {"not measured": error.message}
        raise
    in_ram = f", tables {found.data}" if found.data else ""
    return {
        "compiled with": f"arm-none-eabi-gcc {' '.join(CFLAGS)}",
        "flash": f"{found.flash} bytes ({found.text} code, {found.rodata + found.data} tables)",
        "RAM": f"{found.ram} bytes (state {found.state}, scratch {found.scratch}, ports {found.ports}{in_ram})",
        "stack": f"{found.stack} bytes",
    }


def describe_stage(compiled: Compiled, stage: str) -> str:
    """One stage of the pipeline as text."""
    printers: dict[str, Any] = {
        "checkpoint": lambda: render.checkpoint_text(compiled.checkpoint),
        "graph": lambda: render.graph_text(compiled.graph),
        "passes": lambda: render.graph_text(compiled.optimized),
        "calibrate": lambda: render.stats_text(compiled.stats),
        "program": lambda: render.program_text(compiled.program, compiled.build.weights),
        "code": lambda: compiled.files.source,
    }
    return str(printers[stage]())
