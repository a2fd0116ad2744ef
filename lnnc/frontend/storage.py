"""Reading and writing checkpoint files: `.pt` through torch (weights_only), `.safetensors` without torch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint, checkpoint_document, parse_checkpoint

_CALIBRATION = "calibration.inputs"


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint, `.pt` or `.safetensors`.

    Raises:
        LnncError: the file cannot be read, holds pickled code, or is not a version-1 checkpoint.
    """
    return parse_checkpoint(read_document(path), str(path))


def read_document(path: str | Path) -> Any:
    """The raw content of a file with tensors as NumPy arrays; nothing in it is executed."""
    file = Path(path)
    if not file.is_file():
        raise LnncError("no such file", str(path), "give the path of a .pt, .pth or .safetensors file")
    if file.stat().st_size == 0:
        raise LnncError("the file is empty", str(path), "save the model again")
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
        raise LnncError(f"not a readable safetensors file ({error})", str(file), "save it again") from error
    if "lnnc" not in metadata:
        return tensors
    try:
        document = json.loads(metadata["lnnc"])
    except json.JSONDecodeError as error:
        raise LnncError(f"its metadata 'lnnc' is not JSON ({error})", str(file)) from error
    if not isinstance(document, dict):
        raise LnncError("its metadata 'lnnc' is not a dictionary", str(file))
    inputs = tensors.pop(_CALIBRATION, None)
    if inputs is not None:
        document["calibration"] = {"inputs": inputs}
    return {**document, "state_dict": tensors}


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint, `.pt` or `.safetensors` by its suffix; the file appears whole or not at all."""
    file = Path(path)
    if file.suffix == ".safetensors":
        write_atomically(file, lambda temporary: _write_safetensors(checkpoint, temporary))
    elif file.suffix in (".pt", ".pth"):
        from lnnc.frontend.torch_storage import write_torch

        write_atomically(file, lambda temporary: write_torch(checkpoint_document(checkpoint), temporary))
    else:
        raise LnncError(f"unknown suffix '{file.suffix}'", str(path), "use .pt or .safetensors")


def _write_safetensors(checkpoint: Checkpoint, temporary: Path) -> None:
    from safetensors.numpy import save_file

    document = checkpoint_document(checkpoint)
    tensors = document.pop("state_dict")
    if "inputs" in document["calibration"]:
        tensors[_CALIBRATION] = document.pop("calibration")["inputs"]
    save_file(tensors, str(temporary), metadata={"lnnc": json.dumps(document, sort_keys=True)})


def write_atomically(file: Path, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary file beside `file`, then rename it.

    Raises:
        LnncError: the folder does not exist or cannot be written.
    """
    folder = file.parent
    if not folder.is_dir():
        raise LnncError(f"the folder '{folder}' does not exist", str(file), "create it, or choose another path")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=file.suffix, dir=folder)
    except OSError as error:
        raise LnncError(
            f"cannot write into '{folder}' ({error.strerror})", str(file), "choose a writable folder"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(file)
    except OSError as error:
        raise LnncError(f"cannot write ({error.strerror})", str(file), "choose a writable path") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
