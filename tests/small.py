"""A small checkpoint document, and the command line called in this process."""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from lnnc import cli

Document = dict[str, Any]
WINDOW, OUTPUTS = 8, 8


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of its output."""
        return (self.out.strip().splitlines() or [""])[-1]


def lnnc(*args: object) -> Result:
    """Run `lnnc ARGS` in this process, through the same `main` as the command. A traceback fails the test."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = mock.patch("sys.argv", ["lnnc", *map(str, args)])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Result(code, out.getvalue(), err.getvalue())


def document(mode: str = "window", features: int = 1, recurrence: str = "full", seed: int = 1) -> Document:
    """A checkpoint document with NumPy arrays: 8 samples of `features` values in, 8 values out."""
    rng = np.random.default_rng(seed)
    width, taken = WINDOW * features, features if mode == "stream" else WINDOW * features
    tensors = {
        "encoder.0.weight": rng.normal(0, 0.4, (6, width)), "encoder.0.bias": rng.normal(0, 0.1, 6),
        "encoder.1.weight": rng.uniform(0.5, 1.5, 6), "encoder.1.bias": rng.normal(0, 0.1, 6),
        "encoder.3.weight": rng.normal(0, 0.4, (4, 6)), "encoder.3.bias": rng.normal(0, 0.1, 4),
        "dynamics.alpha": rng.uniform(0.2, 1, 4), "dynamics.beta": rng.normal(0, 1, 4),
        "decoder.0.weight": rng.normal(0, 0.4, (OUTPUTS, 4)), "decoder.0.bias": rng.normal(0, 0.1, OUTPUTS),
        "residual_weight": np.array(0.5), **_recurrence(rng, recurrence),
    }  # fmt: skip
    shape = (12, 20, features) if mode == "stream" else (12, taken)
    port = {"name": "soh", "unit": "1", "range": [0.0, 1.5], "offset": 0.8, "scale": 0.2}
    return {
        "format": "lnnc-checkpoint",
        "version": 1,
        "architecture": {
            "family": "dlnet", "mode": mode, "window": WINDOW, "features": features,
            "encoder": [
                {"op": "linear", "key": "encoder.0"}, {"op": "norm", "key": "encoder.1", "epsilon": 1e-5},
                {"op": "relu"}, {"op": "linear", "key": "encoder.3"}, {"op": "tanh"},
            ],
            "dynamics": {"key": "dynamics", "recurrence": recurrence, "steps": 2, "dt": 0.1, "drive": "mean"},
            "residual": "residual_weight",
            "decoder": [{"op": "linear", "key": "decoder.0"}],
        },
        "state_dict": {name: np.asarray(value, np.float32) for name, value in tensors.items()},
        "inputs": [{**port, "size": taken}],
        "outputs": [{**port, "size": OUTPUTS}],
        "calibration": {"inputs": rng.uniform(0.7, 1.0, shape).astype(np.float32)},
        "provenance": {"made by": "tests/small.py"},
    }  # fmt: skip


def _recurrence(rng: np.random.Generator, recurrence: str) -> dict[str, Any]:
    if recurrence == "full":
        return {"dynamics.W.weight": rng.normal(0, 0.5, (4, 4))}
    return {
        "dynamics.w_diag": rng.normal(0, 0.5, 4), "dynamics.U": rng.normal(0, 1, (4, 1)),
        "dynamics.V": rng.normal(0, 1, (4, 1)),
    }  # fmt: skip


def tensors_of(value: Any) -> Any:
    """The same document with torch tensors for its arrays."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: tensors_of(item) for key, item in value.items()}
    return [tensors_of(item) for item in value] if isinstance(value, list) else value


def save(value: Any, path: Path) -> Path:
    """torch.save, arrays as tensors."""
    torch.save(tensors_of(value), path)
    return path


def changed(base: Document, path: str, value: Any) -> Document:
    """A deep copy with the entry at "a/b/0/c" replaced, or removed where value is `...`."""
    made = copy.deepcopy(base)
    *way, last = path.split("/")
    here: Any = made
    for step in way:
        here = here[int(step) if isinstance(here, list) else step]
    if value is ...:
        del here[int(last) if isinstance(here, list) else last]
    else:
        here[int(last) if isinstance(here, list) else last] = value
    return made
