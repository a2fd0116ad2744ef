"""The only readers and writers of torch files. Always weights_only: nothing in a file is ever executed."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lnnc.errors import LnncError

_RESAVE = (
    "load it where its classes are trusted and save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
)


def read_torch(file: Path) -> Any:
    """The content of a torch file with tensors as NumPy arrays.

    Raises:
        LnncError: a pickled module (its classes are named, never run), a truncated file, or not a torch file.
    """
    try:
        document = torch.load(file, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise _refusal(file, error) from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise LnncError(
            f"not a readable torch file, perhaps truncated ({_first_line(error)})", str(file), "copy or save it again"
        ) from error
    return _to_numpy(document, str(file))


def _refusal(file: Path, error: Exception) -> LnncError:
    names = _unsafe_classes(file)
    if not names:
        return LnncError(f"not a readable torch file ({_first_line(error)})", str(file), "save it again")
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return LnncError(f"a pickled module, refused without running it; it names {shown}", str(file), _RESAVE)


def _unsafe_classes(file: Path) -> list[str]:
    """Names of the classes that a full unpickling would import."""
    if not zipfile.is_zipfile(file):
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))
    except Exception:  # a damaged pickle: the caller says that it is not readable
        return []


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _to_numpy(value: Any, where: str) -> Any:
    if isinstance(value, torch.Tensor):
        if value.is_sparse or value.is_quantized or value.is_complex():
            raise LnncError(f"a {value.layout} {value.dtype} tensor; expected dense real tensors", where)
        dense = value.detach()
        return (dense.float() if dense.dtype in (torch.bfloat16, torch.float16) else dense).numpy()
    if isinstance(value, Mapping):
        return {key: _to_numpy(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_numpy(item, where) for item in value]
    return value


def write_torch(document: dict[str, Any], file: Path) -> None:
    """Save plain types and arrays as a torch file that `weights_only=True` accepts."""
    with file.open("wb") as stream:  # given a path, torch would write its name into the bytes
        torch.save(_to_torch(document), stream)


def _to_torch(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))  # ascontiguousarray would turn () into (1,)
    if isinstance(value, dict):
        return {key: _to_torch(item) for key, item in value.items()}
    return [_to_torch(item) for item in value] if isinstance(value, list) else value
