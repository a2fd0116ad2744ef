from __future__ import annotations

import pytest
import torch

from lnnc.train.learn.recurrence import CELLS, scan

COUNTS = (4, 4, 3, 1, 1)


def drawn(kind: str, units: int = 3, models: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    cell = CELLS[kind]
    drive = torch.randn(
        models, sum(COUNTS), (cell.gates + cell.parameters) * units, generator=generator, dtype=torch.float64
    )
    weight = torch.randn(models, units, cell.gates * units, generator=generator, dtype=torch.float64)
    return drive, weight


def plainly(kind: str, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The equations of the cells, for one life after the other."""
    units, gates = weight.shape[1], CELLS[kind].gates
    out = torch.zeros(*drive.shape[:2], units, dtype=drive.dtype)
    starts = [sum(COUNTS[:k]) for k in range(len(COUNTS))]
    for f in range(len(drive)):
        for life in range(COUNTS[0]):
            h = torch.zeros(units, dtype=drive.dtype)
            for row in [start + life for start, n in zip(starts, COUNTS, strict=True) if life < n]:
                z = drive[f, row, : gates * units] + h @ weight[f]
                h = phi(kind, z.reshape(gates, units), h, drive[f, row, gates * units :])
                out[f, row] = h
    return out


def phi(kind: str, z: torch.Tensor, h: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    if kind == "gated":
        return h + torch.sigmoid(2.0 * z[0]) * (torch.tanh(z[1]) - h)
    if kind == "cfc":
        time = torch.sigmoid(2.0 * z[2])
        return torch.tanh(z[0]) * (1.0 - time) + torch.tanh(z[1]) * time
    alpha, beta = p.chunk(2)
    return h - alpha * h + beta * torch.tanh(z[0])


@pytest.mark.parametrize("kind", CELLS)
def test_equations(kind: str) -> None:
    drive, weight = drawn(kind)
    torch.testing.assert_close(scan(CELLS[kind], drive, weight, COUNTS), plainly(kind, drive, weight))


@pytest.mark.parametrize("kind", CELLS)
def test_gradient(kind: str) -> None:
    drive, weight = (x.requires_grad_() for x in drawn(kind))
    assert torch.autograd.gradcheck(lambda d, w: scan(CELLS[kind], d, w, COUNTS), (drive, weight))


def test_models_do_not_touch_each_other() -> None:
    drive, weight = drawn("gated")
    both = scan(CELLS["gated"], drive, weight, COUNTS)
    alone = scan(CELLS["gated"], drive[1:], weight[1:], COUNTS)
    torch.testing.assert_close(both[1:], alone)


def test_what_follows_does_not_change_what_was() -> None:
    drive, weight = drawn("gated")
    longer = drive.clone()
    longer[:, 8:] += 1.0
    assert torch.equal(
        scan(CELLS["gated"], drive, weight, COUNTS)[:, :8], scan(CELLS["gated"], longer, weight, COUNTS)[:, :8]
    )
