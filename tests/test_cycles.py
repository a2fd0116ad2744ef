"""The cycle model: every rule on assembly counted by hand, instruction totals against QEMU's, layers against totals."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small import document, save

from lnnc.errors import LnncError
from lnnc.pipeline import Compiled, plan_model
from lnnc.quantize.calibrate import shaped
from lnnc.quantize.context import Options
from lnnc.reference.interp import Machine as Reference
from lnnc.report.size import measure
from lnnc.resources import example_path
from lnnc.targets import NRF52840, TARGETS, Build
from lnnc.verify import cycles as module
from lnnc.verify.cycles import Cost, PriceBook, StepCost, build_profiled, count, measure_step, steady_records
from lnnc.verify.emulate import M4Machine, _qemu_command, input_file
from lnnc.verify.machine import run_process
from lnnc.verify.model_run import Step, build_model, decode_output, encode_records
from lnnc.verify.owners import GLUE, instruction_owners, line_owners
from lnnc.verify.tools import Tool

M4 = TARGETS["cortex-m4"]
NEEDS = pytest.mark.needs("arm-none-eabi-gcc", "unicorn", "capstone", "elftools")
RETURN = 3  # bx lr to a word boundary

# `probe` gets r0 = 64 words in RAM and may use r0 to r3 and r12; its return address is a multiple of 4.
PROBE = """\
#include "harness.h"
int32_t room[64] __attribute__((aligned(8)));
__asm(".syntax unified\\n.thumb\\n.text\\n"
      ".balign 8\\n.global probe\\n.type probe, %function\\nprobe:\\n"
      "{body}\\n"
      "bx lr\\n.ltorg\\n.size probe, .-probe\\n"
      ".balign 4\\n.global harness_run\\n.type harness_run, %function\\nharness_run:\\n"
      "push {{r4, lr}}\\nldr r0, =room\\nmovs r1, #0\\nmovs r2, #4\\nbl probe\\nmovs r0, #0\\npop {{r4, pc}}\\n"
      ".ltorg\\n.balign 4\\n");
"""


@dataclass(frozen=True)
class Probe:
    """What a piece of assembly cost, its return not counted, and what it left in r0."""

    cost: Cost
    ret: int
    stack: int


def probe(body: str, folder: Path) -> Probe:
    text = "\\n".join(line.strip() for line in body.split(";"))
    machine = M4Machine("arm-none-eabi-gcc", "unicorn", trap_unaligned=False)
    image = machine.build({"probe.c": PROBE.format(body=text)}, folder, flags=M4.cflags)
    (call,) = count(image, b"", "probe").calls
    found = PriceBook(image).price(call)
    total = found.total
    return Probe(Cost(total.instructions - 1, total.cycles - RETURN, total.reads), found.ret, found.stack)


# "a; b" -> cycles. The first group are the totals that the Cortex-M4 manual itself gives (3.3.3, "Load/store timings").
RULES = {
    "ldr r1, [r0]; ldr r2, [r0]": 3,
    "ldr r1, [r0, r2]; str r1, [r0, #20]": 3,
    "ldr r1, [r0, r2]; str r1, [r0, r2]": 3,
    "ldr r1, [r0, r2]; ldr r3, [r0]; ldr r2, [r0, #4]": 4,
    "str r1, [r0, #4]": 1,
    "str r1, [r0, r2]": 2,
    "ldr r1, =back; ldr pc, [r1]; .balign 4; back: .word back + 5; nop": 2 + 5 + 1,
    "movs r1, #0; nop; tbb [pc, r1]; .byte 1, 0; nop": 1 + 1 + 6 + 1,
    # one cycle each, and results are there for the next instruction
    "mul r1, r2, r2; mla r1, r1, r2, r2; smlad r1, r1, r2, r1; smmulr r3, r1, r2; ssat r3, #16, r3": 5,
    "umull r1, r2, r2, r0; smlal r1, r2, r0, r0; sxtb16 r3, r1, ror #8; pkhbt r3, r3, r1; nop; uxtah r1, r2, r3": 6,
    "udiv r1, r0, r2": 7,
    # an address that the instruction before it made: a load's result delays by not overlapping, a sum's by a cycle
    "ldr r1, [r0]; ldr r2, [r0, #4]; ldr r3, [r0, #8]; ldr r12, [r0, #12]": 5,
    "str r0, [r0]; ldr r1, [r0]; ldr r2, [r1]": 1 + 2 + 2,
    "adds r0, #4; ldr r1, [r0]": 1 + 3,
    "adds r0, #4; nop; ldr r1, [r0]": 1 + 1 + 2,
    "adds r0, #4; str r1, [r0]": 1 + 2,
    "ldr r1, [r0]; adds r3, r1, #1; ldr r2, [r0]": 2 + 1 + 2,
    "ldrsh r1, [r0], #2; ldrsh r2, [r0], #2": 2 + 2,
    "ldrd r1, r2, [r0]": 3,
    "strd r1, r2, [r0]": 3,
    "ldm r0, {r1, r2, r3}": 4,
    "stm r0!, {r1, r2, r3}": 4,
    "push {r1, r2, r3}; pop {r1, r2, r3}": 8,
    # IT: free after a 16-bit instruction; what it skips takes its cycle
    "cmp r1, #0; it ne; movne r3, r1": 2,
    "cmp r1, #0; it eq; moveq r3, r1": 2,
    "cmp.w r1, #0; it ne; movne r3, r1": 3,
    # branches: 1, taken 2, to a register 3, one more where the target crosses a word
    "cmp r1, #1; beq 1f; 1: nop": 3,
    "b 1f; nop; 1: nop": 3,
    "cbz r1, 1f; nop; 1: nop": 3,
    "cbnz r1, 1f; nop; 1: nop": 3,
    "mov r12, lr; bl 1f; mov lr, r12; b 2f; 1: bx lr; 2: nop": 1 + 2 + 3 + 1 + 2 + 1,
    "movs r1, #10; 1: subs r1, #1; bne 1b": 1 + 10 + 9 * 2 + 1,
    "movs r1, #10; 1: subs.w r1, r1, #1; bne 1b": 1 + 10 + 9 * 3 + 1,
    "mov.w r1, #10; 1: subs.w r1, r1, #1; bne 1b": 1 + 10 + 9 * 2 + 1,
    "movs r1, #3; 1: ldr r2, [r0]; ldr r3, [r0]; subs r1, #1; bne 1b": 1 + 3 * (2 + 1 + 1) + 2 * 2 + 1,
}
FLASH_READS = {
    "ldr r1, [r0]": 0,
    "ldr r1, =0x12345678": 1,
    "ldr r1, =room; nop; ldr r2, [r1]": 1,
    "adr.w r1, data; nop; ldrb r2, [r1]; ldrh r3, [r1]; b 1f; .balign 4; data: .word 1, 2, 3; 1: nop": 2,
    "adr.w r1, data; nop; ldm r1, {r1, r2, r3}; b 1f; .balign 4; data: .word 1, 2, 3; 1: nop": 3,
    "adr.w r1, data; nop; ldrd r2, r3, [r1]; b 1f; .balign 4; data: .word 1, 2, 3; 1: nop": 2,
}


@NEEDS
@pytest.mark.parametrize("body", RULES)
def test_every_rule_on_assembly_counted_by_hand(body: str, tmp_path: Path) -> None:
    assert probe(body, tmp_path).cost.cycles == RULES[body]


@NEEDS
@pytest.mark.parametrize("body", FLASH_READS)
def test_flash_loads_are_counted_in_words(body: str, tmp_path: Path) -> None:
    found = probe(body, tmp_path).cost
    assert found.reads == FLASH_READS[body]
    assert found.waiting(3) == found.cycles + 3 * FLASH_READS[body]


@NEEDS
def test_skipped_instructions_count_and_stack_is_seen(tmp_path: Path) -> None:
    found = probe("cmp r1, #0; ite eq; moveq r0, #5; movne r0, #6; push {r1, r2, r3}; add sp, #12", tmp_path)
    assert (found.cost.instructions, found.ret, found.stack) == (6, 5, 12)


@NEEDS
@pytest.mark.parametrize("chosen", [0, 1])
def test_counting_flash_loads_inside_it_changes_nothing(chosen: int, tmp_path: Path) -> None:
    """unicorn's hook left the IT state behind: the first instructions of the next block were skipped."""
    body = (
        f"adr.w r3, data; cmp r1, #{chosen}; ittee eq; ldreq r1, [r3]; ldreq r2, [r3, #4]; ldrne r1, [r3, #8]; "
        "ldrne r2, [r3, #12]; b 1f; nop; 1: adds r0, r1, r2; adds r0, #100; b 2f; .balign 4; "
        "data: .word 1, 2, 3, 4; 2: nop"
    )
    assert probe(body, tmp_path).ret == 100 + (3, 7)[chosen]


# --- whole steps ---


@cache
def compiled(name: str) -> Compiled:
    if name == "core":
        return plan_model(example_path("core_temperature/core.pt"), "m")
    if name == "timed":
        return plan_model(example_path("core_temperature/core.pt"), "m", Options(runtime_dt=(0.5, 2.0)))
    return plan_model(_saved(name), "m", Options(activations="int8") if name == "window" else None)


_FOLDER: list[Path] = []


@pytest.fixture(autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not _FOLDER:
        _FOLDER.append(tmp_path_factory.mktemp("models"))


def _saved(mode: str) -> Path:
    return save(document(mode), _FOLDER[0] / f"{mode}.pt")


def calibration(made: Compiled) -> np.ndarray | None:
    data = made.checkpoint.calibration
    return None if data is None else shaped(made.checkpoint, data)


def files(made: Compiled) -> tuple[str, str]:
    return made.files.source, made.files.header


@cache
def step_cost(name: str, opt: str) -> StepCost:
    made = compiled(name)
    return measure_step(made.program, files(made), "m", M4, opt, calibration(made))


MODELS = ("window", "stream", "core", "timed")


@NEEDS
@pytest.mark.parametrize("opt", ["-Os", "-O2"])
@pytest.mark.parametrize("name", MODELS)
def test_layers_add_up_and_every_call_has_its_share(name: str, opt: str) -> None:
    found = step_cost(name, opt)
    assert set(found.calls) == set(range(len(compiled(name).program.calls())))
    assert all(0 < cost.instructions <= cost.cycles for cost in found.calls.values())
    assert sum((cost.cycles for cost in found.calls.values()), found.glue.cycles) == found.total.cycles
    assert 0 < found.glue.cycles < 60  # entry, return, nothing else
    assert found.steps >= 5
    proved = measure(*files(compiled(name)), "m", (*M4.cflags, opt, "-ffreestanding")).stack
    assert 0 < found.stack <= proved  # painted, against the deepest path of the call graph


@NEEDS
@pytest.mark.parametrize("name", ["window", "core"])
def test_calls_out_of_line_belong_to_the_call_that_names_the_kernel(name: str, tmp_path: Path) -> None:
    made = compiled(name)
    calls = made.program.calls()
    source = made.files.source.replace("static ", "static __attribute__((noinline)) ", 1000)
    source = source.replace("static __attribute__((noinline)) const", "static const")
    image = build_profiled((source, made.files.header), "m", M4, "-O2", tmp_path)
    owners = instruction_owners(image, source, "m")
    records, _ = steady_records(made.program, None)
    kernels = symbols(image)
    seen = set()
    for site, at, size, target, _n in count(image, encode_records(records), "m_step").calls[0]["taken"]:
        owner = owners.get(at + size - 2)
        kernel = kernels.get(target, "").removeprefix("m_").partition(".")[0]
        if site == 0 and owner is not None and owner != GLUE and any(call.kernel == kernel for call in calls):
            assert calls[owner].kernel == kernel
            seen.add(owner)
    assert seen == set(range(len(calls)))


def symbols(image: Path) -> dict[int, str]:
    shown = subprocess.run(["arm-none-eabi-nm", str(image)], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in shown.splitlines())
    return {int(row[0], 16) & ~1: row[2] for row in rows if len(row) == 3 and row[1] in "tT"}


@pytest.mark.needs("arm-none-eabi-gcc", "unicorn", "capstone", "elftools", "qemu-system-arm")
@pytest.mark.parametrize(("name", "opt"), [("window", "-O2"), ("stream", "-Os"), ("core", "-Os"), ("core", "-O2")])
def test_instruction_totals_equal_qemus(name: str, opt: str, tmp_path: Path) -> None:
    """QEMU, one instruction at a time, logs each; the totals of every single step agree."""
    made = compiled(name)
    image = build_profiled(files(made), "m", M4, opt, tmp_path)
    data = encode_records(steady_records(made.program, None)[0])
    book = PriceBook(image)
    mine = [book.price(call).total.instructions for call in count(image, data, "m_step").calls]
    log = tmp_path / "log"
    command = [*_qemu_command(image, input_file(data, tmp_path)), "-singlestep", "-d", "exec,nochain", "-D", str(log)]
    assert run_process(command, "QEMU", 120).returncode == 0
    names = [line.rpartition(" ")[2] for line in log.read_text().splitlines() if line.startswith("Trace")]
    assert qemu_steps(names) == mine


def qemu_steps(names: list[str]) -> list[int]:
    """Instructions between the entry of m_step and its return into the harness."""
    found: list[int] = []
    inside = False
    for name in names:
        if name == "m_step" and not inside:
            inside = True
            found.append(0)
        elif inside and name in ("run_step", "harness_run"):
            inside = False
        found[-1:] = [found[-1] + 1] if inside else found[-1:]
    return found


@NEEDS
@pytest.mark.parametrize("name", MODELS)
def test_counting_changes_no_result(name: str, tmp_path: Path) -> None:
    """The counted run answers what the reference answers."""
    made = compiled(name)
    program = made.program
    image = build_profiled(files(made), "m", M4, "-O2", tmp_path)
    records, _ = steady_records(program, calibration(made))
    output = count(image, encode_records(records), "m_step").output
    state = max(1, sum(b.bytes for b in program.of_kind("state")))
    width = max((np.dtype(b.dtype).itemsize for b in program.of_kind("state")), default=1)
    events = decode_output(output, program.output_size, -(-state // width) * width)
    got = [event.out for event in events if event.kind == "S" and event.ret == 0]
    reference, want = Reference(program), []
    for record in records:
        if not isinstance(record, Step):
            reference.reset()
            continue
        missing, out = reference.step(np.asarray(record.values, np.int64)[None], record.dt)
        want += [] if missing or out is None else [out[0]]
    assert np.array_equal(np.array(got), np.array(want))


@NEEDS
def test_debug_information_changes_no_code(tmp_path: Path) -> None:
    made = compiled("core")
    machine = M4Machine("arm-none-eabi-gcc", "unicorn", trap_unaligned=False)
    for opt in ("-Os", "-O2"):
        plain = build_model(machine, *files(made), "m", tmp_path / f"plain{opt}", opt=opt, flags=M4.cflags)
        debug = build_profiled(files(made), "m", M4, opt, tmp_path / f"debug{opt}")
        assert text_of(plain) == text_of(debug)


def text_of(image: Path) -> bytes:
    from elftools.elf.elffile import ELFFile

    with image.open("rb") as file:
        return bytes(ELFFile(file).get_section_by_name(".text").data())


@NEEDS
def test_the_same_model_gives_the_same_counts() -> None:
    made = compiled("core")
    again = measure_step(made.program, files(made), "m", M4, "-O2", calibration(made))
    assert again == step_cost("core", "-O2")


@NEEDS
def test_typical_inputs_are_calibration_data_where_there_are_some() -> None:
    made = compiled("stream")
    assert steady_records(made.program, calibration(made))[1].startswith("6 after 7 of warm-up on calibration inputs")
    assert "smooth curves" in steady_records(made.program, None)[1]


def test_lines_of_a_step_belong_to_the_call_of_their_paragraph() -> None:
    text = (
        "int m_step(m_state *state)\n{\n    int32_t step;\n\n    /* input */\n    m_a(state);\n"
        "    M_TRACE(0, x, 2);\n\n    /* 3 steps */\n    for (step = 0; step < 3; step++) {\n\n"
        "        /* cell */\n        m_b(state);\n"
        "        M_TRACE(1, x, 2);\n        m_copy(state);\n    }\n    return 0;\n}\n\nint after;\n"
    )
    owners = line_owners(text, "m")
    assert [owners[n] for n in (1, 2)] == [GLUE, GLUE]
    assert [owners[n] for n in (5, 6, 7)] == [0, 0, 0]
    assert [owners[n] for n in (9, 10, 12, 13, 14, 15)] == [1] * 6
    assert owners[17] == GLUE
    assert 20 not in owners
    with pytest.raises(LnncError, match="other_step"):
        line_owners(text, "other")


def test_time_and_energy_of_the_board() -> None:
    assert NRF52840.ms(64_000) == pytest.approx(1.0)
    assert NRF52840.energy_uj(64_000) == pytest.approx(3.3 * 3.0)
    assert NRF52840.current_ma / NRF52840.clock_mhz == pytest.approx(0.052, abs=5e-4)  # the data sheet's other figure


def test_a_target_without_a_model_says_so() -> None:
    made = compiled("core")
    for target in TARGETS.values():
        assert bool(target.unmodelled) == (target.board is None)
        if target.unmodelled:
            with pytest.raises(LnncError, match=f"no cycle model for {target.name}"):
                measure_step(made.program, ("", ""), "m", target, "-Os", None)
    with pytest.raises(LnncError, match="found 'z80'"):
        Build(target="z80")


def test_names_every_missing_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_tool", lambda _name: None)
    monkeypatch.setattr(module, "tool", lambda name: Tool(name, "", ("x",), apt=f"deb-{name}"))
    with pytest.raises(LnncError, match="arm-none-eabi-gcc, unicorn, capstone, pyelftools") as caught:
        module.require_cycle_tools()
    assert "apt install deb-capstone" in caught.value.hint
