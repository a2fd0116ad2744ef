"""Reading and writing files: data; checkpoints, `.pt` through torch (weights_only), `.safetensors` without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.files import check_not_same, check_target, readable, write_atomically
from lnnc.frontend.checkpoint import Checkpoint, checkpoint_document
from lnnc.frontend.fields import finite
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.graph import Array

_CALIBRATION = "calibration.inputs"
_FILE_HINT = "give the path of a .pt, .pth or .safetensors file"


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint, `.pt` or `.safetensors`.

    Raises:
        LnncError: the file cannot be read, holds pickled code, or is not a version-1 checkpoint.
    """
    return parse_checkpoint(read_document(path), str(path))


def read_document(path: str | Path) -> Any:
    """The raw content of a file with tensors as NumPy arrays; nothing in it is executed."""
    file = readable(path, _FILE_HINT)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    from lnnc.frontend.torch_storage import read_torch

    return read_torch(file)


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="np") as archive:
            metadata = archive.metadata() or {}
            tensors: dict[str, Any] = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        hint = "save it again, its tensors as float32"
        raise LnncError(f"not a readable safetensors file ({str(error)[:160]})", str(file), hint) from error
    if "lnnc" not in metadata:
        return tensors
    try:
        document = json.loads(metadata["lnnc"])
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and deep nesting
        raise LnncError(f"its metadata 'lnnc' is not JSON ({str(error)[:160]})", str(file), "save it again") from error
    if not isinstance(document, dict):
        raise LnncError("its metadata 'lnnc' is not a dictionary", str(file), "save it again")
    inputs = tensors.pop(_CALIBRATION, None)
    if inputs is not None:
        document["calibration"] = {"inputs": inputs}
    return {**document, "state_dict": tensors}


def load_array(path: str | Path) -> Array:
    """The first array of a .npz file, or the array of a .npy file, as float64.

    Raises:
        LnncError: the file cannot be read, holds no numbers, or holds NaN or Inf.
    """
    hint = "save it with numpy.savez"
    file = readable(path, "give a .npz or .npy file")
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else loaded
        name = next(iter(arrays), None)
        array = np.zeros(0) if name is None else arrays[name]
    except Exception as error:  # numpy raises many kinds, and would advise to load the file unsafely
        raise LnncError("not a readable .npz or .npy file of numbers", str(path), hint) from error
    if name is None:
        raise LnncError("it holds no array", str(path), hint)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        kind = f"{array.dtype}" if isinstance(array, np.ndarray) else "no array"
        raise LnncError(f"first array {name!r}: expected numbers, found {kind}", str(path), hint)
    found = Findings(str(path))
    values = finite(array, name or "array", found)
    found.raise_if_any("give finite numbers in real units")
    return values


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint, `.pt` or `.safetensors` by its suffix; the file appears whole or not at all."""
    file = Path(path)
    _check_suffix(file)
    if file.suffix == ".safetensors":
        write_atomically(file, lambda temporary: _write_safetensors(checkpoint, temporary))
    else:
        from lnnc.frontend.torch_storage import write_torch

        write_atomically(file, lambda temporary: write_torch(checkpoint_document(checkpoint), temporary))


def _check_suffix(file: Path) -> None:
    if file.suffix not in (".pt", ".pth", ".safetensors"):
        raise LnncError(
            f"expected a name that ends in .pt or .safetensors, found '{file}'", "--output", "-o student.pt"
        )


def _write_safetensors(checkpoint: Checkpoint, temporary: Path) -> None:
    from safetensors.numpy import save_file

    document = checkpoint_document(checkpoint)
    tensors = document.pop("state_dict")
    if "inputs" in document["calibration"]:
        tensors[_CALIBRATION] = document.pop("calibration")["inputs"]
    save_file(tensors, str(temporary), metadata={"lnnc": json.dumps(document, sort_keys=True)})


def check_checkpoint_target(output: str, weights: str, calibration: str | None) -> None:
    """Refuse, once the weights can be read and before any work, a checkpoint that cannot be written or replaces them.

    Raises:
        LnncError: the weights cannot be read; an unknown suffix, a path that was read, or one that is not writable.
    """
    readable(weights, "give the path of the weights' file")
    _check_suffix(Path(output))
    check_not_same(output, weights, "the weights")
    if calibration is not None:
        check_not_same(output, calibration, "the calibration")
    check_target(Path(output))
