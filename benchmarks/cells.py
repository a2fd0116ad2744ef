"""How close the integer cells are to float64: arithmetic, weights, time steps, and the width of the state.

    python benchmarks/cells.py                    # the table of docs/cells.md: ncps cells, initialised and trained
    python benchmarks/cells.py --table states     # 8-bit against 16-bit state over the number of unfolds
    python benchmarks/cells.py --table flash      # flash of a wired network against its dense twin

Needs ncps (`pip install lnnc[test]`). Every stream is 1,000 samples of chirp + slow cosine + square wave. "state" is
the integer program against float64 with the same dequantized numbers, as a part of the largest |state|: its mean over
the whole stream, over the last 100 samples, the signed bias, the 99.9th percentile and the maximum of the worst state.
"out" is the mean error of the outputs against the network as trained, as a part of the largest |output|.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ncps import wirings
from ncps.torch import LTC, CfC
from numpy.typing import NDArray

from lnnc.convert import from_torch
from lnnc.inspection import inspection
from lnnc.ir.evaluate import conduct, evaluate
from lnnc.ir.graph import Array, Ltc
from lnnc.pipeline import Options, plan_model
from lnnc.report.deviation import deviation

SAMPLES, STREAMS, FEATURES = 1000, 3, 2
TRAINING_STEPS, WINDOW = 120, 40


@dataclass(frozen=True)
class Case:
    """A cell to measure: how to make the module, and the time between samples it runs at."""

    name: str
    make: Callable[[], Any]
    timespan: float = 1.0


def autoncp(units: int) -> Any:
    """A wiring with one motor neuron."""
    return wirings.AutoNCP(units, 1, seed=1)


CASES = (
    *(Case(f"CfC {n} units", lambda n=n: CfC(FEATURES, n)) for n in (8, 24, 64)),
    Case("CfC no_gate 24 units", lambda: CfC(FEATURES, 24, mode="no_gate")),
    Case("CfC pure 24 units", lambda: CfC(FEATURES, 24, mode="pure")),
    Case("CfC AutoNCP(20, 1)", lambda: CfC(FEATURES, autoncp(20))),
    Case("CfC mixed memory 16 units", lambda: CfC(FEATURES, 16, mixed_memory=True)),
    *(Case(f"LTC 12 units, T = {t:g}", lambda: LTC(FEATURES, 12), t) for t in (1.0, 0.1, 0.02)),
    *(Case(f"LTC AutoNCP(16, 1), T = {t:g}", lambda: LTC(FEATURES, autoncp(16)), t) for t in (1.0, 0.1, 0.02)),
    Case("LTC AutoNCP(64, 1)", lambda: LTC(FEATURES, autoncp(64))),
)


def signals(seed: int, streams: int, samples: int) -> NDArray[np.float32]:
    """Chirp, slow cosine and square wave, mixed anew for each feature: (streams, samples, features)."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples)[None, :, None] / 100.0
    phase, rate = rng.uniform(0, 2 * np.pi, (2, streams, 1, FEATURES))
    chirp = np.sin(2 * np.pi * (0.3 + 0.1 * rate) * t * (1.0 + t / 8.0) + phase)
    slow, square = np.cos(0.6 * t + phase), np.sign(np.sin(2.0 * np.pi * t * 0.4 + phase))
    return np.asarray(0.5 * chirp + 0.4 * slow + 0.3 * square, np.float32)


def train(module: Any, timespan: float) -> None:
    """Fit the module to a running sum of its input: something that needs memory."""
    torch.manual_seed(0)
    x = torch.from_numpy(signals(7, 24, WINDOW * 8)).reshape(-1, WINDOW, FEATURES)
    target = (torch.cumsum(x[..., :1], dim=1) / 8.0).tanh()
    head = torch.nn.Linear(module.output_size if hasattr(module, "output_size") else 1, 1)
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=5e-3)
    for step in range(TRAINING_STEPS):
        rows = torch.randint(len(x), (16,), generator=torch.Generator().manual_seed(step))
        loss = ((head(run(module, x[rows], timespan)) - target[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(module.rnn_cell, "apply_weight_constraints"):
            module.rnn_cell.apply_weight_constraints()


def run(module: Any, x: torch.Tensor, timespan: float) -> torch.Tensor:
    """Outputs (batch, samples, n). A batch with time spans goes through the cell: ncps mixes up its batch and state."""
    if timespan == 1.0:
        out: torch.Tensor = module(x)[0]
        return out
    state, outs = torch.zeros(len(x), module.state_size), []
    for k in range(x.shape[1]):
        each, state = module.rnn_cell(x[:, k], state, timespan)
        outs.append(each)
    return torch.stack(outs, dim=1)


def modules(quick: bool) -> Iterator[tuple[str, Case, Any]]:
    """Every case as initialised, and trained."""
    for case in CASES[::3] if quick else CASES:
        torch.manual_seed(1)
        module = case.make()
        yield "initialised", case, module
        train(module, case.timespan)
        yield "trained", case, module


def accuracy(quick: bool) -> None:
    """The table of errors."""
    head = ("cell", "weights", "state mean", "last 100", "bias", "99.9 %", "max", "out 8 bit", "out 16 bit", "out auto")
    print("| " + " | ".join((*head, "16-bit layers")) + " |")
    print("|---|---" + "|---:" * (len(head) - 2) + "|---|")
    for kind, case, module in modules(quick):
        data = signals(3, STREAMS, SAMPLES)
        # weights as exact as they come: the arithmetic is what the state's columns measure
        model = from_torch(module, data, timespan=case.timespan, weight_bits=16)
        found = {}
        for bits in ("8", "16", "auto"):
            plan = plan_model(model.checkpoint, options=Options(weight_bits=bits))
            found[bits] = (plan, deviation(plan.lowered, plan.graph, data.astype(np.float64)))
        state = found["16"][1].state
        numbers = [state.mean, state.last, state.bias, state.p999, state.max]
        numbers += [each.outputs.mean for _, each in found.values()]
        wide = ", ".join(sorted(found["auto"][0].weight_bits)) or "none"
        print(f"| {case.name} | {kind} | " + " | ".join(f"{v:.4%}" for v in numbers) + f" | {wide} |", flush=True)


def states(quick: bool) -> None:
    """Error of an LTC's output with 8-bit and 16-bit states, over the number of unfolds.

    float64 with nothing but the state rounded after every unfold, to 8 or 16 bits of its range, against float64.
    """
    torch.manual_seed(1)
    module = LTC(FEATURES, autoncp(16))
    train(module, 1.0)
    data = signals(3, STREAMS, 300 if quick else SAMPLES).astype(np.float64)
    print("| unfolds | 8-bit state | 16-bit state | lnnc (32-bit state, all of its arithmetic) |")
    print("|---:|---:|---:|---:|")
    for unfolds in (1, 2, 3, 6, 12, 24):
        module.rnn_cell._ode_unfolds = unfolds
        model = from_torch(module, data.astype(np.float32), weight_bits=16)
        plan = plan_model(model.checkpoint)
        op = next(op for op in plan.optimized.ops if isinstance(op, Ltc))
        inputs = evaluate(plan.optimized, data)[op.x].reshape(STREAMS, data.shape[1], -1)
        exact = rollout(op, inputs, 0)
        errors = [np.abs(rollout(op, inputs, bits) - exact).mean() / np.abs(exact).max() for bits in (8, 16)]
        own = deviation(plan.lowered, plan.graph, data).state.mean
        print(f"| {unfolds} | {errors[0]:.3%} | {errors[1]:.4%} | {own:.4%} |", flush=True)


def rollout(op: Ltc, inputs: Array, bits: int) -> Array:
    """All states of an LTC (streams, samples, n) with the state rounded to `bits` bits after each unfold (0: not)."""
    v = np.zeros((len(inputs), len(op.leak)))
    step, rows = 2.0 ** (1 - bits), []
    for k in range(inputs.shape[1]):
        held = conduct(op.sensory, inputs[:, k], len(op.leak))
        for _ in range(op.unfolds):
            conductance, current = conduct(op.recurrent, v, len(op.leak))
            inflow = op.capacitance * op.unfolds
            v = (inflow * v + op.leak_current + held[1] + current) / (inflow + op.leak + held[0] + conductance)
            v = np.round(v / step) * step if bits else v
        rows.append(v)
    return np.stack(rows, axis=1)


def flash(quick: bool) -> None:
    """Flash of an AutoNCP(32, 4) network and of its dense twin, for CfC and LTC."""
    print("| network | synapses | tables B | code + tables B |")
    print("|---|---:|---:|---:|")
    for kind, cell in (("CfC", CfC), ("LTC", LTC)):
        for name, wiring in (("AutoNCP(32, 4)", wirings.AutoNCP(32, 4, seed=1)), ("dense", None)):
            torch.manual_seed(1)
            module = cell(FEATURES, wiring if wiring else (wirings.FullyConnected(32, 4) if kind == "LTC" else 32))
            model = from_torch(module, signals(3, 2, 200), weight_bits=8)
            plan = plan_model(model.checkpoint)
            count = sum(int(np.count_nonzero(a)) for key, a in model.checkpoint.tensors.items()
                        if key.endswith((".conductance", ".weight")))  # fmt: skip
            table = inspection(plan, measure=not quick, optional=True)
            print(f"| {kind} {name} | {count} | {table['tables']} | {table.get('measured', {}).get('flash', '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=("accuracy", "states", "flash"), default="accuracy")
    parser.add_argument("--quick", action="store_true", help="a third of the cells, shorter streams")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    {"accuracy": accuracy, "states": states, "flash": flash}[args.table](args.quick)
    print(f"\n{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
