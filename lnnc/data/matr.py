"""The original files of the MIT-Stanford cells ("MATR"): MATLAB v7.3, that is HDF5 after a user block of 512 bytes.

    /batch/summary                     (N, 1) references, one for each cell (a group itself where N = 1)
    -> group with QDischarge, cycle    (1, N_cycles) float64
    /batch_date                        (N, 1) uint16 characters, where present

Nothing else is read: what the capacities need are kilobytes out of gigabytes.
Source: Severson et al., Nature Energy 4 (2019) 383; the published batch files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.data.dataset import Array, Sequence
from lnnc.data.hdf5 import h5py_module, opened
from lnnc.data.reading import Reading, in_order
from lnnc.errors import LnncError

BATCHES = {"20170512": 1, "20170630": 2, "20180412": 3, "20190124": 4}
NOMINAL = 1.1  # Ah
LICENCE = "CC BY 4.0"
SYNTHETIC = "synthetic"  # attribute of /batch in files that `lnnc data synth` makes
CELLS_MAX, CYCLES_MAX = 10_000, 1_000_000  # far beyond every file: a larger size is a damaged one


class _Fault(Exception):
    """A cell that cannot be read, and why."""


def read_matr(file: Path, batch: int | None = None) -> Reading:
    """Discharge capacities in Ah of every cell of one batch file, as they are; a cell without data has no rows.

    Args:
        batch: number of the batch; None: by the date in the file, else in its name.

    Raises:
        LnncError: a truncated or damaged file, or one without the expected parts.
    """
    with opened(file, "get the file again (lnnc data where)") as handle:
        synthetic = SYNTHETIC in handle["batch"].attrs
        number = batch or BATCHES.get(_date(handle)) or BATCHES.get(_digits(file.name))
        prefix = _prefix(file, number, synthetic)
        sequences, faults, notes = _cells(handle, file, prefix)
    if number is None:
        notes.append(f"{file.name}: neither the file nor its name tells the batch: nothing is joined or left out")
    if synthetic:
        notes.append(f"{file.name}: SYNTHETIC cells made by lnnc, no measurement")
    return Reading("synthetic" if synthetic else "MATR", tuple(sequences), "Ah", tuple(faults), tuple(notes))


def _prefix(file: Path, number: int | None, synthetic: bool) -> str:
    """What the index of a cell is appended to: "MATR_b1c" as in BatteryML, or the file's name."""
    origin = "synthetic" if synthetic else "MATR"
    return f"{origin}_b{number}c" if number else f"{origin}_{file.stem}_c"


def _digits(name: str) -> str:
    """A date as 8 digits out of 2017-05-12_batchdata... or MATR_batch_20170512."""
    found = re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", name)
    return "".join(found.groups()) if found else ""


def _date(handle: Any) -> str:
    return _digits(matlab_text(handle["batch_date"])) if "batch_date" in handle else ""


def matlab_text(dataset: Any) -> str:
    """The text of a uint16 array; "" of anything else."""
    if is_empty(dataset) or dataset.dtype != np.uint16 or dataset.size > 1000:
        return ""
    return "".join(map(chr, dataset[()].ravel()))


def is_empty(dataset: Any) -> bool:
    """Whether MATLAB's array is empty: then its dimensions stand in place of its values."""
    return bool(np.any(dataset.attrs.get("MATLAB_empty", 0)))


def _cells(handle: Any, file: Path, prefix: str) -> tuple[list[Sequence], list[str], list[str]]:
    sequences: list[Sequence] = []
    faults: list[str] = []
    notes: list[str] = []
    for index, link in enumerate(_links(handle, file)):
        name = f"{prefix}{index}"
        try:
            values, said = _capacity(handle, link, name)
        except _Fault as fault:
            faults.append(f"batch/summary[{index},0]: {fault}")
            continue
        notes += said
        sequences.append(Sequence(name, values, file.name))
    return sequences, faults, notes


def _links(handle: Any, file: Path) -> list[Any]:
    """References to the summaries of the cells, or their one group."""
    h5py = h5py_module()
    summary = handle["batch"]["summary"]
    if isinstance(summary, h5py.Group):
        return [summary]
    if h5py.check_ref_dtype(summary.dtype) is not h5py.Reference:
        hint = "give the original batch files: lnnc data where"
        raise LnncError(f"batch/summary: expected object references, found {summary.dtype}", str(file), hint)
    if not 1 <= summary.size <= CELLS_MAX or is_empty(summary):
        raise LnncError(f"batch/summary: it holds no cell (shape {summary.shape})", str(file), "get the file again")
    return list(summary[()].ravel())


def _capacity(handle: Any, link: Any, name: str) -> tuple[Array, list[str]]:
    """Capacities (T, 1) in the order of cycles, T = 0 of an empty cell; notes."""
    h5py = h5py_module()
    try:
        group = link if isinstance(link, h5py.Group) else handle[link]
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise _Fault("the reference leads nowhere") from error
    if not isinstance(group, h5py.Group) or "QDischarge" not in group:
        raise _Fault("expected a struct with QDischarge and cycle")
    if is_empty(group["QDischarge"]):
        return np.zeros((0, 1)), []
    capacity = _numbers(group, "QDischarge")
    if "cycle" not in group:
        return capacity[:, None], [f"{name}: no cycle numbers: its cycles are taken as 1, 2, 3 ..."]
    cycles = _numbers(group, "cycle")
    if len(cycles) != len(capacity):
        raise _Fault(f"{len(capacity)} values of QDischarge, but {len(cycles)} of cycle")
    if not (np.isfinite(cycles) & (cycles == np.round(cycles))).all():
        bad = int(np.flatnonzero(~(np.isfinite(cycles) & (cycles == np.round(cycles))))[0])
        raise _Fault(f"cycle[0,{bad}]: expected a whole number, found {cycles[bad]:g}")
    return in_order(name, cycles, capacity[:, None])


def _numbers(group: Any, key: str) -> Array:
    """A row or column of numbers as (T,) float64."""
    dataset = group[key]
    if not isinstance(dataset, h5py_module().Dataset) or dataset.dtype.kind not in "fiu":
        raise _Fault(f"{key}: expected numbers")
    if is_empty(dataset):
        raise _Fault(f"{key}: it is empty (MATLAB_empty)")
    if dataset.size != max(dataset.shape, default=0) or not 1 <= dataset.size <= CYCLES_MAX:
        raise _Fault(f"{key}: expected shape (1, N), found {dataset.shape}")
    try:
        return np.asarray(dataset[()], dtype=np.float64).ravel()
    except (OSError, ValueError, RuntimeError) as error:
        raise _Fault(f"{key}: cannot be read ({str(error)[:80]})") from error
