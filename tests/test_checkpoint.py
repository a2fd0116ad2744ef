"""Checkpoint files: round trips, digests, the same bytes twice, no torch where none is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import random_document
from small import Document, changed, document, lnnc, save, tensors_of

from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Checkpoint, checkpoint_document
from lnnc.frontend.parse import parse_checkpoint
from lnnc.frontend.storage import load_checkpoint, save_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.pipeline import compile_model, run_model, with_ranges

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = [("window", 1, "full"), ("window", 3, "low_rank"), ("stream", 1, "low_rank"), ("stream", 2, "full")]


def checkpoint(*variant: Any) -> Checkpoint:
    return parse_checkpoint(document(*variant), "small")


# --- round trips ---


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("ranges", [False, True])
def test_files_give_the_same_model_back(tmp_path: Path, variant: tuple[Any, ...], ranges: bool) -> None:
    """.pt -> .safetensors -> .pt: equal digests; the same kind of file once more: equal bytes."""
    first = with_ranges(checkpoint(*variant)) if ranges else checkpoint(*variant)
    paths = [tmp_path / name for name in ("a.pt", "b.pt", "c.safetensors", "d.safetensors", "e.pt")]
    here = first
    for path in paths:
        save_checkpoint(here, path)
        here = load_checkpoint(path)
        assert here.digest() == first.digest()
        assert here.header() == first.header()
        assert here.provenance == first.provenance
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[2].read_bytes() == paths[3].read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_random_models_round_trip(tmp_path: Path, seed: int) -> None:
    first = parse_checkpoint(random_document(np.random.default_rng(seed)), "random")
    for name in ("a.pt", "a.safetensors"):
        save_checkpoint(first, tmp_path / name)
        assert load_checkpoint(tmp_path / name).digest() == first.digest()


def test_saved_bytes_depend_on_nothing_but_the_model(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    names = ("a.pt", "another_name.pth", "deep/a.pt")
    for name in names:
        save_checkpoint(checkpoint(), tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_what_is_saved_loads_with_weights_only(tmp_path: Path) -> None:
    save_checkpoint(checkpoint(), tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt", weights_only=True)
    assert loaded["format"] == "lnnc-checkpoint"
    assert all(tensor.dtype == torch.float32 for tensor in loaded["state_dict"].values())
    assert loaded["state_dict"]["residual_weight"].shape == ()


@pytest.mark.parametrize("legacy", [True, False])
def test_both_torch_formats_are_read(tmp_path: Path, legacy: bool) -> None:
    torch.save(tensors_of(document()), tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    assert load_checkpoint(tmp_path / "m.pt").digest() == checkpoint().digest()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8])
def test_other_real_types_are_read_as_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = torch.arange(48).reshape(6, 8).to(dtype)
    made = tensors_of(document())
    made["state_dict"]["encoder.0.weight"] = torch.nn.Parameter(weights) if dtype.is_floating_point else weights
    torch.save(made, tmp_path / "m.pt")
    assert np.array_equal(load_checkpoint(tmp_path / "m.pt").tensors["encoder.0.weight"], np.arange(48).reshape(6, 8))


def test_views_are_read_as_what_they_show(tmp_path: Path) -> None:
    made = tensors_of(document())
    wide = torch.randn(8, 6, dtype=torch.cfloat)
    made["state_dict"]["encoder.0.weight"] = wide.conj().imag.T
    torch.save(made, tmp_path / "m.pt")
    assert np.array_equal(load_checkpoint(tmp_path / "m.pt").tensors["encoder.0.weight"], -wide.imag.numpy().T)


def test_safetensors_needs_no_torch(tmp_path: Path) -> None:
    save_checkpoint(checkpoint(), tmp_path / "m.safetensors")
    code = (
        "import sys; from lnnc.pipeline import compile_model;"
        f"compile_model({str(tmp_path / 'm.safetensors')!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("name", ["m.onnx", "m", "m.PT"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LnncError, match=r"ends in \.pt or \.safetensors"):
        save_checkpoint(checkpoint(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# --- the digest ---


@pytest.mark.parametrize(("path", "value"), [
    ("architecture/dynamics/steps", 3), ("architecture/dynamics/dt", 0.2), ("architecture/dynamics/drive", "none"),
    ("architecture/encoder/1/epsilon", 1e-4), ("inputs/0/unit", "V"), ("inputs/0/range", [0.0, 1.6]),
    ("outputs/0/scale", 0.3), ("state_dict/residual_weight", np.array(0.25, np.float32)),
    ("calibration/inputs", np.full((3, 8), 0.9, np.float32)),
])  # fmt: skip
def test_the_digest_covers_what_decides_the_code(path: str, value: Any) -> None:
    assert parse_checkpoint(changed(document(), path, value), "x").digest() != checkpoint().digest()


def test_the_digest_leaves_out_where_it_came_from() -> None:
    other = parse_checkpoint({**document(), "provenance": {"made by": "someone"}}, "elsewhere")
    assert other.digest() == checkpoint().digest()


def test_notes_of_a_trainer_go_into_provenance(tmp_path: Path) -> None:
    """Any key there; beside the known keys of the other tables none."""
    more = {**document(), "provenance": {"epoch": 3, "loss": 0.5}}
    assert load_checkpoint(save(more, tmp_path / "m.pt")).digest() == checkpoint().digest()
    with pytest.raises(LnncError, match="unknown key 'epoch'"):
        load_checkpoint(save({**document(), "epoch": 3}, tmp_path / "m.pt"))


def test_every_key_that_is_saved_is_read_back() -> None:
    """Also those that a hand-written document leaves out: key and epsilon of an activation."""
    saved = checkpoint_document(checkpoint())
    assert set(saved["architecture"]["encoder"][2]) == {"op", "key", "epsilon"}
    assert parse_checkpoint(saved, "saved").header() == checkpoint().header()


def test_the_document_is_plain_data() -> None:
    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return set().union({dict}, *map(kinds, value.values()))
        return set().union({list}, *map(kinds, value)) if isinstance(value, list) else {type(value)}

    assert kinds(checkpoint_document(checkpoint())) <= {dict, list, str, int, float, np.ndarray, type(None)}


# --- what the layers mean ---


def test_every_layer_kind_means_what_torch_means() -> None:
    """norm, relu, tanh and sigmoid of a hand-made checkpoint against torch.nn."""
    rng = np.random.default_rng(3)
    made: Document = document()
    made["architecture"] |= {
        "dynamics": None, "residual": None, "decoder": [{"op": "linear", "key": "decoder.0"}, {"op": "sigmoid"}],
        "encoder": [
            {"op": "linear", "key": "encoder.0"}, {"op": "norm", "key": "encoder.1", "epsilon": 1e-3},
            {"op": "sigmoid"}, {"op": "linear", "key": "encoder.3"}, {"op": "relu"}, {"op": "tanh"},
        ],
    }  # fmt: skip
    weights = {
        k: torch.from_numpy(v).double() for k, v in made["state_dict"].items() if k[:7] in ("encoder", "decoder")
    }
    made["state_dict"] = {k: v.numpy() for k, v in weights.items()}
    rows = rng.uniform(0.5, 1.2, (40, 8))
    x = (torch.from_numpy(rows) - 0.8) / 0.2
    x = torch.nn.functional.linear(x, weights["encoder.0.weight"], weights["encoder.0.bias"])
    x = torch.nn.functional.layer_norm(x, (6,), weights["encoder.1.weight"], weights["encoder.1.bias"], 1e-3).sigmoid()
    x = torch.nn.functional.linear(x, weights["encoder.3.weight"], weights["encoder.3.bias"]).relu().tanh()
    x = torch.nn.functional.linear(x, weights["decoder.0.weight"], weights["decoder.0.bias"]).sigmoid()
    graph = build_graph(parse_checkpoint(made, "hand-made"))
    assert np.abs(evaluate(graph, rows)[graph.result] - (x * 0.2 + 0.8).numpy()).max() < 1e-12


def test_a_checkpoint_with_ranges_compiles_to_code_of_the_same_size(tmp_path: Path) -> None:
    for name, made in (("a", checkpoint()), ("b", with_ranges(checkpoint()))):
        save_checkpoint(made, tmp_path / f"{name}.pt")
        assert lnnc("compile", tmp_path / f"{name}.pt", "-o", tmp_path / f"{name}.c").code == 0
    a, b = (lnnc("compile", tmp_path / f"{n}.pt", "--stop-after", "program", "--name", "x").out for n in "ab")
    assert a.splitlines()[-2:] == b.splitlines()[-2:]


def test_rows_of_a_window_model_may_come_in_sequences() -> None:
    """(N, T, inputs) is N sequences of T windows: for calibration, and for `run`, which answers in the same shape."""
    given = document()
    rows = np.asarray(given["calibration"]["inputs"])
    folded = {**given, "calibration": {"inputs": rows[:12].reshape(3, 4, -1)}}
    flat = {**given, "calibration": {"inputs": rows[:12]}}
    programs = [compile_model(parse_checkpoint(doc, "m")).program for doc in (folded, flat)]
    assert [c.data.tolist() for c in programs[0].constants] == [c.data.tolist() for c in programs[1].constants]
    out = run_model(parse_checkpoint(flat, "m"), rows[:12].reshape(3, 4, -1), "reference")
    assert out.shape[:2] == (3, 4)
    assert np.array_equal(out.reshape(12, -1), run_model(parse_checkpoint(flat, "m"), rows[:12], "reference"))
