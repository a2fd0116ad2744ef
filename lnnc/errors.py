"""The one exception that a user's mistake raises, and the list that collects several of them.

The CLI turns `LnncError` into exit code 2 in one place; `assert` and other exceptions are our own bugs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LnncError(Exception):
    """A mistake in what the user gave us: what is wrong, where, and how to mend it.

    Args:
        message: what was found and what was expected, in one sentence.
        where: the file, tensor or option concerned ("" if none).
        hint: what to do about it ("" if nothing can be said).
    """

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  fix: {self.hint}" if self.hint else head


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """A question where a word is near a known one, as "did you mean 'units'?"; else "". Capitals do not matter."""
    names = {str(name).lower(): str(name) for name in known}
    close = difflib.get_close_matches(str(word).lower(), names, 1)
    return f"did you mean '{names[close[0]]}'?" if close else ""


class Findings:
    """Collects every fault of one input so that the user sees them together.

    Example:
        >>> found = Findings("m.pt")
        >>> found.add("key 'encoder.0.bias' is missing")
        >>> found.raise_if_any("export the state_dict again")
        Traceback (most recent call last):
        lnnc.errors.LnncError: m.pt: key 'encoder.0.bias' is missing
          fix: export the state_dict again
    """

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.faults: list[str] = []

    def add(self, fault: str) -> None:
        """Note one fault; nothing is raised yet."""
        self.faults.append(fault)

    def raise_if_any(self, hint: str = "") -> None:
        """Raise one `LnncError` that lists every fault noted so far."""
        if not self.faults:
            return
        if len(self.faults) == 1:
            raise LnncError(self.faults[0], self.where, hint)
        shown = self.faults[:20]
        more = [] if len(self.faults) == len(shown) else [f"... and {len(self.faults) - len(shown)} more"]
        body = "".join(f"\n  - {fault}" for fault in shown + more)
        raise LnncError(f"{len(self.faults)} faults:{body}", self.where, hint)
