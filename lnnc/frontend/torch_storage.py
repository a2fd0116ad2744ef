"""The only readers and writers of torch files. Always weights_only: nothing in a file is ever executed."""

from __future__ import annotations

import pickletools
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from lnnc.errors import LnncError
from lnnc.frontend.fields import ELEMENTS_MAX

_RESAVE = (
    "load it where its classes are trusted and save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
)
_SAVE_AGAIN = "copy or save it again: torch.save(model.state_dict(), 'weights.pth')"
DEPTH_MAX = 64  # a document nests five deep


def read_torch(file: Path) -> Any:
    """The content of a torch file with tensors as NumPy arrays.

    Raises:
        LnncError: a pickled module (its classes are named, never run), a truncated file, or not a torch file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats and protocols: what cannot be read is refused below
            document = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds; its own words would advise to load the file unsafely
        raise _refusal(file) from error
    return _to_numpy(document, str(file), "")


def _refusal(file: Path) -> LnncError:
    if _is_torchscript(file):
        return LnncError("a TorchScript archive, which holds code: refused without running it", str(file), _RESAVE)
    names = _unsafe_classes(file)
    if not names:
        return LnncError(f"not a readable torch file: {_looks_like(file)}", str(file), _SAVE_AGAIN)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return LnncError(f"a pickled module, refused without running it; it names {shown}", str(file), _RESAVE)


def _is_torchscript(file: Path) -> bool:
    try:
        return any(name.split("/")[-1] == "constants.pkl" for name in zipfile.ZipFile(file).namelist())
    except Exception:  # zipfile raises many kinds for damaged files; other files are no zip archive
        return False


def _looks_like(file: Path) -> str:
    """What the first bytes say of a file that torch cannot read."""
    with file.open("rb") as stream:
        head = stream.read(512)
        stream.seek(max(0, file.stat().st_size - 1024))
        tail = stream.read()
    if head.startswith(b"PK"):
        whole = b"PK\x05\x06" in tail
        return "a zip archive of something else, or damaged" if whole else "its end is missing (truncated?)"
    if head.startswith(b"\x80"):
        return "a damaged, truncated or foreign pickle"
    if head[8:9] == b"{":
        return "it looks like safetensors (name it .safetensors)"
    return "it is text" if head.isascii() and b"\0" not in head else "it begins like no torch file"


def _unsafe_classes(file: Path) -> list[str]:
    """Names of the classes and functions that a full unpickling would import."""
    try:
        if zipfile.is_zipfile(file):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))
        with file.open("rb") as stream:
            return sorted(name for name in set(_globals(stream)) if not _is_plain(name))
    except Exception:  # a damaged pickle: the caller says that it is not readable
        return []


def _is_plain(name: str) -> bool:
    """Whether weights alone need a global, in torch's format before 1.6."""
    return name == "collections.OrderedDict" or name.startswith(("torch._utils._rebuild_", "torch.storage"))


def _globals(stream: IO[bytes]) -> list[str]:
    """The globals that pickles standing one behind the other name; they are read as a list of opcodes, not run."""
    texts: list[str] = []
    found: list[str] = []
    try:
        while True:  # ends at the end of the file, or at tensor data: neither is a pickle
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    found.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # pickletools raises many kinds for damaged files
        return found


def _to_numpy(value: Any, where: str, name: str, depth: int = 0) -> Any:
    if depth > DEPTH_MAX:
        raise LnncError(f"'{name[:60]}' is nested deeper than {DEPTH_MAX} levels", where, "see docs/checkpoint.md")
    if isinstance(value, torch.Tensor):
        return _array(value, where, name)
    if isinstance(value, Mapping):
        return {key: _to_numpy(item, where, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_numpy(item, where, name, depth + 1) for item in value]
    return value


def _array(tensor: torch.Tensor, where: str, name: str) -> Any:
    """A dense real tensor as an array; half floats as float32."""
    kind = "" if tensor.layout == torch.strided else f"{tensor.layout} "
    odd = tensor.is_quantized or tensor.is_complex() or tensor.is_meta or tensor.is_nested
    if kind or odd:
        kind += "nested " * tensor.is_nested + "quantized " * tensor.is_quantized + "data-less " * tensor.is_meta
        raise LnncError(
            f"tensor '{name}': expected dense real numbers, found a {kind}tensor of {tensor.dtype}", where,
            "save float32 tensors: tensor.to_dense().float()",
        )  # fmt: skip
    if tensor.numel() > ELEMENTS_MAX:
        raise LnncError(
            f"tensor '{name}': expected at most {ELEMENTS_MAX} numbers, found shape {tuple(tensor.shape)}", where
        )
    dense = tensor.detach().resolve_neg()
    whole = dense.is_floating_point() and dense.dtype not in (torch.float32, torch.float64)
    return (dense.float() if whole else dense).numpy()


def write_torch(document: dict[str, Any], file: Path) -> None:
    """Save plain types and arrays as a torch file that `weights_only=True` accepts."""
    with file.open("wb") as stream:  # given a path, torch would write its name into the bytes
        torch.save(_to_torch(document), stream)


def _to_torch(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))  # ascontiguousarray would turn () into (1,)
    if isinstance(value, dict):
        return {_to_torch(key): _to_torch(item) for key, item in value.items()}
    if type(value) is str:
        return sys.intern(value)  # pickle writes a text once for each object: equal texts must be one
    return [_to_torch(item) for item in value] if isinstance(value, list) else value
