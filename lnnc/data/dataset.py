"""Sequences with their names, units, licence and history; one canonical HDF5 file holds them all.

/                 format = "lnnc-sequences", version, licence, digest (attributes)
/columns, /units  texts (C,)
/provenance       texts (P, 2): what, value
/report           texts: every drop, repair and changed sample
/sequences/000000 float64 (T, C), attributes name and source; numbered in order
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnnc.data.hdf5 import h5py_module, is_hdf5, opened
from lnnc.errors import Findings, LnncError
from lnnc.files import readable, write_atomically

Array = NDArray[np.float64]
FORMAT, VERSION = "lnnc-sequences", 1
_MAKE = "make it with `lnnc data import`"


@dataclass(frozen=True, eq=False)
class Sequence:
    """One cell's life, one run of a machine.

    Args:
        name: unique in its dataset.
        values: (T, C) float64, one row for each cycle or sample, finite.
        source: the file it came from.
    """

    name: str
    values: Array
    source: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Sequences with the same columns, and what became of the data on the way here.

    Args:
        columns: names of the C columns; of a battery ("soh",).
        units: their units, ("1",) for a ratio.
        sequences: at least one.
        licence: of the data.
        provenance: (what, value) pairs: how it was made.
        report: one line for every drop, repair and changed sample.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    sequences: tuple[Sequence, ...]
    licence: str
    provenance: tuple[tuple[str, str], ...]
    report: tuple[str, ...]

    def digest(self) -> str:
        """The sha256 of columns, names and values, in order; 64 hexadecimal digits."""
        names = [(s.name, s.values.shape) for s in self.sequences]
        state = hashlib.sha256(json.dumps([self.columns, names]).encode())
        for sequence in self.sequences:
            state.update(np.ascontiguousarray(sequence.values, dtype="<f8").tobytes())
        return state.hexdigest()


def _digest_of_texts(dataset: Dataset) -> str:
    """The sha256 of everything that `digest` leaves out."""
    sources = [s.source for s in dataset.sequences]
    texts = [dataset.units, dataset.licence, dataset.provenance, dataset.report, sources]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def check_dataset(dataset: Dataset, where: str) -> Dataset:
    """The dataset, if it keeps what its fields promise.

    Raises:
        LnncError: names that are empty or twice there, a value that is not finite, a shape that does not fit.
    """
    found = Findings(where)
    for what, names in (("column", dataset.columns), ("sequence", tuple(s.name for s in dataset.sequences))):
        _check_names(what, names, found)
    if len(dataset.units) != len(dataset.columns):
        found.add(f"{len(dataset.columns)} columns have {len(dataset.units)} units, expected one for each")
    for sequence in dataset.sequences:
        _check_values(sequence, len(dataset.columns), found)
    found.raise_if_any(_MAKE)
    return dataset


def _check_names(what: str, names: tuple[str, ...], found: Findings) -> None:
    if not names:
        found.add(f"it holds no {what}")
    if "" in names:
        found.add(f"a {what} has no name")
    for name in sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        found.add(f"two {what}s are named '{name}'")


def _check_values(sequence: Sequence, width: int, found: Findings) -> None:
    values = sequence.values
    if values.ndim != 2 or values.shape[1] != width or not len(values):
        found.add(f"sequence '{sequence.name}': expected values of shape (T, {width}), found {values.shape}")
    elif values.dtype != np.float64:
        found.add(f"sequence '{sequence.name}': expected float64, found {values.dtype}")
    elif not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0].tolist()
        count = np.count_nonzero(~np.isfinite(values))
        found.add(f"sequence '{sequence.name}': {count} NaN or Inf, the first in row {row}, column {column}")


def save_dataset(dataset: Dataset, path: str | Path) -> None:
    """Write the canonical HDF5 file; it appears whole or not at all, and the same dataset gives the same bytes.

    Raises:
        LnncError: the dataset is not valid, the path cannot be written, or h5py is missing.
    """
    check_dataset(dataset, str(path))
    h5py = h5py_module()

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            _fill(file, dataset)

    write_atomically(Path(path), write)


def _fill(file: Any, dataset: Dataset) -> None:
    """Texts have a fixed length: those of variable length stand in a heap on which the HDF5 library, damaged, hangs."""
    texts = {"format": FORMAT, "licence": dataset.licence, "digest": dataset.digest()}
    texts["digest_of_texts"] = _digest_of_texts(dataset)
    file.attrs.update({"version": VERSION, **{key: np.bytes_(text.encode()) for key, text in texts.items()}})
    for key in ("columns", "units", "report", "provenance"):
        file[key] = np.char.encode(np.array(getattr(dataset, key), dtype=np.str_), "utf-8")
    group = file.create_group("sequences")
    for index, sequence in enumerate(dataset.sequences):
        values = group.create_dataset(f"{index:06d}", data=sequence.values)
        values.attrs["name"] = np.bytes_(sequence.name.encode())
        values.attrs["source"] = np.bytes_(sequence.source.encode())


def load_dataset(path: str | Path) -> Dataset:
    """Read and check a canonical HDF5 file.

    Raises:
        LnncError: no such file, another format or version, a damaged file, or values that do not match their digest.
    """
    file = readable(path, "give the .h5 file that `lnnc data import` wrote")
    with file.open("rb") as stream:
        if not is_hdf5(stream.read(4096)):
            raise LnncError("it is not an HDF5 file", str(path), _MAKE)
    with opened(file, f"{_MAKE} again") as handle:
        _check_header(handle, str(path))
        dataset = _parsed(handle)
        digests = [_text(handle.attrs[key]) for key in ("digest", "digest_of_texts")]
    check_dataset(dataset, str(path))
    if digests != [dataset.digest(), _digest_of_texts(dataset)]:
        raise LnncError("its content does not match its digest: it was damaged or edited", str(path), f"{_MAKE} again")
    return dataset


def _check_header(handle: Any, where: str) -> None:
    if handle.attrs.get("format") != FORMAT.encode():
        raise LnncError("it is an HDF5 file, but none with sequences of lnnc", where, _MAKE)
    version = handle.attrs.get("version")
    if version != VERSION:
        hint = f"{_MAKE} of this version, or use the lnnc that wrote it"
        raise LnncError(f"expected version {VERSION} of the format, found {version}", where, hint)


def _parsed(handle: Any) -> Dataset:
    group = handle["sequences"]
    parts = (group[key] for key in sorted(group))
    return Dataset(
        columns=_texts(handle["columns"]),
        units=_texts(handle["units"]),
        sequences=tuple(Sequence(_text(part.attrs["name"]), part[()], _text(part.attrs["source"])) for part in parts),
        licence=_text(handle.attrs["licence"]),
        provenance=tuple((_text(what), _text(value)) for what, value in handle["provenance"][()].reshape(-1, 2)),
        report=_texts(handle["report"]),
    )


def _texts(dataset: Any) -> tuple[str, ...]:
    return tuple(_text(text) for text in dataset[()])


def _text(value: bytes) -> str:
    return value.decode("utf-8")
