"""Generated battery cells: what their sensors read, how hot their cores are, and the estimators to beat.

A cell is two heat capacities (core, surface) and two thermal resistances (core to surface, surface to air):

    Cc dTc/dt = I^2 R(Tc) - (Tc - Ts) / Rc          R(T) = R25 exp(B (1 / (T + 273.15) - 1 / 298.15))
    Cs dTs/dt = (Tc - Ts) / Rc - (Ts - Ta) / Ru     Ru halves while a fan runs, of which no sensor tells

The figures are round numbers of the size of a 26650 cell, not those of a product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rng = np.random.Generator

SECONDS = 3600  # length of a drive
SPLITS = {"train": (192, 1), "validation": (32, 2), "test": (64, 3)}  # cells, seed: no cell is in two splits
DRIVES = 2  # of each cell
PERIOD = 5  # seconds between two samples; the network's unit of time
GAP_MIN, GAP_MAX = 1, 10  # seconds, where samples come irregularly

R25, ARRHENIUS = 0.015, 2200.0  # ohm, K
CORE_TO_SURFACE, SURFACE_TO_AIR = 2.0, 3.0  # K/W
CORE_HEAT, SURFACE_HEAT = 60.0, 15.0  # J/K
PHASE_MEAN, PHASE_SPREAD = np.array([0.0, 2.0, 12.0]), np.array([0.0, 9.0, 6.0])  # A: parked, city, motorway
CURRENT_MIN, CURRENT_MAX = -20.0, 25.0  # A; below 0 the cell is charged


@dataclass(frozen=True)
class Streams:
    """Drives of several cells.

    Attributes:
        samples: (streams, steps, 3): current in A, surface and ambient temperature in deg C, as sensors read them.
        rise: (streams, steps): core temperature minus surface reading, in K. Core = surface reading + rise.
        gaps: (steps,): time since the last sample in units of `PERIOD`, the same for every stream.
    """

    samples: Array
    rise: Array
    gaps: Array

    def at(self, gaps: npt.NDArray[np.int64]) -> Streams:
        """Streams sampled every second, with only one sample left every `gaps` seconds."""
        seconds = np.cumsum(gaps)
        kept = seconds[seconds < self.rise.shape[1]]
        return Streams(self.samples[:, kept], self.rise[:, kept], gaps[: len(kept)] / PERIOD)

    def every(self, n: int) -> Streams:
        """Every nth stream."""
        return Streams(self.samples[::n], self.rise[::n], self.gaps)

    def regular(self) -> Streams:
        """A sample every `PERIOD` seconds."""
        return self.at(np.full(SECONDS // PERIOD, PERIOD))

    def irregular(self) -> Streams:
        """A sample every `GAP_MIN` to `GAP_MAX` seconds, at random."""
        return self.at(random_gaps(np.random.default_rng(0)))


def random_gaps(rng: Rng) -> npt.NDArray[np.int64]:
    """Seconds between samples, enough of them for one drive."""
    return rng.integers(GAP_MIN, GAP_MAX + 1, SECONDS // GAP_MIN)


def currents(rng: Rng, drives: int) -> Array:
    """Currents in A, (SECONDS, drives): a new phase about every 4 minutes, a new level about every 20 s."""
    mean, spread, level, current = np.zeros((4, drives))
    rows = []
    for second in range(SECONDS):
        new_phase = (rng.random(drives) < 1 / 240) | (second == 0)
        phase = rng.integers(0, len(PHASE_MEAN), drives)
        mean, spread = np.where(new_phase, (PHASE_MEAN[phase], PHASE_SPREAD[phase]), (mean, spread))
        drawn = np.clip(mean + spread * rng.standard_normal(drives), CURRENT_MIN, CURRENT_MAX)
        level = np.where(new_phase | (rng.random(drives) < 1 / 20), drawn, level)
        current = current + (level - current) / 3
        rows.append(current)
    return np.array(rows)


def fans(rng: Rng, drives: int) -> Array:
    """1 where the fan of a drive runs, (SECONDS, drives); it changes about every 10 minutes."""
    return np.cumsum(rng.random((SECONDS, drives)) < 1 / 600, axis=0) % 2.0


def temperatures(rng: Rng, current: Array, ambient: Array, spread: Callable[[float], Array]) -> tuple[Array, Array]:
    """Core and surface temperature in deg C, each (SECONDS, drives), by Euler steps of one second."""
    r25, rc, ru = R25 * spread(0.15), CORE_TO_SURFACE * spread(0.10), SURFACE_TO_AIR * spread(0.25)
    core_heat, surface_heat = CORE_HEAT * spread(0.05), SURFACE_HEAT * spread(0.05)
    outward = ru / (1 + fans(rng, current.shape[1]))
    core = surface = ambient[0] + rng.uniform(-3, 10, current.shape[1])
    rows = []
    for second in range(SECONDS):
        rows.append((core, surface))
        heat = current[second] ** 2 * r25 * np.exp(ARRHENIUS * (1 / (core + 273.15) - 1 / 298.15))
        flow = (core - surface) / rc
        lost = (surface - ambient[second]) / outward[second]
        core, surface = core + (heat - flow) / core_heat, surface + (flow - lost) / surface_heat
    both = np.array(rows)
    return both[:, 0], both[:, 1]


def simulate(split: str, share: float = 1.0) -> Streams:
    """The drives of a split, sampled every second; `share` of its cells."""
    cells, seed = SPLITS[split]
    cells, rng = max(1, round(share * cells)), np.random.default_rng(seed)
    drives = cells * DRIVES

    def of_cells(values: Array) -> Array:
        return np.repeat(values, DRIVES)

    def noise(deviation: float) -> Array:
        return deviation * rng.standard_normal((SECONDS, drives))

    def bias(deviation: float) -> Array:
        return of_cells(deviation * rng.standard_normal(cells))

    current = currents(rng, drives)
    phase = 2 * np.pi * np.arange(SECONDS)[:, None] / SECONDS + rng.uniform(0, 2 * np.pi, drives)
    ambient = rng.uniform(-10, 35, drives) + 3 * np.sin(phase)
    spread = lambda sigma: of_cells(np.exp(sigma * rng.standard_normal(cells)))  # noqa: E731
    core, surface = temperatures(rng, current, ambient, spread)
    read = (
        current * (1 + bias(0.01)) + noise(0.1),  # A
        surface + bias(0.1) + noise(0.1),  # deg C
        ambient + bias(0.1) + noise(0.1),
    )
    return Streams(np.stack(read, axis=-1).transpose(1, 0, 2), (core - read[1]).T, np.ones(SECONDS) / PERIOD)


# ---------------------------------------------------------------- estimators to beat

Estimator = Callable[[Streams], Array]  # gives the rise in K, (streams, steps)


def solve(features: Array, target: Array) -> Array:
    """Least squares over all streams and steps; features (streams, steps, n)."""
    weights: Array = np.linalg.lstsq(features.reshape(-1, features.shape[-1]), target.ravel(), rcond=None)[0]
    return weights


def constant_times_heat(train: Streams) -> Estimator:
    """rise = c I^2."""
    c = solve(train.samples[..., :1] ** 2, train.rise)
    return lambda streams: streams.samples[..., 0] ** 2 * c


def linear(train: Streams, last: int) -> Estimator:
    """Linear regression on I, I^2, Ts and Ta of the last samples; before the first one stand copies of it."""

    def features(streams: Streams) -> Array:
        x = np.concatenate([streams.samples, streams.samples[..., :1] ** 2], axis=-1)
        x = np.concatenate([np.repeat(x[:, :1], last - 1, axis=1), x], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(x, last, axis=1).reshape(*streams.rise.shape, -1)
        return np.concatenate([windows, np.ones((*streams.rise.shape, 1))], axis=-1)

    square, product = 0.0, 0.0  # normal equations, some streams at a time: all features at once fill gigabytes
    for first in range(0, len(train.rise), 32):
        part = Streams(train.samples[first : first + 32], train.rise[first : first + 32], train.gaps)
        x = features(part).reshape(part.rise.size, -1)
        square, product = square + x.T @ x, product + x.T @ part.rise.ravel()
    weights = np.linalg.solve(square, product)
    return lambda streams: features(streams) @ weights


def observe(streams: Streams, a: float, b: float, c: float) -> Array:
    """First-order observer: core <- core + T (a (Ts - core) + b I^2 exp(c (25 - core))), at first core = Ts."""
    current, surface = streams.samples[..., 0], streams.samples[..., 1]
    core, rows = surface[:, 0], [surface[:, 0]]
    for k in range(1, surface.shape[1]):
        heat = b * (current[:, k] ** 2 + current[:, k - 1] ** 2) / 2 * np.exp(c * (25 - core))
        core = core + streams.gaps[k] * (a * ((surface[:, k] + surface[:, k - 1]) / 2 - core) + heat)
        rows.append(core)
    return np.stack(rows, axis=1) - surface


def observer(train: Streams, resistance_known: bool) -> Estimator:
    """The observer with the constants that fit best (Gauss-Newton); c = 0 unless R(T) is known to vary."""
    fitted = np.array([0.04, 0.001, 0.02])[: 3 if resistance_known else 2]

    def run(constants: Array, streams: Streams) -> Array:
        return observe(streams, *np.pad(constants, (0, 3 - len(constants))))

    for _ in range(8):
        at = run(fitted, train)
        slopes = [run(fitted * (1 + 1e-5 * row), train) - at for row in np.eye(len(fitted))]
        fitted = fitted * (1 + 1e-5 * solve(np.stack(slopes, axis=-1), train.rise - at))
    return lambda streams: run(fitted, streams)


BASELINES: dict[str, Callable[[Streams], Estimator]] = {  # fitted on training cells
    "surface temperature": lambda train: lambda streams: np.zeros(streams.rise.shape),
    "surface + c I^2": constant_times_heat,
    "linear regression, last sample": lambda train: linear(train, 1),
    "linear regression, last 60 samples": lambda train: linear(train, 60),
    "first-order observer": lambda train: observer(train, resistance_known=False),
    "first-order observer that knows R(T)": lambda train: observer(train, resistance_known=True),
}


def minus(rise: Array, other: Array, streams: Streams) -> str:
    """Mean absolute error of one estimate minus that of another; 95 % interval from drawing cells 10,000 times."""
    difference = (np.abs(rise - streams.rise) - np.abs(other - streams.rise)).reshape(-1, DRIVES, rise.shape[1])
    of_cell = difference.mean(axis=(1, 2))
    drawn = np.random.default_rng(0).integers(len(of_cell), size=(10_000, len(of_cell)))
    low, high = np.percentile(of_cell[drawn].mean(axis=1), [2.5, 97.5])
    return f"{of_cell.mean():+.2f} K, 95 % interval over cells {low:+.2f} ... {high:+.2f}"


def main() -> None:
    """Print a drive of a test cell for main.c: seconds, current, surface, ambient, true core on each line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--drive", type=int, default=0, help=f"0 ... {SPLITS['test'][0] * DRIVES - 1}")
    parser.add_argument("--irregular", action="store_true", help=f"a sample every {GAP_MIN} to {GAP_MAX} s")
    options = parser.parse_args()
    test = simulate("test")
    drive = test.irregular() if options.irregular else test.regular()
    core = drive.rise + drive.samples[..., 1]
    for gap, sample, true in zip(drive.gaps, drive.samples[options.drive], core[options.drive], strict=True):
        print(f"{gap * PERIOD:.0f} {sample[0]:.2f} {sample[1]:.2f} {sample[2]:.2f} {true:.2f}")


if __name__ == "__main__":
    main()
