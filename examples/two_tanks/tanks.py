"""Two tanks, one above the other, filled by a pump: sequences to forecast, one CSV file for each run.

Run `python examples/two_tanks/tanks.py --out tanks`. Water runs from the upper tank into the lower and out of it, the
faster the higher it stands (Torricelli); the pump is switched at random times, and somebody opens a tap that no sensor
tells.

    dh1/dt = k u - a1 sqrt(h1),    dh2/dt = a1 sqrt(h1) - a2 (1 + tap) sqrt(h2)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RUNS, SAMPLES = 30, 240  # runs, samples of each
PERIOD, FINE = 5.0, 10  # s between samples, steps of the integration in between
HEADER = "time_s,pump / %,upper / cm,lower / cm"


def schedule(rng: np.random.Generator, low: float, high: float, mean: float) -> Array:
    """A level for each sample, held for exponentially distributed times of `mean` samples."""
    ends = np.cumsum(rng.exponential(mean, SAMPLES) + 3)
    levels = rng.uniform(low, high, SAMPLES)
    return np.asarray(levels[np.searchsorted(ends, np.arange(SAMPLES))])


def run(number: int) -> Array:
    """(SAMPLES, 4): time, pump, level of the upper and of the lower tank as their sensors tell them."""
    rng = np.random.default_rng([2, number])
    pump = schedule(rng, 15.0, 95.0, 25.0)
    tap = np.where(rng.random(SAMPLES) < 0.5, 0.0, schedule(rng, 0.0, 0.3, 30.0))
    tap = np.repeat(tap[::40], 40)[:SAMPLES]
    gain, a1, a2 = 0.012 * rng.uniform(0.93, 1.07), 0.18 * rng.uniform(0.95, 1.05), 0.16 * rng.uniform(0.95, 1.05)
    upper, lower = rng.uniform(2.0, 20.0, 2)
    rows = []
    for k in range(SAMPLES):
        rows.append((k * PERIOD, pump[k], upper, lower))
        for _ in range(FINE):
            out = a1 * upper**0.5
            upper = max(upper + PERIOD / FINE * (gain * pump[k] - out), 0.0)
            lower = max(lower + PERIOD / FINE * (out - a2 * (1.0 + tap[k]) * lower**0.5), 0.0)
    table = np.array(rows)
    table[:, 2:] += rng.normal(0.0, 0.05, (SAMPLES, 2))
    return table


def main() -> None:
    """Write the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", default="tanks", help="folder for the CSV files")
    folder = Path(parser.parse_args().out)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(RUNS):
        np.savetxt(folder / f"run{number:02d}.csv", run(number), "%.3f", ",", header=HEADER, comments="")
    print(f"{RUNS} runs of {SAMPLES} samples in {folder}")


if __name__ == "__main__":
    main()
