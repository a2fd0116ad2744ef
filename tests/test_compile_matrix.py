"""Generated C compiles without a warning under every compiler, standard, option and target that users bring."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest
from forecast_students import lives, random_student
from liquid import TABLE, liquid_model
from networks import large_model, small_models

from lnnc.codegen.emit import AVR_FLASH_MAX, AVR_TABLE_MAX
from lnnc.frontend.parse import parse_checkpoint
from lnnc.kernels import KERNELS
from lnnc.output import write_pair
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.report.size import section_sizes
from lnnc.targets import Build
from lnnc.train.students.package import student_checkpoint

WARNINGS = (
    "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual", "-Wundef", "-pedantic",
    "-Werror",
)  # fmt: skip
C99, CPP = ("-std=c99", "-x", "c"), ("-std=c++17", "-x", "c++")
COMPILERS = {
    "gcc": ("gcc", *C99),
    "g++": ("g++", *CPP),
    "clang": ("clang", *C99),
    "clang-c++": ("clang", *CPP),
    "cortex-m4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", *C99),
    "cortex-m4-c++": ("arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", *CPP),
    "cortex-m7": ("arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-fno-omit-frame-pointer", *C99),
    "cortex-m0": ("arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb", *C99),
    "atmega328p": ("avr-gcc", "-mmcu=atmega328p", *C99),
}
LAID = {  # other layouts of a small model
    "packed": ("soh", Build(packing="blocks")),
    "inram": ("mixed", Build(packing="blocks", weights="ram")),
    "bare": ("odd", Build(target="generic")),
}
PLAIN = ("soh", "flow", "mixed", "odd", *LAID)
FORECASTS = {
    "stream": ("gated", "stream", True),
    "whole": ("gated", "window", False),
}
MODELS = (*PLAIN, *TABLE, *FORECASTS)
NEEDS = pytest.mark.needs("gcc", "g++", "clang", "arm-none-eabi-gcc", "avr-gcc")
RUNTIME_ALLOWED = ("memcpy", "memset", "__aeabi_")  # what a compiler may call of its own accord


@functools.cache
def compiled(name: str) -> Compiled:
    if name in TABLE:
        return liquid_model(name)
    if name in FORECASTS:
        return compile_model(student_checkpoint(random_student(*FORECASTS[name], 1), lives(3, 300, 1), name), name)
    document, width = small_models()[LAID.get(name, (name,))[0]]
    build = LAID[name][1] if name in LAID else None
    return compile_model(parse_checkpoint(document, name), name, Options(width), build=build)


@functools.cache
def compiled_large() -> Compiled:
    return compile_model(parse_checkpoint(large_model(), "large"), "large")


def written(model: Compiled, folder: Path) -> Path:
    return write_pair(model.files, folder / f"{model.name}.c")[0]


def compile_object(compiler: str, source: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [*COMPILERS[compiler], *WARNINGS, *flags, "-c", source.name, "-o", f"{source.stem}.o"]
    return subprocess.run(command, cwd=source.parent, capture_output=True, text=True, timeout=120, check=False)


def variants(name: str, compiler: str) -> list[tuple[str, ...]]:
    """Options: every combination of the two macros at -O2, every level with the self-test, unsigned char.

    The recurrent models, which are many, take each of these once.
    """
    selftest, no_float = f"-D{name.upper()}_SELFTEST", f"-D{name.upper()}_NO_FLOAT"
    trace = f"-D{name.upper()}_TRACE(i,d,b)=(void)(d)"
    if name in TABLE or name in FORECASTS:
        return [("-O2", selftest), ("-O3",), ("-O0", trace), ("-Os", selftest, no_float, "-funsigned-char")]
    if name in LAID:
        paths = [(level, f"-D{name.upper()}_PATH={path}") for path in (1, 2) for level in ("-O0", "-O2")]
        return [("-O2", selftest), ("-Os", trace), *(paths if "-mcpu=cortex-m4" in COMPILERS[compiler] else [])]
    macros = [("-O2",), ("-O2", selftest), ("-O2", no_float), ("-O2", selftest, no_float)]
    levels = [(level, selftest) for level in ("-O0", "-O3", "-Os")]
    return [*macros, *levels, ("-Os", selftest, "-funsigned-char"), ("-O2", trace)]


def test_the_small_models_use_every_kernel() -> None:
    """What is compiled here is all there is."""
    used = {call.kernel for name in MODELS for call in compiled(name).program.calls()}
    used |= {k for name in MODELS for k in KERNELS if f"{name}_{k}(" in compiled(name).files.source}
    assert used == set(KERNELS)


def check_no_warning(name: str, compiler: str, folder: Path, every: int, first: int = 0) -> None:
    """Compile with every n-th of the options."""
    source = written(compiled(name), folder)
    for flags in variants(name, compiler)[first % every :: every]:
        done = compile_object(compiler, source, *flags)
        assert done.returncode == 0, f"{flags}\n{done.stderr[:3000]}"


@NEEDS
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", MODELS)
def test_no_warning(name: str, compiler: str, tmp_path: Path) -> None:
    """Half of the options for each pair of model and compiler: the other half for their neighbours."""
    place = MODELS.index(name) + list(COMPILERS).index(compiler)
    check_no_warning(name, compiler, tmp_path, 2, place)


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", MODELS)
def test_no_warning_with_any_option(name: str, compiler: str, tmp_path: Path) -> None:
    check_no_warning(name, compiler, tmp_path, 1)


@NEEDS
@pytest.mark.parametrize("compiler", [c for c in COMPILERS if c != "atmega328p"])
def test_a_large_model_compiles(compiler: str, tmp_path: Path) -> None:
    done = compile_object(compiler, written(compiled_large(), tmp_path), "-Os", "-DLARGE_SELFTEST")
    assert done.returncode == 0, done.stderr[:3000]


@NEEDS
@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        ("300 norm relu 4 tanh", f"has 36000 bytes: avr-gcc has no array beyond {AVR_TABLE_MAX}"),
        ("200 relu 150 relu 150 tanh", f"bytes of tables: an AVR reads at most {AVR_FLASH_MAX}"),
    ],
)
def test_an_avr_refuses_a_large_model_with_the_reason(encoder: str, reason: str, tmp_path: Path) -> None:
    model = compile_model(parse_checkpoint(large_model(encoder), "large"), "large")
    done = compile_object("atmega328p", written(model, tmp_path), "-Os")
    assert done.returncode != 0
    assert "#error" in done.stderr and reason in done.stderr


@NEEDS
@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "cortex-m4", "atmega328p"])
def test_two_models_share_one_translation_unit(compiler: str, tmp_path: Path) -> None:
    for name in MODELS:
        written(compiled(name), tmp_path)
    both = tmp_path / "both.c"
    both.write_text("".join(f'#include "{name}.c"\n' for name in MODELS), encoding="ascii")
    done = compile_object(compiler, both, "-O1", *(f"-D{name.upper()}_SELFTEST" for name in MODELS))
    assert done.returncode == 0, done.stderr[:3000]


@NEEDS
@pytest.mark.parametrize("name", MODELS)
def test_headers_alone_and_twice(name: str, tmp_path: Path) -> None:
    written(compiled(name), tmp_path)
    user = tmp_path / "user.c"
    user.write_text(f'#include "{name}.h"\n#include "{name}.h"\ntypedef {name}_state used;\n', encoding="ascii")
    for compiler in COMPILERS:
        done = compile_object(compiler, user, "-O0")
        assert done.returncode == 0, f"{compiler}\n{done.stderr[:3000]}"


@NEEDS
@pytest.mark.parametrize("opt", ["-Os", "-O2", "-O3"])
@pytest.mark.parametrize("name", MODELS)
def test_needs_nothing_of_a_library_and_no_variables(name: str, opt: str, tmp_path: Path) -> None:
    """Undefined symbols are a compiler's own helpers only; nothing is writable but tables that were to be in RAM."""
    source = written(compiled(name), tmp_path)
    done = compile_object("cortex-m4", source, opt, "-ffreestanding", f"-D{name.upper()}_SELFTEST")
    assert done.returncode == 0, done.stderr[:3000]
    image = tmp_path / f"{name}.o"
    listed = subprocess.run(["arm-none-eabi-nm", "-u", str(image)], capture_output=True, text=True, check=True).stdout
    undefined = [line.split()[-1] for line in listed.splitlines() if line.strip()]
    assert all(symbol.startswith(RUNTIME_ALLOWED) for symbol in undefined), undefined
    assert not any("f2" in s or "d2" in s or s.startswith(("__aeabi_f", "__aeabi_d")) for s in undefined), "float"
    _, rodata, data, bss = section_sizes(image)
    assert rodata > 0
    tables = sum(c.bytes for c in compiled(name).program.constants)
    assert bss == 0 and (tables <= data <= tables + 8 if name == "inram" else data == 0)


@NEEDS
@pytest.mark.parametrize("name", MODELS)
def test_public_symbols_are_those_of_the_interface(name: str, tmp_path: Path) -> None:
    source = written(compiled(name), tmp_path)
    assert compile_object("gcc", source, "-O0", f"-D{name.upper()}_SELFTEST").returncode == 0
    command = ["nm", "--defined-only", "--extern-only", str(tmp_path / f"{name}.o")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = ("reset", "step", "get_state_raw", "set_state_raw", "save", "load", "selftest")
    assert {line.split()[-1] for line in listed.splitlines()} == {f"{name}_{f}" for f in functions}
