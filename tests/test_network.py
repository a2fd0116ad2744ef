"""The network family: documents survive a round trip, and a damaged one is refused with what is wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent import CELLS, random_network

from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import checkpoint_document
from lnnc.frontend.parse import parse_checkpoint
from lnnc.frontend.storage import load_checkpoint, save_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Linear, State, Timed
from lnnc.passes import run_passes


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", CELLS)
def test_a_file_gives_the_same_network(kind: str, suffix: str, tmp_path: Path) -> None:
    checkpoint = random_network((7, 1), kind).checkpoint
    save_checkpoint(checkpoint, tmp_path / f"m{suffix}")
    loaded = load_checkpoint(tmp_path / f"m{suffix}")
    assert loaded.digest() == checkpoint.digest()
    assert checkpoint.calibration is not None
    graph, again = build_graph(checkpoint), build_graph(loaded)
    want = evaluate(graph, checkpoint.calibration)[graph.result]
    assert np.array_equal(evaluate(again, checkpoint.calibration)[again.result], want)


@pytest.mark.parametrize("kind", CELLS)
def test_passes_keep_the_meaning(kind: str) -> None:
    checkpoint = random_network((8, 1), kind).checkpoint
    assert checkpoint.calibration is not None
    graph = build_graph(checkpoint)
    want = evaluate(graph, checkpoint.calibration)[graph.result]
    for constant in (True, False):
        after = run_passes(graph, constant_time=constant)
        assert np.allclose(evaluate(after, checkpoint.calibration)[after.result], want, atol=1e-9)
    assert not any(isinstance(op, Timed) for op in run_passes(graph).ops)


def test_constant_time_makes_one_layer_of_two() -> None:
    graph = build_graph(random_network((9, 1), "cfc").checkpoint)
    timed = [op for op in graph.ops if isinstance(op, Timed)]
    after = run_passes(graph)
    assert timed and len(after.ops) <= len(graph.ops) - 2 * len(timed)
    assert all(isinstance(after.producer(op.out), Linear) for op in timed)


def test_states_begin_at_zero_and_streams_do_not_mix() -> None:
    checkpoint = random_network((10, 1), "gru").checkpoint
    assert checkpoint.calibration is not None
    graph, data = build_graph(checkpoint), checkpoint.calibration
    together = evaluate(graph, data)[graph.result].reshape(len(data), data.shape[1], -1)
    alone = evaluate(graph, data[1:2])[graph.result]
    assert np.allclose(together[1], alone)
    state = graph.states[0]
    assert not evaluate(graph, data)[state.out].reshape(len(data), data.shape[1], -1)[:, 0].any()


def _document() -> dict[str, Any]:
    return checkpoint_document(random_network((11, 3), "ltc", wild=False).checkpoint)


def _op(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(op for op in document["architecture"]["ops"] if op["op"] == kind)


def _rename(document: dict[str, Any]) -> None:
    document["architecture"]["ops"].append(dict(_op(document, "state")))


BAD: dict[str, tuple[Any, tuple[str, ...]]] = {
    "an unknown op": (lambda d: _op(d, "ltc").update(op="snn"), ("ops[", "snn", "ltc")),
    "no ops": (lambda d: d["architecture"].update(ops=[]), ("architecture.ops", "1 ... 4096")),
    "ops of another type": (lambda d: d["architecture"].update(ops="ltc"), ("architecture.ops",)),
    "a text for a number": (lambda d: _op(d, "ltc").update(unfolds="six"), ("unfolds", "whole number")),
    "no unfolds": (lambda d: _op(d, "ltc").update(unfolds=0), ("unfolds", "1 ...")),
    "a misspelt key": (lambda d: _op(d, "ltc").update(unfold=6), ("unfold", "did you mean 'unfolds'")),
    "time that stands still": (lambda d: d["architecture"].update(time=0.0), ("time",)),
    "an array that is missing": (
        lambda d: d["state_dict"].pop(f"{_op(d, 'ltc')['out']}.leak"), ("leak", "missing from the state_dict"),
    ),
    "an array too many": (lambda d: d["state_dict"].update(w=np.ones(3, np.float32)), ("'w'", "belongs to no op")),
    "a wrong shape": (
        lambda d: d["state_dict"].update({f"{_op(d, 'ltc')['out']}.leak": np.ones(99, np.float32)}), ("leak", "(99,)"),
    ),
    "NaN": (
        lambda d: d["state_dict"].update({f"{_op(d, 'ltc')['out']}.leak": np.full(3, np.nan, np.float32)}),
        ("leak", "NaN"),
    ),
    "an index that is no whole number": (
        lambda d: d["state_dict"][f"{_op(d, 'ltc')['out']}.sensory.pre"].fill(0.5), ("sensory.pre", "whole numbers"),
    ),
    "a neuron that does not exist": (
        lambda d: d["state_dict"][f"{_op(d, 'ltc')['out']}.recurrent.pre"].fill(200), ("synapse", "200"),
    ),
    "a tensor that nobody makes": (lambda d: _op(d, "ltc").update(x="nothing"), ("'nothing'", "no op above")),
    "a state of nothing": (lambda d: _op(d, "state").update(next="nothing"), ("next value 'nothing'",)),
    "a name twice": (_rename, ("op name", "once")),
    "a name that ends a comment": (lambda d: _op(d, "ltc").update(out="a*/b"), ("missing",)),
    "a result of nowhere": (lambda d: d["architecture"].update(result="none"), ("'none'",)),
    "odd weight bits": (lambda d: d["architecture"].update(weight_bits={"head": 4}), ("weight_bits", "8 or 16")),
    "a window": (lambda d: d["architecture"].update(mode="window"), ("mode", "stream")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_document_is_refused(name: str) -> None:
    document = copy.deepcopy(_document())
    change, words = BAD[name]
    change(document)
    with pytest.raises(LnncError) as caught:
        build_graph(parse_checkpoint(document, "bad.pt"))
    assert "bad.pt" in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_dead_state_is_dropped() -> None:
    graph = build_graph(random_network((12, 1), "lstm").checkpoint)
    extra = State("idle", 2, "idle", "idle")
    after = run_passes(type(graph)(graph.inputs, graph.outputs, (*graph.ops[:1], extra, *graph.ops[1:]), graph.result))
    assert "idle" not in {op.out for op in after.ops}
