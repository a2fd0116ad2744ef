"""Which tensors know a layer's neurons: for any row of Linear and LayerNorm layers, DLNet's liquid neuron, gated cells.

The outer sides, what goes into the network and what comes out, are never among the neurons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Architecture, Layer
from lnnc.ir.graph import Array
from lnnc.train.learn.prune import Neurons, Slot


@dataclass
class _Row:
    """Layers so far: those whose readers are known, and the one that waits for its reader (None: the inputs)."""

    tensors: Mapping[str, Array]
    closed: list[Neurons]
    waiting: Neurons | None = None

    def linear(self, key: str) -> None:
        if self.waiting is not None:
            read = (*self.waiting.outgoing, Slot(f"{key}.weight", 1))
            self.closed.append(replace(self.waiting, outgoing=read))
        made = (Slot(f"{key}.weight", 0), Slot(f"{key}.bias", 0))
        self.waiting = Neurons(key, self.tensors[f"{key}.weight"].shape[0], made, ())

    def norm(self, key: str) -> None:
        if self.waiting is not None:
            along = (*self.waiting.along, Slot(f"{key}.weight", 0), Slot(f"{key}.bias", 0))
            self.waiting = replace(self.waiting, along=along, least=2)

    def liquid(self, key: str) -> None:
        """W or U makes a neuron, W or V reads it; the rank of a low-rank W stays."""
        if self.waiting is None:
            return
        full = f"{key}.W.weight" in self.tensors
        made = Slot(f"{key}.W.weight" if full else f"{key}.U", 0)
        read = Slot(f"{key}.W.weight", 1) if full else Slot(f"{key}.V", 0)
        own = ("alpha", "beta") if full else ("alpha", "beta", "w_diag")
        self.waiting = replace(
            self.waiting, incoming=(*self.waiting.incoming, made), outgoing=(read,),
            along=(*self.waiting.along, *(Slot(f"{key}.{name}", 0) for name in own)),
        )  # fmt: skip


def dlnet_neurons(architecture: Architecture, tensors: Mapping[str, Array]) -> tuple[Neurons, ...]:
    """The hidden layers of a network of the family "dlnet", each named after the Linear that makes it.

    The liquid neurons are the last Linear's of the encoder: "encoder.4" in the paper's networks.
    """
    row = _Row(tensors, [])
    _walk(row, architecture.encoder)
    if architecture.dynamics is not None:
        row.liquid(architecture.dynamics.key)
    _walk(row, architecture.decoder)
    return tuple(row.closed)


def row_neurons(layers: Sequence[Layer], tensors: Mapping[str, Array]) -> tuple[Neurons, ...]:
    """The hidden layers of a plain network: Linear, LayerNorm and activations, one after the other."""
    row = _Row(tensors, [])
    _walk(row, layers)
    return tuple(row.closed)


def _walk(row: _Row, layers: Sequence[Layer]) -> None:
    for layer in layers:
        if layer.op == "linear":
            row.linear(layer.key)
        elif layer.op == "norm":
            row.norm(layer.key)


def gated_neurons(tensors: Mapping[str, Array]) -> tuple[Neurons, ...]:
    """The state of a gated cell: g = sigmoid(gate [f; h]), c = tanh(candidate [f; h]), h <- h + g (c - h), head h.

    A head that is wider reads [f; h].

    Raises:
        LnncError: tensors are missing, or their shapes are not those of such a cell.
    """
    return cell_neurons(tensors, ("gate", "candidate"))


def cell_neurons(tensors: Mapping[str, Array], layers: Sequence[str]) -> tuple[Neurons, ...]:
    """The state of a cell whose layers all read [f; h]. Raises as `gated_neurons`."""
    keys = [f"{name}.{part}" for name in (*layers, "head") for part in ("weight", "bias")]
    missing = [key for key in keys if key not in tensors]
    if missing:
        raise LnncError(f"no such cell: {', '.join(missing)} missing", "pruning", f"it has {', '.join(keys)}")
    units, width = tensors[f"{layers[0]}.weight"].shape
    same = all(tensors[f"{name}.weight"].shape == (units, width) for name in layers)
    if not same or width < units or tensors["head.weight"].shape[1] not in (units, width):
        shapes = ", ".join(f"{key} {tensors[key].shape}" for key in keys if key.endswith("weight"))
        raise LnncError(f"no such cell: {shapes}", "pruning", "layers (u, f + u), head (n, u) or (n, f + u)")
    made = tuple(Slot(f"{name}.{part}", 0) for name in layers for part in ("weight", "bias"))
    own = tuple(Slot(f"{name}.weight", 1, width - units) for name in layers)
    head = Slot("head.weight", 1, tensors["head.weight"].shape[1] - units)
    return (Neurons("state", units, made, (*own, head)),)
