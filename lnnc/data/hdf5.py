"""Opening HDF5 files: what is no HDF5 file, or a broken one, is said in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError
from lnnc.files import reason

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, OverflowError,
           MemoryError, NotImplementedError)  # fmt: skip


def h5py_module() -> Any:
    """The module h5py.

    Raises:
        LnncError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise LnncError("HDF5 files need h5py, which is not installed", "h5py", "pip install 'lnnc[train]'") from error
    return h5py


@contextmanager
def opened(file: Path, hint: str) -> Iterator[Any]:
    """The file open for reading; whatever h5py finds broken in it, now or in the block, becomes an `LnncError`.

    Raises:
        LnncError: h5py cannot open or decode it.
    """
    h5py = h5py_module()
    try:
        with h5py.File(file, "r") as handle:
            yield handle
    except LnncError:
        raise
    except _BROKEN as error:  # h5py raises any of these on a damaged file
        what = "truncated" if "truncated" in str(error) else "damaged"
        raise LnncError(f"the HDF5 file is {what} ({_short(error)})", str(file), hint) from error


def _short(error: Exception) -> str:
    text = reason(error).strip("'\"")
    return text if len(text) <= 160 else text[:157] + "..."


def is_hdf5(head: bytes) -> bool:
    """Whether the first bytes of a file hold the signature of HDF5, at its start or after a user block of MATLAB."""
    return any(head[offset : offset + len(SIGNATURE)] == SIGNATURE for offset in (0, 512, 1024, 2048))
