from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.train.learn.loop import Schedule, fit

SCHEDULE = Schedule(steps=40, peak_lr=0.01, batch=8, seed=3)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 1))


def noisy(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
    """Draws from both generators: dropout uses torch's own."""
    x = torch.randn(SCHEDULE.batch, 3, generator=generator)
    return torch.mean(torch.abs(model(x) - x.sum(1, keepdim=True)))


def weights(model: nn.Module) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in model.parameters()]


@pytest.fixture(scope="module")
def whole() -> tuple[list[bytes], np.ndarray]:
    model = network()
    losses = fit(model, noisy, SCHEDULE)
    return weights(model), losses


def resumed(file: Path) -> tuple[list[bytes], np.ndarray]:
    model = network()
    losses = fit(model, noisy, SCHEDULE, checkpoint=file)
    return weights(model), losses


def same(a: tuple[list[bytes], np.ndarray], b: tuple[list[bytes], np.ndarray]) -> bool:
    return a[0] == b[0] and a[1].tobytes() == b[1].tobytes()


def test_learns_and_repeats(whole: tuple[list[bytes], np.ndarray]) -> None:
    model = network()
    losses = fit(model, noisy, SCHEDULE)
    assert same((weights(model), losses), whole)
    long = fit(network(), noisy, Schedule(steps=300, peak_lr=0.01, batch=8))
    assert long[-30:].mean() < 0.7 * long[:30].mean()


def test_seed_matters(whole: tuple[list[bytes], np.ndarray]) -> None:
    model = network()
    fit(model, noisy, Schedule(steps=40, peak_lr=0.01, batch=8, seed=4))
    assert weights(model) != whole[0]


def test_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(nn.Linear(3, 1), noisy, Schedule(steps=2), threads=1)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


@pytest.mark.parametrize("stop", [1, 17, 39, 40])
def test_ctrl_c_and_resume(tmp_path: Path, whole: tuple[list[bytes], np.ndarray], stop: int) -> None:
    file = tmp_path / "run.pt"

    def interrupted(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        if step == stop - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy(model, step, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), interrupted, SCHEDULE, checkpoint=file)
    assert torch.load(file, weights_only=True)["state"]["step"] == stop
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(resumed(file), whole)


def test_sigterm_ends_with_its_exit_code(tmp_path: Path, whole: tuple[list[bytes], np.ndarray]) -> None:
    child = started(tmp_path / "run.pt", steps=3)
    child.terminate()
    child.join(20)
    assert child.exitcode == 128 + signal.SIGTERM
    assert same(resumed(tmp_path / "run.pt"), whole)


def test_killed_and_resumed(tmp_path: Path, whole: tuple[list[bytes], np.ndarray]) -> None:
    child = started(tmp_path / "run.pt", steps=5)
    child.kill()
    child.join(20)
    assert child.exitcode == -signal.SIGKILL
    assert 0 < torch.load(tmp_path / "run.pt", weights_only=True)["state"]["step"] < SCHEDULE.steps
    assert same(resumed(tmp_path / "run.pt"), whole)


def started(file: Path, steps: int) -> ForkProcess:
    """A child that has written its checkpoint, and is in the middle of training. Forked: importing torch is slow."""

    def slow(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        time.sleep(0.05)
        return noisy(model, step, generator)

    child = get_context("fork").Process(
        target=fit, args=(network(), slow, SCHEDULE), kwargs={"checkpoint": file, "every": 0.0}
    )
    child.start()
    for _ in range(2000):
        if file.exists() and torch.load(file, weights_only=True)["state"]["step"] >= steps:
            return child
        assert child.is_alive(), "ended before it could be stopped"
        time.sleep(0.01)
    raise AssertionError("no checkpoint after 20 s")


def test_complete_checkpoint_trains_nothing(tmp_path: Path, whole: tuple[list[bytes], np.ndarray]) -> None:
    file = tmp_path / "run.pt"
    assert same(resumed(file), whole)

    def never(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        raise AssertionError

    model = network()
    losses = fit(model, never, SCHEDULE, checkpoint=file)
    assert same((weights(model), losses), whole)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"schedule": Schedule(steps=40, peak_lr=0.02, batch=8, seed=3)}, "peak_lr was 0.01, is 0.02"),
        ({"about": {"data": "abc"}}, "data was not given, is abc"),
        ({"label": "fold 2"}, "label was , is fold 2"),
        ({"model": nn.Linear(3, 1)}, "initial weights was"),
    ],
)
def test_checkpoint_of_something_else(tmp_path: Path, changed: dict[str, object], named: str) -> None:
    file = tmp_path / "run.pt"
    resumed(file)
    before = file.read_bytes()
    given = {"model": network(), "loss": noisy, "schedule": SCHEDULE, **changed}
    with pytest.raises(LnncError, match="another training") as caught:
        fit(checkpoint=file, **given)  # type: ignore[arg-type]
    assert named in str(caught.value) and str(file) in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "run.pt"
    if content is None:
        torch.save({"weight": torch.zeros(3)}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(LnncError, match="checkpoint"):
        resumed(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_not_finite(tmp_path: Path, value: float) -> None:
    file = tmp_path / "run.pt"

    def breaks(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        return noisy(model, step, generator) * (value if step == 6 else 1.0)

    with pytest.raises(LnncError, match=r"loss is (nan|inf) at step 7 of 40, learning rate 0\.00") as caught:
        fit(network(), breaks, SCHEDULE, checkpoint=file, every=0.0, label="tiny")
    assert "tiny" in str(caught.value) and "lower peak_lr" in caught.value.hint
    held = torch.load(file, weights_only=True)["state"]
    assert held["step"] == 6 and all(torch.isfinite(t).all() for t in held["model"].values())


def test_gradient_not_finite() -> None:
    def root(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        return torch.sqrt(torch.sum(0.0 * next(model.parameters())))

    with pytest.raises(LnncError, match="gradient is nan at step 1 of"):
        fit(network(), root, SCHEDULE)


def test_clip_bounds_the_step() -> None:
    seen = []

    def steep(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        seen.append([0.0 if p.grad is None else float(p.grad.norm()) for p in model.parameters()])
        return 1e6 * noisy(model, step, generator)

    class Kept(nn.Linear):
        def zero_grad(self, set_to_none: bool = True) -> None:
            """Keep what the last step left, to be looked at."""

    model = Kept(3, 1)
    fit(model, steep, Schedule(steps=1, clip=0.5))
    assert np.hypot.reduce([float(p.grad.norm()) for p in model.parameters() if p.grad is not None]) <= 0.5001


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"peak_lr": 0.0}, {"peak_lr": float("nan")}, {"batch": -1}, {"clip": -1.0}, {"seed": -1}]
)
def test_schedule_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(LnncError, match=f"{next(iter(wrong))} is"):
        Schedule(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
def test_short_runs(steps: int) -> None:
    assert np.isfinite(fit(network(), noisy, Schedule(steps=steps))).all()


def test_nothing_on_stderr_of_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    fit(network(), noisy, SCHEDULE, show=True)
    assert capfd.readouterr().err == ""
