"""runtime_c/SEMANTICS.md: its examples run, and it defines every equation that the code cites."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import lnnc.kernels
from lnnc.ir.program import ARITHMETIC
from lnnc.kernels import KERNELS, fixed, sparse
from lnnc.kernels.euler import PRE_MAX
from lnnc.quantize import calibrate, formats, lower_cells, lower_elementwise, weights

PAGE = Path(__file__).resolve().parent.parent / "runtime_c" / "SEMANTICS.md"
KERNEL_MODULES = sorted(Path(lnnc.kernels.__file__).parent.glob("*.py"))
TEXT = PAGE.read_text(encoding="utf-8")
# A definition ends with its number, far from what it defines: `requant(acc, M) = ...      (1)`
DEFINED = {m[1] for m in re.finditer(r"^ {4}\S.*  \((\d+[ab]?)\)$", TEXT, re.MULTILINE)}


def cited_by_c() -> dict[str, set[str]]:
    """File name -> equations that its comments cite. `tanh(8)` is no citation: a name stands before the bracket."""
    found = {}
    for path in sorted(PAGE.parent.glob("lnn_*.c")):
        comments = " ".join(re.findall(r"/\*.*?\*/", path.read_text(), re.DOTALL))
        found[path.name] = set(re.findall(r"(?<!\w)\((\d{1,2}[ab]?)\)", comments))
    return found


def cited_by_python() -> dict[str, set[str]]:
    """File name -> equations that it cites as "equation (n)"."""
    return {p.name: set(re.findall(r"[Ee]quation \((\d+[ab]?)\)", p.read_text())) for p in KERNEL_MODULES}


def test_the_examples_run() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, report=True)
    assert result.attempted > 20
    assert result.failed == 0


def test_every_equation_is_defined_once() -> None:
    last = max(int(number.rstrip("ab")) for number in DEFINED)
    expected = {*map(str, range(1, last + 1)), "7a", "7b"} - {"7"}
    assert expected == DEFINED
    for number in DEFINED:
        assert len(re.findall(rf"  \({number}\)$", TEXT, re.MULTILINE)) == 1, number


@pytest.mark.parametrize("cited", [cited_by_c, cited_by_python])
def test_every_cited_equation_is_defined(cited: Callable[[], dict[str, set[str]]]) -> None:
    citations = cited()
    missing = {name: numbers - DEFINED for name, numbers in citations.items() if numbers - DEFINED}
    assert not missing
    assert set().union(*citations.values()) == DEFINED, "no code cites one of them"


def test_every_kernel_and_the_arithmetic_are_named() -> None:
    stems = {name.removesuffix("_s16").removesuffix("_s32") for name in KERNELS}
    missing = [stem for stem in stems if f"`{stem}_" not in TEXT]
    assert not missing
    assert f"`{ARITHMETIC}`" in TEXT


def test_every_number_of_the_code_is_in_the_text() -> None:
    """Constants that prose repeats; a change of one is a change of the arithmetic."""
    assert (fixed.A_MAX, fixed.ARG_MAX, PRE_MAX) == (32_640, 2**19 - 1, 2**29)
    assert (formats.HEADROOM, calibrate.PERCENTILE, lower_cells.STATE_Q_MAX) == (2.0, 99.95, 14)
    assert (weights.W_MAX, weights.W16_MAX, weights.DUAL_ROW_MAX) == (127, 32_640, 2**23 - 1)
    assert (fixed.EXP_MAX, sparse.COLUMN_MAX, lower_elementwise.DIVISOR_LEAST) == (2**20 - 1, 255, 64)
    for shown in ("32,640", "2^19 - 1", "2^29", "99.95", "Q at most 14", "2^23", "2^20 - 1", "at least 64 units"):
        assert shown in TEXT
