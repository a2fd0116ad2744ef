"""Generated files as what a build system takes: an Arduino or PlatformIO library, a CMake project, a Zephyr module.

Everything here is text from text. `lnnc.codegen.folder` writes it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from lnnc._version import __version__
from lnnc.codegen import c_text
from lnnc.codegen.emit import Files, Identity, fill
from lnnc.errors import LnncError
from lnnc.resources import firmware_names, firmware_text

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold

# Headers that others include by these names: a folder of ours on their include path would hide them, on a file system
# without case also from <SPI.h>.
_HEADERS = frozenset(
    [
        "assert",
        "complex",
        "ctype",
        "errno",
        "fenv",
        "float",
        "inttypes",
        "iso646",
        "limits",
        "locale",
        "math",
        "setjmp",
        "signal",
        "stdalign",
        "stdarg",
        "stdatomic",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "stdnoreturn",
        "string",
        "tgmath",
        "threads",
        "time",
        "uchar",
        "wchar",
        "wctype",
        "unistd",
        "pthread",
        "memory",
        "arduino",
        "wprogram",
        "wire",
        "spi",
        "eeprom",
    ]
)
_CMAKE_TARGETS = frozenset(
    [
        "all",
        "all_build",
        "clean",
        "edit_cache",
        "help",
        "install",
        "package",
        "package_source",
        "preinstall",
        "rebuild_cache",
        "run_tests",
        "test",
        "zero_check",
        "c",
        "m",
        "dl",
        "rt",
        "pthread",
    ]
)
_INCLUDE = re.compile(r'^(\s*#\s*include\s*[<"])lnn(_\w+)?(\.h[>"])', re.MULTILINE)


def bundle(files: Files, identity: Identity, layout: str, folder: str) -> dict[str, str]:
    """A layout as {path in the folder: text}, sorted. The same arguments give the same texts.

    Args:
        layout: one of `lnnc.targets.FOLDERS`.
        folder: the name of the folder, for what its README says.

    Raises:
        LnncError: a name that the build system keeps for itself.
    """
    check_bundle_name(identity.name, identity.stem, layout)
    values = _values(files, identity, layout, folder)
    made = {}
    for path, origin in contents(layout, identity.stem).items():
        kind, _, name = origin.partition(":")
        if kind == "files":
            made[path] = str(getattr(files, name))
        elif kind == "firmware":
            made[path] = named(firmware_text(name), identity.name, identity.stem)
        else:
            made[path] = fill(name, values)
    return dict(sorted(made.items()))


def contents(layout: str, stem: str) -> dict[str, str]:
    """What a layout holds, {path: origin}: a field of `Files`, a file of the firmware, or a template."""
    headers = "src" if layout == "arduino" else "include"  # verify finds a pair beside each other and so
    parts = {
        f"src/{stem}.c": "files:source",
        f"{headers}/{stem}.h": "files:header",
        f"src/{stem}_golden.h": "files:golden",
        "LICENSE": "template:layout/LICENSE.j2",
        "README.md": f"template:{layout}/README.md.j2",
    }
    return parts | _particular(layout, stem)


def _particular(layout: str, stem: str) -> dict[str, str]:
    """What only this layout holds."""
    if layout == "cmake":
        return _templates("cmake", "CMakeLists.txt") | {f"test/{stem}_test.c": "template:cmake/test.c.j2"}
    if layout == "zephyr":
        module = {"zephyr/module.yml": "template:zephyr/module.yml.j2"}
        return _templates("zephyr", "CMakeLists.txt", "Kconfig") | module
    parts = {f"src/{stem}_selftest.c": "files:selftest"} | _templates("platformio", "library.json")
    parts |= {f"examples/{name}/{name}.ino": f"firmware:arduino/{name}/{name}.ino" for name in sketches(layout)}
    if layout == "arduino":
        parts |= _templates("arduino", "library.properties", "keywords.txt")
        parts |= {f"src/{stem}{name.removeprefix('lnn')}": f"firmware:device/{name}" for name in _device()}
    return parts


def _templates(folder: str, *names: str) -> dict[str, str]:
    return {name: f"template:{folder}/{name}.j2" for name in names}


def _device() -> list[str]:
    """The files with which a computer drives the model on a board, where lnnc has them."""
    return firmware_names("device") if "device" in firmware_names("") else []


def sketches(layout: str) -> list[str]:
    """The examples of a layout."""
    if layout == "arduino":
        return firmware_names("arduino")
    return ["Forecast", "SelfTest"] if layout == "platformio" else []


def named(text: str, name: str, stem: str) -> str:
    """Firmware written against a model `lnn`, for one whose names begin with `name` and whose files with `stem`."""
    renamed = c_text.rename(_INCLUDE.sub(r"\g<1>\0\g<2>\g<3>", text), name)
    return renamed.replace("\0", stem)


def check_bundle_name(name: str, stem: str, layout: str) -> None:
    """Refuse names that would hide a header, or that a build system keeps for itself.

    Raises:
        LnncError: with what to choose instead.
    """
    if stem.lower() in _HEADERS:
        raise LnncError(f"its header '{stem}.h' would hide another of this name", "--name", "--name soh")
    if layout == "arduino" and stem.lower().startswith("arduino"):
        raise LnncError("libraries whose names begin with 'arduino' are Arduino's own", "--name", "--name soh")
    if layout == "cmake" and name.lower() in _CMAKE_TARGETS:
        raise LnncError(f"CMake has a target or library '{name}' already", "--name", "--name soh")


def _values(files: Files, identity: Identity, layout: str, folder: str) -> dict[str, object]:
    name = identity.name
    types, functions, macros = public_names(files.header, name)
    return {
        "name": name, "NAME": name.upper(), "stem": identity.stem, "folder": folder, "version": __version__,
        "digest": identity.digest, "summary": c_text.comment(identity.summary), "facts": facts(files.header),
        "description": f"{name}, a trained neural network in fixed-point C, generated by lnnc",
        "source": f"{folder}/src/{identity.stem}.c", "time": f"define {name.upper()}_DT_FRAC" in files.header,
        "types": types, "functions": functions, "macros": macros,
        "sketches": [{"name": sketch, "about": about(sketch)} for sketch in sketches(layout)],
    }  # fmt: skip


def facts(header: str) -> list[str]:
    """What the banner of a header says of its model: the lines between its first two empty ones."""
    return [line.removeprefix(" * ") for line in header.split("\n *\n")[1].splitlines()]


def public_names(header: str, name: str) -> tuple[list[str], list[str], list[str]]:
    """Types, functions and macros that a header defines, sorted."""
    macros = set(re.findall(rf"^#define ({name.upper()}_\w+) ", header, re.MULTILINE))
    types = set(re.findall(rf"^}} ({name}_\w+);", header, re.MULTILINE))
    functions = set(re.findall(rf"^(?:\w+ )+({name}_\w+)\(", header, re.MULTILINE))
    return sorted(types), sorted(functions), sorted(macros)


def about(sketch: str) -> str:
    """The first line of a sketch, which says what it is for."""
    return firmware_text(f"arduino/{sketch}/{sketch}.ino").partition("\n")[0].removeprefix("/* ")


def zipped(texts: Mapping[str, str], folder: str) -> bytes:
    """A layout as a zip that holds its folder. Nothing is compressed: compressors differ, bytes may not."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, text in sorted(texts.items()):
            entry = zipfile.ZipInfo(str(PurePosixPath(folder, path)), ZIP_DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, text.encode("ascii"))
    return buffer.getvalue()
