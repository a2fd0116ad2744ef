"""Flash of recurrent models on the Cortex-M4: steps take no code, and a table has room for the synapses that exist."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from liquid import network
from recurrent import dense

from lnnc.frontend import cells
from lnnc.frontend.layers import Dense, Net, linear_layer
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.report.size import Measured, measure
from lnnc.targets import Build

pytestmark = pytest.mark.needs("arm-none-eabi-gcc", "elftools")
INPUTS, UNITS = 4, 16
LOOP = 48  # bytes of code that a loop takes where there was none
LTC_SYNAPSE = 1 + 2 + 4 + 2 + 2  # presynaptic neuron; slope and offset of its gate; conductance and current
Layers = Callable[[Net, np.random.Generator], None]


def size_of(layers: Layers, inputs: int = INPUTS, options: Options | None = None) -> tuple[Compiled, Measured]:
    made = compile_model(network(layers, inputs), "cell", options, build=Build(packing="rows"))  # whatever repeats pay
    return made, measure(made.files.source, made.files.header, "cell")


def full_ltc(seed: int = 1) -> cells.LtcCell:
    """A dense LTC."""
    rng = np.random.default_rng(seed)
    return wired_ltc(np.ones((INPUTS, UNITS)), np.ones((UNITS, UNITS)), 6, rng)


def wired_ltc(sensory: Any, recurrent: Any, unfolds: int, rng: np.random.Generator) -> cells.LtcCell:
    """An LTC with the synapses of two (pre, post) matrices of -1, 0 and 1."""
    units = len(recurrent)

    def block(polarity: Any) -> Any:
        shape = np.shape(polarity)
        w, sigma, mu = rng.uniform(0.001, 1, shape), rng.uniform(3, 8, shape), rng.uniform(0.3, 0.8, shape)
        return cells.synapses(w, sigma, mu, np.asarray(polarity, float), np.abs(polarity))

    leak = rng.uniform(0.01, 1, units)
    return cells.LtcCell(
        len(sensory), block(sensory), block(recurrent), leak, leak * 0.1, rng.uniform(0.4, 0.6, units), unfolds, False,
        4, np.full(4, 1.5), np.zeros(4),
    )  # fmt: skip


def polarity(rng: np.random.Generator, rows: int, columns: int, density: float) -> Any:
    """A random wiring with the same number of synapses in each column."""
    chosen = np.argsort(rng.random((rows, columns)), axis=0) < round(density * rows)
    return chosen * rng.choice([-1, 1], (rows, columns))


# ---- steps -------------------------------------------------------------------------------------


@functools.cache
def ltc_of(unfolds: int) -> Measured:
    return size_of(lambda net, _: cells.ltc(net, "ltc", replace(full_ltc(), unfolds=unfolds)))[1]


@functools.cache
def leaky_of(steps: int) -> Measured:
    rng = np.random.default_rng(2)
    cell = cells.LiquidCell(dense(rng, UNITS, INPUTS), dense(rng, UNITS, UNITS).weight, np.full(UNITS, 0.5),
                            np.ones(UNITS), steps)  # fmt: skip
    return size_of(lambda net, _: cells.liquid(net, "leaky", cell))[1]


@pytest.mark.parametrize("of", [ltc_of, leaky_of], ids=["ltc", "leaky"])
def test_steps_take_no_code_and_no_tables(of: Callable[[int], Measured]) -> None:
    one, six, many = of(1), of(6), of(24)
    assert many == six
    assert (one.rodata, one.state) == (six.rodata, six.state)
    assert one.scratch <= six.scratch, "a single step may add to the sums in place"
    assert 0 <= six.text - one.text <= LOOP


# ---- synapses ----------------------------------------------------------------------------------


def tables(made: Compiled, *parts: str) -> int:
    """Bytes of the tables whose names hold one of these words."""
    return sum(c.bytes for c in made.program.constants if any(part in c.name for part in parts))


def test_an_ltc_stores_the_synapses_that_exist() -> None:
    """Eleven bytes for each, whatever the density; code and everything else stay what they are."""
    found = []
    for density in (0.25, 0.5, 0.75, 1.0):
        rng = np.random.default_rng(3)
        cell = wired_ltc(polarity(rng, INPUTS, UNITS, density), polarity(rng, UNITS, UNITS, density), 6, rng)
        made, size = size_of(lambda net, _, cell=cell: cells.ltc(net, "ltc", cell))
        found.append((len(cell.sensory.pre) + len(cell.recurrent.pre), sum(c.bytes for c in made.program.constants),
                      size))  # fmt: skip
    synapses, stored, sizes = zip(*found, strict=True)
    assert np.diff(synapses).tolist() == [(INPUTS + UNITS) * UNITS // 4] * 3
    assert (np.diff(stored) == LTC_SYNAPSE * np.diff(synapses)).all()
    assert np.ptp(np.array([s.rodata for s in sizes]) - stored) <= 8, "padding between tables"
    assert len({(s.state, s.scratch) for s in sizes}) == 1
    assert np.ptp([s.text for s in sizes]) <= 16, "literals of another length"


@pytest.mark.parametrize(("bits", "each"), [("8", 2), ("16", 3)])
def test_a_wired_cfc_stores_the_synapses_that_exist(bits: str, each: int) -> None:
    """A column and a weight for each synapse of the masked heads ff1 and ff2."""
    found = []
    for density in (0.1, 0.2, 0.3):
        rng = np.random.default_rng(4)
        masked = {name: wired_head(rng, density) for name in ("ff1", "ff2")}
        heads = {**masked, **{name: dense(rng, UNITS, INPUTS + UNITS) for name in ("time_a", "time_b")}}
        cell = cells.CfcCell("default", "tanh", (), heads)
        made, size = size_of(
            lambda net, _, cell=cell: cells.cfc(net, [("cfc", cell)]), options=Options(weight_bits=bits)
        )
        found.append((sum(int((d.weight != 0).sum()) for d in masked.values()), tables(made, ""), size))
    synapses, stored, sizes = zip(*found, strict=True)
    assert (np.diff(stored) == each * np.diff(synapses)).all() and synapses[0] < synapses[2]
    assert np.ptp(np.array([s.rodata for s in sizes]) - stored) <= 8
    assert np.ptp([s.text for s in sizes]) <= 16


def wired_head(rng: np.random.Generator, density: float) -> Dense:
    """A head of a CfC whose weights are far from 0, so that none is rounded away."""
    mask = polarity(rng, INPUTS + UNITS, UNITS, density).T
    return Dense(mask * rng.uniform(0.2, 0.5, mask.shape), np.zeros(UNITS))


@pytest.mark.needs("ncps")
def test_an_ncp_against_its_dense_twin() -> None:
    """AutoNCP(32, 4) on two inputs: the tables shrink as the synapses do."""
    from ncps import wirings

    wiring = wirings.AutoNCP(32, 4, seed=1)
    wiring.build(2)
    rng = np.random.default_rng(5)
    sparse = wired_ltc(wiring.sensory_adjacency_matrix, wiring.adjacency_matrix, 6, rng)
    full = wired_ltc(np.ones((2, 32)), np.ones((32, 32)), 6, rng)
    counts, stored, sizes = [], [], []
    for cell in (sparse, full):
        made, size = size_of(lambda net, _, cell=cell: cells.ltc(net, "ltc", cell), inputs=2)
        counts.append(len(cell.sensory.pre) + len(cell.recurrent.pre))
        stored.append(tables(made, "_sensory_", "_recurrent_"))
        sizes.append(size)
    existing = int(np.abs(wiring.sensory_adjacency_matrix).sum() + np.abs(wiring.adjacency_matrix).sum())
    assert counts == [existing, 34 * 32]
    of_neurons = 2 * 2 * 32  # two counts of each
    assert [n - of_neurons for n in stored] == [LTC_SYNAPSE * n for n in counts]
    assert abs((sizes[1].rodata - sizes[0].rodata) - LTC_SYNAPSE * (counts[1] - counts[0])) <= 8
    assert sizes[0].flash < 0.5 * sizes[1].flash


def test_a_layer_of_few_weights_takes_less_flash() -> None:
    """Stored sparse, it costs its synapses; the same layer with all weights costs them all."""
    rng = np.random.default_rng(6)
    few, full = Dense(wired_head(rng, 0.2).weight, np.zeros(UNITS)), dense(rng, UNITS, INPUTS + UNITS)
    sizes = [size_of(lambda net, _, d=d: linear_layer(net, "y", d), inputs=INPUTS + UNITS)[1] for d in (few, full)]
    assert sizes[1].rodata - sizes[0].rodata == UNITS * (INPUTS + UNITS) - (2 * int((few.weight != 0).sum()) + UNITS)
