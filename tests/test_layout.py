"""How weights lie in flash, and what else `Build` decides: never a bit of the result."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import large_model

from lnnc.codegen.c_text import kernel_texts, plain_paths, prelude
from lnnc.errors import LnncError
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.saved import model_id
from lnnc.kernels import KERNELS, packed
from lnnc.pipeline import Compiled, compile_model, plan_model
from lnnc.quantize.layout import PACKED, lay_out
from lnnc.reference.interp import Machine
from lnnc.resources import example_path
from lnnc.targets import PACKINGS, TARGETS, WEIGHTS, Build

ROWS, BLOCKS = Build(packing="rows"), Build(packing="blocks")


def kernels(made: Compiled) -> list[str]:
    return [call.kernel for call in made.program.calls()]


def large(build: Build) -> Compiled:
    return plan_model(parse_checkpoint(large_model(), "large"), "large", build=build)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_packing_is_undone(rows: int, columns: int, seed: int) -> None:
    weight = np.random.default_rng(seed).integers(-127, 128, (rows, columns))
    tables = packed.pack(weight)
    assert tables.size == packed.blocks_of(rows) * packed.ROWS * columns
    whole = packed.unpack(tables, columns)
    np.testing.assert_array_equal(whole[:rows], weight)
    assert not whole[rows:].any()


@given(st.integers(0, 2**32))
def test_the_identity_holds_in_32_bits(seed: int) -> None:
    """Sums that wrap on the way end at the inner product."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    w, x = rng.integers(-127, 128, n), rng.choice([-32_640, 32_640], n)
    whole = n - n % 4
    wg, xg = w[:whole].reshape(-1, 4), x[:whole].reshape(-1, 4)
    products = (xg[:, :2] + wg[:, 2:]) * (xg[:, 2:] + wg[:, :2])
    rest = (w[whole:] * x[whole:]).sum()
    assert packed.wrap(products.sum() - packed.cross(x) - packed.cross(w) + rest) == packed.wrap((w * x).sum())
    assert np.abs(xg[:, :2] + wg[:, 2:]).max(initial=0) <= 32_767


def test_layouts_agree_and_keep_golden_vectors_and_saved_states() -> None:
    made = [large(Build(target, weights, packing)) for target in ("cortex-m4", "generic")
            for weights in WEIGHTS for packing in PACKINGS]  # fmt: skip
    first = made[0]
    inputs = np.random.default_rng(0).integers(-32_768, 32_768, (20, first.program.input_size))
    expected = Machine(first.program, 20).step(inputs)[1]
    identity = model_id(first.program, "ab", {})
    for other in made[1:]:
        np.testing.assert_array_equal(Machine(other.program, 20).step(inputs)[1], expected)
        assert model_id(other.program, "ab", {}) == identity
        assert golden_rows(other) == golden_rows(first)
    assert len({m.files.source for m in made}) == len(made)


def golden_rows(made: Compiled) -> str:
    """The golden header without its banner."""
    return made.files.golden.partition(" */")[2]


def test_auto_packs_what_pays() -> None:
    automatic = large(Build())
    assert "packed_s16" in kernels(automatic)
    assert set(PACKED.values()).isdisjoint(kernels(large(Build(target="cortex-m0"))))
    assert set(PACKED.values()).isdisjoint(kernels(large(ROWS)))
    assert set(PACKED).isdisjoint(kernels(large(BLOCKS)))
    small = plan_model(example_path("dlnet/student.pt"))
    assert set(PACKED.values()).isdisjoint(kernels(small)), "a kilobyte of code does not pay for so little"


def test_a_table_that_others_read_stays_as_it_is() -> None:
    document = large_model("120 relu 120 relu 4 tanh")
    program = plan_model(parse_checkpoint(document, "twins"), build=ROWS).program
    first, *others = (c for c in program.calls() if c.kernel == "linear_s16")
    shared = dict(first.args)["mult"]
    same = next(c for c in others if dict(c.args)["n_out"] == dict(first.args)["n_out"])
    args = tuple((name, shared if name == "mult" else arg) for name, arg in same.args)
    calls = {same: replace(same, args=args)}
    blocks = tuple(replace(b, calls=tuple(calls.get(c, c) for c in b.calls)) for b in program.blocks)
    laid = lay_out(replace(program, blocks=blocks), BLOCKS)
    assert {c.kernel for c in laid.calls() if ("mult", shared) in c.args} == {"linear_s16"}
    assert "packed_s16" in {c.kernel for c in laid.calls()}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_prints_the_paths_that_it_can_run(target: str) -> None:
    source = large(Build(target=target)).files.source if target != "avr" else small_source(target)
    dsp = TARGETS[target].dsp
    assert ("arm_acle.h" in source) == dsp == ("_PATH > 0" in source)
    assert ("__asm__" in source) == dsp


def small_source(target: str) -> str:
    return compile_model(example_path("dlnet/student.pt"), "soh", build=Build(target=target)).files.source


def test_an_avr_gets_what_it_can_hold() -> None:
    assert "PROGMEM" in small_source("avr")
    with pytest.raises(LnncError, match="avr-gcc has no array") as refused:
        _ = large(Build(target="avr")).files
    assert refused.value.where == "--target avr"


def test_what_is_left_of_the_code_paths_is_path_zero() -> None:
    text = "a\n#if LNN_PATH > 0\nb\n#if defined(X)\nc\n#endif\n#else\nd\n#ifdef Y\ne\n#endif\n#endif\nf"
    assert plain_paths(text) == "a\nd\n#ifdef Y\ne\n#endif\nf"
    every = "\n".join([prelude("lnn", Build(target="generic")), *kernel_texts(KERNELS, "lnn", dsp=False)])
    assert not re.findall(r"LNN_PATH|__asm__|arm_acle", every)


@pytest.mark.parametrize("wrong", [{"target": "z80"}, {"weights": "disk"}, {"packing": "spiral"}, {"packing": None}])
def test_another_word_is_refused_with_those_that_are_known(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(LnncError) as refused:
        Build(**wrong)
    assert refused.value.where == f"--{name}" and "expected " in refused.value.message
