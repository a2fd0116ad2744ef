"""Random legal arguments for any kernel of the registry, and what its record says they must give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnnc.kernels.fixed import Ints
from lnnc.kernels.registry import Args, Kernel, Param, param_ranges

MODES = ("uniform", "scaled", "scaled", "low", "high", "corners", "small", "sparse")
_SIDES = (3, 9, 40, 40, 150)  # a size is drawn from 1 to one of these
_ELEMENTS_MAX = 60_000  # of one array
_DULL_KEPT = 0.25  # part of the draws whose results are all zero or saturated that is kept


@dataclass(frozen=True, eq=False)
class Case:
    """One call of a kernel.

    Attributes:
        kernel: the record.
        args: every parameter but the outputs: arrays in RAM (1, size), tables (size,), numbers.
        odd: arrays begin one element after a multiple of 8.
        in_place: the output overwrites the input that the record names.
        label: how it was drawn, for messages.
    """

    kernel: Kernel
    args: Args
    odd: bool
    in_place: bool
    label: str


@dataclass(frozen=True)
class Result:
    """What a call gave: the written arrays as bytes, and the returned value (0 for `void`)."""

    ret: int
    written: tuple[bytes, ...]


def draw_cases(kernel: Kernel, count: int, seed: int) -> tuple[list[Case], float]:
    """`count` legal cases, and which part of the draws was legal. The same seed gives the same cases.

    Raises:
        ValueError: hardly any draw is legal: the record's `fit` does not do its work.
    """
    rng = np.random.default_rng([seed, *kernel.name.encode()])
    cases: list[Case] = []
    legal = 0
    for draws in range(1, 40 * count + 1):
        mode = MODES[draws % len(MODES)]
        args = draw(kernel, mode, rng)
        if fault_of(kernel, args):
            continue
        legal += 1
        in_place = bool(kernel.inplace) and rng.random() < 0.4
        case = Case(kernel, args, rng.random() < 0.5, in_place, f"{mode}, draw {draws} of seed {seed}")
        if rng.random() < _DULL_KEPT or tells(case):
            cases.append(case)
        if len(cases) == count:
            return cases, legal / draws
    raise ValueError(f"{kernel.name}: {len(cases)} useful cases, {legal} legal ones, in {40 * count} draws")


def tells(case: Case) -> bool:
    """Whether some element of the results is neither zero nor at a bound, so that a wrong digit would show."""
    for p, data in zip(case.kernel.written(), expected(case).written, strict=True):
        values = np.frombuffer(data, _wire(p))
        low, high = case.args.get("lo", p.range[0]), case.args.get("hi", p.range[1])
        if ((values > low) & (values < high) & (values != 0)).any():
            return True
    return False


def draw(kernel: Kernel, mode: str, rng: np.random.Generator) -> Args:
    """Random arguments after the record's own `fit`; not yet checked."""
    args = _sizes(kernel, rng)
    for p in kernel.params:
        if p.role in ("int", "value") and p.name not in args:
            args[p.name] = int(_values(p, 1, _vary(mode, rng), rng)[0])
    args |= _bounds(kernel, rng)
    for p in kernel.params:
        if p.is_array and p.role != "out":
            flat = _values(p, p.count(args), _vary(mode, rng), rng)
            args[p.name] = flat if p.role == "const" else flat[None, :]
    return kernel.fit(args, rng)


def fault_of(kernel: Kernel, args: Args) -> str:
    """Why arguments are illegal, "" if they are legal: a size or a range of a parameter, or the record's proof."""
    for p in kernel.params:
        if p.role == "out":
            continue
        values = np.asarray(args[p.name])
        if p.is_array and values.size != p.count(args):
            return f"{p.name} has {values.size} elements"
        if values.min() < p.range[0] or values.max() > p.range[1]:
            return f"{p.name} leaves {p.range}"
    return kernel.check(args, param_ranges(kernel))


def expected(case: Case) -> Result:
    """The record's meaning of a case."""
    entry = case.kernel
    arrays = dict(zip((p.name for p in entry.written()), entry.eval(**case.args), strict=True))
    written = tuple(_bytes(arrays[p.name], p) for p in entry.written())
    return Result(int(arrays["missing"].max()) if entry.waits else 0, written)


def difference(case: Case, want: Result, got: Result) -> str:
    """The first difference in words, "" if there is none."""
    head = f"{case.kernel.name} ({describe(case)}): "
    for p, wanted, found in zip(case.kernel.written(), want.written, got.written, strict=True):
        a, b = (np.frombuffer(data, _wire(p)) for data in (wanted, found))
        if (a != b).any():
            i = int(np.flatnonzero(a != b)[0])
            return f"{head}{p.name}[{i}] is {b[i]}, expected {a[i]} ({int((a != b).sum())} of {len(a)} differ)"
    return f"{head}returned {got.ret}, expected {want.ret}" if want.ret != got.ret else ""


def describe(case: Case) -> str:
    """The arguments of a case, long arrays cut short."""
    with np.printoptions(threshold=8, edgeitems=3, linewidth=10_000):
        texts = [f"{name}={np.asarray(value)}" for name, value in case.args.items()]
    flags = [word for word, on in (("odd", case.odd), ("in place", case.in_place)) if on]
    return "; ".join([case.label, *flags, *texts])


def encode_array(values: Ints, param: Param) -> bytes:
    """Little-endian elements of the parameter's type."""
    return _bytes(values, param)


def _bytes(values: Ints, param: Param) -> bytes:
    return np.asarray(values).astype(_wire(param)).tobytes()


def _wire(param: Param) -> str:
    return np.dtype(param.dtype).newbyteorder("<").str


def _sizes(kernel: Kernel, rng: np.random.Generator) -> Args:
    """Every parameter that is a size of an array; now and then the largest that the record allows."""
    names = sorted(set().union(*(p.size_names() for p in kernel.params)))
    limits = {p.name: p.range for p in kernel.params if p.name in names}
    sizes: Args = {}
    for name in names:
        low, high = limits[name]
        top = min(int(rng.choice(_SIDES)), high)
        sizes[name] = int(rng.integers(low, top + 1))
    if names and rng.random() < 0.04:
        grown = str(rng.choice(names))
        others = int(np.prod([value for name, value in sizes.items() if name != grown]))
        low, high = limits[grown]
        sizes[grown] = max(low, min(high, _ELEMENTS_MAX // max(others, 1)))
    return sizes


def _bounds(kernel: Kernel, rng: np.random.Generator) -> Args:
    """`lo` and `hi`, the clamp of what is written: the whole type, a ReLU's, or any pair in order."""
    if not {"lo", "hi"} <= {p.name for p in kernel.params}:
        return {}
    low, high = kernel.written()[0].range
    kind = rng.random()
    if kind < 0.5:
        return {"lo": low, "hi": high}
    if kind < 0.7:
        return {"lo": 0, "hi": high}
    a, b = sorted(int(v) for v in rng.integers(low, high + 1, size=2))
    return {"lo": a, "hi": b}


def _vary(mode: str, rng: np.random.Generator) -> str:
    """Mostly the case's mode, so that extremes meet; else any other."""
    return mode if rng.random() < 0.7 else str(rng.choice(MODES))


def _values(param: Param, count: int, mode: str, rng: np.random.Generator) -> Ints:
    low, high = param.range
    return np.clip(_drawn(low, high, count, mode, rng), low, high).astype(np.int64)


def _drawn(low: int, high: int, count: int, mode: str, rng: np.random.Generator) -> Ints:
    if mode in ("low", "high"):
        return np.full(count, low if mode == "low" else high)
    if mode == "small":
        return rng.integers(-2, 3, size=count)
    ends = np.where(np.arange(count) % 2 == int(rng.integers(2)), low, high)
    if mode == "corners":
        return ends if rng.random() < 0.5 else rng.permutation(ends)
    if mode == "sparse":
        return np.where(rng.random(count) < 0.1, ends, 0)
    whole = rng.integers(low, high + 1, size=count)
    return whole >> int(rng.integers(0, max(2, high.bit_length()))) if mode == "scaled" else whole
