"""The generated files of the bundled models, kept for review: a change of any byte shows as a diff.

`soh` is the windowed student of examples/dlnet, `stream` the demo's. Whoever makes the code faster changes the .c;
`*_golden.h`, which hold outputs, and the digests of what every kernel gives must not change with it: they are what
`lnnc-arith-1` means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from lnnc.ir.program import ARITHMETIC
from lnnc.kernels import KERNELS
from lnnc.pipeline import compile_model
from lnnc.resources import example_path
from lnnc.verify.kernel_cases import draw_cases, expected


@pytest.mark.parametrize(("model", "name"), [("dlnet", "soh"), ("soh", "stream")])
def test_the_bundled_models_generate_what_is_on_record(
    model: str, name: str, golden: Callable[[str, str], None]
) -> None:
    files = compile_model(example_path(f"{model}/student.pt"), name).files
    for suffix, text in ((".c", files.source), (".h", files.header), ("_golden.h", files.golden)):
        golden(f"{name}{suffix}", text)


def test_every_kernel_gives_what_is_on_record(golden: Callable[[str, str], None]) -> None:
    lines = []
    for name in sorted(KERNELS):
        cases, _ = draw_cases(KERNELS[name], 40, seed=7)
        written = b"".join(data for case in cases for data in expected(case).written)
        lines.append(f"{name} {hashlib.sha256(written).hexdigest()}\n")
    golden(f"{ARITHMETIC}.txt", "".join(lines))
