"""Many models in one image: building one for each would take most of a test's time.

Each model is compiled with its own copy of the model harness, and a dispatcher hands every model its records.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from lnnc.ir.program import struct_bytes
from lnnc.pipeline import Compiled
from lnnc.resources import firmware_text
from lnnc.targets import PACKINGS, WEIGHTS, Build
from lnnc.verify.check import compared_bytes, first_difference, model_of, observe
from lnnc.verify.emulate import M4Machine
from lnnc.verify.host import HostMachine
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import abilities, encode_records
from lnnc.verify.script import Script, make_script
from lnnc.verify.vectors import Group

RUN = """\
{path}
#define harness_run run_{i}
#define harness_trace trace_{i}
#define LNN_HEADER "m{i}.h"
#define LNN_MODEL m{i}
#define LNN_MODEL_UPPER M{i}
{abilities}
#include "model_harness.inc"
#include "m{i}.inc"
"""
DISPATCH = """\
#include "harness.h"
{prototypes}
static uint32_t word(const uint8_t *at)
{{
    return (uint32_t)at[0] | ((uint32_t)at[1] << 8) | ((uint32_t)at[2] << 16) | ((uint32_t)at[3] << 24);
}}
int harness_run(const uint8_t *input, uint32_t length)
{{
    static int (*const runs[])(const uint8_t *, uint32_t) = {{ {runs} }};
    uint32_t at = 0u;
    while (at < length) {{
        const uint32_t bytes = word(input + at + 4u);
        const int status = runs[word(input + at)](input + at + 8u, bytes);
        if (status != HARNESS_OK)
            return status;
        at += 8u + bytes;
    }}
    return HARNESS_OK;
}}
"""


# Assembly uses unaligned words, which a processor may be told to fault on: there the C chooses what it can.
PATH = "#if defined(__arm__) && ({path} < 2 || defined(__ARM_FEATURE_UNALIGNED))\n#define M{i}_PATH {path}\n#endif"
PATHS = (None, 0, 1, 2)  # None: what the C chooses by itself
VARIANTS = tuple(
    (Build(weights=weights, packing=packing), path) for weights, packing, path in product(WEIGHTS, PACKINGS, PATHS)
)


def variant(seed: int, index: int) -> tuple[Build, int | None]:
    """Layout and code path of a model of a batch: every combination comes once in `len(VARIANTS)` models."""
    order = np.random.default_rng(seed).permutation(len(VARIANTS))
    return VARIANTS[order[index % len(VARIANTS)]]


@dataclass(frozen=True, eq=False)
class Case:
    """One compiled network, where it came from, the vectors to run on it, and its code path on an Arm processor."""

    label: str
    compiled: Compiled
    groups: list[Group]
    path: int | None = None


@dataclass(frozen=True)
class Replay:
    """A machine whose output is known already: one model's part of a run of many."""

    inner: Machine
    output: bytes

    @property
    def name(self) -> str:
        return self.inner.name

    def run(self, image: Path, data: bytes, timeout: float = 120) -> bytes:
        return self.output


def build(machine: Machine, made: Sequence[Case], folder: Path, opt: str) -> Path:
    """One image with every model."""
    sources = {"model_harness.inc": firmware_text("harness/model_harness.c")}
    for i, case in enumerate(made):
        sources[f"m{i}.h"], sources[f"m{i}.inc"] = case.compiled.files.header, case.compiled.files.source
        macros = "\n".join(f"#define {macro}" for macro in abilities(case.compiled.files.header, f"m{i}"))
        path = "" if case.path is None else PATH.format(i=i, path=case.path)
        sources[f"run{i}.c"] = RUN.format(i=i, abilities=macros, path=path)
    count = range(len(made))
    prototypes = "\n".join(f"int run_{i}(const uint8_t *input, uint32_t length);" for i in count)
    sources["dispatch.c"] = DISPATCH.format(prototypes=prototypes, runs=", ".join(f"run_{i}" for i in count))
    return machine.build(sources, folder, opt=opt)


def output_bytes(case: Case, script: Script) -> int:
    """What the harness writes for a script."""
    used, size = struct_bytes(case.compiled.program.of_kind("state"))
    heads = {"R": 1, "S": 1 + 4}  # the others: kind, return value, length
    events = [event for row in script.events for event in row]
    return sum(heads.get(e.kind, 1 + 8) + e.out.nbytes + len(e.data) + len(e.state) + size - used for e in events)


def check_all(machine: Machine, made: Sequence[Case], folder: Path, opt: str) -> int:
    """Run every case on a machine; returns the bytes compared. Fails with the first difference."""
    image = build(machine, made, folder, opt)
    owners = [
        (i, make_script(case.compiled.program, group, model_of(case.compiled.program, case.compiled.files.source)))
        for i, case in enumerate(made)
        for group in case.groups
    ]
    blobs = [encode_records(script.flat) for _, script in owners]
    data = b"".join(struct.pack("<II", i, len(b)) + b for (i, _), b in zip(owners, blobs, strict=True))
    output = machine.run(image, data, timeout=300)
    at = compared = 0
    for i, script in owners:
        end = at + output_bytes(made[i], script)
        got = observe(made[i].compiled.program, Replay(machine, output[at:end]), image, script.records)
        difference = first_difference(script.events, got)
        assert difference is None, f"{made[i].label} on {machine.describe()} {opt}: sequence, event {difference}"
        compared += compared_bytes(script)
        at = end
    assert at == len(output)
    return compared


def verify_everywhere(made: Sequence[Case], folder: Path, opt: str, sanitize: bool, trap: bool) -> None:
    """Every case on the host (sanitized builds at -O1) and on the emulated Cortex-M4: as many bytes, all equal.

    trap: the Cortex-M4 faults on unaligned words, so that no kernel can hide one; else it takes them, as boards do.
    """
    on_host = check_all(HostMachine(sanitize=sanitize), made, folder / "host", "-O1" if sanitize else opt)
    on_m4 = check_all(M4Machine(trap_unaligned=trap), made, folder / "m4", opt)
    assert on_host == on_m4 > 0
