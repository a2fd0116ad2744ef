"""From a checkpoint of any family to its Graph."""

from __future__ import annotations

from lnnc.frontend.checkpoint import NETWORK, Checkpoint
from lnnc.frontend.dlnet import build_dlnet
from lnnc.frontend.network import build_network
from lnnc.ir.graph import Graph


def build_graph(checkpoint: Checkpoint) -> Graph:
    """The float meaning of a checkpoint.

    Raises:
        LnncError: naming every missing or unused key and every shape that disagrees.
    """
    return (build_network if checkpoint.architecture.family == NETWORK else build_dlnet)(checkpoint)
