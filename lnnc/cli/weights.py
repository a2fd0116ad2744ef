"""`lnnc import`: weights from elsewhere become a checkpoint."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.options import Number, fraction, import_options, span
from lnnc.cli.terminal import say
from lnnc.errors import LnncError


@click.group("import")
def import_group() -> None:
    """Turn weights from elsewhere into a checkpoint that `lnnc compile` takes."""


@import_group.command("dlnet")
@click.argument("weights")
@click.option("--dt", callback=fraction, help="Euler time step, a number or a fraction (1/9).")
@click.option("--steps", type=click.IntRange(1, 10_000), help="Euler steps of one inference.")
@click.option("--scaler-min", type=Number(), help="Minimum of the min/max scaler it was trained with.")
@click.option("--scaler-max", type=Number(), help="Maximum of that scaler.")
@click.option("--no-scaler", is_flag=True, help="It was trained on raw values.")
@click.option("--calibration", help=".npz or .npy with typical inputs in real units: (N, window), or (N, T, features).")
@click.option("--keep", type=click.Choice(["inputs", "ranges"]), default="inputs", show_default=True,
              help="Store the calibration inputs, or only the range of every tensor.")  # fmt: skip
@click.option("--mode", type=click.Choice(["window", "stream"]), default="window", show_default=True,
              help="A step takes the whole window, or one sample of it.")  # fmt: skip
@click.option("--features", type=click.IntRange(1), default=1, show_default=True, help="Values of one sample.")
@click.option("--port", default="soh", show_default=True, help="Name of the input and output values.")
@click.option("--unit", default="1", show_default=True, help="Their unit.")
@click.option("--port-range", callback=span, help="Their declared range LOW:HIGH (default 0:1.5 for ratios).")
@click.option("-o", "--output", help="The .pt or .safetensors to write.")
def import_dlnet_command(
    weights: str, dt: float | None, steps: int | None, scaler_min: float | None, scaler_max: float | None,
    no_scaler: bool, calibration: str | None, keep: str, mode: str, features: int, port: str, unit: str,
    port_range: tuple[float, float] | None, output: str | None,
) -> None:  # fmt: skip
    """Import a DLNet state_dict (the paper's teacher and students).

    Shapes come from the weights; what a state_dict cannot tell is asked for.

    \b
    lnnc import dlnet student.pth --dt 0.05 --steps 1 --scaler-min 0.818 --scaler-max 1.006 \\
        --calibration X.npz -o student.pt
    """
    from lnnc.frontend.import_dlnet import described, import_dlnet
    from lnnc.frontend.storage import check_checkpoint_target, load_array, save_checkpoint
    from lnnc.pipeline import with_ranges

    if no_scaler and (scaler_min, scaler_max) != (None, None):
        raise LnncError("it contradicts --scaler-min and --scaler-max", "--no-scaler", "give one or the other")
    if output is not None:
        check_checkpoint_target(output, weights, calibration)
    scaler = (0.0, 1.0) if no_scaler else (scaler_min, scaler_max)
    checkpoint = import_dlnet(
        weights, dt=dt, steps=steps, features=features, mode=mode, port=port, unit=unit, port_range=port_range,
        scaler=None if None in scaler else scaler, output=output,  # type: ignore[arg-type]
        calibration=None if calibration is None else lambda: load_array(calibration),
    )  # fmt: skip
    assert output is not None
    checkpoint = with_ranges(checkpoint) if keep == "ranges" else checkpoint
    save_checkpoint(checkpoint, output)
    say(
        f"{output}: {sum(a.size for a in checkpoint.tensors.values())} parameters, sha256 {checkpoint.digest()[:16]}..."
    )
    say(described(checkpoint.architecture, checkpoint.tensors))


@import_group.command("ncps")
@click.argument("weights")
@click.option("--config", help="JSON file with what the weights do not tell; without it every question is listed.")
@import_options
def import_ncps_command(
    weights: str, config: str | None, calibration: str | None, weight_bits: str | int, keep: str,
    inputs: dict[str, Any] | None, outputs: dict[str, Any] | None, output: str | None,
) -> None:  # fmt: skip
    """Import an ncps state_dict (CfC or LTC, wired or not, with or without mixed memory).

    Shapes, masks, input and output maps come from the weights. What a state_dict cannot tell stands in a JSON file:
    for a CfC its mode and its backbone's activation, for an LTC its unfolds and whether its parameters go through
    softplus, for both the time between samples. docs/import.md lists every key.

    \b
    cell.json: {"cell": "cfc", "mode": "default", "activation": "lecun_tanh", "timespan": 1.0}
    cell.json: {"cell": "ltc", "ode_unfolds": 6, "implicit_param_constraints": true, "timespan": 1.0}

    \b
    lnnc import ncps weights.pth --config cell.json --calibration X.npz -o model.pt
    """
    from lnnc.convert import import_ncps
    from lnnc.files import check_not_same
    from lnnc.frontend.storage import check_checkpoint_target, load_array, save_checkpoint
    from lnnc.pipeline import summary, with_ranges

    if output is not None:
        check_checkpoint_target(output, weights, calibration)
        check_not_same(output, config or "", "the configuration")
    model = import_ncps(
        weights, config, output=output, weight_bits=weight_bits, inputs=inputs, outputs=outputs,
        calibration=None if calibration is None else lambda: load_array(calibration),
    )  # fmt: skip
    assert output is not None
    checkpoint = with_ranges(model.checkpoint) if keep == "ranges" else model.checkpoint
    save_checkpoint(checkpoint, output)
    say(f"{output}: {summary(checkpoint)}, sha256 {checkpoint.digest()[:16]}...")
    for line in model.report:
        say(line)
