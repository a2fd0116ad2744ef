"""Quantization-aware training of students: raw values in, the forecasts of their whole integer program out.

The float twin is the training's network between the same fixed steps as in the program: robust means, line, features
before it, line plus curve behind it. No gradient goes through what is fixed, and the trust gate, which has no weights,
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.learn.qat import Quantized
from lnnc.train.students.inputs import INPUTS, every
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.pruning import restored
from lnnc.train.students.signal import BASIS, BOUND, COEFFICIENTS, UNIT, forecast, observe
from lnnc.train.students.student import Student


class StudentTwin(nn.Module):
    """A student as a float module.

    A student that takes whole windows: (N, 100) -> (N, 100). One that takes values one by one: lives of equal length
    (N, T, 1) -> (N, T / 10, 100), a forecast at the end of each block.

    Raises:
        LnncError: a student of mode "window" that is fed value by value: train it on lives.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        if student.mode == "window" and not student.whole:
            raise LnncError(f"a windowed {student.kind} is fed value by value", "QAT", "train it with --mode stream")
        self.student = replace(student, gate=False)
        self.network = restored([student])
        self.register_buffer("basis", torch.from_numpy(UNIT * BASIS.T), persistent=False)

    def now(self) -> Student:
        """The student with its present weights."""
        return replace(self.student, arrays=self.network.arrays(0))

    def forward(self, inputs: Tensor) -> Tensor:
        """The forecasts in real units."""
        whole = self.student.whole
        values = np.asarray(inputs.detach().double())
        signal = observe(list(values if whole else values[:, :, 0]), whole)
        seen = every(INPUTS[self.student.inputs].see(signal), self.student.hop)
        lives, steps, _ = seen.shape
        rows = torch.as_tensor(np.swapaxes(seen, 0, 1).reshape(steps * lives, -1), dtype=torch.float32)
        q = self.network(rows[None], (lives,) * steps)[0].clamp(-BOUND, BOUND).reshape(steps, lives, COEFFICIENTS)
        line = torch.as_tensor(forecast(signal, np.zeros(COEFFICIENTS)))  # (N, K, 100)
        curve = q.transpose(0, 1).double() @ self.get_buffer("basis")
        found = line[:, -1] + curve[:, -1] if whole else line + curve
        result: Tensor = found.to(inputs.dtype)
        return result


def quantized_student(student: Student, lives: Sequence[Array], options: Options | None = None) -> Quantized:
    """A student to be trained on its integers, by `loop.fit` and any loss over real forecasts.

    Args:
        lives: calibrate every compilation.
    """

    def to_checkpoint(module: nn.Module) -> Checkpoint:
        assert isinstance(module, StudentTwin)
        return student_checkpoint(module.now(), lives, "student")

    return Quantized(StudentTwin(student), to_checkpoint, options)
