"""Where the files that are not Python are found: templates, C runtime, firmware, examples.

The four folders stand at the top of the checkout and are installed as `lnnc.templates`, `lnnc.runtime_c`,
`lnnc.firmware` and `lnnc.examples`. Every function here works in a wheel, in an editable install and in a
checkout that is only on PYTHONPATH. A name that is not there is a bug of ours (or a broken installation),
hence FileNotFoundError and not `LnncError`.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def _folder(name: str) -> Path:
    """Return the folder installed as `lnnc.<name>`, or its original in the checkout around this package."""
    spec = find_spec(f"lnnc.{name}")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    beside = Path(__file__).resolve().parent.parent / name
    if beside.is_dir():
        return beside
    raise FileNotFoundError(f"lnnc is not installed completely: its folder '{name}' is missing")


def _file(folder: str, name: str) -> Path:
    """Return the path of one file of a folder; refuse names that lead out of it."""
    base = _folder(folder).resolve()
    path = (base / name).resolve()
    if not path.is_relative_to(base):
        raise FileNotFoundError(f"'{name}' is not inside lnnc's folder '{folder}'")
    if not path.exists():
        raise FileNotFoundError(f"lnnc's folder '{folder}' holds no '{name}'")
    return path


def template_dir() -> Path:
    """Return the folder of the jinja2 templates."""
    return _folder("templates")


def runtime_c(name: str) -> str:
    """Return the text of one file of the C runtime, e.g. `runtime_c("lnn_fixed.h")`."""
    return _file("runtime_c", name).read_text(encoding="utf-8")


def firmware_text(name: str) -> str:
    """Return the text of one firmware file, e.g. `firmware_text("harness/harness.c")`."""
    return _file("firmware", name).read_text(encoding="utf-8")


def firmware_names(folder: str) -> list[str]:
    """Return what a folder of the firmware holds, sorted: `firmware_names("arduino")` are the sketches."""
    return sorted(path.name for path in _file("firmware", folder).iterdir() if not path.name.startswith("."))


def example_path(name: str) -> Path:
    """Return the path of a file or folder of the examples, e.g. `example_path("soh/student.pt")`."""
    return _file("examples", name)
