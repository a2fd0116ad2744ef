"""What applies rewrites to an imported network until none fits. `onnx_rules` and `onnx_cells` hold the rules.

Every rule keeps the meaning whatever else reads its tensors; who reads them only decides whether it pays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace

import numpy as np

from lnnc.frontend.network import SCALED, Network
from lnnc.ir.graph import Concat, Gather, Op, Scale, State, Synapses, out_size, reads, rename

SWEEPS_MAX = 64


class Book:
    """What rules may ask about the ops above the one they look at."""

    def __init__(self, network: Network, features: int) -> None:
        self.defs: dict[str, Op] = {}
        self.sizes = {SCALED: features}
        self.roots = {network.result} | {op.next for op in network.ops if isinstance(op, State)}
        self.readers: dict[str, list[Op]] = {}
        for op in network.ops:
            for name in reads(op):
                self.readers.setdefault(name, []).append(op)
        self.uses = Counter({name: len(ops) for name, ops in self.readers.items()})
        self.uses.update(self.roots)
        self.time = network.time
        self._names = {op.out.lower() for op in network.ops}

    def define(self, op: Op) -> None:
        self.defs[op.out] = op
        self.sizes[op.out] = out_size(op, self.sizes)

    def once(self, tensor: str) -> bool:
        """Whether one op alone reads a tensor."""
        return self.uses[tensor] <= 1

    def fresh(self, hint: str) -> str:
        """A name that no tensor has."""
        number = 2
        while f"{hint}_{number}".lower() in self._names:
            number += 1
        self._names.add(f"{hint}_{number}".lower())
        return f"{hint}_{number}"


Rule = Callable[[Op, Book], Sequence[Op] | None]


def rewrite(network: Network, features: int, rules: Iterable[Rule]) -> Network:
    """Apply rules until none fits; a rule gives the ops that replace one, the last of the same name."""
    rules = tuple(rules)
    for _ in range(SWEEPS_MAX):
        network, changed = _sweep(network, features, rules)
        if not changed:
            break
    return network


def _sweep(network: Network, features: int, rules: tuple[Rule, ...]) -> tuple[Network, bool]:
    book, alias, seen = Book(network, features), dict[str, str](), dict[object, str]()
    ops: list[Op] = []
    changed = False
    for op in network.ops:
        op = _renamed(op, alias)
        for new in _applied(op, book, rules):
            changed = changed or new is not op
            new = _renamed(new, alias)  # what a rule made may just have been found to be there already
            target = _identity(new, book) or seen.setdefault(_key(new), new.out)
            if target != new.out and _may_stand(target, new.out, book):
                alias[new.out], changed = target, True
                continue
            book.define(new)
            ops.append(new)
    result = alias.get(network.result, network.result)
    ops = [replace(op, next=alias.get(op.next, op.next)) if isinstance(op, State) else op for op in ops]
    return Network(needed(ops, result), result, book.time), changed


def _renamed(op: Op, alias: dict[str, str]) -> Op:
    for name in set(reads(op)) & set(alias):
        op = rename(op, name, alias[name])
    return op


def _may_stand(target: str, tensor: str, book: Book) -> bool:
    """Whether an equal tensor can take another's place: what a state takes over must be computed in the step."""
    return tensor not in book.roots or not isinstance(book.defs.get(target), State | None)


def _applied(op: Op, book: Book, rules: tuple[Rule, ...]) -> list[Op]:
    """An op, or what the rules put in its place."""
    before: list[Op] = []
    for rule in rules:
        replaced = rule(op, book)
        if replaced is not None:
            for new in replaced[:-1]:
                book.define(new)
            before += replaced[:-1]
            op = replaced[-1]
    return [*before, op]


def needed(ops: Sequence[Op], result: str) -> tuple[Op, ...]:
    """The ops that the result depends on, over any number of steps."""
    defs = {op.out: op for op in ops}
    found, todo = set[str](), [result]
    while todo:
        op = defs.get(todo.pop())
        if op is None or op.out in found:
            continue
        found.add(op.out)
        todo += [*reads(op), op.next] if isinstance(op, State) else reads(op)
    return tuple(op for op in ops if op.out in found)


def _key(op: Op) -> object:
    """Equal for ops that compute the same."""
    if isinstance(op, State):
        return op.out
    return (type(op), *(_plain(getattr(op, f.name)) for f in fields(op) if f.name not in ("out", "src")))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    if isinstance(value, Synapses):
        return tuple(_plain(getattr(value, f.name)) for f in fields(value))
    return value


def _identity(op: Op, book: Book) -> str | None:
    """The tensor that an op only repeats."""
    if isinstance(op, Scale) and np.abs(op.scale - 1.0).max() < 1e-6 and np.abs(op.offset).max() < 1e-7:
        return op.x
    if isinstance(op, Gather) and np.array_equal(op.index, np.arange(book.sizes[op.x])):
        return op.x
    return op.parts[0] if isinstance(op, Concat) and len(op.parts) == 1 else None
