"""Runs single kernels on a machine: the C harness is derived from the kernels' records.

`firmware/harness/kernel_harness.c` holds the protocol (see its header comment) and everything that is the same for
all kernels; generated here is `kernel_cases.h`: the kernels, and for each a function that takes its parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lnnc.codegen.c_text import kernel_texts, prelude
from lnnc.errors import LnncError
from lnnc.kernels.registry import C_TYPES, Kernel, Param
from lnnc.resources import firmware_text
from lnnc.verify.kernel_cases import Case, Result, difference, encode_array, expected
from lnnc.verify.machine import Machine

_TAKE = {"in": "take_input", "const": "take_input", "inout": "take_inout", "out": "take_output"}
_STATUS = {1: "wrote before an array", 2: "wrote after an array", 3: "changed an input"}
_INPUT_MAX = 12_000_000  # bytes; the Cortex-M4's input area holds 16 MB


def amalgamated(kernels: Iterable[Kernel]) -> str:
    """Prelude and C of these kernels and of all that they call, under the name `lnn`."""
    return "\n\n".join([prelude("lnn"), *kernel_texts([k.name for k in kernels], "lnn")])


def cases_header(kernels: Sequence[Kernel], text: str) -> str:
    """`kernel_cases.h`: `text` with the kernels themselves, one caller for each, and the dispatch by number."""
    callers = "\n\n".join(_caller(kernel) for kernel in kernels)
    table = "\n".join(f"    case {i}: return case_{kernel.name}();" for i, kernel in enumerate(kernels))
    body = f"    switch (kernel) {{\n{table}\n    default: return 0;\n    }}"
    dispatch = f"static int32_t run_case(uint32_t kernel)\n{{\n{body}\n}}"
    return f"{text}\n\n#define CASES {len(kernels)}u\n\n{callers}\n\n{dispatch}\n"


def _caller(kernel: Kernel) -> str:
    names = ", ".join(p.name for p in kernel.params)
    call = f"lnn_{kernel.name}({names});"
    lines = [
        *(f"    {_taken(p, kernel)}" for p in kernel.params),
        "    if (broken != 0)",
        "        return 0;",
        *([f"    return {call}"] if kernel.waits else [f"    {call}", "    return 0;"]),
    ]
    return f"static int32_t case_{kernel.name}(void)\n{{\n" + "\n".join(lines) + "\n}"


def _taken(p: Param, kernel: Kernel) -> str:
    """Declaration of a local variable that holds a parameter."""
    if not p.is_array:
        return f"const {C_TYPES[p.dtype]} {p.name} = ({C_TYPES[p.dtype]})take_number();"
    width = f"{np.dtype(p.dtype).itemsize}u"
    over = f", {kernel.inplace or 0}" if p.role == "out" else ""
    read_only = "const " if p.role in ("in", "const") else ""
    return f"{read_only}{C_TYPES[p.dtype]} *const {p.name} = {_TAKE[p.role]}({width}{over});"


def build_kernels(
    machine: Machine,
    kernels: Sequence[Kernel],
    workdir: Path,
    text: str = "",
    flags: Sequence[str] = (),
    opt: str = "-O2",
) -> Path:
    """One image that can call all of `kernels`; `text` replaces the C of the kernels.

    Raises:
        LnncError: the code does not compile.
    """
    sources = {
        "kernel_harness.c": firmware_text("harness/kernel_harness.c"),
        "kernel_cases.h": cases_header(kernels, text or amalgamated(kernels)),
    }
    return machine.build(sources, workdir, (), flags, opt)


def _encode(number: int, case: Case) -> bytes:
    parts = [struct.pack("<BBBB", number, case.odd, case.in_place, 0)]
    for p in case.kernel.params:
        if p.role == "out":
            parts.append(struct.pack("<I", _size(case, p)))
        elif p.is_array:
            data = encode_array(case.args[p.name], p)
            parts.append(struct.pack("<I", len(data)) + data + bytes(-len(data) % 4))
        else:
            parts.append(struct.pack("<i", int(np.asarray(case.args[p.name]).reshape(-1)[0])))
    return b"".join(parts)


def _size(case: Case, p: Param) -> int:
    return p.count(case.args) * np.dtype(p.dtype).itemsize


def run_cases(machine: Machine, image: Path, kernels: Sequence[Kernel], cases: Sequence[Case]) -> list[Result | str]:
    """What the C gave for every case: a result, or in words which memory it should have left alone.

    Raises:
        LnncError: crash, sanitizer report, or output that does not follow the protocol.
    """
    found: list[Result | str] = []
    for batch, data in _batches(kernels, cases):
        output = machine.run(image, data, timeout=300)
        at = 0
        for case in batch:
            result, at = _decode(output, at, case)
            found.append(result)
        if at != len(output):
            raise LnncError(f"{machine.name}: {len(output)} bytes came back, expected {at}")
    return found


def _batches(kernels: Sequence[Kernel], cases: Iterable[Case]) -> Iterable[tuple[list[Case], bytes]]:
    """The cases in runs whose input fits a machine's memory."""
    numbers = {kernel.name: i for i, kernel in enumerate(kernels)}
    batch: list[Case] = []
    data = bytearray()
    for case in cases:
        record = _encode(numbers[case.kernel.name], case)
        if batch and len(data) + len(record) > _INPUT_MAX:
            yield batch, bytes(data)
            batch, data = [], bytearray()
        batch.append(case)
        data += record
    if batch:
        yield batch, bytes(data)


def _decode(output: bytes, at: int, case: Case) -> tuple[Result | str, int]:
    sizes = [_size(case, p) for p in case.kernel.written()]
    end = at + 5 + sum(sizes)
    if end > len(output):
        raise LnncError(f"the output ends at byte {len(output)}, inside a case of {case.kernel.name}")
    status, ret = struct.unpack_from("<Bi", output, at)
    at += 5
    written = []
    for size in sizes:
        written.append(output[at : at + size])
        at += size
    return (_STATUS[status] if status else Result(ret, tuple(written))), at


def compare(cases: Sequence[Case], results: Sequence[Result | str]) -> list[str]:
    """Every difference between the C and the records, in words."""
    found = []
    for case, got in zip(cases, results, strict=True):
        if isinstance(got, str):
            found.append(f"{case.kernel.name} ({case.label}): {got}")
        elif text := difference(case, expected(case), got):
            found.append(text)
    return found
