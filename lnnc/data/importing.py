"""From files to one dataset: recognise, read, join, mend, check. Nothing is written here, and no file is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lnnc._version import __version__
from lnnc.data.dataset import Dataset, Sequence, check_dataset
from lnnc.data.lives import about_lives, mended, state_of_health
from lnnc.data.matr import LICENCE, NOMINAL, read_matr
from lnnc.data.matr_rules import apply_rules
from lnnc.data.npz import read_npz
from lnnc.data.reading import ImportOptions, Reading
from lnnc.data.recognise import data_files, recognise
from lnnc.data.tables import read_table
from lnnc.errors import Findings, LnncError

UNSTATED = "not stated"
SYNTHETIC_LICENCE = "CC0-1.0 (synthetic)"


@dataclass
class _Haul:
    """Everything that was read, and every fault, each with its file."""

    readings: list[tuple[Path, Reading]] = field(default_factory=list)
    faults: list[tuple[Path, str, str]] = field(default_factory=list)  # file, fault, hint
    notes: list[str] = field(default_factory=list)


def import_data(paths: tuple[str | Path, ...], options: ImportOptions, step: Callable[[str], None] = print) -> Dataset:
    """Read files and folders into one dataset.

    Args:
        step: told the name of each file before it is read.

    Raises:
        LnncError: what could not be read, every fault of every file; a nominal capacity that must be given.
    """
    _check_options(options)
    haul = _read_all(paths, options, step)
    _refuse_faults(haul, options)
    readings = [reading for _, reading in haul.readings]
    _check_mixture(readings)
    sequences, rules = apply_rules(_unique(haul), options)
    report = [*haul.notes, *(note for reading in readings for note in reading.notes), *rules]
    report += [f"{s.name}: dropped: it holds no value" for s in sequences if not len(s.values)]
    sequences = [s for s in sequences if len(s.values)]
    if not options.columns:
        in_ah = {s.name for reading in readings if reading.unit == "Ah" for s in reading.sequences}
        sequences = mended(state_of_health(sequences, in_ah, options), options, report)
        report += about_lives(sequences)
    columns, units = (options.columns, readings[0].units) if options.columns else (("soh",), ("1",))
    dataset = Dataset(columns, units, tuple(sequences), _licence(haul, options), _provenance(haul, options),
                      tuple(report))  # fmt: skip
    return check_dataset(dataset, "import")


def _check_options(options: ImportOptions) -> None:
    found = Findings("import")
    if options.nominal is not None and not 0 < options.nominal < float("inf"):
        found.add(f"--nominal: expected a capacity in Ah above 0, found {options.nominal:g}")
    if options.nominal is not None and options.already_soh:
        found.add("--nominal and --already-soh contradict each other: SOH is not divided any more")
    if options.columns and (options.nominal is not None or options.already_soh or options.capacity_column):
        found.add("--columns keeps values as they are: it goes without --nominal, --already-soh, --capacity-column")
    if len(set(options.columns)) < len(options.columns) or "" in options.columns:
        found.add(f"--columns: expected names, each once, found {','.join(options.columns)}")
    if options.units and len(options.units) != len(options.columns):
        found.add(f"--units: expected one for each of --columns ({len(options.columns)}), found {len(options.units)}")
    found.raise_if_any()


def _read_all(paths: tuple[str | Path, ...], options: ImportOptions, step: Callable[[str], None]) -> _Haul:
    """Read every file; what fails is noted, and the rest goes on."""
    files, notes = data_files(paths)
    haul = _Haul(notes=notes)
    batches = list(options.batches)
    for file in files:
        step(str(file))
        try:
            reading = _read(file, options, batches)
        except LnncError as error:
            haul.faults.append((file, error.message, error.hint))
            continue
        haul.readings.append((file, reading))
        haul.faults += [(file, fault, "") for fault in reading.faults]
    if batches:
        used = len(options.batches) - len(batches)
        message = f"{len(options.batches)} batches are named for {used} MATR files that can be read"
        raise LnncError(message, "--batch", "name one batch for each .mat file, in their order")
    return haul


def _read(file: Path, options: ImportOptions, batches: list[int]) -> Reading:
    kind = recognise(file)
    if kind == "matr":
        if options.columns:
            raise LnncError("--columns does not apply to a MATR file", str(file), "leave the option out")
        if options.batches and not batches:
            raise LnncError("it has no --batch, though other files have", str(file), "name one for each .mat file")
        return read_matr(file, batches.pop(0) if batches else None)
    return read_npz(file, options) if kind == "npz" else read_table(file, options)


def _refuse_faults(haul: _Haul, options: ImportOptions) -> None:
    """Raise all faults together; with --skip-bad move them to the report."""
    if options.skip_bad:
        haul.notes += [f"{file}: LEFT OUT (--skip-bad): {fault}" for file, fault, _ in haul.faults]
        if haul.faults and not any(reading.sequences for _, reading in haul.readings):
            raise LnncError("nothing is left without the bad files", "--skip-bad", haul.faults[0][1])
        return
    if len(haul.faults) == 1:
        file, fault, hint = haul.faults[0]
        raise LnncError(fault, str(file), hint or "mend it, or leave it out with --skip-bad")
    found = Findings("import")
    for file, fault, hint in haul.faults:
        found.add(f"{file}: {fault}" + (f" ({hint})" if hint else ""))
    found.raise_if_any("mend these, or leave them out with --skip-bad; nothing was written")


def _check_mixture(readings: list[Reading]) -> None:
    """Measured cells beside synthetic ones would be taken for measured."""
    if len({reading.origin == "synthetic" for reading in readings}) > 1:
        raise LnncError("synthetic files and others are given together", "import", "import them into separate files")
    if len({reading.units for reading in readings}) > 1:
        listed = "; ".join(sorted({", ".join(reading.units) for reading in readings}))
        raise LnncError(f"the files have different units: {listed}", "import", "give --units for all")


def _unique(haul: _Haul) -> list[Sequence]:
    """All sequences, whose names must differ."""
    owners: dict[str, Path] = {}
    found = Findings("import")
    for file, reading in haul.readings:
        for sequence in reading.sequences:
            first = owners.setdefault(sequence.name, file)
            if first is not file:
                found.add(f"cell '{sequence.name}' is in {first} and in {file}")
    found.raise_if_any("give every cell once; rename files or cells that are different ones")
    return [sequence for _, reading in haul.readings for sequence in reading.sequences]


def _licence(haul: _Haul, options: ImportOptions) -> str:
    """As given; else that of the MATR or synthetic cells, where no others are there."""
    names = [s.name for _, reading in haul.readings for s in reading.sequences]
    if options.licence is not None:
        return options.licence
    if any(reading.origin == "synthetic" for _, reading in haul.readings):
        return SYNTHETIC_LICENCE
    return LICENCE if all(name.startswith("MATR_") for name in names) else UNSTATED


def _provenance(haul: _Haul, options: ImportOptions) -> tuple[tuple[str, str], ...]:
    """How the dataset was made: program, options that differ from their defaults, files with their sizes."""
    default = ImportOptions()
    lines = [("program", f"lnnc {__version__} data import")]
    if options.nominal is None and any(reading.unit == "Ah" for _, reading in haul.readings):
        lines.append(("nominal", f"{NOMINAL} Ah"))
    lines += [(key, str(value)) for key, value in vars(options).items() if value != getattr(default, key)]
    if any(reading.origin == "synthetic" for _, reading in haul.readings):
        lines.append(("synthetic", "made by lnnc data synth, no measurement"))
    return (*lines, *(("file", f"{file.name}, {file.stat().st_size} bytes") for file, _ in haul.readings))
