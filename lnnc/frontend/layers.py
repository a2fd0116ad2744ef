"""A network under construction: Graph ops with names of their own, and the feed-forward layers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.network import OUTPUT, SCALED
from lnnc.ir.graph import Act, Add, Array, Concat, Gather, Linear, Mul, Norm, Op, Scale, State, out_size, reads

ACTIVATIONS = ("relu", "tanh", "sigmoid", "silu", "gelu")
_GATED = {"silu": "sigmoid", "gelu": "phi"}  # y = x * fn(x)
# Names that the rest of the compiler gives to tensors and buffers of its own.
_RESERVED = ("in", "out", "input", OUTPUT, SCALED, "window", "missing", "centered", "drive", "residual", "dt", "state")
_PLAIN = re.compile(r"[^A-Za-z0-9_.]")

AnyOp = TypeVar("AnyOp", bound=Op)


@dataclass(frozen=True, eq=False)
class Dense:
    """Weights of y = weight @ x + bias; weight: (outputs, inputs), bias: (outputs,)."""

    weight: Array
    bias: Array

    def scaled(self, inner: float, outer: float) -> Dense:
        """The layer for an x that is `inner` times too small, its y times `outer`."""
        return Dense(self.weight * (inner * outer), self.bias * outer)


class Net:
    """Ops so far, the tensor that the next layer reads, and the width of every tensor.

    Args:
        inputs: values of one sample.
    """

    def __init__(self, inputs: int) -> None:
        self.ops: list[Op] = []
        self.tensor = SCALED
        self.sizes = {SCALED: inputs}
        self._taken: set[str] = set()

    @property
    def width(self) -> int:
        """Values that the next layer reads."""
        return self.sizes[self.tensor]

    def add(self, op: AnyOp) -> str:
        """Append an op under a name of its own; returns the tensor that it defines."""
        assert all(name in self.sizes for name in reads(op)), f"{op.src}: reads {reads(op)} before definition"
        named = replace(op, out=self._fresh(op.out))
        self.sizes[named.out] = out_size(named, self.sizes)
        self.ops.append(named)
        return named.out

    def _fresh(self, wanted: str) -> str:
        """`wanted`, or with a number behind it: unique also as a C identifier, where a dot is an underscore."""
        name, count = wanted, 1
        while name.replace(".", "_").lower() in self._taken:
            count += 1
            name = f"{wanted}.{count}"
        self._taken.add(name.replace(".", "_").lower())
        return name

    def state(self, src: str, name: str, size: int) -> str:
        """A tensor that the network remembers; `remember` says what."""
        return self.add(State(f"{src}.{name}", size, "", src))

    def remember(self, state: str, tensor: str) -> None:
        """Let a state hold `tensor` of the step before."""
        assert self.sizes[state] == self.sizes[tensor], f"{state} and {tensor} differ in size"
        for index, op in enumerate(self.ops):
            if isinstance(op, State) and op.out == state:
                self.ops[index] = replace(op, next=tensor)

    def linear(self, src: str, x: str, dense: Dense) -> str:
        """`dense` of a tensor, named after its layer."""
        return self.add(Linear(src, x, dense.weight, dense.bias, src))

    def act(self, src: str, x: str, fn: str) -> str:
        """relu, tanh, sigmoid, phi of a tensor; or silu = x sigmoid(x), gelu = x phi(x)."""
        if fn not in _GATED:
            return self.add(Act(f"{x}.{fn}", x, fn, src))
        gate = self.add(Act(f"{x}.{_GATED[fn]}", x, _GATED[fn], src))
        return self.add(Mul(f"{x}.{fn}", x, gate, src))

    def concat(self, src: str, name: str, parts: tuple[str, ...]) -> str:
        """Tensors one behind the other; a single one as it is."""
        return parts[0] if len(parts) == 1 else self.add(Concat(f"{src}.{name}", parts, src))

    def part(self, src: str, name: str, x: str, start: int, stop: int) -> str:
        """Elements start ... stop - 1 of a tensor; all of them as they are."""
        if (start, stop) == (0, self.sizes[x]):
            return x
        return self.add(Gather(f"{src}.{name}", x, np.arange(start, stop), src))

    def product(self, src: str, name: str, a: str, b: str) -> str:
        """a * b for each element."""
        return self.add(Mul(f"{src}.{name}", a, b, src))

    def sum(self, src: str, name: str, a: str, b: str) -> str:
        """a + b for each element."""
        return self.add(Add(f"{src}.{name}", a, b, 1.0, src))

    def expect(self, src: str, inputs: int) -> None:
        """Refuse a layer that does not fit behind the one before it.

        Raises:
            LnncError: the layer takes another number of values than there are.
        """
        if self.width != inputs:
            before = "a sample holds" if self.tensor == SCALED else f"'{self.tensor}' gives"
            raise LnncError(
                f"layer '{src}' takes {inputs} values, {before} {self.width}", "", "give the layers in their order"
            )


def layer_name(path: str) -> str:
    """The path of a layer in its module as a name for tensors: it begins with a letter and is no reserved word."""
    name = _PLAIN.sub("_", path).strip(".")
    return name if name[:1].isalpha() and name not in _RESERVED else f"net.{name}".strip(".")


def linear_layer(net: Net, src: str, dense: Dense) -> None:
    """y = weight @ x + bias."""
    net.expect(src, dense.weight.shape[1])
    net.tensor = net.linear(src, net.tensor, dense)


def norm_layer(net: Net, src: str, gamma: Array, beta: Array, epsilon: float) -> None:
    """LayerNorm over all values of a sample."""
    net.expect(src, len(gamma))
    net.tensor = net.add(Norm(src, net.tensor, gamma, beta, epsilon, src))


def activation_layer(net: Net, src: str, fn: str) -> None:
    """One of `ACTIVATIONS`, element by element."""
    net.tensor = net.act(src, net.tensor, fn)


def affine_layer(net: Net, src: str, gain: Array, offset: Array) -> None:
    """y[i] = gain[i] * x[i] + offset[i]; nothing where that changes nothing."""
    if (gain != 1.0).any() or (offset != 0.0).any():
        net.tensor = net.add(Scale(f"{src}.scaled", net.tensor, gain, offset, src))
