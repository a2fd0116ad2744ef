"""Sizes of a hand-written model on the Cortex-M4: sections, structs and the deepest stack."""

from __future__ import annotations

import shutil

import pytest

from lnnc.errors import LnncError
from lnnc.report.size import EXTERNAL_STACK, Node, deepest, measure, parse_call_graph

HEADER = """\
#include <stdint.h>
#define TINY_INPUTS 3
#define TINY_OUTPUTS 2
typedef struct { int32_t sum[5]; int16_t seen[3]; int8_t small[2]; } tiny_state;
typedef struct { int32_t a[30]; } tiny_scratch;
void tiny_reset(tiny_state *state);
int tiny_step(tiny_state *state, tiny_scratch *scratch, const int16_t *in, int16_t *out);
int tiny_selftest(tiny_state *state, tiny_scratch *scratch);
"""
SOURCE = """\
#include "lnn.h"
#define ALONE static __attribute__((noinline))
static const int8_t weights[1000] = {1, 2, 3};
static int32_t counter;
static int32_t start = 5;

ALONE int32_t leaf(const int16_t *in)
{
    volatile int32_t room[20];
    int i;
    for (i = 0; i < 20; i++) {
        room[i] = in[i % 3];
    }
    return room[3];
}
ALONE int32_t middle(const int16_t *in) { return leaf(in) + weights[in[1] & 511] DIVISION; }
ALONE int32_t shallow(const int16_t *in) { volatile int32_t room[4] = {in[0], 1, 2, 3}; return room[in[1] & 3]; }

void tiny_reset(tiny_state *state) { state->sum[0] = start++; }
int tiny_step(tiny_state *state, tiny_scratch *scratch, const int16_t *in, int16_t *out)
{
    EXTRA
    scratch->a[0] = middle(in) + shallow(in) + counter++;
    out[0] = (int16_t)(scratch->a[0] + state->sum[0]);
    return 0;
}
#ifdef TINY_SELFTEST
int tiny_selftest(tiny_state *s, tiny_scratch *t) { volatile char big[9999]; (void)s; (void)t; return big[0]; }
#endif
"""
NEEDS = pytest.mark.needs("arm-none-eabi-gcc", "elftools")


def source(division: str = "", extra: str = "") -> str:
    return SOURCE.replace("DIVISION", division).replace("EXTRA", extra)


@NEEDS
def test_measures_sections_structs_and_stack() -> None:
    got = measure(source(), HEADER, "tiny")
    assert (got.rodata, got.data, got.bss) == (1000, 4, 4)
    assert (got.state, got.scratch, got.ports) == (28, 120, 10)
    assert 100 < got.text < 400
    assert got.flash == got.text + 1004
    assert got.ram == 4 + 4 + 28 + 120 + 10
    assert 80 + 8 < got.stack < 160  # leaf's 80 bytes and the frames above it, not shallow's on top
    assert got.external == ()


@NEEDS
def test_library_calls_are_named_and_allowed_for() -> None:
    plain = measure(source(), HEADER, "tiny")
    wide = measure(source("+ (int32_t)((int64_t)in[0] * 99999 / (in[2] | (int64_t)1 << 40))"), HEADER, "tiny")
    assert wide.external == ("__aeabi_ldivmod",)
    assert wide.stack >= plain.stack
    graph = {"a": Node(8, ("b", "c")), "b": Node(16, ()), "c": Node(None, ())}
    assert deepest(graph, "a") == 8 + EXTERNAL_STACK


@NEEDS
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("volatile int16_t v[in[0]]; v[0] = 1;", "no bound"),
        ("if (in[0] > 5) { out[1] = (int16_t)tiny_step(state, scratch, in + 1, out); }", "recursion"),
        ("out[1] = (int16_t)((int32_t (*)(const int16_t *))(uintptr_t)in[0])(in);", "through a pointer"),
        ("oops;", "refused the code"),
    ],
)
def test_refuses_what_has_no_bound(extra: str, message: str) -> None:
    with pytest.raises(LnncError, match=message):
        measure(source(extra=extra), HEADER, "tiny")


@NEEDS
def test_refuses_another_name() -> None:
    with pytest.raises(LnncError, match="other"):
        measure(source(), HEADER, "other")


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _command: None)
    with pytest.raises(LnncError, match="apt install gcc-arm-none-eabi"):
        measure(source(), HEADER, "tiny")


def test_reads_gcc_call_graphs() -> None:
    text = r"""graph: { title: "m.c"
node: { title: "m.c:f" label: "f\nm.c:3:42\n88 bytes (static)\n0 dynamic objects" }
node: { title: "g" label: "g\nm.c:9:1\n16 bytes (dynamic,bounded)\n0 dynamic objects" }
edge: { sourcename: "g" targetname: "m.c:f" label: "m.c:9:8" }
edge: { sourcename: "g" targetname: "m.c:f" label: "m.c:9:9" }
node: { title: "memset" label: "memset\n<built-in>" shape : ellipse }
edge: { sourcename: "m.c:f" targetname: "memset" }
}
"""
    graph = parse_call_graph(text)
    assert graph == {"m.c:f": Node(88, ("memset",)), "g": Node(16, ("m.c:f",)), "memset": Node(None, ())}
    assert deepest(graph, "g") == 16 + 88 + EXTERNAL_STACK
