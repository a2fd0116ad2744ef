"""Trains `core.pt`: how much hotter the core of a battery cell is than its surface, a sample at a time.

Run `python examples/core_temperature/train.py --seeds 0 1 2 --out core.pt`. The cells are generated (cells.py), the
network is a CfC of ncps (`pip install ncps`), lnnc makes a checkpoint of it. README.md says what came out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cells import BASELINES, GAP_MAX, GAP_MIN, PERIOD, SPLITS, Array, Streams, minus, random_gaps, simulate
from ncps.torch import CfC
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn

import lnnc
from lnnc.verify.engines import run_reference

UNITS = 16
INPUTS = [  # the network sees (real - offset) / scale
    {"name": "current", "unit": "A", "range": [-30.0, 30.0], "scale": 10.0},
    {"name": "surface", "unit": "degC", "range": [-30.0, 80.0], "offset": 15.0, "scale": 20.0},
    {"name": "ambient", "unit": "degC", "range": [-30.0, 80.0], "offset": 15.0, "scale": 20.0},
]
OUTPUTS = [{"name": "rise", "unit": "K", "range": [-10.0, 40.0], "scale": 12.0}]
DT = (GAP_MIN / PERIOD, GAP_MAX / PERIOD)  # the times between samples that it is trained on; 1 is PERIOD
STEPS, BATCH, CHUNK = 5000, 128, 30  # optimiser steps; streams in a step; samples in a step
LEARNING_RATE = 1e-2
KEPT_STREAMS, KEPT_SAMPLES = 8, 400  # what core.pt carries to calibrate on: generated like the rest


# ---------------------------------------------------------------- network


def scaled(samples: Array) -> Tensor:
    """Real units to what the network sees."""
    offset, scale = ([port.get(key, 0.0) for port in INPUTS] for key in ("offset", "scale"))
    return torch.tensor((samples - np.array(offset)) / np.array(scale), dtype=torch.float32)


def run(rnn: CfC, x: Tensor, gaps: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What `rnn(x, h, gaps[None])` computes, about three times as fast: one product for all heads of a step.

    h <- f1 + (f2 - f1) sigmoid(a T + b), with f1, f2 = tanh(...) and f1, f2, a, b linear in (x, h).
    """
    cell = rnn.rnn_cell
    heads = (cell.ff1, cell.ff2, cell.time_a, cell.time_b)
    weight, bias = torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads])
    driven, recurrent = nn.functional.linear(x, weight[:, : x.shape[2]], bias), weight[:, x.shape[2] :].T
    out = []
    for drive, gap in zip(driven.unbind(1), gaps, strict=True):
        f, a, b = torch.addmm(drive, h, recurrent).split([2 * UNITS, UNITS, UNITS], dim=1)
        f1, f2 = torch.tanh(f).chunk(2, dim=1)
        h = torch.lerp(f1, f2, torch.sigmoid(torch.addcmul(b, a, gap)))
        out.append(h)
    return rnn.fc(torch.stack(out, dim=1)), h


def schedule_of_samples(rng: np.random.Generator) -> Array:
    """Seconds between samples for one drive; whole chunks are regular or irregular, half of them each."""
    gaps = random_gaps(rng)
    regular = np.repeat(rng.random(len(gaps) // CHUNK) < 0.5, CHUNK)
    return np.where(regular, PERIOD, gaps)


def chunks(train: Streams, rng: np.random.Generator) -> list[Streams]:
    """One drive of `BATCH` streams (or all), cut into consecutive chunks of `CHUNK` samples."""
    chosen = rng.permutation(len(train.rise))[:BATCH]
    drive = Streams(train.samples[chosen], train.rise[chosen], train.gaps).at(schedule_of_samples(rng))
    starts = range(0, len(drive.gaps) - CHUNK + 1, CHUNK)
    cut = [slice(start, start + CHUNK) for start in starts]
    return [Streams(drive.samples[:, part], drive.rise[:, part], drive.gaps[part]) for part in cut]


def fit(train: Streams, seed: int, steps: int, tick: Callable[[], None]) -> CfC:
    """Train one network on the streams, state carried from chunk to chunk (L1, AdamW, OneCycle)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rnn = CfC(len(INPUTS), UNITS, proj_size=1, backbone_layers=0)
    optimizer = torch.optim.AdamW(rnn.parameters(), lr=LEARNING_RATE, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    todo: list[Streams] = []
    for _ in range(steps):
        if not todo:
            todo, h = chunks(train, rng), torch.zeros(min(BATCH, len(train.rise)), UNITS)
        chunk = todo.pop(0)
        got, h = run(rnn, scaled(chunk.samples), torch.tensor(chunk.gaps, dtype=torch.float32), h.detach())
        target = torch.tensor(chunk.rise / OUTPUTS[0]["scale"], dtype=torch.float32)
        loss = nn.functional.l1_loss(got[..., 0], target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tick()
    return rnn.eval()


@torch.no_grad()
def estimate(rnn: CfC, streams: Streams) -> Array:
    """The rise in K that ncps' own code gives. (Its times are right where all streams of a batch share them.)"""
    gaps = torch.tensor(streams.gaps, dtype=torch.float32)
    rise: Array = rnn(scaled(streams.samples), timespans=gaps[None])[0][..., 0].numpy().astype(np.float64)
    return rise * OUTPUTS[0]["scale"]


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Trained:
    """One network and its error on the validation cells, regular and irregular together."""

    seed: int
    rnn: CfC
    validation: float


def error(rise: Array, streams: Streams) -> float:
    """Mean absolute error of the core temperature in K, over every sample from the first one on."""
    return float(np.abs(rise - streams.rise).mean())


def both(streams: Streams) -> tuple[Streams, Streams]:
    """Sampled regularly, and irregularly."""
    return streams.regular(), streams.irregular()


def errors_of(rnn: CfC, streams: Streams) -> list[float]:
    """Errors of a network on both."""
    return [error(estimate(rnn, sampled), sampled) for sampled in both(streams)]


def train_all(split: dict[str, Streams], seeds: Sequence[int], steps: int, console: Console) -> list[Trained]:
    """Train one network per seed, with a progress bar."""
    results = []
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=steps * len(seeds))
        for seed in seeds:
            rnn = fit(split["train"], seed, steps, lambda: progress.advance(task))
            results.append(Trained(seed, rnn, sum(errors_of(rnn, split["validation"])) / 2))
    return results


def baseline_errors(split: dict[str, Streams]) -> dict[str, list[float]]:
    """Errors on the test cells of every baseline, fitted anew for each kind of sampling on the training cells."""
    train, test = both(split["train"]), both(split["test"])
    pairs = list(zip(train, test, strict=True))
    return {name: [error(make(a)(b), b) for a, b in pairs] for name, make in BASELINES.items()}


def against_baselines(rnn: CfC, split: dict[str, Streams]) -> list[str]:
    """The network against every baseline on the test cells, regular sampling."""
    train, test = split["train"].regular(), split["test"].regular()
    rise = estimate(rnn, test)
    return [f"CfC - {name}: {minus(rise, make(train)(test), test)}" for name, make in BASELINES.items()]


def convert(chosen: Trained, split: dict[str, Streams], networks: dict[str, list[float]]) -> lnnc.convert.Model:
    """The network as a model that compiles: its ports in real units, and a few streams to calibrate on."""
    streams = split["train"].regular().every(len(split["train"].rise) // KEPT_STREAMS or 1)
    return lnnc.from_torch(
        chosen.rnn,
        streams.samples[:KEPT_STREAMS, :KEPT_SAMPLES],
        timespan=1.0,
        inputs=INPUTS,
        outputs=OUTPUTS,
        provenance={
            "data": "generated by examples/core_temperature/cells.py",
            "script": "examples/core_temperature/train.py",
            "seed": chosen.seed,
            "seed chosen by": "error on the validation cells",
            "torch": str(torch.__version__),
            **{f"test error, {name}": " ".join(shown(figures)) for name, figures in networks.items()},
        },
    )


def integer_errors(model: lnnc.convert.Model, test: Streams) -> list[float]:
    """Errors of the integer reference, which the generated C equals byte for byte."""
    regular, irregular = both(test)
    constant = lnnc.compile_model(model.checkpoint, "core").program
    variable = lnnc.compile_model(model.checkpoint, "core", lnnc.Options(runtime_dt=DT)).program
    times = np.tile(irregular.gaps, (len(irregular.rise), 1))
    results = run_reference(constant, regular.samples), run_reference(variable, irregular.samples, times)
    return [error(rise[..., 0], streams) for rise, streams in zip(results, (regular, irregular), strict=True)]


def shown(figures: Sequence[float]) -> list[str]:
    """Errors as the table and README.md give them."""
    return [f"{figure:.3f}" for figure in figures]


def results_table(rows: dict[str, list[float]], networks: dict[str, list[float]], integer: list[float]) -> Table:
    """Errors in K on the test cells: baselines, every seed, their mean and spread, the integer program."""
    table = Table("estimator", f"every {PERIOD} s", f"every {GAP_MIN} to {GAP_MAX} s", title="mean |error|, K")
    for name, figures in {**rows, **networks}.items():
        table.add_row(name, *shown(figures))
    if len(networks) > 1:
        columns = np.array(list(networks.values())).T
        spread = (f"{column.mean():.3f} +- {column.std(ddof=1):.3f}" for column in columns)
        table.add_row(f"mean of {len(networks)} seeds +- standard deviation", *spread)
    table.add_row("the kept one, as integers (the C)", *shown(integer))
    return table


def publish(options: argparse.Namespace, console: Console) -> None:
    """Simulate, train, convert, print the table, write the network that is best on the validation cells."""
    share, steps = (0.05, 60) if options.quick else (1.0, options.steps)
    split = {name: simulate(name, share) for name in SPLITS}
    trained = train_all(split, options.seeds, steps, console)
    chosen = min(trained, key=lambda t: t.validation)
    networks = {f"CfC, seed {t.seed}{', kept' * (t is chosen)}": errors_of(t.rnn, split["test"]) for t in trained}
    model = convert(chosen, split, networks)
    console.print(*model.report, sep="\n", soft_wrap=True)
    console.print(results_table(baseline_errors(split), networks, integer_errors(model, split["test"])))
    console.print(*against_baselines(chosen.rnn, split), sep="\n", soft_wrap=True)
    console.print(f"wrote {model.save(options.out)}: {sum(p.numel() for p in chosen.rnn.parameters())} parameters")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("core.pt"), help="checkpoint to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="train several, keep the best by validation")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps per seed")
    parser.add_argument("--quick", action="store_true", help="few cells and steps: does it run?")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when done, 2 on bad input, 130 when interrupted."""
    options = arguments(argv)
    torch.set_num_threads(1)  # the order of the sums, and so the weights, must not depend on the core count
    try:
        publish(options, Console())
    except KeyboardInterrupt:
        print(f"interrupted; {options.out} was not written", file=sys.stderr)
        return 130
    except (lnnc.LnncError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
