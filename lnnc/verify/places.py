"""What `--on` names: this machine, an emulated Cortex-M4, a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lnnc.errors import LnncError
from lnnc.verify.device.link import choose_port
from lnnc.verify.device.run import Line
from lnnc.verify.emulate import find_m4
from lnnc.verify.host import find_host
from lnnc.verify.machine import Machine

PLACES = ("host", "m4", "device")


def find_machine(name: str, route: str | None = None) -> Machine:
    """The machine "host" or "m4". Raises LnncError for a tool that is missing, with how to get it."""
    return find_host() if name == "host" else find_m4(route)


def find_places(on: Sequence[str], route: str | None, line: Line) -> dict[str, Machine | Line]:
    """What runs each of the places of `--on`, so that what is missing is said before anything runs.

    Raises:
        LnncError: no place, a word that is none, a missing tool, no board or several.
    """
    unknown = [name for name in on if name not in PLACES]
    if unknown or not on:
        takes = f"--on takes {', '.join(PLACES[:-1])} and {PLACES[-1]}"
        raise LnncError(f"{takes}, found {', '.join(unknown) or 'nothing'}", "--on", "--on host,m4")
    return {
        place: replace(line, port=choose_port(line.port)) if place == "device" else find_machine(place, route)
        for place in on
    }
