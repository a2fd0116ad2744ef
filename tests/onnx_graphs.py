"""A small graph for every op: name -> (graph, whether it depends on the time between samples)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnnc.ir.graph import (
    INPUT,
    Act,
    Add,
    Blend,
    Concat,
    Div,
    Euler,
    Gather,
    Graph,
    Leaky,
    Linear,
    Ltc,
    Mean,
    Mul,
    Norm,
    Op,
    Port,
    Pure,
    Scale,
    State,
    Synapses,
    Timed,
    Window,
)

N, F = 5, 3
_rng = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    return _rng.normal(size=shape)


def positive(*shape: int) -> Any:
    return 0.2 + _rng.random(size=shape)


def synapses(sources: int) -> Synapses:
    pairs = np.array([(pre, post) for post in range(N) for pre in range(sources) if _rng.random() < 0.6])
    count = len(pairs)
    return Synapses(*pairs.T, 2 * normal(count), normal(count), positive(count), normal(count))


def graph(*ops: Op) -> Graph:
    ports = (Port("x", F, "1", -1.0, 1.0),), (Port("y", 1, "1"),)
    size = Graph(*ports, ops, ops[-1].out, 0.7).sizes()[ops[-1].out]
    return Graph(ports[0], (Port("y", size, "1"),), ops, ops[-1].out, 0.7)


def ltc(explicit: bool) -> Op:
    sensory, recurrent = synapses(F), synapses(N)
    return Ltc("v", INPUT, "h", sensory, recurrent, positive(N), normal(N), 3 * positive(N), 6, explicit, "v")


STATE = State("h", N, "v", "h")
DRIVE = Linear("d", INPUT, normal(N, F), normal(N), "d")
GRAPHS: dict[str, tuple[Graph, bool]] = {
    "linear": (graph(DRIVE), False),
    "ltc": (graph(STATE, ltc(False)), True),
    "explicit ltc": (graph(STATE, ltc(True)), True),
    "leaky": (graph(STATE, DRIVE, Leaky("v", "h", "d", normal(N, N), positive(N), positive(N), 4, "v")), True),
    "pure": (
        graph(
            STATE, Concat("c", (INPUT, "h"), "c"), Linear("l", "c", normal(N, F + N), normal(N), "l"),
            Pure("v", "l", positive(N), positive(N), "v"),
        ),
        True,
    ),
    "timed": (
        graph(
            STATE, DRIVE, Linear("b", "h", normal(N, N), normal(N), "b"), Timed("t", "d", "b", "t"),
            Act("g", "t", "sigmoid", "g"), Act("p", "d", "tanh", "p"), Blend("v", "p", "h", "g", "v"),
        ),
        True,
    ),
    "elementwise": (
        graph(
            Act("phi", INPUT, "phi", "phi"), Mul("gelu", "phi", INPUT, "gelu"), Act("e", "gelu", "exp", "e"),
            Act("a", INPUT, "abs", "a"), Scale("s", "a", positive(F), positive(F), "s"), Div("q", "e", "s", "q"),
            Gather("g", "q", np.array([2, 0]), "g"), Mean("m", INPUT, 2.0, 1.0, "m"), Concat("c", ("g", "m"), "c"),
            Norm("n", "c", normal(3), normal(3), 1e-5, "n"), Act("r", "n", "relu", "r"), Add("o", "r", "c", -0.3, "o"),
        ),
        False,
    ),
    "euler": (
        graph(
            DRIVE, Mean("m", INPUT, 1.0, 0.0, "m"),
            Euler("e", "d", "m", None, normal(N), normal(N, 2), normal(N, 2), positive(N), positive(N), 0.1, 3, "e"),
            Euler("f", "e", "", normal(N, N), None, None, None, positive(N), positive(N), 0.1, 2, "f"),
        ),
        False,
    ),
    "window": (graph(Window("w", INPUT, 4, "w"), Linear("l", "w", normal(N, 4 * F), normal(N), "l")), False),
}  # fmt: skip
