"""`lnnc import onnx` and `lnnc export onnx`."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.options import import_options
from lnnc.cli.terminal import say
from lnnc.cli.weights import import_group
from lnnc.errors import Findings, LnncError


@import_group.command("onnx")
@click.argument("model")
@click.option("--state", "states", multiple=True, metavar="IN=OUT",
              help="A state input and the output that holds its next value, e.g. h=h_next; by default from their names "
              "and sizes. Repeat it for every state.")  # fmt: skip
@click.option("--result", "results", multiple=True, metavar="OUT",
              help="An output to deliver; by default all that are no next state.")  # fmt: skip
@click.option("--fix", "fixed", multiple=True, metavar="IN=VALUE",
              help="Hold an input at a constant, such as the time between samples.")  # fmt: skip
@click.option("--ports", help="JSON file with lists 'inputs' and 'outputs' of ports, for several units or scalers.")
@import_options
def import_onnx_command(
    model: str, states: tuple[str, ...], results: tuple[str, ...], fixed: tuple[str, ...], ports: str | None,
    calibration: str | None, weight_bits: str | int, keep: str, inputs: dict[str, Any] | None,
    outputs: dict[str, Any] | None, output: str | None,
) -> None:  # fmt: skip
    """Import one step of a network, (x, h, ...) -> (y, h', ...), from an ONNX file.

    Nodes that cannot be compiled are all named at once. Known cells (CfC, LTC, GRU, LSTM) are recognised in what
    exporters make of them. What was read is compared with onnxruntime. docs/onnx.md lists the operators.

    \b
    lnnc import onnx step.onnx --state h=h_next --calibration X.npz -o model.pt
    """
    from lnnc.convert import Model, make_checkpoint, with_bits
    from lnnc.frontend.onnx_import import described, import_onnx
    from lnnc.frontend.storage import check_checkpoint_target, save_checkpoint
    from lnnc.pipeline import summary, with_ranges

    if output is not None:
        check_checkpoint_target(output, model, calibration)
    declared = _declared(ports, inputs, outputs)
    data = _Calibration(calibration, declared[0])
    imported = import_onnx(
        model, states=dict(_pairs(states, "--state", "h=h_next")), results=results, samples=data.scaled,
        fixed={name: _number(value) for name, value in _pairs(fixed, "--fix", "T=1.0")},
    )  # fmt: skip
    _ask(calibration, output)
    assert output is not None and data.real is not None
    checkpoint = make_checkpoint(imported.network, model, *_ports(imported, declared), data.real, {})
    made = with_bits(Model(checkpoint), weight_bits)
    saved = with_ranges(made.checkpoint) if keep == "ranges" else made.checkpoint
    save_checkpoint(saved, output)
    say(f"{output}: {summary(saved)}, sha256 {saved.digest()[:16]}...")
    for line in (described(imported), f"largest difference to the file {imported.difference:.2g}", *made.report):
        say(line)


def _ask(calibration: str | None, output: str | None) -> None:
    open_ones = Findings("import onnx")
    if calibration is None:
        open_ones.add(
            "what are typical inputs? Give --calibration X.npz in real units, (T, features) or (N, T, features)"
        )
    if output is None:
        open_ones.add("where shall the checkpoint go? Give -o model.pt")
    open_ones.raise_if_any()


class _Calibration:
    """Calibration inputs, read once the features of the network are known."""

    def __init__(self, path: str | None, declared: Any) -> None:
        self.path, self.declared = path, declared
        self.real: Any = None

    def scaled(self, features: int) -> Any:
        """What the network sees of them, or None without them."""
        from lnnc.frontend.network import port_elements
        from lnnc.frontend.ports import port_specs, streams
        from lnnc.frontend.storage import load_array

        if self.path is None:
            return None
        self.real = streams(load_array(self.path), self.path, features)
        specs = port_specs(self.declared, "x", features, "inputs")
        return (self.real - port_elements(specs, "offset")) / port_elements(specs, "scale")


def _pairs(texts: tuple[str, ...], option: str, example: str) -> list[tuple[str, str]]:
    """NAME=VALUE options; the last = divides, because names may hold any sign."""
    found: list[tuple[str, str]] = []
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (name and equals and value):
            raise LnncError(f"expected NAME=VALUE, found {text!r}", option, f"{option} {example}")
        if name in dict(found):
            raise LnncError(f"'{name}' is given twice", option)
        found.append((name, value))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise LnncError(f"expected a number, found {text!r}", "--fix", "--fix T=1.0") from None


def _declared(path: str | None, inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """Ports of a JSON file, or of options; None where nothing was said."""
    if path is None:
        return inputs, outputs
    import json

    from lnnc.files import readable

    if inputs or outputs:
        raise LnncError("the ports stand in a file, and are given as options too", "--ports", "give one of both")
    try:
        table = json.loads(readable(path, "give a JSON file").read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise LnncError(f"not a readable JSON file ({str(error)[:120]})", path) from error
    if not isinstance(table, dict) or not set(table) <= {"inputs", "outputs"}:
        raise LnncError('expected {"inputs": [...], "outputs": [...]}', path, "docs/checkpoint.md shows a port")
    return table.get("inputs"), table.get("outputs")


def _ports(imported: Any, declared: tuple[Any, Any]) -> tuple[Any, Any]:
    """The ports of both ends: as declared, else one for the input and one for each output, named as in the file."""
    import re

    from lnnc.frontend.ports import port_specs

    def plain(name: str) -> str:
        return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:32] or "value"

    given_in, given_out = declared
    if given_out is None and len(imported.outputs) > 1:
        given_out = [{"name": plain(name), "size": size} for name, size in imported.outputs]
    inputs = port_specs(given_in, plain(imported.roles.data.name), imported.features, "inputs")
    width = sum(size for _, size in imported.outputs)
    return inputs, port_specs(given_out, plain(imported.outputs[0][0]), width, "outputs")


@click.group("export")
def export_group() -> None:
    """Turn a checkpoint into what other tools read."""


@export_group.command("onnx")
@click.argument("model")
@click.option("-o", "--output", help="The .onnx to write.")
@click.option("--time-input", is_flag=True, help="Make the time between two samples an input T of the step.")
def export_onnx_command(model: str, output: str | None, time_input: bool) -> None:
    """Export one float32 step, (x, states) -> (y, next states), as ONNX, checked against onnxruntime.

    Inputs and outputs are in the real units of the ports; states begin at 0. Liquid cells are unrolled.

    \b
    lnnc export onnx model.pt -o step.onnx
    """
    from pathlib import Path

    from lnnc.files import check_not_same, check_target
    from lnnc.frontend.build import build_graph
    from lnnc.frontend.onnx_export import export_onnx, save_onnx
    from lnnc.frontend.storage import load_checkpoint

    if output is None:
        raise LnncError("where shall the ONNX file go?", "--output", "-o step.onnx")
    if Path(output).suffix != ".onnx":
        raise LnncError(f"expected a name that ends in .onnx, found '{output}'", "--output", "-o step.onnx")
    checkpoint = load_checkpoint(model)
    check_not_same(output, model, "the model")
    check_target(Path(output))
    made = export_onnx(build_graph(checkpoint), model, checkpoint.calibration, time_input)
    save_onnx(made, output)
    states = ", ".join(f"{name} ({size})" for name, size in made.states.items()) or "none"
    say(f"{output}: {len(made.model.graph.node)} nodes, states {states}")
    if made.warmup:
        say(f"the first {made.warmup} results after a reset are not valid: the window fills")
    say(f"largest difference to the model {made.difference:.2g}, largest output {made.largest:.3g}")
