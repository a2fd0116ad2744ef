"""Error of the published DLNet checkpoints on every engine, with the naive baselines of the same windows.

    python benchmarks/published.py --data DIR --models DIR

DIR/matr_smoothed_soh.npz and DIR/dlnet_segments.json are the paper's smoothed data and its 16 test segments. The
smoothed curve of every cell is one polynomial over its whole life, smoothed with knowledge of its future: a figure on
it measures arithmetic, not forecasting. That is why the polynomials below win, and why they are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.import_dlnet import import_dlnet
from lnnc.inspection import inspection
from lnnc.pipeline import Options, compile_model, run_model

Array = NDArray[np.float64]
SCALER = (0.8178250862438334, 1.006409511628937)  # of the published conversion script
MODELS = {
    "student_deployed_h4": ("student_deployed_h4_state_dict.pth", 0.05, 1),
    "student_h64": ("student_h64_state_dict.pth", 0.05, 1),
    "student_h16_pruned90": ("student_h16_pruned90_state_dict.pth", 0.05, 1),
    "teacher_h128": ("teacher_h128_state_dict.pth", 1 / 9, 9),
}
STRIDE = 39
M4_WINDOWS = 125


def load_windows(folder: Path) -> tuple[Array, Array, Array]:
    """(segments, all windows, calibration inputs): 200 cycles a row, calibration 100.

    Calibration windows come from cells that own none of the 16 segments.
    """
    cells = np.load(folder / "matr_smoothed_soh.npz")
    segments = json.loads((folder / "dlnet_segments.json").read_text())
    tested = {s["cell"] for s in segments}
    test = np.array([cells[s["cell"]][s["start"] : s["start"] + 200] for s in segments])
    rows = {name: _windows(cells[name]) for name in cells.files}
    calibration = np.concatenate([rows[name] for name in cells.files if name not in tested])[::4, :100]
    return test, np.concatenate(list(rows.values())), calibration


def _windows(cell: Array) -> Array:
    """Every 39th window of 200 cycles, from the second cycle of a cell on."""
    return np.array([cell[i : i + 200] for i in range(1, len(cell) - 199, STRIDE)]).reshape(-1, 200)


def baselines(rows: Array) -> dict[str, float]:
    """MAE of naive forecasts of the last 100 values from the first 100."""
    past, future = rows[:, :100], rows[:, 100:]
    found = {"persistence": np.abs(past[:, -1:] - future).mean()}
    for label, degree, count in (("line through the last 20", 1, 20), ("quadratic", 2, 100), ("cubic", 3, 100)):
        fit = np.polynomial.polynomial.polyfit(np.arange(-count, 0) / 100, past[:, -count:].T, degree)
        forecast = np.polynomial.polynomial.polyval(np.arange(100) / 100, fit)
        found[label] = np.abs(forecast - future).mean()
    return {label: float(value) for label, value in found.items()}


def report(name: str, checkpoint: Checkpoint, test: Array, every: Array) -> None:
    """Print one model's rows."""
    for engine, options in (("float", Options()), ("host", Options("int16")), ("host", Options("int8"))):
        label = "float" if engine == "float" else f"C {options.activations}"
        part, whole = (run_model(checkpoint, rows[:, :100], engine, options=options) for rows in (test, every))
        errors = [np.abs(out - rows[:, 100:]).mean() for out, rows in ((part, test), (whole, every))]
        equal = "" if engine == "float" else _equality(checkpoint, every, whole, options)
        print(f"{name:22} {label:8} {errors[0]:.5f}  {errors[1]:.5f}  {equal}", flush=True)


def _equality(checkpoint: Checkpoint, every: Array, host: Array, options: Options) -> str:
    reference = run_model(checkpoint, every[:, :100], "reference", options=options)
    few = every[:: -(-len(every) // M4_WINDOWS), :100]
    board = run_model(checkpoint, few, "m4", options=options)
    same = np.array_equal(reference, host) and np.array_equal(board, host[:: -(-len(every) // M4_WINDOWS)])
    return f"{len(every)} windows on the host, {len(few)} on the M4: {'equal' if same else 'DIFFERENT'}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    arguments = parser.parse_args()
    test, every, calibration = load_windows(arguments.data)
    print(f"{'MAE in SOH':31} {'16 seg.':8} {'all'} ({len(every)} windows); calibrated on {len(calibration)} windows")
    for label, few in baselines(test).items():
        print(f"{label:31} {few:.5f}  {baselines(every)[label]:.5f}")
    for name, (file, dt, steps) in MODELS.items():
        checkpoint = import_dlnet(
            arguments.models / file, dt=dt, steps=steps, scaler=SCALER, calibration=calibration, output=""
        )
        report(name, checkpoint, test, every)
        begin = time.perf_counter()
        compiled = compile_model(checkpoint)
        seconds = time.perf_counter() - begin
        for key, value in inspection(compiled, measure=True)["measured"].items():
            print(f"{name:22} {key}: {value}")
        print(f"{name:22} compiled in {seconds:.2f} s")


if __name__ == "__main__":
    main()
