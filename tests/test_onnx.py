"""ONNX in and out: exported forms of cells against torch and ncps, round trips, and files that mean no good."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_steps as steps
import pytest
import torch
from ncps.torch import LTC, CfC
from ncps.torch.cfc_cell import CfCCell
from ncps.torch.ltc_cell import LTCCell
from ncps.wirings import AutoNCP, FullyConnected
from networks import random_document
from onnx import TensorProto, helper
from onnx_graphs import GRAPHS
from small import lnnc

from lnnc.convert import from_torch
from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.onnx_check import graph_of, run_graph
from lnnc.frontend.onnx_export import export_onnx, save_onnx
from lnnc.frontend.onnx_import import Imported, import_onnx
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Blend, Graph, Leaky, Linear, Ltc, Pure

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
CLOSE = 1e-5


def streams(features: int, count: int = 2, samples: int = 200, seed: int = 0) -> Any:
    data = np.random.default_rng(seed).normal(size=(count, samples, features))
    return data.astype(np.float32).astype(np.float64)


def run(imported: Imported, data: Any) -> Any:
    size = sum(size for _, size in imported.outputs)
    return run_graph(graph_of(imported.network, imported.features, size), data)


def close(a: Any, b: Any, limit: float = CLOSE) -> None:
    assert np.abs(a - b).max() <= limit * max(1.0, np.abs(b).max()), np.abs(a - b).max()


def kinds(imported: Imported) -> list[type]:
    return [type(op) for op in imported.network.ops]


def torch_rollout(call: Any, data: Any, units: int, states: int = 1) -> Any:
    rows = []
    with torch.no_grad():
        for stream in data:
            held: Any = [torch.zeros(1, units)] * states
            for sample in stream:
                y, held = call(torch.tensor(sample[None], dtype=torch.float32), held)
                rows.append(y.numpy().reshape(-1))
    return np.array(rows).reshape(*data.shape[:2], -1)


@pytest.mark.parametrize("ts", [1.0, 0.3])
@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_an_exported_cfc_is_the_cell_of_ncps(mode: str, ts: float, tmp_path: Path) -> None:
    torch.manual_seed(1)
    cell = CfCCell(3, 10, mode=mode, backbone_units=16, backbone_layers=2)
    if mode == "pure":
        torch.nn.init.normal_(cell.w_tau)
        torch.nn.init.uniform_(cell.A, 0.2, 0.9)
    imported = import_onnx(steps.cfc(tmp_path / "step.onnx", cell, ts))
    data = streams(3)
    close(run(imported, data), torch_rollout(lambda x, h: (lambda y: (y, [y]))(cell(x, h[0], ts)[0]), data, 10))
    found = kinds(imported)
    assert (Blend in found) == (mode == "default")
    assert (Pure in found) == (mode == "pure")
    assert found.count(Linear) == (3 if mode == "pure" else 5)  # the time gate is one layer, lecun_tanh none


@pytest.mark.parametrize("wiring", [FullyConnected(7, 2), AutoNCP(14, 2)], ids=["full", "ncp"])
@pytest.mark.parametrize(("implicit", "opset"), [(False, 13), (True, 18)])
def test_an_exported_ltc_is_one_op_with_rolled_unfolds(wiring: Any, implicit: bool, opset: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    cell = LTCCell(wiring, 3, implicit_param_constraints=implicit, ode_unfolds=4)
    for name in ("input_w", "input_b", "output_w", "output_b"):
        torch.nn.init.uniform_(cell._params[name], 0.5, 1.5)
    imported = import_onnx(steps.ltc(tmp_path / "step.onnx", cell, 0.7, opset))
    data = streams(3)

    def call(x: Any, held: Any) -> Any:
        y, h = cell(x, held[0], 0.7)
        return y, [h]

    close(run(imported, data), torch_rollout(call, data, cell.state_size))
    one_input = import_onnx(steps.ltc(tmp_path / "one.onnx", LTCCell(FullyConnected(4, 1), 1, ode_unfolds=3)))
    assert Ltc in kinds(one_input)
    (op,) = (op for op in imported.network.ops if isinstance(op, Ltc))
    assert op.unfolds == 4
    present = np.count_nonzero(cell._params["sparsity_mask"].detach().numpy())
    assert len(op.recurrent.pre) == present


def test_gates_of_gru_and_lstm_cells_become_one_layer_each(tmp_path: Path) -> None:
    torch.manual_seed(3)
    gru, lstm, data = torch.nn.GRUCell(3, 6), torch.nn.LSTMCell(3, 6), streams(3)
    imported = import_onnx(steps.gru(tmp_path / "gru.onnx", gru))
    close(run(imported, data), torch_rollout(lambda x, h: (lambda y: (y, [y]))(gru(x, h[0])), data, 6))
    assert Blend in kinds(imported)
    assert kinds(imported).count(Linear) == 4
    imported = import_onnx(steps.lstm(tmp_path / "lstm.onnx", lstm), results=["h_next"])
    close(run(imported, data), torch_rollout(lambda x, h: (lambda s: (s[0], s))(lstm(x, tuple(h))), data, 6, 2))
    assert kinds(imported).count(Linear) == 4


@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.LSTM, torch.nn.RNN])
def test_recurrent_operators_of_one_step(kind: Any, tmp_path: Path) -> None:
    torch.manual_seed(4)
    module, data = kind(3, 6), streams(3)
    imported = import_onnx(steps.operator(tmp_path / "step.onnx", module))
    with torch.no_grad():
        want = module(torch.tensor(data.transpose(1, 0, 2), dtype=torch.float32))[0].numpy().transpose(1, 0, 2)
    close(run(imported, data), want)


FEEDS: dict[str, list[Any]] = {
    "movement": [
        ("Reshape", ("", np.array([1, 2, 3])), {}), ("Transpose", ("",), {"perm": [0, 2, 1]}),
        ("Expand", ("", np.array([2, 3, 2])), {}), ("Slice", ("", np.array([1]), np.array([-1]), np.array([1])), {}),
        ("Flatten", ("",), {"axis": 0}), ("Gather", ("", np.array([3, 0, 1])), {"axis": 1}), ("Tanh", ("",), {}),
    ],
    "activations": [
        ("Abs", ("",), {}), ("Neg", ("",), {}), ("Exp", ("",), {}), ("Sigmoid", ("",), {}), ("Erf", ("",), {}),
        ("Dropout", ("",), {}), ("Max", ("", np.array(0.0)), {}), ("Pow", ("", np.array(2.0)), {}),
    ],
    "normalised": [
        ("LayerNormalization", ("", np.linspace(0.5, 1.5, 6), np.linspace(-1, 1, 6)), {"epsilon": 1e-3}),
        ("Sum", ("", "x", np.ones(6)), {}), ("ReduceMean", ("",), {"axes": [1], "keepdims": 1}),
        ("Mul", ("", "x"), {}), ("Div", ("", np.array(4.0)), {}), ("Sub", (np.array(1.0), ""), {}),
    ],
    "matrices": [
        ("MatMul", ("", np.arange(24.0).reshape(6, 4) / 9), {}), ("Reshape", ("", np.array([1, 2, 2])), {}),
        ("MatMul", (np.array([[1.0, -2.0]]), ""), {}), ("Squeeze", ("", np.array([0])), {}),
        ("Gemm", ("", np.arange(6.0).reshape(2, 3), np.array([1.0])), {"alpha": 0.5, "beta": 2.0}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FEEDS)
def test_every_operator_means_what_onnxruntime_takes_it_for(name: str, tmp_path: Path) -> None:
    size = {"movement": 3, "activations": 6, "normalised": 6, "matrices": 3}[name]
    imported = import_onnx(steps.feed(tmp_path / "step.onnx", FEEDS[name], 6, size))
    assert imported.difference <= CLOSE


@pytest.mark.parametrize("time_input", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_op_goes_out_and_comes_back(name: str, time_input: bool, tmp_path: Path) -> None:
    graph, timed = GRAPHS[name]
    if time_input and not timed:
        with pytest.raises(LnncError, match="depends on the time"):
            export_onnx(graph, name, None, True)
        return
    exported = export_onnx(graph, name, None, time_input)
    assert exported.difference <= CLOSE * max(1.0, exported.largest)
    save_onnx(exported, tmp_path / "step.onnx")
    imported = import_onnx(tmp_path / "step.onnx", fixed={"T": graph.time} if time_input else None)
    back_again(graph, imported, exported.warmup)
    if name in ("ltc", "leaky", "pure"):  # unrolled in the file, one op again
        assert [type(op) for op in graph.ops if isinstance(op, Ltc | Leaky | Pure)] == [
            kind for kind in kinds(imported) if kind in (Ltc, Leaky, Pure)
        ]


def back_again(graph: Graph, imported: Imported, warmup: int) -> None:
    data = streams(graph.input_size, samples=40)
    want = evaluate(graph, data if graph.states or graph.window else data.reshape(-1, graph.input_size))[graph.result]
    have = run(imported, data)[:, warmup:]
    close(have, want.reshape(have.shape))


@pytest.mark.parametrize("mode", ["window", "stream"])
def test_dlnet_models_go_out_and_come_back(mode: str, tmp_path: Path) -> None:
    for seed in range(6):
        document = random_document(np.random.default_rng(seed), mode=mode, sane=True, ranges=False)
        checkpoint = parse_checkpoint(document, "random")
        graph = build_graph(checkpoint)
        exported = export_onnx(graph, "random", checkpoint.calibration)
        save_onnx(exported, tmp_path / "step.onnx")
        imported = import_onnx(tmp_path / "step.onnx")
        assert imported.features == graph.input_size


@pytest.mark.parametrize("module", [CfC(3, 5), CfC(3, AutoNCP(8, 2), mixed_memory=True), LTC(3, AutoNCP(8, 2))])
def test_a_network_from_torch_is_exported_and_read_again(module: Any, tmp_path: Path) -> None:
    graph = build_graph(from_torch(module, streams(3)).checkpoint)
    exported = export_onnx(graph, "module")
    assert exported.difference <= CLOSE
    save_onnx(exported, tmp_path / "step.onnx")
    back_again(graph, import_onnx(tmp_path / "step.onnx"), exported.warmup)


def test_the_command_line_imports_compiles_and_exports(tmp_path: Path) -> None:
    torch.manual_seed(5)
    cell = CfCCell(2, 6, backbone_units=8)
    steps.cfc(tmp_path / "step.onnx", cell)
    np.savez(tmp_path / "X.npz", 0.8 * np.sin(np.arange(400)[:, None] * [0.05, 0.013]))
    result = lnnc(
        "import", "onnx", tmp_path / "step.onnx", "--calibration", tmp_path / "X.npz", "-o", tmp_path / "m.pt",
        "--in-port", "angle", "--in-unit", "rad", "--in-range", "-1:1",
    )  # fmt: skip
    assert result.code == 0, result
    assert "states h -> h_next" in result.out
    assert lnnc("verify", tmp_path / "m.pt", "--vectors", "16").code == 0
    result = lnnc("export", "onnx", tmp_path / "m.pt", "-o", tmp_path / "out.onnx")
    assert result.code == 0, result
    imported = import_onnx(tmp_path / "out.onnx")
    close(run(imported, streams(2)), run(import_onnx(tmp_path / "step.onnx"), streams(2)))
    properties = {entry.key for entry in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert {"lnnc.ports", "lnnc.states", "lnnc.time"} <= properties


def test_ports_of_a_file_carry_units_and_scalers(tmp_path: Path) -> None:
    steps.feed(tmp_path / "step.onnx", [("Tanh", ("",), {})], 2, 2)
    np.savez(tmp_path / "X.npz", np.random.default_rng(0).normal(size=(50, 2)) * [5.0, 0.1] + [20.0, 3.6])
    (tmp_path / "ports.json").write_text(
        '{"inputs": [{"name": "t", "size": 1, "unit": "degC", "offset": 20.0, "scale": 5.0},'
        ' {"name": "u", "size": 1, "unit": "V", "offset": 3.6, "scale": 0.1}]}'
    )
    given = (
        "--calibration",
        tmp_path / "X.npz",
        "--ports",
        tmp_path / "ports.json",
        "-o",
        tmp_path / "m.pt",
    )
    assert lnnc("import", "onnx", tmp_path / "step.onnx", *given).code == 0
    result = lnnc("export", "onnx", tmp_path / "m.pt", "-o", tmp_path / "back.onnx")
    assert result.code == 0, result


def test_what_is_missing_is_asked_for_at_once(tmp_path: Path) -> None:
    steps.feed(tmp_path / "step.onnx", [("Tanh", ("",), {})], 2, 2)
    result = lnnc("import", "onnx", tmp_path / "step.onnx")
    assert result.code == 2
    assert "--calibration" in result.err and "-o model.pt" in result.err


def simple(
    inputs: dict[str, Any], outputs: dict[str, Any], nodes: list[Any], constants: tuple[Any, ...] = (), **more: Any
) -> Any:
    made = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in table.items()]
        for table in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", *made, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, **more)


def refused(model: Any, tmp_path: Path, *parts: str, **given: Any) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(LnncError) as caught:
        import_onnx(path, **given)
    assert str(path) in str(caught.value)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_unsupported_nodes_are_named_together(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Elu", ["x"], ["a"], name="first"), node("HardSigmoid", ["a"], ["b"], name="second"),
        node("Mystery", ["b"], ["c"], name="third", domain="com.example"), node("Tanh", ["x"], ["t"]),
        node("Sqrt", ["t"], ["u"], name="fourth"), node("Add", ["c", "u"], ["y"]),
    ]  # fmt: skip
    refused(
        simple({"x": [1, 2]}, {"y": [1, 2]}, nodes), tmp_path, "4 faults", "Elu 'first' (reads x [1, 2])",
        "HardSigmoid 'second'", "com.example.Mystery 'third'", "Sqrt 'fourth'", "supported on data: ", "Sigmoid",
    )  # fmt: skip


def two(**shapes: Any) -> Any:
    """x, h and two outputs of the same size, whose names tell nothing."""
    nodes = [helper.make_node("Add", ["x", "h"], ["p"]), helper.make_node("Tanh", ["p"], ["q"])]
    return simple({"x": [1, 2], "h": [1, 2]}, {"p": [1, 2], "q": [1, 2]}, nodes)


def test_ambiguous_states_are_asked_about(tmp_path: Path) -> None:
    refused(two(), tmp_path, "which output is the next value", "--state h=p", "--state h=q")
    path = tmp_path / "step.onnx"
    path.write_bytes(two().SerializeToString())
    assert import_onnx(path, states={"h": "q"}).roles.results == ("p",)
    assert import_onnx(path, states={"h": "p"}).roles.results == ("q",)
    assert import_onnx(path, states={"h": "p"}, results=["p", "q"]).outputs == (("p", 2), ("q", 2))
    assert not import_onnx(path, fixed={"h": 0.5}).roles.states
    refused(two(), tmp_path, "no output 'nope'", states={"h": "nope"})
    refused(two(), tmp_path, "no such input", fixed={"nope": 1.0})


def endless() -> Any:
    """A few bytes that ask for 10^12 numbers."""
    shape = onnx.numpy_helper.from_array(np.array([10**6, 10**6]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"]),
    ]  # fmt: skip
    return simple({"x": [1, 2]}, {"y": [1, 2]}, nodes, (shape,))


def outside() -> Any:
    tensor = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return simple({"x": [1, 2]}, {"y": [1, 2]}, [helper.make_node("Add", ["x", "w"], ["y"])], (tensor,))


def short() -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"\0" * 8)
    return simple({"x": [1, 2]}, {"y": [1, 2]}, [helper.make_node("Add", ["x", "w"], ["y"])], (tensor,))


def looping() -> Any:
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [])
    node = helper.make_node("If", ["x"], ["y"], name="branch", then_branch=body, else_branch=body)
    return simple({"x": [1, 2]}, {"y": [1, 2]}, [node])


def cyclic() -> Any:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Tanh", ["a"], ["b"])]
    return simple({"x": [1, 2]}, {"b": [1, 2]}, nodes)


def one(kind: str, shape: Any = (1, 2), constants: tuple[Any, ...] = (), **attributes: Any) -> Any:
    names = ["x", *(tensor.name for tensor in constants)]
    return simple(
        {"x": list(shape)}, {"y": None}, [helper.make_node(kind, names, ["y"], name="n", **attributes)], constants
    )


def tensor(values: Any) -> Any:
    array = np.asarray(values)
    return onnx.numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, "w")


BAD: dict[str, tuple[Any, str]] = {
    "random bytes": (bytes(range(256)) * 8, "not a readable ONNX file"),
    "another protobuf": (b"\x0a\x03abc", "not"),
    "asks for all memory": (endless(), "more than"),
    "weights elsewhere": (outside(), "external data"),
    "fewer numbers than its shape": (short(), "expected at most"),
    "a branch": (looping(), "a loop or a branch"),
    "a cycle": (cyclic(), "which no node before it defines"),
    "a batch of four": (one("Tanh", (4, 2)), "a batch of 1"),
    "a symbolic width": (one("Tanh", (1, "n")), "must be a number"),
    "a huge input": (one("Tanh", (1, 10**9)), "8192"),
    "NaN weights": (one("Mul", (1, 2), (tensor([np.nan, 1.0]),)), "NaN or Inf"),
    "division by zero": (one("Div", (1, 2), (tensor([0.0, 1.0]),)), "divides by 0"),
    "shapes that do not fit": (one("Mul", (1, 2), (tensor(np.ones(3)),)), "do not fit"),
    "indices out of range": (one("Gather", (1, 2), (tensor(np.array([7])),), axis=1), "cannot be evaluated"),
    "a result that is too long": (one("Expand", (1, 2), (tensor(np.array([9000, 2])),)), "at most 8192"),
    "a matrix of another size": (one("MatMul", (1, 2), (tensor(np.ones((3, 3))),)), "do not fit"),
    "axes that are not there": (one("ReduceSum", (1, 2), (tensor(np.array([5])),)), "axes"),
    "a cast to whole numbers": (one("Cast", to=TensorProto.INT64), "Cast to floats"),
    "no opset": (simple({"x": [1]}, {"y": [1]}, [helper.make_node("Tanh", ["x"], ["y"])]), "opset"),
}
del BAD["no opset"][0].opset_import[:]


@pytest.mark.parametrize("name", BAD)
def test_files_that_mean_no_good_are_refused(name: str, tmp_path: Path) -> None:
    model, part = BAD[name]
    refused(model, tmp_path, part)


def test_truncated_and_damaged_files_never_crash(tmp_path: Path) -> None:
    torch.manual_seed(6)
    whole = steps.cfc(tmp_path / "step.onnx", CfCCell(2, 4, backbone_units=5)).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "bad.onnx"
    for position in rng.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        for data in (whole[:position], bytes(damaged)):
            path.write_bytes(data)
            with contextlib.suppress(LnncError):
                import_onnx(path)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    (tmp_path / "step.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(LnncError, match=r"pip install 'lnnc\[onnx\]'"):
        import_onnx(tmp_path / "step.onnx")


def test_export_refuses_targets_before_any_work(tmp_path: Path) -> None:
    steps.feed(tmp_path / "step.onnx", [("Tanh", ("",), {})], 2, 2)
    np.savez(tmp_path / "X.npz", np.random.default_rng(0).normal(size=(50, 2)))
    model = tmp_path / "m.pt"
    given = ("--calibration", tmp_path / "X.npz", "-o", model)
    result = lnnc("import", "onnx", tmp_path / "step.onnx", *given)
    assert result.code == 0, result
    for target in ((), ("-o", tmp_path / "x.pt"), ("-o", tmp_path / "no" / "x.onnx"), ("--time-input", "-o", "x.onnx")):
        result = lnnc("export", "onnx", model, *target)
        assert result.code == 2 and result.err.startswith("error: "), result


def test_export_in_float32_that_cannot_hold_the_numbers_is_refused() -> None:
    graph, _ = GRAPHS["linear"]
    op = graph.ops[0]
    assert isinstance(op, Linear)
    far = (
        replace(op, bias=op.bias + 1e12),
        replace(op, out="back", x=op.out, weight=np.eye(len(op.bias)), bias=op.bias - 1e12),
    )
    with pytest.raises(LnncError, match="float32 does not hold"):
        export_onnx(replace(graph, ops=far, result="back"), "far")
