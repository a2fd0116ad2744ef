"""The Graph under construction while ONNX nodes are read: values are views of flat tensors, one sample each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lnnc.frontend.checkpoint import WIDTH_MAX
from lnnc.frontend.network import SCALED
from lnnc.frontend.onnx_fold import UnsupportedError
from lnnc.frontend.onnx_read import Constant
from lnnc.ir.graph import Act, Array, Concat, Gather, Indices, Linear, Op, Scale, State, out_size

WEIGHT_MAX = 1 << 25  # numbers of one weight matrix
_RESERVED = (
    "in", "out", "input", "output", "scaled", "window", "missing", "centered", "drive", "residual", "dt", "time",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class View:
    """Elements of a flat tensor in a shape: value[i, j, ...] = tensor[index[i, j, ...]].

    Slices, transpositions and repetitions change the index only; an op is made when a value is computed.
    """

    tensor: str
    index: Indices

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape


Value = View | Constant


class Draft:
    """Ops so far and the sizes of their tensors."""

    def __init__(self, features: int) -> None:
        self.ops: list[Op] = []
        self.sizes: dict[str, int] = {SCALED: features}
        self._names = set(_RESERVED)
        self._gathered: dict[tuple[str, bytes], str] = {}

    def name(self, hint: str) -> str:
        """A name that no tensor has yet, fit for a C comment and, its dots underscores, for an identifier."""
        text = re.sub(r"[^A-Za-z0-9]+", "_", hint).strip("_")[-48:].lstrip("_") or "tensor"
        text = text if text[0].isalpha() else f"n{text}"
        number, found = 1, text
        while found.lower() in self._names:
            number += 1
            found = f"{text}_{number}"
        self._names.add(found.lower())
        return found

    def push(self, op: Op, shape: tuple[int, ...]) -> View:
        """Add an op; its tensor in a shape."""
        size = out_size(op, self.sizes)
        assert size == np.prod(shape, dtype=np.int64), (op.src, size, shape)
        if size > WIDTH_MAX:
            raise UnsupportedError(f"its result has {size} values, expected at most {WIDTH_MAX}")
        self.ops.append(op)
        self.sizes[op.out] = size
        return View(op.out, np.arange(size).reshape(shape))

    def whole(self, tensor: str, shape: tuple[int, ...]) -> View:
        """All of a tensor in a shape."""
        return View(tensor, np.arange(self.sizes[tensor]).reshape(shape))

    def flat(self, view: View) -> str:
        """The name of a tensor that holds a view's elements in order."""
        index = view.index.reshape(-1)
        if np.array_equal(index, np.arange(self.sizes[view.tensor])):
            return view.tensor
        key = (view.tensor, index.tobytes())
        if key not in self._gathered:
            name = self.name(f"{view.tensor}_part")
            self._gathered[key] = self.push(Gather(name, view.tensor, index, name), (index.size,)).tensor
        return self._gathered[key]

    def state(self, hint: str, shape: tuple[int, ...]) -> View:
        """A state; its `next` is filled in at the end."""
        name = self.name(hint)
        return self.push(State(name, int(np.prod(shape, dtype=np.int64)), "", name), shape)

    def act(self, value: View, fn: str, hint: str) -> View:
        """fn of each element."""
        name = self.name(hint)
        return self._pointwise(value, lambda x: Act(name, x, fn, name))

    def scale(self, value: View, scale: Constant, offset: Constant, hint: str) -> View:
        """value * scale + offset with the broadcasting of NumPy."""
        scale, offset = (as_numbers(array) for array in (scale, offset))
        shape = broadcast(value.shape, scale.shape, offset.shape)
        name = self.name(hint)
        if not (np.ptp(scale) or np.ptp(offset)):
            gain, shift = scale.reshape(-1)[0], offset.reshape(-1)[0]
            whole = View(value.tensor, np.broadcast_to(value.index, shape))
            return self._pointwise(whole, lambda x: Scale(name, x, self._filled(x, gain), self._filled(x, shift), name))
        check_size(shape)
        gains, shifts = (np.broadcast_to(array, shape).reshape(-1) for array in (scale, offset))
        x = self.flat(View(value.tensor, np.broadcast_to(value.index, shape)))
        return self.push(Scale(name, x, gains, shifts, name), shape)

    def _filled(self, x: str, value: float) -> Array:
        return np.full(self.sizes[x], value)

    def _pointwise(self, value: View, make: Callable[[str], Op]) -> View:
        """An op on each element: on the tensor itself where the view repeats all of it, else on the view's elements."""
        size = self.sizes[value.tensor]
        if value.index.size >= size and len(np.unique(value.index)) == size:
            return View(self.push(make(value.tensor), (size,)).tensor, value.index)
        return self.push(make(self.flat(value)), value.shape)

    def linear(self, value: View, weight: Array, bias: Array, shape: tuple[int, ...], hint: str) -> View:
        """weight @ value + bias, in a shape. A view that moves elements moves columns instead."""
        name, x, index = self.name(hint), value.tensor, value.index.reshape(-1)
        if index.size < self.sizes[x]:
            return self.push(Linear(name, self.flat(value), weight, bias, name), shape)
        moved = np.zeros((len(weight), self.sizes[x]))
        np.add.at(moved.T, index, weight.T)
        return self.push(Linear(name, x, moved, bias, name), shape)

    def concat(self, parts: tuple[View, ...], hint: str) -> View:
        """The elements of several views, one behind the other, flat."""
        if len(parts) == 1:
            return self.whole(self.flat(parts[0]), (parts[0].index.size,))
        name = self.name(hint)
        flat = tuple(self.flat(part) for part in parts)
        return self.push(Concat(name, flat, name), (sum(self.sizes[part] for part in flat),))

    def fixed(self, constant: Constant, hint: str) -> View:
        """A constant as a tensor: 0 times an input, plus the constant."""
        numbers = as_numbers(constant)
        return self.scale(View(SCALED, np.zeros(numbers.shape, np.int64)), np.zeros(numbers.shape), numbers, hint)

    def view(self, value: Value, hint: str) -> View:
        """A value as a tensor."""
        return value if isinstance(value, View) else self.fixed(value, hint)


def as_numbers(array: Constant) -> Array:
    """A constant as finite float64.

    Raises:
        UnsupportedError: it holds NaN or Inf.
    """
    numbers = np.asarray(array, np.float64)
    if not np.isfinite(numbers).all():
        raise UnsupportedError("a constant that it reads holds NaN or Inf")
    if not numbers.size:
        raise UnsupportedError("a constant that it reads is empty")
    return numbers


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of NumPy broadcasting.

    Raises:
        UnsupportedError: there is none.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise UnsupportedError(f"shapes {' and '.join(map(str, shapes))} do not fit together") from None


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse a tensor that is too long before it is made."""
    size = int(np.prod(shape, dtype=np.float64))
    if size > WIDTH_MAX:
        raise UnsupportedError(f"its result has {size} values, expected at most {WIDTH_MAX}")
