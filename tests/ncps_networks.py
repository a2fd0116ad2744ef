"""ncps modules of every kind, with weights as training leaves them, and what they compute in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ncps import wirings
from ncps.torch import LTC, CfC

from lnnc.frontend.layers import Net
from lnnc.frontend.ncps_weights import Part
from lnnc.ir.graph import INPUT, Array, Graph, Port, Scale

INPUTS, STEPS = 3, 500
MODES = ("default", "no_gate", "pure")
ACTIVATIONS = ("lecun_tanh", "tanh", "relu", "silu", "gelu")
WIRINGS = ("FullyConnected", "Random", "NCP", "AutoNCP")
MAPPINGS = ("affine", "linear", None)
TIMES = ("none", "0.1", "irregular")


@dataclass(frozen=True)
class Case:
    """One ncps network."""

    cell: str
    wiring: str | None = None
    time: str = "none"
    mixed: bool = False
    mode: str = "default"
    activation: str = "lecun_tanh"
    layers: int = 0
    proj: int | None = None
    unfolds: int = 6
    implicit: bool = True
    input_mapping: str | None = "affine"
    output_mapping: str | None = "affine"

    def __str__(self) -> str:
        own = (
            (self.mode, f"{self.layers}x{self.activation}", f"proj{self.proj}")
            if self.cell == "cfc"
            else (f"unfolds{self.unfolds}", f"implicit{self.implicit}", self.input_mapping, self.output_mapping)
        )
        return "-".join(map(str, (self.cell, self.wiring, *own, f"mixed{self.mixed}", self.time)))


def cfc_cases() -> Iterator[Case]:
    """Every mode, backbone, wiring, memory, projection and kind of time."""
    backbones = [(0, "tanh"), *itertools.product((1, 2), ACTIVATIONS)]
    for mode, mixed, time in itertools.product(MODES, (False, True), TIMES):
        for (layers, activation), proj in itertools.product(backbones, (None, 2)):
            yield Case("cfc", None, time, mixed, mode, activation, layers, proj)
        for wiring, proj in itertools.product(WIRINGS, (None, 2)):
            yield Case("cfc", wiring, time, mixed, mode, proj=proj)


def ltc_cases() -> Iterator[Case]:
    """Every wiring, number of unfolds, constraint, map, memory and kind of time."""
    product = itertools.product((None, *WIRINGS), TIMES, (False, True), (1, 3, 6), (False, True), MAPPINGS, MAPPINGS)
    for wiring, time, mixed, unfolds, implicit, into, out in product:
        yield Case(
            "ltc", wiring, time, mixed, unfolds=unfolds, implicit=implicit, input_mapping=into, output_mapping=out
        )


def sample(cases: Iterator[Case], count: int, seed: int) -> list[Case]:
    """A seeded few of them."""
    every = list(cases)
    return [every[k] for k in sorted(np.random.default_rng(seed).choice(len(every), count, replace=False))]


def wiring_of(name: str | None, outputs: int | None) -> Any:
    """A wiring of 8 to 11 neurons, or a number of units."""
    make = {
        None: lambda: 7,
        "FullyConnected": lambda: wirings.FullyConnected(8, outputs),
        "Random": lambda: wirings.Random(8, outputs, sparsity_level=0.5),
        "NCP": lambda: wirings.NCP(5, 4, 2, 3, 2, 3, 2),
        "AutoNCP": lambda: wirings.AutoNCP(11, 3),
    }
    return make[name]()


def module_of(case: Case, seed: int = 0) -> Any:
    """The module in float64, its weights moved away from where ncps initialises them."""
    torch.manual_seed(seed)
    if case.cell == "ltc":
        module: Any = LTC(
            INPUTS, wiring_of(case.wiring, 3), mixed_memory=case.mixed, input_mapping=case.input_mapping,
            output_mapping=case.output_mapping, ode_unfolds=case.unfolds, implicit_param_constraints=case.implicit,
        )  # fmt: skip
    else:
        backbone = {"backbone_units": 9, "backbone_layers": case.layers, "backbone_dropout": 0.2}
        module = CfC(
            INPUTS, wiring_of(case.wiring, None), proj_size=case.proj, mixed_memory=case.mixed, mode=case.mode,
            activation=case.activation, **({} if case.wiring else backbone),
        )  # fmt: skip
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.requires_grad:  # erev leaves +-1, some w go below 0, as in trained files
                weight += 0.05 * torch.randn_like(weight)
            if name.endswith("input_w"):
                weight[0] = 0.0
            if name.endswith(".A"):
                weight[:, ::3] *= -1.0
    return module.double().eval()


def samples(seed: int = 0, steps: int = STEPS) -> Array:
    """Inputs of varied size, (T, INPUTS)."""
    rng = np.random.default_rng(seed)
    slow = np.sin(np.linspace(0, 20, steps))[:, None] * rng.normal(size=INPUTS)
    return slow + 0.5 * rng.normal(size=(steps, INPUTS))


def spans(case: Case, steps: int = STEPS) -> Array | None:
    """Times since the last sample, (T,), or None."""
    if case.time == "irregular":
        return np.random.default_rng(1).uniform(0.05, 2.0, steps)
    return None if case.time == "none" else np.full(steps, float(case.time))


def ncps_outputs(module: Any, x: Array, times: Array | None) -> Array:
    """What ncps computes, one stream: its timespans are wrong for several."""
    zeros = torch.zeros(1, module.state_size, dtype=torch.float64)
    given = {} if times is None else {"timespans": torch.as_tensor(times)[None]}
    with torch.no_grad():
        y, _ = module(torch.as_tensor(x)[None], hx=(zeros, zeros) if module.use_mixed else zeros, **given)
    return np.asarray(y[0].numpy())


def graph_of(parts: list[Part], inputs: int = INPUTS, time: float = 1.0) -> Graph:
    """The layers as a graph without scalers."""
    net = Net(inputs)
    for part in parts:
        part.append(net)
    enter = Scale("scaled", INPUT, np.ones(inputs), np.zeros(inputs), "input")
    return Graph((Port("x", inputs, "1"),), (Port("y", net.width, "1"),), (enter, *net.ops), net.tensor, time)
