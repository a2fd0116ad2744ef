"""What a saved state is made of: the facts that the reference, which reads one, and the generated C must share.

Layout, all numbers little endian (docs/generated-c.md):

    4 bytes   "LNNS"
    1         layout, 1
    4         bytes of the numbers that follow the model
    16        model: see `model_id`
    ...       the numbers, member by member in the order of the structure, each as wide as its member
    4         CRC-32 (IEEE 802.3, as `zlib.crc32`) of everything before
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from lnnc.ir.program import ARITHMETIC, Buffer, Program, StateView, by_width

MAGIC, LAYOUT = b"LNNS", 1
HEAD = struct.Struct("<4sBI16s")
CRC_BYTES = 4


def members(program: Program) -> list[Buffer]:
    """The members of the state structure, in their order."""
    return by_width(program.of_kind("state"))


def save_bytes(program: Program) -> int:
    """Size of a saved state."""
    return HEAD.size + sum(b.bytes for b in members(program)) + CRC_BYTES


def view_of(program: Program, buffer: Buffer) -> StateView:
    """How a member reads in real units; a buffer that has no view counts in units of 1."""
    return next((v for v in program.views if v.buffer == buffer.name), StateView(buffer.name, 1.0))


def model_id(program: Program, digest: str, options: Mapping[str, Any]) -> bytes:
    """16 bytes that stand for all that gives a saved state its meaning; the prefix of the C names does not.

    The first half of the SHA-256 of a JSON text with sorted keys: "model" (its SHA-256), "options", "arithmetic",
    and "state", for each member [name, type, size, scale, center].
    """
    views = [(b, view_of(program, b)) for b in members(program)]
    meaning = {
        "model": digest, "options": dict(options), "arithmetic": ARITHMETIC,
        "state": [[b.name, b.dtype, b.size, view.scale, view.center] for b, view in views],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).digest()[:16]
