"""From a trained network elsewhere to a model that compiles: `from_torch`, and `import_ncps` for bare weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Checkpoint, PortSpec, checkpoint_document
from lnnc.frontend.fields import is_number, shown
from lnnc.frontend.import_dlnet import read_state_dict
from lnnc.frontend.layers import Net
from lnnc.frontend.ncps_config import read_config, read_weights
from lnnc.frontend.ncps_weights import Part
from lnnc.frontend.network import SCALED, TIME_MAX, TIME_MIN, Network, network_checkpoint, with_weight_bits
from lnnc.frontend.parse import parse_checkpoint
from lnnc.frontend.ports import Ports, plain, port_specs, streams
from lnnc.frontend.storage import save_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array, Linear
from lnnc.output import check_output, make_output, write_output
from lnnc.passes import run_passes
from lnnc.pipeline import compile_model
from lnnc.quantize.context import Options
from lnnc.quantize.lower import check_cells
from lnnc.targets import PAIR, Build
from lnnc.tune import choose_weight_bits
from lnnc.verification import verify_model
from lnnc.verify.check import Report

TOLERANCE = 1e-4  # difference to the torch module, as a part of its largest output where that is above 1
STREAMS, SAMPLES = 4, 1000  # of the example that the torch module is run on
WIDTHS: tuple[int | str, ...] = (8, 16, "auto")


@dataclass(frozen=True, eq=False)
class Model:
    """A network that has been read, ready to compile.

    Attributes:
        checkpoint: all that the compiler needs.
        report: which layers have 16-bit weights and why, in lines of text.
        difference: largest difference between the float network and the torch module, None where there was none.
    """

    checkpoint: Checkpoint
    report: tuple[str, ...] = ()
    difference: float | None = None

    def save(self, path: str | Path) -> Path:
        """Write the checkpoint, `.pt` or `.safetensors`."""
        save_checkpoint(self.checkpoint, path)
        return Path(path)

    def compile(
        self, output: str | Path | None = None, name: str | None = None, layout: str = PAIR, **options: Any
    ) -> tuple[Path, ...]:  # fmt: skip
        """Write the C, all of it or nothing.

        Args:
            output: a .c file (None: lnn.c), its header and golden vectors beside it; of another layout the folder
                (None: lnn).
            name: prefix of every public C name, by default the name of the file or folder.
            layout: "pair", "arduino", "platformio", "cmake" or "zephyr" (docs/layouts.md).
            options: fields of `lnnc.Options` and of `lnnc.Build`.

        Returns:
            The three files; or the folder, and its zip for Arduino.

        Raises:
            LnncError: what `compile_model` refuses, an output that cannot be written, or that lnnc did not generate.
        """
        place, build = make_output(output, name, layout), _build_fields(options)
        check_output(place)
        compiled = compile_model(self.checkpoint, place.name, Options(**options), place.stem, Build(**build))
        return write_output(compiled, place)

    def verify(self, on: Sequence[str] = ("host",), **options: Any) -> list[Report]:
        """Prove the C that this model compiles to equal to the reference. options: as `compile`."""
        build = _build_fields(options)
        return verify_model(self.checkpoint, None, on, options=options, build=build)


def _build_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Takes what belongs to `Build` out of the options."""
    return {field.name: options.pop(field.name) for field in fields(Build) if field.name in options}


def from_torch(
    module: Any, example_input: Any, *, timespan: float = 1.0, inputs: Ports = None, outputs: Ports = None,
    calibration: Any = None, weight_bits: int | str = "auto", name: str = "network",
    provenance: Mapping[str, Any] | None = None,
) -> Model:  # fmt: skip
    """A model from a trained torch module: ncps' CfC and LTC, nn.GRU, LSTM, RNN, `lnnc.Liquid`, Linear layers, ...

    Args:
        module: one module, nn.Sequential, or a list of modules in the order in which they are applied.
        example_input: (T, features) or (N, T, features) in real units; calibrates unless `calibration` is given.
        timespan: the time between two samples, where the module knows of it.
        inputs, outputs: ports, as `PortSpec` or as a dictionary of name, unit, range, size, offset and scale (the
            network sees (real - offset) / scale); None: one port "x" or "y" of unit "1".
        weight_bits: 8, 16, or "auto": the fewest 16-bit layers that keep the outputs close to the float network.
        name: what messages call the model.

    Raises:
        LnncError: modules that cannot be read, or a float network that differs from the module on the example.

    Example:
        model = lnnc.from_torch([rnn, head], x, inputs={"name": "acceleration", "unit": "m/s2", "range": [-40, 40]})
        model.compile("gait.c")
    """
    from lnnc.frontend.torch_modules import read_module, to_array
    from lnnc.frontend.torch_run import run_module

    if shown(weight_bits) not in map(shown, WIDTHS):  # 8.0 and True are none of them
        raise LnncError(f"expected 8, 16 or 'auto', found {shown(weight_bits)}", "weight_bits")
    timespan = plain(timespan)
    if not is_number(timespan) or not TIME_MIN <= timespan <= TIME_MAX:
        raise LnncError(f"expected a number of {TIME_MIN:g} ... {TIME_MAX:g}, found {shown(timespan)}", "timespan")
    example = streams(to_array(example_input), "example_input")
    data = example if calibration is None else streams(to_array(calibration), "calibration", example.shape[2])
    network, width = assemble(read_module(module, name), example.shape[2], timespan)
    checkpoint = make_checkpoint(
        network, name, port_specs(inputs, "x", example.shape[2], "inputs"), port_specs(outputs, "y", width, "outputs"),
        data, provenance or {},
    )  # fmt: skip

    def run(scaled: Array) -> Array:
        return run_module(module, scaled, None if timespan == 1.0 else np.full(len(scaled), timespan))

    difference = compare(checkpoint, example[:STREAMS, :SAMPLES], run)
    return with_bits(Model(checkpoint, (), difference), weight_bits)


def import_ncps(
    weights: str | Path, config: str | Path | None, *, calibration: Array | Callable[[], Array] | None = None,
    inputs: Ports = None, outputs: Ports = None, weight_bits: int | str = "auto", output: str | None = "",
) -> Model:  # fmt: skip
    """A model from a bare ncps state_dict and a JSON file with what it does not tell. See docs/import.md.

    Args:
        calibration: inputs in real units, (T, features) or (N, T, features), or what reads them.
        inputs, outputs: as `from_torch`; they may stand in the configuration instead.
        output: None asks for the file to write among the other questions.

    Raises:
        LnncError: everything that is wrong in the files; then every question still open.
    """
    where = str(weights)
    tensors = read_state_dict(weights)
    imported, questions = read_weights(tensors, {} if config is None else read_config(config), where)
    open_ones = Findings("--config" if config is None else str(config))
    open_ones.faults += [f"it does not say {question}" for question in questions]
    if calibration is None:
        open_ones.add(
            "what are typical inputs? Give --calibration X.npz in real units, (T, features) or (N, T, features)"
        )
    if output is None:
        open_ones.add("where shall the checkpoint go? Give -o model.pt")
    open_ones.raise_if_any("a state_dict holds none of these: take them from the code that built the network")
    assert calibration is not None
    features = next((part.inputs for part in imported.parts if part.inputs), 1)
    data = streams(calibration() if callable(calibration) else calibration, "--calibration", features)
    network, width = assemble(imported.parts, features, imported.timespan)
    checkpoint = make_checkpoint(
        network, where, port_specs(_one_of(inputs, imported.inputs, "inputs"), "x", features, "inputs"),
        port_specs(_one_of(outputs, imported.outputs, "outputs"), "y", width, "outputs"), data, {},
    )  # fmt: skip
    return with_bits(Model(checkpoint), weight_bits)


def _one_of(given: Ports, configured: Any, label: str) -> Any:
    if given is not None and configured is not None:
        raise LnncError(f"'{label}' stand in the config, and are given as options too", "--config", "give one of both")
    return configured if given is None else given


def assemble(parts: Sequence[Part], features: int, timespan: float) -> tuple[Network, int]:
    """The network of some layers, and the values that it gives.

    Raises:
        LnncError: a layer does not take what the one before it gives.
    """
    net = Net(features)
    for part in parts:
        part.append(net)
    return Network(tuple(net.ops), net.tensor, float(timespan)), net.width


def make_checkpoint(
    network: Network, where: str, inputs: Sequence[PortSpec], outputs: Sequence[PortSpec], data: Array,
    provenance: Mapping[str, Any],
) -> Checkpoint:  # fmt: skip
    """The checkpoint of a network, checked as if it had been read from a file."""
    made = network_checkpoint(
        network, where=where, inputs=inputs, outputs=outputs, calibration=data, provenance=provenance
    )
    return parse_checkpoint(checkpoint_document(made), where)


def compare(checkpoint: Checkpoint, example: Array, run: Callable[[Array], Array]) -> float:
    """Largest difference between the float network and what `run` gives for scaled samples, stream by stream.

    Raises:
        LnncError: it is above `TOLERANCE`.
    """
    spec = checkpoint.architecture.network
    assert spec is not None
    graph = build_graph(checkpoint)
    with np.errstate(all="ignore"):  # what is not finite is refused below
        tensors = evaluate(graph, example)
    result, scaled = (tensors[name].reshape(*example.shape[:2], -1) for name in (spec.result, SCALED))
    want = np.stack([run(stream) for stream in scaled])
    difference = float(np.abs(result - want).max())
    limit = TOLERANCE * max(1.0, float(np.abs(want).max()))
    if not difference <= limit:
        check_cells(run_passes(graph), None, checkpoint.where)  # one that diverges says more
        raise LnncError(
            f"the network that was read differs from the module by {difference:.3g} (limit {limit:.1g})",
            checkpoint.where,
            "give module.double() if it has half precision or is that sensitive to rounding; hooks, and weights set "
            "behind its back (load_state_dict(assign=True)), are not seen; else report it",
        )
    return difference


def with_bits(model: Model, weight_bits: int | str) -> Model:
    """The model with 16-bit weights where they are wanted."""
    if weight_bits == "auto":
        choice = choose_weight_bits(model.checkpoint)
        return Model(with_weight_bits(model.checkpoint, choice.bits), choice.why, model.difference)
    graph = build_graph(model.checkpoint)
    layers = {op.src: 16 for g in (graph, run_passes(graph)) for op in g.ops if isinstance(op, Linear)}
    chosen = layers if weight_bits == 16 else {}
    report = (f"{weight_bits}-bit weights everywhere, as asked",)
    return Model(with_weight_bits(model.checkpoint, chosen), report, model.difference)
