"""What a file is, by its content; what cannot be imported is named, with the way out."""

from __future__ import annotations

import re
from pathlib import Path

from lnnc.data.hdf5 import is_hdf5, opened
from lnnc.errors import LnncError
from lnnc.files import readable, reason

KINDS = "MATR .mat (v7.3), CSV, Battery Data Format CSV, .npz, .npy"
SUFFIXES = (".mat", ".csv", ".tsv", ".txt", ".npz", ".npy")  # in a folder; a file that is named may end otherwise
_HEAD = 4096
_FOREIGN = (  # first bytes, what it is, what to do
    (b"MATLAB 5.0 MAT-file", "a .mat file of version 5 to 7 (the one scipy reads), expected version 7.3",
     "get the original batch files (lnnc data where); of other data, save the capacities as CSV or .npz"),
    (b"MATLAB 7.3 MAT-file", "a .mat file of version 7.3 whose HDF5 part is missing: truncated or damaged",
     "get the file again"),
    (b"\x80", "a Python pickle, which is never loaded because loading it runs code",
     "import the original .mat or CSV files, or save the capacities with numpy.savez"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gunzip"),
    (b"BZh", "compressed with bzip2", "unpack it first: bunzip2"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"PAR1", "a Parquet file", "save the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"%PDF", "a PDF", "give the data"),
)  # fmt: skip


def data_files(paths: tuple[str | Path, ...]) -> tuple[list[Path], list[str]]:
    """The files that are meant, those of a folder in natural order (2 before 10), and notes about what is left out.

    Raises:
        LnncError: nothing given, a folder without data files, or a folder that may not be read.
    """
    if not paths:
        raise LnncError("no file was given", "PATH", "lnnc data import *.mat -o soh.h5")
    files: list[Path] = []
    notes: list[str] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside, ignored = _folder(path)
        files += inside
        if ignored:
            notes.append(f"{path}: ignored {', '.join(ignored)}")
    return files, notes


def check_output(output: str | None, paths: tuple[str | Path, ...]) -> None:
    """Refuse, before any work, an output that is missing, of another kind, or one of the files that are read.

    Raises:
        LnncError: as said.
    """
    if output is None:
        raise LnncError("where shall the dataset go?", "--output", "-o soh.h5")
    if Path(output).suffix != ".h5":
        raise LnncError(f"expected a name that ends in .h5, found '{output}'", "--output", "-o soh.h5")
    for path in paths:
        if Path(output).exists() and Path(path).exists() and Path(output).samefile(path):
            raise LnncError(f"would overwrite '{path}', which is to be imported", "--output", "choose another path")


def _folder(path: Path) -> tuple[list[Path], list[str]]:
    try:
        entries = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=natural)
    except OSError as error:
        raise LnncError(f"cannot read the folder ({reason(error)})", str(path), "check its permissions") from error
    files = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if not files:
        raise LnncError(f"the folder holds no data file (it takes {', '.join(SUFFIXES)})", str(path), "check the path")
    return files, [entry.name for entry in entries if entry not in files]


def natural(path: Path) -> list[tuple[int, str]]:
    """A sorting key by which cell2 stands before cell10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def recognise(path: Path) -> str:
    """ "matr", "table" or "npz".

    Raises:
        LnncError: it cannot be read, or is of another kind, which is named.
    """
    file = readable(path, f"give a file of these kinds: {KINDS}")
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if is_hdf5(head):
        return _hdf5_kind(file)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(file)
    if head.startswith(b"\x93NUMPY"):
        return "npz"
    for start, what, hint in _FOREIGN:
        if head.startswith(start):
            raise LnncError(f"it is {what}", str(path), hint)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in head:
        return "table"
    old = " (perhaps a .mat file of version 4)" if file.suffix.lower() == ".mat" else ""
    raise LnncError(f"it is of no known kind{old}", str(path), f"give a file of these kinds: {KINDS}")


def _hdf5_kind(file: Path) -> str:
    with opened(file, "get the file again") as handle:
        keys = sorted(key for key in handle if not key.startswith("#"))
        known = "batch" in keys and "summary" in handle["batch"]
        ours = "sequences" in keys and "format" in handle.attrs
    if known:
        return "matr"
    if ours:
        raise LnncError("it is a dataset already", str(file), "use it as it is, or import its original files together")
    shown = ", ".join(keys[:8]) + (" ..." if len(keys) > 8 else "")
    hint = "give the original batch files (lnnc data where), or save the capacities as CSV or .npz"
    raise LnncError(f"expected the struct 'batch' with 'summary' of a MATR file, found: {shown or 'nothing'}",
                    str(file), hint)  # fmt: skip


def _zip_kind(file: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise LnncError(f"a truncated or damaged .npz or .zip file ({error})", str(file), "get it again") from error
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.startswith("xl/") for name in names):
        raise LnncError("it is an Excel workbook", str(file), "save the sheet as CSV")
    raise LnncError("it is a ZIP archive", str(file), "unpack it, and give the files or their folder")
