"""NumPy archives: one array for each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lnnc.data.dataset import Array, Sequence
from lnnc.data.reading import ImportOptions, Reading
from lnnc.errors import LnncError


def read_npz(file: Path, options: ImportOptions) -> Reading:
    """Every array of a .npz file as one sequence, named by its key; the array of a .npy file, named by the file.

    Raises:
        LnncError: the file is truncated or damaged.
    """
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays: dict[str, Any] = {file.stem: loaded} if isinstance(loaded, np.ndarray) else dict.fromkeys(loaded)
    except Exception as error:  # numpy and zipfile raise many kinds on a damaged file
        raise LnncError("truncated or damaged, or it holds pickled objects, which are never loaded", str(file),
                        "save numbers with numpy.savez") from error  # fmt: skip
    if not arrays:
        raise LnncError("it holds no array", str(file), "save one array for each cell with numpy.savez")
    sequences: list[Sequence] = []
    faults: list[str] = []
    for name in arrays:
        try:
            array = arrays[name] if arrays[name] is not None else loaded[name]
            sequences.append(Sequence(name, _values(array, options), file.name))
        except ValueError as error:
            faults.append(f"array '{name}': {str(error)[:160]}")
        except Exception:  # as above
            faults.append(f"array '{name}': truncated or damaged")
    unit = "" if options.columns else "1" if options.already_soh else "Ah"
    units = options.units or tuple("1" for _ in options.columns)
    return Reading("npz", tuple(sequences), unit, tuple(faults), (), units)


def _values(array: Any, options: ImportOptions) -> Array:
    """(T, C) float64.

    Raises:
        ValueError: no numbers, or another shape.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers, found {array.dtype}")
    width = len(options.columns) or 1
    values = array.reshape(-1, 1) if width == 1 and array.size == max(array.shape, default=0) else array
    if values.ndim != 2 or values.shape[1] != width or not len(values):
        expected = f"(T, {width})" if options.columns else "(T,)"
        raise ValueError(f"expected shape {expected}, found {array.shape}")
    values = values.astype(np.float64)
    if options.columns and not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ValueError(f"row {row}, column {column}: expected a finite number, found {values[row, column]}")
    return np.asarray(values)
