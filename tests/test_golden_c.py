"""The generated files of the bundled student, kept for review: a change of any byte shows as a diff.

Whoever makes the code faster changes `soh.c`; `soh_golden.h`, which holds outputs, must not change with it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lnnc.pipeline import Options, compile_model
from lnnc.resources import example_path


@pytest.mark.parametrize("activations", ["int16", "int8"])
def test_the_bundled_student_generates_what_is_on_record(golden: Callable[[str, str], None], activations: str) -> None:
    compiled = compile_model(example_path("soh/student.pt"), "soh", Options(activations))
    for suffix, text in ((".c", compiled.files.source), (".h", compiled.files.header)):
        golden(f"{activations}/soh{suffix}", text)
    golden(f"{activations}/soh_golden.h", compiled.files.golden)
