"""The generated files of the bundled student, kept for review: a change of any byte shows as a diff.

Whoever makes the code faster changes `soh.c`; `soh_golden.h`, which holds outputs, and the digests of what every kernel
gives must not change with it: they are what `lnnc-arith-1` means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from lnnc.ir.program import ARITHMETIC
from lnnc.kernels import KERNELS
from lnnc.pipeline import compile_model
from lnnc.resources import example_path
from lnnc.verify.kernel_cases import draw_cases, expected


def test_the_bundled_student_generates_what_is_on_record(golden: Callable[[str, str], None]) -> None:
    files = compile_model(example_path("dlnet/student.pt"), "soh").files
    for name, text in (("soh.c", files.source), ("soh.h", files.header), ("soh_golden.h", files.golden)):
        golden(name, text)


def test_every_kernel_gives_what_is_on_record(golden: Callable[[str, str], None]) -> None:
    lines = []
    for name in sorted(KERNELS):
        cases, _ = draw_cases(KERNELS[name], 40, seed=7)
        written = b"".join(data for case in cases for data in expected(case).written)
        lines.append(f"{name} {hashlib.sha256(written).hexdigest()}\n")
    golden(f"{ARITHMETIC}.txt", "".join(lines))
