"""Weights back into networks side by side: the inverse of `Network.arrays`, to prune, recover or go on with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.ir.graph import Array
from lnnc.train.gru import Gru
from lnnc.train.models import Feedforward, Ltc, Network, Recurrent

Weights = Mapping[str, Array]


def restore(network: Network, arrays: Sequence[Weights]) -> None:
    """Give each of the F networks the weights that `arrays` lists, in order; shapes must be those of the network."""
    _set(network.head, _stacked(arrays, lambda a: a["head.weight"].T))
    _set(network.head_bias, _stacked(arrays, lambda a: a["head.bias"][None]))
    if isinstance(network, Recurrent):
        _restore_recurrent(network, arrays)
    elif isinstance(network, Ltc):
        _restore_ltc(network, arrays)
    elif isinstance(network, Gru):
        for name, parameter in network.own_parameters().items():
            _set(parameter, _stacked(arrays, lambda a, name=name: a[name]))
    else:
        assert isinstance(network, Feedforward), type(network)
        for index, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            _set(weight, _stacked(arrays, lambda a, n=index: a[f"layers.{n}.weight"].T))
            _set(bias, _stacked(arrays, lambda a, n=index: a[f"layers.{n}.bias"][None]))


def _stacked(arrays: Sequence[Weights], take: object) -> Tensor:
    assert callable(take)
    return torch.from_numpy(np.stack([take(each) for each in arrays]).astype(np.float32))


def _set(parameter: nn.Parameter | Tensor, value: Tensor) -> None:
    assert parameter.shape == value.shape, (tuple(parameter.shape), tuple(value.shape))
    with torch.no_grad():
        parameter.copy_(value)


def _restore_recurrent(network: Recurrent, arrays: Sequence[Weights]) -> None:
    if network.kind == "leaky":
        _set(network.input, _stacked(arrays, lambda a: a["drive.weight"].T))
        _set(network.bias, _stacked(arrays, lambda a: a["drive.bias"][None]))
        _set(network.recurrent, _stacked(arrays, lambda a: a["weight"].T))
        _set(network.rate, _stacked(arrays, lambda a: np.log(a["alpha"] / (1.0 - a["alpha"]))[None]))
        _set(network.gain, _stacked(arrays, lambda a: a["beta"][None]))
        return
    inputs = network.input.shape[1]
    weights = _stacked(arrays, lambda a: np.concatenate([a[f"{head}.weight"] for head in network.heads]).T)
    _set(network.input, weights[:, :inputs])
    _set(network.recurrent, weights[:, inputs:])
    _set(network.bias, _stacked(arrays, lambda a: np.concatenate([a[f"{head}.bias"] for head in network.heads])[None]))


def _restore_ltc(network: Ltc, arrays: Sequence[Weights]) -> None:
    """What a softplus keeps above 0 goes back through its inverse, x + log(1 - exp(-x))."""
    for name in network.named():
        value = _stacked(arrays, lambda a, name=name: a[name])
        raw = value + torch.log(-torch.expm1(-value)) if name in network.POSITIVE else value
        _set(getattr(network, name), raw)
