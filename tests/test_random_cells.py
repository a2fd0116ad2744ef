"""Random liquid networks: every state and output of long streams with resets, on the host and on an emulated Cortex-M4.

Any cell, wiring, depth and mixture (tests/recurrent.py) x activation width x weight width x constant or given time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batches import Case, variant, verify_everywhere
from recurrent import CELLS, random_network, signals

from lnnc.errors import LnncError
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.reference.quantio import to_raw
from lnnc.verify.vectors import INT16, Group, wild_times

STEPS, SLOW_STEPS = 250, 2000
BATCH = 20
BATCHES, SLOW_BATCHES = 4, 16  # 16 x 20 = 320 models
RESET_AT = 0.6
OPTIMISATIONS = ("-O2", "-Os", "-O0", "-O3")
REFUSED_MAX = 0.1
TIMED = {"cfc", "no_gate", "pure", "wired_cfc", "ltc", "wired_ltc", "euler_ltc", "mixed_cfc", "mixed_ltc", "liquid",
         "ctrnn"}  # fmt: skip


def options_of(rng: np.random.Generator, label: str) -> Options:
    """Any width of activations and weights; the time as an argument for some of the cells that know time."""
    timed = all(kind in TIMED for kind in label.split("+")) and rng.random() < 0.3
    low = float(rng.choice([0.05, 0.3, 0.9]))
    span = (low, low * float(rng.choice([1.5, 4.0]))) if timed else None
    return Options(str(rng.choice(["int16", "int8"])), None, None, str(rng.choice(["8", "16"])), span)


def group_of(seed: int, steps: int, compiled: Compiled) -> Group:
    """Two sequences: the kind of signal that the network is meant for, and anything that fits into its ports."""
    program, rng = compiled.program, np.random.default_rng(seed)
    port = compiled.checkpoint.inputs[0]
    meant = to_raw(signals(rng, 1, steps, program.input_size) * port.scale + port.offset, program.inputs)
    wild = rng.integers(*INT16, size=(1, steps, program.input_size), endpoint=True)
    times = None if program.time is None else wild_times(program.time, (2, steps), rng)
    return Group(("signal", "random"), np.concatenate([meant, wild]), (0, int(steps * RESET_AT)), times)


def draw(seed: int, count: int, steps: int) -> tuple[list[Case], int]:
    """`count` models, the cells in turn, and how many were refused on the way (each with a layer's name)."""
    made: list[Case] = []
    refused = attempt = 0
    while len(made) < count:
        kind = CELLS[(seed * count + len(made)) % len(CELLS)] if attempt % 3 else ""
        network = random_network((seed, attempt), kind)
        rng = np.random.default_rng([seed, attempt, 1])
        options = options_of(rng, network.label)
        attempt += 1
        try:
            build, path = variant(seed, len(made))
            compiled = compile_model(network.checkpoint, f"m{len(made)}", options, build=build)
        except LnncError as error:
            if "layer '" not in error.message:
                pytest.fail(f"a refusal names the layer, not {error.message!r}")
            refused += 1
            continue
        group = group_of(attempt, steps, compiled)
        label = f"{network.label} ({seed}, {attempt - 1}) {options} {build}, path {path}"
        made.append(Case(label, compiled, [group], path))
    return made, refused


def verify_batch(seed: int, steps: int, folder: Path, opt: str, sanitize: bool) -> None:
    made, refused = draw(seed, BATCH, steps)
    assert refused <= REFUSED_MAX * (BATCH + refused), f"{refused} networks refused for {BATCH} taken"
    verify_everywhere(made, folder, opt, sanitize, trap=seed % 2 == 0)


NEEDS = pytest.mark.needs("cc", "arm-none-eabi-gcc", "qemu-system-arm")


@NEEDS
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_cells_equal_the_reference(batch: int, tmp_path: Path) -> None:
    verify_batch(100 + batch, STEPS, tmp_path, OPTIMISATIONS[batch % 3], sanitize=batch == 0)


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("batch", range(SLOW_BATCHES))
def test_three_hundred_cells_over_long_streams(batch: int, tmp_path: Path) -> None:
    verify_batch(200 + batch, SLOW_STEPS, tmp_path, OPTIMISATIONS[batch % 4], sanitize=batch % 5 == 0)
