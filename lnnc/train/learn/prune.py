"""Structured pruning: whole neurons leave a network, and every tensor that knows them gets smaller.

Neurons of all layers compete: each layer's importances are divided by their mean, then the least important of the
whole network go. What is left is a smaller dense network, which lnnc compiles as any other.

A LayerNorm keeps gamma and beta of the neurons that stay, and from then on takes mean and variance over those only:
nothing is corrected for that, recovery training is what follows. A neuron that no LayerNorm sees and whose outgoing
weights are all zero leaves without a trace in the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array

IMPORTANCES = ("l1", "l2", "taylor")


@dataclass(frozen=True)
class Slot:
    """Where the neurons of a layer stand in a tensor: neuron i at index first + i of `axis`."""

    key: str
    axis: int
    first: int = 0


@dataclass(frozen=True)
class Neurons:
    """The neurons of one layer, and all places that know them.

    Attributes:
        name: for messages and for `keep`.
        size: how many there are.
        incoming: weights and biases that make them.
        outgoing: weights that read them; a recurrent matrix is both.
        along: one number for each that neither makes nor reads it: a LayerNorm's gamma and beta, time constants.
        least: how many must stay: 1, or 2 below a LayerNorm, which makes one value a constant.
    """

    name: str
    size: int
    incoming: tuple[Slot, ...]
    outgoing: tuple[Slot, ...]
    along: tuple[Slot, ...] = ()
    least: int = 1

    @property
    def slots(self) -> tuple[Slot, ...]:
        return (*self.incoming, *self.outgoing, *self.along)


@dataclass(frozen=True, eq=False)
class Pruned:
    """A smaller network.

    Attributes:
        tensors: its state_dict.
        kept: layer -> indices of the neurons that stayed, in order.
        removed: how many left, of how many.
    """

    tensors: dict[str, Array]
    kept: dict[str, NDArray[np.int64]]
    removed: tuple[int, int]


def importance(
    tensors: Mapping[str, Array], neurons: Neurons, kind: str = "l2",
    gradients: Sequence[Mapping[str, Array]] = (),
) -> Array:  # fmt: skip
    """How much each neuron of a layer matters, (size,), not yet normalised.

    "l1", "l2": norm of all its incoming and outgoing weights. "taylor": mean over batches of |sum over its outgoing
    weights of w dL/dw|, the first-order change of the loss L when the neuron is silenced (Molchanov et al. 2019).

    Args:
        gradients: one state_dict of gradients for each batch, for "taylor".

    Raises:
        LnncError: an unknown kind, or no gradients for "taylor".
    """
    if kind not in IMPORTANCES or (kind == "taylor" and not gradients):
        found = f"{kind!r}" + (" without gradients" if kind == "taylor" else "")
        raise LnncError(f"importance {', '.join(IMPORTANCES)} are known, found {found}", "pruning", 'kind="l2"')
    if kind == "taylor":
        each = [sum(_rows(tensors[s.key] * g[s.key], s, neurons.size).sum(1) for s in neurons.outgoing)
                for g in gradients]  # fmt: skip
        return np.asarray(np.abs(np.stack(each)).mean(axis=0))
    weights = np.hstack([_rows(tensors[s.key], s, neurons.size) for s in (*neurons.incoming, *neurons.outgoing)])
    return np.asarray(np.abs(weights).sum(1) if kind == "l1" else np.sqrt((weights**2).sum(1)))


def _rows(tensor: Array, slot: Slot, size: int) -> Array:
    """The numbers of each neuron in a tensor, (size, ...)."""
    turned = np.moveaxis(tensor, slot.axis, 0)[slot.first : slot.first + size]
    return turned.reshape(size, -1)


def choose(scores: Sequence[Array], least: Sequence[int], fraction: float) -> list[NDArray[np.int64]]:
    """The neurons that stay in each layer when `fraction` of all of them leaves, the least important first.

    Scores are divided by their layer's mean. A layer at its least keeps what it has, and others lose more instead.
    """
    if not 0 <= fraction < 1:
        raise LnncError(f"a fraction in 0 ... 1 (without 1) is expected, found {fraction}", "pruning", "0.5 is half")
    normal = [score / max(float(score.mean()), 1e-300) for score in scores]
    order = sorted(
        (value, layer, i) for layer, layer_scores in enumerate(normal) for i, value in enumerate(layer_scores)
    )
    goal = round(fraction * len(order))
    gone: list[set[int]] = [set() for _ in scores]
    for _, layer, i in order:
        if sum(map(len, gone)) == goal:
            break
        if len(scores[layer]) - len(gone[layer]) > least[layer]:
            gone[layer].add(i)
    return [np.array([i for i in range(len(s)) if i not in out], np.int64) for s, out in zip(scores, gone, strict=True)]


def cut(tensors: Mapping[str, Array], layers: Sequence[Neurons], kept: Sequence[NDArray[np.int64]]) -> dict[str, Array]:
    """The tensors with only the kept neurons of each layer."""
    held = {name: np.array(tensor) for name, tensor in tensors.items()}
    for layer, stay in zip(layers, kept, strict=True):
        for slot in dict.fromkeys(layer.slots):
            held[slot.key] = _cut(held[slot.key], slot, layer.size, stay)
    return held


def _cut(tensor: Array, slot: Slot, size: int, stay: NDArray[np.int64]) -> Array:
    before = np.arange(slot.first)
    after = np.arange(slot.first + size, tensor.shape[slot.axis])
    return tensor.take(np.concatenate([before, slot.first + stay, after]), axis=slot.axis)


def prune(
    tensors: Mapping[str, Array], layers: Sequence[Neurons], fraction: float, kind: str = "l2",
    gradients: Sequence[Mapping[str, Array]] = (), keep: Sequence[str] = (),
) -> Pruned:  # fmt: skip
    """Remove `fraction` of all neurons of the layers, except those named in `keep`.

    Raises:
        LnncError: the layers do not fit the tensors; an unknown name or importance; no layer is left to prune.
    """
    check_layers(tensors, layers)
    unknown = set(keep) - {layer.name for layer in layers}
    open_layers = [layer for layer in layers if layer.name not in keep]
    if unknown or not open_layers:
        names = ", ".join(layer.name for layer in layers) or "none"
        what = f"no layer '{', '.join(sorted(unknown))}'" if unknown else "no layer whose neurons may leave"
        raise LnncError(f"{what}; it has {names}", "pruning", "keep= names layers that stay whole")
    scores = [importance(tensors, layer, kind, gradients) for layer in open_layers]
    kept = choose(scores, [layer.least for layer in open_layers], fraction)
    total = sum(layer.size for layer in open_layers)
    stayed = {layer.name: stay for layer, stay in zip(open_layers, kept, strict=True)}
    removed = total - sum(len(stay) for stay in kept)
    return Pruned(cut(tensors, open_layers, kept), stayed, (removed, total))


def check_layers(tensors: Mapping[str, Array], layers: Sequence[Neurons]) -> None:
    """Raise an `LnncError` that names every slot that is not in the tensors."""
    found = Findings("pruning")
    for layer in layers:
        for slot in layer.slots:
            shape = tensors[slot.key].shape if slot.key in tensors else ()
            if slot.axis >= len(shape) or slot.first + layer.size > shape[slot.axis]:
                found.add(f"'{slot.key}' has no {layer.size} neurons of {layer.name}: its shape is {shape}")
    found.raise_if_any("describe the layers with lnnc.train.learn.neurons")
