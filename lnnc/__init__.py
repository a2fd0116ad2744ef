"""lnnc: a compiler from trained liquid neural networks to bit-exact fixed-point C.

The names below are imported when first used, so that `import lnnc` (and `lnnc --help`) stays light:
torch, NumPy and jinja2 are loaded only by the parts that need them.

Example:
    >>> import lnnc
    >>> callable(lnnc.load_checkpoint)
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lnnc._version import __version__

# Public name -> module that defines it. To publish a name, add a line here.
_PUBLIC = {
    "Build": "lnnc.targets",
    "LnncError": "lnnc.errors",
    "Model": "lnnc.convert",
    "Options": "lnnc.pipeline",
    "EulerLtc": "lnnc.frontend.torch_cells",
    "Liquid": "lnnc.frontend.torch_cells",
    "compile_model": "lnnc.pipeline",
    "from_torch": "lnnc.convert",
    "import_ncps": "lnnc.convert",
    "load_checkpoint": "lnnc.frontend.storage",
    "save_checkpoint": "lnnc.frontend.storage",
    "run_model": "lnnc.pipeline",
    "verify_model": "lnnc.verification",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604  (the table above holds only str keys)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562) and keep it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lnnc' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names too, so that completion finds them."""
    return sorted({*globals(), *_PUBLIC})
