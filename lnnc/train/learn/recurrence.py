"""Elementwise recurrences over packed lives, with their backward pass written out: four times as fast as autograd.

    z = drive + h W,   t = tanh(z),   h <- phi(t, h, p)

for F independent models at once. phi acts on each unit by itself, so everything but `h W` is vectorised over all
steps. Lives are packed step by step: sorted by length, longest first, the rows of step k are the first counts[k]
lives, so a life that has ended costs nothing. A gate is written with tanh, sigmoid(x) = 1/2 + tanh(x / 2) / 2; halving
its x, weights and all, is the caller's part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Parts = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cell:
    """phi and its derivatives. t, p: per unit, what tanh gives and what is constant over time.

    Attributes:
        gates: tanh values of a unit, the columns of W and of the drive; parameters: further columns of the drive.
        update: (t, h, p) -> the new h.
        partials: (t, h, p) -> d/dt for each t, d/dh, d/dp for each p.
    """

    gates: int
    parameters: int
    update: Callable[[Parts, Tensor, Parts], Tensor]
    partials: Callable[[Parts, Tensor, Parts], tuple[Parts, Tensor, Parts]]


def _half(t: Tensor) -> Tensor:
    return torch.add(0.5, t, alpha=0.5)


def _gated(t: Parts, h: Tensor, p: Parts) -> Tensor:
    return torch.lerp(h, t[1], _half(t[0]))


def _gated_partials(t: Parts, h: Tensor, p: Parts) -> tuple[Parts, Tensor, Parts]:
    g = _half(t[0])
    return (0.5 * (t[1] - h), g), 1.0 - g, ()


def _cfc(t: Parts, h: Tensor, p: Parts) -> Tensor:
    return torch.lerp(t[0], t[1], _half(t[2]))


def _cfc_partials(t: Parts, h: Tensor, p: Parts) -> tuple[Parts, Tensor, Parts]:
    g = _half(t[2])
    return (1.0 - g, g, 0.5 * (t[1] - t[0])), torch.zeros_like(h), ()


def _leaky(t: Parts, h: Tensor, p: Parts) -> Tensor:
    return h + (p[1] * t[0] - p[0] * h)


def _leaky_partials(t: Parts, h: Tensor, p: Parts) -> tuple[Parts, Tensor, Parts]:
    return (p[1],), 1.0 - p[0], (-h, t[0])


CELLS = {
    "gated": Cell(2, 0, _gated, _gated_partials),  # h + sigmoid(z0) (tanh(z1) - h)
    "cfc": Cell(3, 0, _cfc, _cfc_partials),  # tanh(z0) + sigmoid(z2) (tanh(z1) - tanh(z0))
    "leaky": Cell(1, 2, _leaky, _leaky_partials),  # h + (beta tanh(z0) - alpha h)
}


def scan(cell: Cell, drive: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
    """The state after every row, from h = 0 at the first step of each life.

    drive: (F, rows, (gates + parameters) * units); weight: (F, units, gates * units);
    counts: rows of each step, never growing. Returns (F, rows, units).
    """
    assert sum(counts) == drive.shape[1] and sorted(counts, reverse=True) == list(counts)
    out: Tensor = _Scan.apply(drive, weight, cell, tuple(counts))  # type: ignore[no-untyped-call]
    return out


def unroll(step: Callable[[Tensor, Tensor], Tensor], drive: Tensor, units: int, counts: Sequence[int]) -> Tensor:
    """The same by autograd, for a cell that is no elementwise update: h <- step(drive, h) from h = 0.

    drive: (F, rows, ...); returns (F, rows, units).
    """
    h, end, states = drive.new_zeros(drive.shape[0], counts[0], units), 0, []
    for n in counts:
        h = step(drive[:, end : end + n], h[:, :n])
        states.append(h)
        end += n
    return torch.cat(states, 1)


def _split(x: Tensor, parts: int) -> Parts:
    return x.chunk(parts, -1) if parts else ()


class _Scan(torch.autograd.Function):
    """Views of all steps are made at once, and what can wait is left for after the loop: the calls are what costs."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, weight: Tensor, cell: Cell, counts: tuple[int, ...]) -> Tensor:
        models, rows, _ = drive.shape
        units = weight.shape[1]
        t, states = drive[..., : cell.gates * units].clone(), drive.new_empty(models, rows, units)
        constants = drive[..., cell.gates * units :]
        views = (t.split_with_sizes(counts, 1), states.split_with_sizes(counts, 1), _steps(t, cell.gates, counts))
        h = drive.new_zeros(models, counts[0], units)
        for now, out, parts, p in zip(*views, _steps(constants, cell.parameters, counts), strict=True):
            h = h[:, : out.shape[1]]
            now.baddbmm_(h, weight).tanh_()
            h = out.copy_(cell.update(parts, h, p))
        ctx.save_for_backward(t, states, constants, weight)
        ctx.cell, ctx.counts = cell, counts
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        t, states, constants, weight = ctx.saved_tensors
        cell, counts = ctx.cell, ctx.counts
        before = _before(states, counts)
        by_t, by_h, by_p = cell.partials(_split(t, cell.gates), before, _split(constants, cell.parameters))
        by_z = torch.stack(by_t, 2) * (1.0 - t * t).unflatten(-1, (cell.gates, -1))  # (F, rows, gates, units)
        whole, dz = grads[0].clone(), by_z.flatten(2)  # dL/dh of each row with all later steps; dz: a view
        views = (whole, whole[:, :, None], by_z, dz, by_h)
        back, carry = weight.transpose(1, 2), whole[:, :0]
        for g, wide, slopes, flat, keep in zip(*(reversed(x.split_with_sizes(counts, 1)) for x in views), strict=True):
            g[:, : carry.shape[1]].add_(carry)
            slopes.mul_(wide)  # from here on dL/dz
            carry = torch.baddbmm(g * keep, flat, back)
        return torch.cat([dz, *(whole * d for d in by_p)], -1), before.transpose(1, 2) @ dz, None, None


def _steps(x: Tensor, parts: int, counts: Sequence[int]) -> list[Parts]:
    """The parts of every step."""
    if not parts:
        return [()] * len(counts)
    return list(zip(*(part.split_with_sizes(counts, 1) for part in x.chunk(parts, -1)), strict=True))


def _before(states: Tensor, counts: Sequence[int]) -> Tensor:
    """The state that each row started from."""
    starts = torch.tensor([0, *counts]).cumsum(0)
    rows = torch.cat([start + torch.arange(n) for start, n in zip(starts[:-2], counts[1:], strict=True)])
    first = states.new_zeros(states.shape[0], counts[0], states.shape[2])
    return torch.cat([first, states[:, rows]], 1)
