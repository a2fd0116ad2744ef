"""Trained networks become checkpoints that lnnc compiles: DLNet as the family "dlnet", anchored ones as "network"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Architecture, Checkpoint, Dynamics, Layer, PortSpec, checkpoint_document
from lnnc.frontend.import_dlnet import infer_architecture
from lnnc.frontend.network import SCALED, Network, network_checkpoint
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.graph import Act, Add, Array, Concat, Euler, Linear, Mean, Norm, Op, Scale
from lnnc.train.dlnet.anchor import Anchored
from lnnc.train.dlnet.networks import DLNet, Scaler, to_tensors

RANGE = (0.0, 1.5)  # of a state of health: what the ports must be able to carry
_WIDE = {"anchor.inputs": 16, "anchor.line": 16, "anchor.outputs": 16}  # sums that cancel: 8 bits would not do


def dlnet_checkpoint(
    model: DLNet, scaler: Scaler, calibration: Array, *, where: str = "trained", port: str = "soh", unit: str = "1",
    limits: tuple[float, float] | None = RANGE, provenance: Mapping[str, Any] | None = None,
) -> Checkpoint:  # fmt: skip
    """A checkpoint of the family "dlnet", its numbers rounded to float32 as a file keeps them.

    Args:
        calibration: typical windows in real units, (N, window).
        limits: declared range of both ports, in real units.

    Raises:
        LnncError: solved by RK4, which lnnc has no integers for; calibration that does not fit.
    """
    tensors = to_tensors(model)
    arch = _architecture(model, tensors, where)
    shape = model.shape
    inputs = (PortSpec(port, shape.window, unit, limits, scaler.low, scaler.span),)
    outputs = (PortSpec(port, shape.horizon, unit, limits, scaler.low, scaler.span),)
    held = Checkpoint(where, arch, inputs, outputs, tensors, calibration, None, provenance or {})
    return parse_checkpoint(checkpoint_document(held), where)


def _architecture(model: DLNet, tensors: Mapping[str, Array], where: str) -> Architecture:
    shape = model.shape
    if shape.solver != "euler":
        hint = "distil it into a student with Euler steps, and compile that"
        raise LnncError(f"its liquid neuron is solved by {shape.solver}; lnnc compiles Euler steps", where, hint)
    return infer_architecture(tensors, where, shape.dt, shape.steps, 1, "window")


def anchored_checkpoint(
    model: Anchored, calibration: Array, *, where: str = "trained", port: str = "soh", unit: str = "1",
    limits: tuple[float, float] | None = RANGE, provenance: Mapping[str, Any] | None = None,
) -> Checkpoint:  # fmt: skip
    """A checkpoint of the family "network": a step takes one whole window, (window,), and gives its forecast.

    Raises:
        LnncError: as `dlnet_checkpoint`; the network within is no DLNet.
    """
    if not isinstance(model.network, DLNet):
        found = type(model.network).__name__
        raise LnncError(f"a DLNet network is expected inside the anchor, found {found}", where, "build(Shape(...), 0)")
    anchor = model.anchor
    ops = (
        _linear("anchor.inputs", SCALED, anchor.inputs()),
        _linear("anchor.line", SCALED, anchor.line()),
        *_dlnet_ops(model.network, "anchor.inputs", where),
        Scale("anchor.deviation", "coefficients", np.full(anchor.terms, anchor.unit), np.zeros(anchor.terms), "unit"),
        Concat("anchor.curves", ("anchor.line", "anchor.deviation"), "anchor"),
        _linear("anchor.outputs", "anchor.curves", anchor.outputs()),
    )
    return network_checkpoint(
        Network(ops, "anchor.outputs"), where=where, inputs=(PortSpec(port, anchor.window, unit, limits),),
        outputs=(PortSpec(port, anchor.horizon, unit, limits),), calibration=calibration[:, None],
        provenance=provenance, weight_bits=_WIDE,
    )  # fmt: skip


def _linear(name: str, x: str, weight: Array) -> Linear:
    return Linear(name, x, weight, np.zeros(len(weight)), name)


def _dlnet_ops(model: DLNet, x: str, where: str) -> tuple[Op, ...]:
    """The ops of a DLNet network that reads the tensor `x` and gives "coefficients"."""
    tensors = to_tensors(model)
    arch = _architecture(model, tensors, where)
    assert arch.dynamics is not None
    drive = Mean("drive", x, 1.0, 0.0, "mean of inputs")
    encoder = _layer_ops(arch.encoder, tensors, x, "encoded")
    euler = _euler(arch.dynamics, tensors)
    residual = Add("residual", euler.out, "encoded", float(tensors["residual_weight"]), "residual_weight")
    decoder = _layer_ops(arch.decoder, tensors, residual.out, "coefficients")
    return (drive, *encoder, euler, residual, *decoder)


def _layer_ops(layers: tuple[Layer, ...], tensors: Mapping[str, Array], x: str, result: str) -> tuple[Op, ...]:
    """Layers in a row; the last one's tensor is called `result`."""
    ops: list[Op] = []
    part = layers[0].key.partition(".")[0]
    for index, layer in enumerate(layers):
        out = result if index == len(layers) - 1 else layer.key or f"{part}.{layer.op}{index}"
        weight, bias = tensors.get(f"{layer.key}.weight"), tensors.get(f"{layer.key}.bias")
        if weight is None or bias is None:
            ops.append(Act(out, x, layer.op, out))
        elif layer.op == "linear":
            ops.append(Linear(out, x, weight, bias, layer.key))
        else:
            ops.append(Norm(out, x, weight, bias, layer.epsilon, layer.key))
        x = out
    return tuple(ops)


def _euler(cell: Dynamics, tensors: Mapping[str, Array]) -> Euler:
    def held(name: str) -> Array | None:
        return tensors.get(f"dynamics.{name}")

    left, right = held("U"), held("V")
    alpha, beta = tensors["dynamics.alpha"], tensors["dynamics.beta"]
    scaled = None if left is None else left / left.shape[1]
    return Euler(
        "dynamics", "encoded", "drive", held("W.weight"), held("w_diag"), scaled, right, alpha, beta, cell.dt,
        cell.steps, "dynamics",
    )  # fmt: skip
