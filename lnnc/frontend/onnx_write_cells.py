"""Liquid cells as ONNX nodes, their solvers unrolled; and all ops of a graph in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lnnc.frontend.onnx_write import NEXT, PLAIN, RESULT, Writer, end
from lnnc.ir.graph import Array, Euler, Leaky, Ltc, Op, Pure, State, Synapses


def write_ops(writer: Writer) -> None:
    """All nodes of a graph, its result and the next values of its states."""
    for op in writer.graph.ops:
        writer.names[op.out] = _WRITERS[type(op)](writer, op)
    for op in writer.graph.ops:
        if isinstance(op, State):
            end(writer, writer.names[op.next], f"{writer.names[op.out]}{NEXT}")
    end(writer, writer.names[writer.graph.result], RESULT)


def _pure(w: Writer, op: Pure) -> str:
    """A - A exp(-T (rate + |x|)) x."""
    x, hint, time = w.names[op.x], op.out, w.step_time(1)
    rate = w.node("Add", w.node("Abs", x, hint=f"{hint}.abs"), op.rate, hint=f"{hint}.rate")
    late = w.node("Neg", time, hint=f"{hint}.minus") if isinstance(time, str) else -time
    decay = w.node("Exp", w.node("Mul", rate, late, hint=f"{hint}.exponent"), hint=f"{hint}.decay")
    product = w.node("Mul", w.node("Mul", decay, x, hint=f"{hint}.product"), -op.amplitude, hint=f"{hint}.fall")
    return w.node("Add", product, op.amplitude, hint=hint)


def _liquid(
    w: Writer, hint: str, x: str, dt: str | float, alpha: Array, beta: Array, steps: int, argument: Callable[[str], str]
) -> str:
    """x <- x + dt (-alpha x + beta tanh(argument(x))), unrolled."""
    for _ in range(steps):
        driven = w.node("Mul", w.node("Tanh", argument(x), hint=f"{hint}.tanh"), beta, hint=f"{hint}.drive")
        slope = w.node("Add", w.node("Mul", x, -alpha, hint=f"{hint}.leak"), driven, hint=f"{hint}.slope")
        x = w.node("Add", x, w.node("Mul", slope, dt, hint=f"{hint}.move"), hint=hint)
    return x


def _leaky(w: Writer, op: Leaky) -> str:
    drive, weight = w.names[op.drive], w.const(op.weight.T.copy(), f"{op.out}.W")

    def argument(x: str) -> str:
        return w.node("Add", w.node("MatMul", x, weight, hint=f"{op.out}.Wx"), drive, hint=f"{op.out}.pre")

    return _liquid(w, op.out, w.names[op.x], w.step_time(op.steps), op.alpha, op.beta, op.steps, argument)


def _euler(w: Writer, op: Euler) -> str:
    """The liquid neuron of DLNet; its dt is its own, whatever T is."""
    product = _full(w, op) if op.weight is not None else _low_rank(w, op)

    def argument(x: str) -> str:
        return w.node("Add", product(x), w.names[op.drive], hint=f"{op.out}.pre") if op.drive else product(x)

    return _liquid(w, op.out, w.names[op.x], op.dt, op.alpha, op.beta, op.steps, argument)


def _full(w: Writer, op: Euler) -> Callable[[str], str]:
    assert op.weight is not None
    weight = w.const(op.weight.T.copy(), f"{op.out}.W")
    return lambda x: w.node("MatMul", x, weight, hint=f"{op.out}.Wx")


def _low_rank(w: Writer, op: Euler) -> Callable[[str], str]:
    assert op.diag is not None and op.left is not None and op.right is not None
    diag, left, right = w.const(op.diag), w.const(op.left.T.copy()), w.const(op.right)

    def product(x: str) -> str:
        low = w.node("MatMul", w.node("MatMul", x, right, hint=f"{op.out}.low"), left, hint=f"{op.out}.wide")
        return w.node("Add", w.node("Mul", x, diag, hint=f"{op.out}.diag"), low, hint=f"{op.out}.Wx")

    return product


def _ltc(w: Writer, op: Ltc) -> str:
    """The fused or explicit solver, unrolled; the sensory synapses are held."""
    n, hint, v = len(op.leak), op.out, w.names[op.v]
    step = w.step_time(op.unfolds)
    numbers = op.capacitance / step if isinstance(step, float) else op.capacitance
    inflow = w.const(numbers) if isinstance(step, float) else w.node("Div", numbers, step, hint=f"{hint}.inflow")
    total, driven = _conduct(w, op.sensory, w.names[op.x], n, w.const(op.leak), w.const(op.leak_current), hint)
    current = _Conductor(w, op.recurrent, n, hint)
    for _ in range(op.unfolds):
        below, above = current.add(v, total, driven)
        if op.explicit:
            flow = w.node("Sub", above, w.node("Mul", below, v, hint=f"{hint}.lost"), hint=f"{hint}.flow")
            v = w.node("Add", v, w.node("Div", flow, inflow, hint=f"{hint}.move"), hint=hint)
        else:
            kept = w.node("Mul", v, inflow, hint=f"{hint}.kept")
            above = w.node("Add", kept, above, hint=f"{hint}.above")
            v = w.node("Div", above, w.node("Add", below, inflow, hint=f"{hint}.below"), hint=hint)
    return v


class _Conductor:
    """Synapses with their numbers written once, for any number of unfolds."""

    def __init__(self, w: Writer, synapses: Synapses, n: int, hint: str) -> None:
        self.w, self.hint, self.count = w, hint, len(synapses.pre)
        if not self.count:
            return
        self.pre, self.slope = w.const(synapses.pre, f"{hint}.pre"), w.const(synapses.slope, f"{hint}.slope")
        self.offset = w.const(synapses.offset, f"{hint}.offset")
        arrives = np.zeros((self.count, n))
        arrives[np.arange(self.count), synapses.post] = 1.0
        self.conductance = w.const(arrives * synapses.conductance[:, None], f"{hint}.w")
        self.current = w.const(arrives * synapses.current[:, None], f"{hint}.werev")

    def add(self, v: str, total: str, driven: str) -> tuple[str, str]:
        """The sums of conductances and currents, added to what is there."""
        if not self.count:
            return total, driven
        w, hint = self.w, self.hint
        scaled = w.node("Mul", w.node("Gather", v, self.pre, hint=f"{hint}.v", axis=1), self.slope, hint=f"{hint}.sv")
        gate = w.node("Sigmoid", w.node("Add", scaled, self.offset, hint=f"{hint}.argument"), hint=f"{hint}.gate")
        conductance = w.node("MatMul", gate, self.conductance, hint=f"{hint}.G")
        current = w.node("MatMul", gate, self.current, hint=f"{hint}.I")
        return (
            w.node("Add", conductance, total, hint=f"{hint}.total"),
            w.node("Add", current, driven, hint=f"{hint}.driven"),
        )


def _conduct(
    w: Writer, synapses: Synapses, x: str, n: int, total: str, driven: str, hint: str
) -> tuple[str, str]:  # fmt: skip
    return _Conductor(w, synapses, n, f"{hint}.sensory").add(x, total, driven)


_WRITERS: dict[type[Op], Callable[[Writer, Any], str]] = {
    **PLAIN,
    Euler: _euler,
    Leaky: _leaky,
    Ltc: _ltc,
    Pure: _pure,
}
