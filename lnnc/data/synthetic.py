"""Batch files with the shape and the traps of the MATR data, and with invented cells: for tests and for trying things.

The fade of a cell with life L (cycles), n = 1, 2, ...:

    SOH(n) = s0 + 0.004 (1 - e^(-n/40)) - 0.05 n/L - 0.14 e^((n - L) / (0.09 L)) + noise

that is a small rise, a slow decline and a knee. No number in it is a measurement or fitted to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.data.dataset import Array
from lnnc.data.hdf5 import h5py_module
from lnnc.data.matr import BATCHES, NOMINAL, SYNTHETIC
from lnnc.data.matr_rules import CONTINUED, NOISY, READ, UNFINISHED
from lnnc.errors import LnncError
from lnnc.files import write_atomically

DATES = {number: f"{d[:4]}-{d[4:6]}-{d[6:]}" for d, number in BATCHES.items() if number in READ}
USER_BLOCK = 512
SUMMARY = ("IR", "QCharge", "QDischarge", "Tavg", "Tmin", "Tmax", "chargetime", "cycle")
CYCLE = ("I", "Qc", "Qd", "Qdlin", "T", "Tdlin", "V", "discharge_dQdV", "t")
LABEL = "SYNTHETIC, made by lnnc data synth, no measurement"


@dataclass(frozen=True, eq=False)
class SyntheticCell:
    """An invented cell: capacities in Ah, or None for an empty array; the number of its first cycle."""

    capacity: Array | None
    first: int = 1


def synthetic_cells(batch: int, count: int | None = None, seed: int = 0) -> list[SyntheticCell]:
    """The first `count` cells of a batch (None: as many as the real one has), each depending on the seed alone.

    Raises:
        LnncError: no such batch or count.
    """
    if batch not in READ:
        raise LnncError(f"expected 1, 2 or 3, found {batch}", "--batch", "--batch 1")
    count = READ[batch] if count is None else count
    if not 1 <= count <= READ[batch]:
        raise LnncError(f"expected 1 ... {READ[batch]} for batch {batch}, found {count}", "--cells", "--cells 10")
    return [_cell((batch, index), seed) for index in range(count)]


def _cell(cell: tuple[int, int], seed: int) -> SyntheticCell:
    """One cell with what goes wrong in the real one of this number."""
    beginning = CONTINUED.get(cell, cell)
    capacity = _life(beginning, seed)
    part = int(0.6 * len(capacity))
    if cell in CONTINUED:  # its cycles count from 1 again
        return SyntheticCell(capacity[part:])
    if cell in CONTINUED.values() or cell in UNFINISHED:
        capacity = capacity[:part]
    batch, index = cell
    whole = SyntheticCell(_spoilt(capacity, index), 2 if batch == 1 else 1)  # the real first cycles are missing
    return replace(whole, capacity=None) if cell == (1, 22) else whole


def _life(cell: tuple[int, int], seed: int) -> Array:
    """Capacities in Ah to the first one below 80 %."""
    rng = np.random.default_rng([seed, *cell])
    life = 148.0 if cell == (2, 1) else float(np.clip(rng.lognormal(6.6, 0.5), 300.0, 2200.0))
    n = np.arange(1, int(1.1 * life) + 1)
    start = 0.975 + 0.005 * rng.standard_normal()
    fade = 0.004 * (1 - np.exp(-n / 40)) - 0.05 * n / life - 0.14 * np.exp((n - life) / (0.09 * life))
    noise = (0.006 if cell in NOISY else 0.0003) * rng.standard_normal(len(n))
    soh = start + fade + noise + 0.0006 * np.sin(n / 45 + 6 * rng.random())
    return np.asarray(NOMINAL * soh[: int(np.argmax(soh < 0.8)) + 1])


def _spoilt(capacity: Array, index: int) -> Array:
    """What the first or the last sample can be: zero, a spike, NaN."""
    spoilt = capacity.copy()
    if index % 5 == 0:
        spoilt[0] = 0.0
    if index % 5 == 1:
        spoilt[0] *= 1.7
    if index % 7 == 3:
        spoilt[-1] = np.nan
    if index % 7 == 5:
        spoilt[len(spoilt) // 2] *= 0.8
    return spoilt


def write_batch(path: str | Path, batch: int, cells: Sequence[SyntheticCell]) -> None:
    """Write cells as MATLAB v7.3 writes a batch; the file appears whole or not at all.

    Raises:
        LnncError: the path cannot be written, or its name does not say that the data are synthetic.
    """
    file = Path(path)
    if "synthetic" not in file.name.lower() or file.suffix != ".mat":
        message = f"expected a name with 'synthetic' that ends in .mat, found '{file.name}'"
        raise LnncError(message, "--output", f"-o synthetic_{file.stem}.mat: nobody shall take it for measured data")

    def write(temporary: Path) -> None:
        with h5py_module().File(temporary, "w", userblock_size=USER_BLOCK) as handle:
            _Writer(handle).batch(batch, cells)
        with temporary.open("r+b") as stream:
            stream.write(_user_block())

    write_atomically(file, write)


def _user_block() -> bytes:
    """MATLAB's header: 116 bytes of text, 8 bytes 0, version 0x0200, the byte order mark IM."""
    text = f"MATLAB 7.3 MAT-file, {LABEL}, HDF5 schema 1.00 ."
    return text.encode("ascii").ljust(116) + bytes(8) + b"\x00\x02IM" + bytes(USER_BLOCK - 128)


class _Writer:
    """Writes arrays and structs as MATLAB does: what a field refers to stands in the group #refs#."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.refs = handle.create_group("#refs#")

    def batch(self, batch: int, cells: Sequence[SyntheticCell]) -> None:
        """The struct array `batch`, and its date."""
        group = self.handle.create_group("batch")
        group.attrs.update({"MATLAB_class": np.bytes_("struct"), SYNTHETIC: LABEL})
        samples = self._array(np.linspace(0, 1, 10)[None])
        columns: dict[str, list[Any]] = {}
        for index, cell in enumerate(cells):
            for field, link in self._fields(batch, index, cell, samples).items():
                columns.setdefault(field, []).append(link)
        for field, links in sorted(columns.items()):
            self._links(group, field, links)
        date = self.handle.create_dataset("batch_date", data=_characters(DATES[batch]))
        date.attrs.update({"MATLAB_class": np.bytes_("char"), "MATLAB_int_decode": np.int32(2)})

    def _fields(self, batch: int, index: int, cell: SyntheticCell, samples: Any) -> dict[str, Any]:
        """References of one cell's fields."""
        count = 0 if cell.capacity is None else len(cell.capacity)
        policy = f"{LABEL.split(',')[0]} {3 + 0.1 * index:.1f}C"
        return {
            "summary": self._summary(cell),
            "cycles": self._cycles(count, samples),
            "cycle_life": self._array(np.array([[np.nan if index % 4 == 0 else count + 1.0]])),
            "policy": self._text(policy),
            "policy_readable": self._text(policy),
            "barcode": self._empty() if index == 0 else self._text(f"SYNTHETIC-b{batch}c{index}"),
            "channel_id": self._array(np.array([[index + 1.0]])),
            "Vdlin": self._array(np.linspace(3.6, 2.0, 10)[None]),
        }

    def _summary(self, cell: SyntheticCell) -> Any:
        group = self._struct()
        for field in SUMMARY:
            if cell.capacity is None:
                self._fill_empty(group, field)
                continue
            row = np.arange(cell.first, cell.first + len(cell.capacity), dtype=float)
            values = {"cycle": row, "QDischarge": cell.capacity}.get(field, np.full(len(row), 0.5))
            self._fill(group, field, values[None])
        return group.ref

    def _cycles(self, count: int, samples: Any) -> Any:
        """Every field is the same list: the first cycle refers to an empty array, all others to the same samples."""
        group = self._struct()
        self._links(group, CYCLE[0], [self._empty(), *[samples] * max(count - 1, 0)])
        for field in CYCLE[1:]:
            group[field] = group[CYCLE[0]]
        return group.ref

    def _struct(self) -> Any:
        group = self.refs.create_group(self._name())
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        return group

    def _name(self) -> str:
        return f"r{len(self.refs):06d}"

    def _links(self, group: Any, field: str, links: list[Any]) -> None:
        h5py = h5py_module()
        dataset = group.create_dataset(field, (len(links), 1), dtype=h5py.ref_dtype)
        dataset[:, 0] = np.array(links, dtype=h5py.ref_dtype)

    def _fill(self, group: Any, name: str, values: Array) -> Any:
        dataset = group.create_dataset(name, data=values)
        dataset.attrs["MATLAB_class"] = np.bytes_("double")
        return dataset.ref

    def _array(self, values: Array) -> Any:
        return self._fill(self.refs, self._name(), values)

    def _fill_empty(self, group: Any, name: str) -> Any:
        """An array of 0 x 0: its dimensions, marked as such."""
        dataset = group.create_dataset(name, data=np.zeros(2, np.uint64))
        dataset.attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_empty": np.uint8(1)})
        return dataset.ref

    def _empty(self) -> Any:
        return self._fill_empty(self.refs, self._name())

    def _text(self, text: str) -> Any:
        dataset = self.refs.create_dataset(self._name(), data=_characters(text))
        dataset.attrs.update({"MATLAB_class": np.bytes_("char"), "MATLAB_int_decode": np.int32(2)})
        return dataset.ref


def _characters(text: str) -> Any:
    return np.array([ord(c) for c in text], dtype=np.uint16)[:, None]
