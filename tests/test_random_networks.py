"""Random networks: compiled, run on the host and on an emulated Cortex-M4, every byte equal to the reference.

Some twenty models share an image (tests/batches.py). What they are is decided by the seed alone (tests/networks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from batches import Case, variant, verify_everywhere
from networks import Document, fresh_inputs, random_document

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.quantize.calibrate import shaped
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.quantio import to_raw, to_real
from lnnc.verify.vectors import make_groups

PER_BATCH = 20
BATCHES, SLOW_BATCHES = 4, 50  # each optimisation once; all of them in the slow command
REFUSED_MAX = 0.25  # of the networks drawn: beyond that the compiler refuses what it should take
VECTORS = 24  # steps for each model, corners of the ports included
OPTIMISATIONS = ("-O2", "-Os", "-O0", "-O3")
SLOW_OPTIMISATIONS = (*OPTIMISATIONS, "-O1")


def draw(seed: tuple[int, ...], count: int) -> tuple[list[Checkpoint], int]:
    """`count` networks that compile in both widths, and how many were refused on the way."""
    found: list[Checkpoint] = []
    refused = attempt = 0
    while len(found) < count:
        checkpoint = parse_checkpoint(random_document(np.random.default_rng([*seed, attempt])), f"network {seed}")
        attempt += 1
        try:
            for width in ("int16", "int8"):
                compile_model(checkpoint, "m", Options(width))
        except LnncError as error:  # anything else is a bug of ours and ends the test
            if "layer '" not in error.message:
                pytest.fail(f"attempt {attempt - 1}: a refusal names the layer, not {error.message!r}")
            refused += 1
            continue
        found.append(checkpoint)
    return found, refused


def cases(checkpoints: Sequence[Checkpoint], seed: int) -> list[Case]:
    """Both widths of every network, with public names m0, m1, ..."""
    made: list[Case] = []
    for index, checkpoint in enumerate(checkpoints):
        for width in ("int16", "int8"):
            build, path = variant(seed, len(made))
            compiled = compile_model(checkpoint, f"m{len(made)}", Options(width), build=build)
            data = None if checkpoint.calibration is None else shaped(checkpoint, checkpoint.calibration)
            groups = make_groups(compiled.program, data, VECTORS, seed + index)
            label = f"network {index} of {checkpoint.where}, {width}, {build}, path {path}"
            made.append(Case(label, compiled, groups, path))
    return made


def verify_batch(seed: tuple[int, ...], tmp_path: Path, opt: str, sanitize: bool) -> None:
    checkpoints, refused = draw(seed, PER_BATCH)
    assert refused <= REFUSED_MAX * (PER_BATCH + refused), f"{refused} networks refused for {PER_BATCH} taken"
    made = cases(checkpoints, seed[-1])
    verify_everywhere(made, tmp_path, opt, sanitize, trap=seed[-1] % 2 == 0)


NEEDS = pytest.mark.needs("cc", "arm-none-eabi-gcc", "qemu-system-arm")


@NEEDS
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_networks_equal_the_reference(batch: int, tmp_path: Path) -> None:
    verify_batch((1, batch), tmp_path, OPTIMISATIONS[batch % 4], sanitize=batch == BATCHES - 1)


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("batch", range(SLOW_BATCHES))
def test_a_thousand_random_networks(batch: int, tmp_path: Path) -> None:
    verify_batch((2, batch), tmp_path, SLOW_OPTIMISATIONS[batch % 5], sanitize=batch % 5 == 2)


# --- closeness to float ---


def real_outputs(compiled: Compiled, data: Array) -> Array:
    """Outputs of the reference in real units: a row per window of a window model, per full window of a stream."""
    program = compiled.program
    samples = data[:, None, :] if data.ndim == 2 else data
    machine, rows = Reference(program, len(samples)), []
    for t in range(samples.shape[1]):
        _, out = machine.step(to_raw(samples[:, t], program.inputs))
        if out is not None:
            rows.append(to_real(out, program.outputs))
    return np.stack(rows, axis=1).reshape(-1, program.output_size)


def error_of(document: Document, width: str, seed: int) -> float:
    """The worst port's mean |error| as a part of the range that its values cover (of at least 64 units of the port)."""
    checkpoint = parse_checkpoint(document, f"sane network {seed}")
    compiled = compile_model(checkpoint, "m", Options(width))
    data = shaped(checkpoint, fresh_inputs(document, np.random.default_rng([3, seed])))
    want, got = evaluate(compiled.graph, data)[compiled.graph.result], real_outputs(compiled, data)
    worst, start = 0.0, 0
    for port in compiled.program.outputs:
        part = slice(start, start + port.size)
        start += port.size
        covered = max(float(np.ptp(want[:, part])), 64.0 * 2.0**-port.frac)
        worst = max(worst, float(np.abs(want[:, part] - got[:, part]).mean()) / covered)
    return worst


def check_closeness(width: str, seeds: range, median: float, most: float, limit: float) -> None:
    """Median, 95th percentile and maximum of the errors over sane networks, none of which may be refused."""
    documents = {seed: random_document(np.random.default_rng([4, seed]), sane=True) for seed in seeds}
    errors = {seed: error_of(document, width, seed) for seed, document in documents.items()}
    worst = sorted(errors, key=errors.__getitem__, reverse=True)[:5]
    shown = ", ".join(f"network {seed}: {errors[seed]:.2%}" for seed in worst)
    assert np.median(list(errors.values())) <= median, shown
    assert np.percentile(list(errors.values()), 95) <= most, shown
    assert errors[worst[0]] <= limit, shown


# int16: half of the networks stay within 0.15 % of the range that a port's values cover, 95 % within 0.6 %, all within
# 8 %: a few amplify the rounding of their own inputs (a LayerNorm over values that hardly differ). int8 has no maximum
# worth stating: a tensor that keeps between 0.60 and 0.65 has a dozen levels left, for its zero point is 0.
CLOSENESS = [("int16", 0.0015, 0.006, 0.08), ("int8", 0.003, 0.015, 1.0)]


@pytest.mark.parametrize(("width", "median", "most", "limit"), CLOSENESS)
def test_sane_networks_are_close_to_float(width: str, median: float, most: float, limit: float) -> None:
    check_closeness(width, range(150), median, most, limit)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "median", "most", "limit"), CLOSENESS)
def test_a_thousand_sane_networks_are_close_to_float(width: str, median: float, most: float, limit: float) -> None:
    check_closeness(width, range(1000), median, most, limit)
