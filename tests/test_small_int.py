"""Where `int` has 16 bits, as on an AVR, a product of two int16 is lost before it is widened.

clang says of every expression which type it has there; arithmetic in `int` whose result is then made longer is refused.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lnnc.kernels import KERNELS
from lnnc.pipeline import compile_model
from lnnc.resources import example_path, firmware_text
from lnnc.verify.kernel_run import amalgamated

Node = dict[str, Any]
WIDE = {"long", "unsigned long", "long long", "unsigned long long"}


def small_arithmetic(node: Node) -> bool:
    """Whether an expression is a sum, product or shift in `int` of something that is no constant."""
    if node["kind"] == "ParenExpr":
        return small_arithmetic(node["inner"][0])
    if node["kind"] == "ConditionalOperator":
        return any(small_arithmetic(each) for each in node["inner"][1:])
    arithmetic = node["kind"] == "BinaryOperator" and node["opcode"] in ("+", "-", "*", "<<")
    return arithmetic and plain(node) == "int" and any(n["kind"] == "DeclRefExpr" for n in nodes(node))


def plain(node: Node) -> str:
    """The type of an expression, whatever name it goes by."""
    return str(node["type"].get("desugaredQualType", node["type"]["qualType"]))


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for each in node.get("inner", []):
        yield from nodes(each)


def widened_too_late(text: str, folder: Path) -> set[str]:
    """The functions that do so; those that only subtract truth values, as the inline rounding does, do no harm."""
    file = folder / "unit.c"
    file.write_text(text, encoding="utf-8")
    target = ["--target=avr", "-U__AVR__", "-ffreestanding"]  # sizes of an AVR; its flash macros would hide the types
    command = ["clang", *target, "-fsyntax-only", "-Xclang", "-ast-dump=json", f"-I{folder}", str(file)]
    tree = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {
        function["name"]
        for function in tree["inner"]
        if function["kind"] == "FunctionDecl"
        for cast in nodes(function)
        if cast.get("castKind") == "IntegralCast" and plain(cast) in WIDE and small_arithmetic(cast["inner"][0])
    }


@pytest.mark.needs("clang")
def test_no_kernel_computes_in_sixteen_bits_what_needs_more(tmp_path: Path) -> None:
    proved = {"lnn_quad_s8"}  # |x| <= 32640 and a byte: the sum fits 16 bits
    assert widened_too_late(amalgamated(KERNELS.values()), tmp_path) == proved


@pytest.mark.needs("clang")
def test_neither_does_a_whole_model_nor_its_device_firmware(tmp_path: Path) -> None:
    files = compile_model(example_path("soh/student.pt"), "lnn").files
    (tmp_path / "lnn.h").write_text(files.header, encoding="ascii")
    (tmp_path / "lnn_device.h").write_text(firmware_text("device/lnn_device.h"), encoding="ascii")
    rounding = {"lnn_from_real", "lnn_nearest"}
    assert widened_too_late(files.source, tmp_path) <= rounding
    assert widened_too_late(firmware_text("device/lnn_device.c"), tmp_path) <= rounding


@pytest.mark.needs("clang")
@pytest.mark.parametrize("term", ["a * b", "(a - b)", "a > 0 ? a * b : 0", "a << 3"])
def test_what_is_widened_too_late_is_found(term: str, tmp_path: Path) -> None:
    text = "#include <stdint.h>\nint32_t f(int16_t a, int16_t b, int32_t c) {{ return c + ({}); }}\n"
    assert widened_too_late(text.format(term), tmp_path) == {"f"}
    assert widened_too_late(text.format("(int32_t)a * b + a"), tmp_path) == set()
