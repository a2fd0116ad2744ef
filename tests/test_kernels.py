"""Every kernel of the registry: its record against its C, byte for byte. Nothing here is written for one kernel."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lnnc.codegen.c_text import kernel_texts
from lnnc.kernels import KERNELS
from lnnc.kernels.registry import Kernel
from lnnc.resources import runtime_c
from lnnc.verify.emulate import M4Machine
from lnnc.verify.host import HostMachine
from lnnc.verify.kernel_cases import Case, draw, draw_cases, expected, tells
from lnnc.verify.kernel_run import build_kernels, compare, run_cases
from lnnc.verify.machine import Machine

RUNTIME = Path(__file__).resolve().parent.parent / "runtime_c"
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual", "-Wundef")
STRICT = (*STRICT, "-pedantic", "-Werror")
QEMU = pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
ALL = tuple(KERNELS.values())
CASES, SEED = 250, 1

MACHINES = [
    pytest.param(HostMachine(), "-O2", id="host", marks=pytest.mark.needs("cc")),
    pytest.param(HostMachine(sanitize=True), "-O1", id="host-sanitized", marks=pytest.mark.needs("cc")),
    pytest.param(HostMachine("clang"), "-O3", id="host-clang", marks=pytest.mark.needs("clang")),
    pytest.param(M4Machine(), "-O2", id="m4", marks=QEMU),
    pytest.param(M4Machine(trap_unaligned=False), "-Os", id="m4-size", marks=QEMU),
]
# Code paths (runtime_c/lnn_paths.h) at every optimisation; some always, the rest in the long run.
ALWAYS = ((0, "-O2"), (1, "-O0"), (1, "-O3"), (2, "-O2"), (2, "-O0"))
PATHS = [
    pytest.param(path, opt, marks=() if (path, opt) in ALWAYS else pytest.mark.slow)
    for path in (0, 1, 2)
    for opt in ("-O0", "-Os", "-O2", "-O3")
]


@cache
def cases_of(name: str) -> tuple[tuple[Case, ...], float]:
    cases, legal = draw_cases(KERNELS[name], CASES, SEED)
    return tuple(cases), legal


def run_all(machine: Machine, opt: str, cases: list[Case], workdir: Path, flags: tuple[str, ...] = ()) -> list[str]:
    image = build_kernels(machine, ALL, workdir, flags=(*STRICT, *flags), opt=opt)
    return compare(cases, run_cases(machine, image, ALL, cases))


@pytest.mark.parametrize(("machine", "opt"), MACHINES)
def test_c_agrees_with_every_record(machine: Machine, opt: str, tmp_path: Path) -> None:
    cases = [case for kernel in ALL for case in cases_of(kernel.name)[0]]
    found = run_all(machine, opt, cases, tmp_path)
    assert not found, f"{len(found)} of {len(cases)} cases differ:\n" + "\n".join(text[:800] for text in found[:6])


@pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(("path", "opt"), PATHS)
def test_every_code_path_gives_the_same(path: int, opt: str, tmp_path: Path) -> None:
    """Plain C, intrinsics and assembly on the Cortex-M4, at every optimisation."""
    cases = [case for kernel in ALL for case in cases_of(kernel.name)[0][:: 1 if path == 2 else 5]]
    found = run_all(M4Machine(trap_unaligned=False), opt, cases, tmp_path, (f"-DLNN_PATH={path}",))
    assert not found, f"{len(found)} of {len(cases)} cases differ:\n" + "\n".join(text[:800] for text in found[:6])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 103))
@pytest.mark.parametrize(("machine", "opt"), [MACHINES[1], MACHINES[3]])
def test_c_agrees_with_every_record_at_length(machine: Machine, opt: str, seed: int, tmp_path: Path) -> None:
    cases = [case for kernel in ALL for case in draw_cases(kernel, 1000, seed)[0]]
    found = run_all(machine, opt, cases, tmp_path)
    assert not found, f"{len(found)} of {len(cases)} cases differ:\n" + "\n".join(text[:800] for text in found[:6])


def test_no_size_is_drawn_below_its_range() -> None:
    """Not even where all other sizes are large: a kernel has up to five."""
    rng = np.random.default_rng(101)
    for _ in range(3000):
        args = draw(KERNELS["slide_s16"], "corners", rng)
        assert min(args[name] for name in ("length", "n_in", "count", "n_out")) > 0


@pytest.mark.parametrize("kernel", ALL, ids=lambda k: k.name)
def test_cases_are_worth_running(kernel: Kernel) -> None:
    """Most draws are legal, results are not all saturated, and both alignments and overlaps occur."""
    cases, legal = cases_of(kernel.name)
    assert legal > 0.6, f"{legal:.0%} of the draws are legal: see the record's `fit`"
    assert sum(map(tells, cases)) > 0.3 * len(cases) or kernel.name == "zero_s16"
    assert {case.odd for case in cases} == {True, False}
    assert {case.in_place for case in cases} == ({True, False} if kernel.inplace else {False})
    sizes = {p.count(case.args) for case in cases for p in kernel.params if p.is_array and p.size_names()}
    assert not sizes or ({1, 2, 3} <= sizes and max(sizes) > 500)


def test_the_same_seed_gives_the_same_cases() -> None:
    one, other = (draw_cases(ALL[0], 5, 3)[0] for _ in range(2))
    assert [expected(case) for case in one] == [expected(case) for case in other]
    assert [case.label for case in one] == [case.label for case in other]


# ---- the C files themselves --------------------------------------------------------------------


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def functions() -> list[str]:
    return sorted(path.stem.removeprefix("lnn_") for path in RUNTIME.glob("lnn_*.c"))


@pytest.mark.parametrize("kernel", ALL, ids=lambda k: k.name)
def test_prototype_is_the_records(kernel: Kernel) -> None:
    """The C file defines exactly the function that the record declares: names, order and types of parameters."""
    text = squeezed(runtime_c(f"lnn_{kernel.name}.c"))
    assert squeezed(kernel.prototype()) + "{" in text, f"expected {kernel.prototype()}"


def test_every_c_file_is_used() -> None:
    """A file of the C runtime is a kernel, or a function that a kernel calls."""
    assert set(KERNELS) <= set(functions())
    used = "\n".join(kernel_texts(KERNELS, "lnn"))
    for name in functions():
        assert runtime_c(f"lnn_{name}.c").strip() in used, f"no kernel needs lnn_{name}.c"


def test_a_c_file_holds_one_function() -> None:
    for name in functions():
        defined = re.findall(r"^(?:static|LNN_[A-Z]+) [^;(]*\blnn_(\w+)\(", runtime_c(f"lnn_{name}.c"), re.MULTILINE)
        assert defined == [name]
