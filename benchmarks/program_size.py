"""Flash and RAM of a whole Cortex-M4 program: start-up code, a loop around the published student, the model.

    python benchmarks/program_size.py --data DIR --models DIR [--activations int8]

Start-up is what a bare-metal program cannot do without: vectors, copying .data, clearing .bss. Drivers, a C library and
an operating system come on top in a product; the model needs none of them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from published import MODELS, SCALER, load_windows

from lnnc.frontend.import_dlnet import import_dlnet
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.report.size import section_sizes
from lnnc.resources import firmware_text
from lnnc.targets import TARGETS
from lnnc.verify.machine import compile_image, compiler_command

PROGRAM = """\
#include "lnn.h"
extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _stack_top[];
static lnn_state state;
static lnn_scratch scratch;
static int16_t in[LNN_INPUTS], out[LNN_OUTPUTS];
volatile int16_t sensor, actuator;
int main(void);
void Reset_Handler(void);

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {_stack_top, (void *)Reset_Handler};

void Reset_Handler(void)
{
    const uint32_t *from = _sidata;
    uint32_t *to;
    for (to = _sdata; to != _edata; to++)
        *to = *from++;
    for (to = _sbss; to != _ebss; to++)
        *to = 0u;
    main();
    for (;;) {
    }
}

int main(void)
{
    int i;
    lnn_reset(&state);
    for (;;) {
        for (i = 0; i < LNN_INPUTS; i++)
            in[i] = sensor;
        lnn_step(&state, &scratch, in, out);
        for (i = 0; i < LNN_OUTPUTS; i++)
            actuator = out[i];
    }
}
"""
SCRIPT = "mps2_an386.ld"


def program_sizes(compiled: Compiled, opt: str) -> tuple[int, int]:
    """(flash, RAM without the stack) of the linked program, in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {"main.c": PROGRAM, "lnn.c": compiled.files.source, "lnn.h": compiled.files.header}
        texts[SCRIPT] = firmware_text(f"harness/{SCRIPT}")
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        flags = [
            *TARGETS["cortex-m4"].cflags,
            opt,
            "-std=c99",
            "-ffreestanding",
            "-ffunction-sections",
            "-fdata-sections",
        ]
        link = ["-nostdlib", "-T", SCRIPT, "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler", "-lgcc"]
        command = [*compiler_command("arm-none-eabi-gcc"), *flags, "main.c", "lnn.c", *link]
        text_size, rodata, data, bss = section_sizes(compile_image(command, folder, "program.elf"))
    return text_size + rodata + data, data + bss


def main() -> None:
    """Print both figures at every optimisation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--activations", choices=("int16", "int8"), default="int16")
    given = parser.parse_args()
    _, _, calibration = load_windows(given.data)
    file, dt, steps = MODELS["student_deployed_h4"]
    checkpoint = import_dlnet(
        given.models / file, dt=dt, steps=steps, scaler=SCALER, calibration=calibration, output=""
    )
    compiled = compile_model(checkpoint, options=Options(given.activations))
    for opt in ("-Os", "-O2", "-O3"):
        flash, ram = program_sizes(compiled, opt)
        print(f"deployed student, whole program, {given.activations}, {opt}: flash {flash:,} bytes, RAM {ram:,} bytes")


if __name__ == "__main__":
    main()
