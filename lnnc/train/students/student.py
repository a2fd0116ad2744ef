"""A trained student as a record and as a file; no torch is needed to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.files import readable, write_atomically
from lnnc.ir.graph import Array
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.signal import BLOCK, COEFFICIENTS

FORMAT = "lnnc student 1"
MODES = ("stream", "window")
HEADS = {"gated": ("gate", "candidate"), "cfc": ("ff1", "ff2", "time"), "leaky": ("drive",)}  # layers of (x, h), of x
RECURRENT = (*HEADS, "ltc")
KINDS = (*RECURRENT, "mlp", "linear")
HOPS = (10, 20, 50, 100)
FIELDS = {
    "kind": KINDS,
    "mode": MODES,
    "gate": (False, True),
    "inputs": tuple(INPUTS),
    "skip": (False, True),
    "hop": HOPS,
}
LTC_UNFOLDS = 3  # semi-implicit steps per block
_HINT = "give a file that `lnnc train` wrote"


@dataclass(frozen=True, eq=False)
class Student:
    """Weights, and all that is needed to use them.

    Attributes:
        kind: of network, see `models`.
        mode: "stream": fed from the first cycle of life; "window": reset and fed the last 100 values.
        gate: whether the trust gate blends it with the naive forecasters.
        inputs: what the network sees of a step, a name of `inputs.INPUTS`.
        skip: the head reads (inputs, hidden values), not the hidden values alone.
        arrays: float64 by name; layers as "<name>.weight" (out, in) and "<name>.bias", the state behind the inputs.
        hop: cycles between the steps of a cell that takes a whole window.
        provenance: (what, value): digest of the data, fold, seed, schedule, losses.
    """

    kind: str
    mode: str
    gate: bool
    inputs: str
    skip: bool
    arrays: Mapping[str, Array]
    provenance: tuple[tuple[str, str], ...] = ()
    hop: int = BLOCK

    @property
    def units(self) -> int:
        """Hidden values that the head reads; of a cell, its state."""
        return int(self.arrays["head.weight"].shape[1]) - (INPUTS[self.inputs].size if self.skip else 0)

    @property
    def whole(self) -> bool:
        """Whether it takes a window in one step; other cells of mode "window" are reset, and fed value by value."""
        return takes_whole(self.kind, self.mode)

    @property
    def parameters(self) -> int:
        """Trained numbers; zeros, between the members of an ensemble or after pruning, are none."""
        return sum(int(np.count_nonzero(array)) for array in self.arrays.values())


def takes_whole(kind: str, mode: str) -> bool:
    """Whether students of this kind and mode see all of a window at once."""
    return mode == "window" and kind in ("gated", "mlp", "linear")


def save_student(path: str | Path, student: Student) -> None:
    """Write an .npz without pickles; it appears whole or not at all, and the same student gives the same bytes.

    Raises:
        LnncError: the path does not end in .npz, or cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise LnncError("expected a path that ends in .npz", str(path), "a student is a NumPy archive")
    about = {name: getattr(student, name) for name in (*FIELDS, "provenance")}
    text = np.array(json.dumps({"format": FORMAT, **about}, ensure_ascii=False))
    arrays: dict[str, Any] = {"student": text, **student.arrays}
    write_atomically(Path(path), lambda temporary: np.savez(temporary, **arrays))


def load_student(path: str | Path) -> Student:
    """Read and check a student.

    Raises:
        LnncError: the file cannot be read, is none of this format, or its weights do not fit its kind.
    """
    file = readable(path, _HINT)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(str(arrays.pop("student")))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise LnncError(f"it is no student ({type(error).__name__})", str(path), _HINT) from error
    return _checked(about, arrays, str(path))


def _checked(about: Any, arrays: dict[str, Array], where: str) -> Student:
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise LnncError(f"it is no student of this version ({FORMAT})", where, _HINT)
    found = Findings(where)
    for field, known in FIELDS.items():
        if about.get(field) not in known:
            found.add(f"{field}: expected one of {', '.join(map(str, known))}, found {about.get(field)!r}")
    for name, array in arrays.items():
        if array.dtype != np.float64 or not np.isfinite(array).all():
            found.add(f"'{name}': expected finite float64 values")
    found.raise_if_any(_HINT)
    pairs = tuple((str(what), str(value)) for what, value in about.get("provenance", ()))
    student = Student(**{name: about[name] for name in FIELDS}, arrays=arrays, provenance=pairs)
    _check_shapes(student, where)
    return student


def _check_shapes(student: Student, where: str) -> None:
    """Compare every array with what the kind needs for this many inputs and units."""
    found, arrays = Findings(where), student.arrays
    head = arrays.get("head.weight", np.zeros(0))
    if head.ndim != 2 or not head.size:
        raise LnncError("'head.weight': expected a matrix of 4 rows", where, _HINT)
    if student.units < 1:
        raise LnncError(f"'head.weight': {head.shape[1]} columns leave none for hidden values", where, _HINT)
    expected = _shapes(student)
    for name in sorted({*expected, *arrays}):
        has, needs = arrays[name].shape if name in arrays else "nothing", expected.get(name, "nothing")
        if has != needs:
            found.add(f"'{name}': expected {needs}, found {has}")
    found.raise_if_any(_HINT)


def _shapes(student: Student) -> dict[str, tuple[int, ...]]:
    kind, units, inputs = student.kind, student.units, INPUTS[student.inputs].size
    head = {"head.weight": (COEFFICIENTS, units + inputs * student.skip), "head.bias": (COEFFICIENTS,)}
    if kind == "linear":
        return head
    if kind == "mlp":
        return head | _mlp_shapes(inputs, student.arrays)
    if kind == "ltc":
        kinds = ("w", "sigma", "mu", "erev")
        synapses = {f"{p}{k}": (n, units) for p, n in (("sensory_", inputs), ("", units)) for k in kinds}
        return head | synapses | dict.fromkeys(("cm", "gleak", "vleak"), (units,))
    if kind == "leaky":
        layer = {"drive.weight": (units, inputs), "drive.bias": (units,), "weight": (units, units)}
        return head | layer | {"alpha": (units,), "beta": (units,)}
    layers = ((f"{name}.weight", f"{name}.bias") for name in HEADS[kind])
    return head | {name: shape for w, b in layers for name, shape in ((w, (units, inputs + units)), (b, (units,)))}


def _mlp_shapes(inputs: int, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """As the biases say how wide the layers are, the weights have to fit."""
    found: dict[str, tuple[int, ...]] = {}
    n = 0
    while (bias := arrays.get(f"layers.{n}.bias")) is not None:
        found |= {f"layers.{n}.weight": (bias.size, inputs), f"layers.{n}.bias": (bias.size,)}
        inputs, n = bias.size, n + 1
    return found
