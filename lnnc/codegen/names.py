"""Names that generated C may carry."""

from __future__ import annotations

import re

from lnnc.errors import LnncError
from lnnc.ir.reserved import is_reserved

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def check_name(name: str) -> str:
    """A model name that is safe as the prefix of every public C and C++ name.

    Raises:
        LnncError: not an identifier of at most 32 letters, digits and underscores, a C or C++ keyword, or a name that
            Arduino.h or the C library defines.
    """
    hint = "choose another, for example --name soh"
    if not _IDENTIFIER.fullmatch(name):
        raise LnncError(
            f"{name[:60]!r} cannot prefix C names: expected a letter, then at most 31 letters, digits or '_'",
            "--name",
            hint,
        )
    if is_reserved(name) or is_reserved(name.upper()) or is_reserved(name.lower()):
        raise LnncError(f"'{name}' is a C or C++ keyword or a name that Arduino.h defines", "--name", hint)
    return name
