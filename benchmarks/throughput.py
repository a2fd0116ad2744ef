"""How fast lnnc itself is: compiling a network of half a million parameters, and the integer reference.

    python benchmarks/throughput.py --data DIR --models DIR

A search over networks does both thousands of times. Seconds of this machine, so not comparable with another's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from published import MODELS, SCALER, load_windows

import lnnc
from lnnc.frontend.import_dlnet import import_dlnet
from lnnc.pipeline import plan_model
from lnnc.verify.engines import as_streams, run_reference

WIDTHS = (100, 600, 600, 100)  # 481,300 parameters
BATCHES = (1, 100, 1000)


def compile_large(folder: Path) -> tuple[int, float, float]:
    """(parameters, seconds, megabytes at most) of `lnnc compile` in a process of its own."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(WIDTHS)]
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    rows = np.random.default_rng(0).standard_normal((64, WIDTHS[0])).astype(np.float32)
    lnnc.from_torch(network, rows).save(folder / "large.pt")
    command = [sys.executable, "-m", "lnnc", "compile", str(folder / "large.pt"), "-o", str(folder / "large.c")]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return sum(p.numel() for p in network.parameters()), seconds, kilobytes / 1024


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parameters, seconds, megabytes = compile_large(Path(folder))
    print(f"lnnc compile, {parameters:,} parameters: {seconds:.1f} s, {megabytes:.0f} MB")
    _, every, calibration = load_windows(arguments.data)
    file, dt, steps = MODELS["student_deployed_h4"]
    checkpoint = import_dlnet(
        arguments.models / file, dt=dt, steps=steps, scaler=SCALER, calibration=calibration, output=""
    )
    program = plan_model(checkpoint).program
    for count in BATCHES:
        rows = as_streams(every[:count, :100], 100, (100, 1), "windows")
        begin = time.perf_counter()
        run_reference(program, rows, None)
        print(f"reference, deployed student, batch of {count}: {count / (time.perf_counter() - begin):,.0f} windows/s")


if __name__ == "__main__":
    main()
