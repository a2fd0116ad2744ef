"""Quantization-aware training whose forward pass IS the integer program that lnnc compiles.

    forward:   y = reference(compile(checkpoint of the present weights), windows)
    backward:  dL/dy goes through the float network as if it had given y (straight-through, Bengio et al. 2013)

No second description of the rounding exists that could differ from the C: the loss sees what the processor will give.
The price is a compilation for every update of the weights, about a tenth of a second for the paper's networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.ir.program import Program
from lnnc.pipeline import plan_model
from lnnc.quantize.context import Options
from lnnc.verify.engines import run_reference

ToCheckpoint = Callable[[nn.Module], Checkpoint]


class _StraightThrough(torch.autograd.Function):
    """The integers' result forward, the float result's gradient backward."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, integer: Tensor) -> Tensor:
        return integer

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _digest(module: nn.Module) -> bytes:
    """Of the weights: their version counters miss what is written through `.data`."""
    hasher = hashlib.blake2b()
    for tensor in module.state_dict().values():
        hasher.update(tensor.detach().contiguous().numpy().tobytes())
    return hasher.digest()


class Quantized(nn.Module):
    """A network in real units whose forecasts are those of its compiled program.

    Args:
        twin: the float network that is trained: real units in and out.
        to_checkpoint: the checkpoint of the twin as it is now, calibration included; any model plugs in here.
        options: of the compilation, such as Options("int8").
    """

    def __init__(self, twin: nn.Module, to_checkpoint: ToCheckpoint, options: Options | None = None) -> None:
        super().__init__()
        self.twin = twin
        self.to_checkpoint, self.options = to_checkpoint, options or Options()
        self._compiled: tuple[bytes, Program] | None = None

    def program(self) -> Program:
        """The compiled program of the present weights; compiled again only when they have changed.

        Raises:
            LnncError: the network cannot be compiled.
        """
        now = _digest(self.twin)
        if self._compiled is None or self._compiled[0] != now:
            compiled = plan_model(self.to_checkpoint(self.twin), options=self.options)
            self._compiled = (now, compiled.program)
        return self._compiled[1]

    def integers(self, inputs: Array) -> Array:
        """What the program makes of inputs in real units.

        One step each: (N, inputs) -> (N, outputs). Streams, each from its reset: (N, T, features) -> (N, steps at which
        an output is due, outputs).
        """
        single = inputs.ndim == 2
        out = run_reference(self.program(), inputs[:, None] if single else inputs)
        return out[:, 0] if single else out[:, ~np.isnan(out).any(axis=(0, 2))]

    def forward(self, inputs: Tensor) -> Tensor:
        """The program's forecast, with the twin's gradient."""
        real: Tensor = self.twin(inputs)
        integer = torch.as_tensor(self.integers(np.asarray(inputs.detach().double())), dtype=real.dtype)
        result: Tensor = _StraightThrough.apply(real, integer)  # type: ignore[no-untyped-call]
        return result
