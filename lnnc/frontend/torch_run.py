"""What a torch module itself computes on one stream: the reference that an imported network is compared with."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lnnc.frontend.torch_modules import GATES, leaves, to_array, type_name
from lnnc.ir.graph import Array

_TIMED = ("CfC", "LTC", "Liquid", "EulerLtc")
_TIMED_CELLS = ("CfCCell", "WiredCfCCell", "LTCCell")


def run_module(module: Any, samples: Array, times: Array | None = None) -> Array:
    """What a module makes of one stream in its own precision, dropout off: (T, features) -> (T, outputs).

    times: (T,), the time since the last sample, for the modules that know it; None calls them without.
    """
    x = torch.as_tensor(samples)[None]
    spans = None if times is None else torch.as_tensor(times)[None]
    with torch.no_grad():
        for _, leaf in leaves(module):
            was = [(inner, inner.training) for inner in leaf.modules()]
            leaf.eval()
            try:
                x = _run_leaf(leaf, x, spans)
            finally:
                for inner, training in was:
                    inner.training = training
    return to_array(x[0])


def _run_leaf(leaf: nn.Module, x: Tensor, spans: Tensor | None) -> Tensor:
    """(1, T, n) -> (1, T, m); one stream, because ncps mixes up the timespans of several."""
    like = next(leaf.parameters(), None)
    if like is not None:
        x = x.to(like.device, like.dtype)
        spans = None if spans is None else spans.to(like.device, like.dtype)
    kind = type_name(leaf)
    if kind in (*_TIMED_CELLS, *(f"{name}Cell" for name in GATES)):
        return _run_cell(leaf, kind, x, spans)
    if kind in (*_TIMED, *GATES):
        return _run_sequence(leaf, x, spans if kind in _TIMED else None)
    return torch.as_tensor(leaf(x))


def _run_sequence(leaf: Any, x: Tensor, spans: Tensor | None) -> Tensor:
    whole = copy.copy(leaf)
    whole.return_sequences = True  # of the copy, which shares the weights
    first = getattr(leaf, "batch_first", True)
    given: dict[str, Any] = {}
    if spans is not None:
        given["timespans"] = spans if first else spans.T
    if hasattr(leaf, "use_mixed"):  # ncps' own initial state is float32 whatever the weights are
        zeros = x.new_zeros(1, leaf.state_size)
        given["hx"] = (zeros, zeros) if leaf.use_mixed else zeros
    y = whole(x if first else x.transpose(0, 1), **given)[0]
    return torch.as_tensor(y if first else y.transpose(0, 1))


def _run_cell(leaf: Any, kind: str, x: Tensor, spans: Tensor | None) -> Tensor:
    """Sample by sample."""
    size = leaf.state_size if hasattr(leaf, "state_size") else leaf.hidden_size
    state: Any = x.new_zeros(1, size)
    state = (state, state) if kind == "LSTMCell" else state
    out = []
    for k in range(x.shape[1]):
        if kind in _TIMED_CELLS:
            y, state = leaf(x[:, k], state, 1.0 if spans is None else spans[0, k])
        else:
            state = leaf(x[:, k], state)
            y = state[0] if kind == "LSTMCell" else state
        out.append(y)
    return torch.stack(out, dim=1)
