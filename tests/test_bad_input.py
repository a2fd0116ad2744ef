"""What is wrong with a file, an option or a path: one clear message, exit code 2, nothing run, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy
import torch
from small import Document, Result, changed, document, lnnc, save, tensors_of

from lnnc import files
from lnnc.quantize.calibrate import ranges_of_checkpoint

GOOD = document()


def refused(result: Result, *parts: str) -> None:
    """Exit code 2 and one message that holds every part; nothing that looks like a fault of ours."""
    assert result.code == 2, result
    assert result.err.startswith("error: "), result.err
    assert "Traceback" not in result.err
    assert "weights_only" not in result.err  # nobody is told how to switch the safety off
    assert len(result.err) < 4000
    for part in parts:
        assert part in result.err, result.err


def compile_bad(path: Path, *parts: str) -> None:
    """The model is refused by name, and no file appears."""
    before = set(path.parent.rglob("*"))
    refused(lnnc("compile", path, "-o", path.parent / "out.c"), str(path), *parts)
    assert set(path.parent.rglob("*")) == before


# --- files that are no checkpoint ---


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare", "protocol 4"])
def test_a_pickle_is_named_and_never_run(tmp_path: Path, kind: str) -> None:
    path, trap = tmp_path / "evil.pt", Trap(tmp_path / "RUN")
    if kind in ("zip", "legacy"):
        torch.save({"model": trap}, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        path.write_bytes(pickle.dumps([trap], protocol=2 if kind == "bare" else 4))
    for command in (("compile", path), ("import", "dlnet", path), ("verify", path), ("inspect", path)):
        refused(lnnc(*command), "refused without running it", "pathlib", "torch.save(model.state_dict()")
    assert not (tmp_path / "RUN").exists()


@pytest.mark.parametrize("new", [True, False])
def test_a_module_is_refused_with_its_classes(tmp_path: Path, new: bool) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    compile_bad(
        tmp_path / "m.pt", "a pickled module", "torch.nn.modules.linear.Linear", "torch.save(model.state_dict()"
    )


def test_the_published_module(shared: Path) -> None:
    result = lnnc("compile", shared / "models/dlnet/student_deployed_whole_module_pickle.pth")
    refused(result, "refused without running it", "__main__.StudentLNN_ode", "torch.save(model.state_dict()")


def test_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.pt", "w") as archive:
        archive.writestr("s/constants.pkl", b"\x80\x02).")
        archive.writestr("s/data.pkl", b"\x80\x02}.")
    compile_bad(tmp_path / "s.pt", "TorchScript", "refused without running it")


CONTENTS = {
    "empty": (b"", "empty"),
    "text": (b"hello\nworld\n", "it is text"),
    "junk": (bytes(range(255, 120, -1)) * 9, "not a readable torch file"),
    "one byte": (b"\x80", "pickle"),
    "zip head": (b"PK\x03\x04" + bytes(40), "truncated"),
    "safetensors": (safetensors.numpy.save({"a": np.zeros(3)}), "safetensors"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_not_a_torch_file(tmp_path: Path, name: str) -> None:
    content, part = CONTENTS[name]
    (tmp_path / "m.pt").write_bytes(content)
    compile_bad(tmp_path / "m.pt", part)


def test_another_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("a.txt", "x")
    compile_bad(tmp_path / "m.pt", "zip archive of something else")


@pytest.mark.parametrize("new", [True, False])
def test_truncated_and_damaged_files(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "m.pt"
    torch.save(tensors_of(GOOD), path, _use_new_zipfile_serialization=new)
    whole, rng = path.read_bytes(), random.Random(1)
    for cut in (*range(1, len(whole), len(whole) // 25), len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused(lnnc("inspect", path), "m.pt", "fix:")
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        result = lnnc("compile", path, "--stop-after", "checkpoint")
        assert result.code == 0 or result.err.startswith("error: ")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "d.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    refused(lnnc("compile", tmp_path / "no.pt"), "no such file", ".safetensors")
    refused(lnnc("compile", tmp_path / "d.pt"), "it is a folder")
    refused(lnnc("compile", tmp_path / "pipe.pt"), "not a regular file")
    refused(lnnc("compile", ""), "it is a folder")
    refused(lnnc("compile", "a" * 5000 + ".pt"), "cannot read it")


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = save(GOOD, tmp_path / "m.pt")
    with mock.patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")):
        refused(lnnc("compile", path), "cannot read it (Permission denied)")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    bad = changed(GOOD, "state_dict/a\x1b[31m\rb", np.zeros(1, np.float32))
    assert "\x1b" not in lnnc("compile", save(bad, tmp_path / "m.pt")).err


# --- documents: every field, wrong ---

JUNK: tuple[Any, ...] = (
    None, [], "x", {}, True, 0, -1, 1.5, float("nan"), float("inf"), 2**70, 10**400, [1, 2, 3], {"a": 1}, {1: 2}, [[1]],
    np.zeros(3, np.float32), [None, None], "*/", "\n#error", [{}], [float("nan"), 1], [2, 1], ["a", "b"], [0, 1e300],
    1 + 2j, b"bytes", "x" * 500, ...,
)  # fmt: skip
FIELDS = [
    "format",
    "version",
    "architecture",
    "architecture/family",
    "architecture/mode",
    "architecture/window",
    "architecture/features",
    "architecture/encoder",
    "architecture/encoder/0",
    "architecture/encoder/0/op",
    "architecture/encoder/0/key",
    "architecture/encoder/1/epsilon",
    "architecture/dynamics",
    "architecture/dynamics/key",
    "architecture/dynamics/recurrence",
    "architecture/dynamics/steps",
    "architecture/dynamics/dt",
    "architecture/dynamics/drive",
    "architecture/residual",
    "architecture/decoder",
    "state_dict",
    "state_dict/encoder.0.weight",
    "state_dict/residual_weight",
    "state_dict/dynamics.alpha",
    "inputs",
    "inputs/0",
    "inputs/0/name",
    "inputs/0/size",
    "inputs/0/unit",
    "inputs/0/range",
    "inputs/0/offset",
    "inputs/0/scale",
    "outputs",
    "outputs/0/size",
    "outputs/0/range",
    "calibration",
    "calibration/inputs",
    "provenance",
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.filterwarnings("error")
def test_every_wrong_value_is_refused_or_compiles(tmp_path: Path, field: str) -> None:
    """A field of any type: a message that names it, or a model that compiles. Never a traceback."""
    refusals = 0
    for value in JUNK:
        result = lnnc("compile", save(changed(GOOD, field, value), tmp_path / "m.pt"), "--stop-after", "program")
        if result.code:
            refused(result)
            refusals += 1
    assert refusals >= len(JUNK) // 3


SAYS = {
    "version": (2, "checkpoint version 2; this lnnc reads version 1"),
    "format": ("onnx", 'expected "format"'),
    "architecture/family": ("gru", 'expected "dlnet"'),
    "architecture/window": (10**12, "window * features must be"),
    "architecture/encoder": ([{"op": "relu"}] * 1000, "at most 256 layers"),
    "architecture/encoder/1/epsilon": (0.0, "epsilon: expected a number in (0, 1)"),
    "architecture/encoder/0/key": ("*/x", "layer key"),
    "architecture/dynamics/dt": (0.0, "dt: expected a time step"),
    "architecture/dynamics/steps": (0, "steps: expected 1"),
    "architecture/residual": ("nowhere", "key 'nowhere' is missing"),
    "inputs": ([], "inputs: expected a list of ports"),
    "inputs/0/size": (10**12, "inputs[0].size: expected 1"),
    "inputs/0/name": ("*/ int x; /*", "inputs[0].name"),
    "inputs/0/unit": ("\n#error", "inputs[0].unit"),
    "inputs/0/scale": (0, "scale not 0"),
    "inputs/0/offset": (True, "offset"),
    "outputs/0/size": (7, "the ports hold 7 values, the network gives 8"),
    "outputs/0/range": ([1.5, 0.0], "outputs[0].range: expected [low, high]"),
    "inputs/0/range": ([0, 1e300], "inputs[0].range"),
    "calibration": (..., 'key "calibration" is missing'),
    "provenance": ({1: 2}, "provenance"),
    "state_dict/encoder.0.bias": (..., "key 'encoder.0.bias' is missing"),
    "state_dict/foo": (np.zeros(2), "key 'foo' of the state_dict belongs to no layer"),
}


@pytest.mark.parametrize("field", SAYS)
def test_the_message_names_the_fault(tmp_path: Path, field: str) -> None:
    value, part = SAYS[field]
    compile_bad(save(changed(GOOD, field, value), tmp_path / "m.pt"), part, "fix:")


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    bad = changed(changed(changed(GOOD, "architecture/window", "x"), "inputs/0/size", None), "outputs/0/unit", 3)
    compile_bad(save(bad, tmp_path / "m.pt"), "architecture.window", "inputs[0].size", "outputs[0].unit")


UNKNOWN = {  # a misspelt key, the one that was meant, and another of its table
    "provenence": ("checkpoint", "provenance", "calibration"),
    "architecture/residul": ("architecture", "residual", "decoder"),
    "architecture/encoder/0/kee": ("architecture.encoder[0]", "key", "epsilon"),
    "architecture/encoder/1/eps": ("architecture.encoder[1]", "epsilon", "op, key"),
    "architecture/encoder/2/Op": ("architecture.encoder[2]", "op", "epsilon"),
    "architecture/decoder/0/epsilom": ("architecture.decoder[0]", "epsilon", "op"),
    "architecture/dynamics/driv": ("architecture.dynamics", "drive", "recurrence"),
    "inputs/0/ofset": ("inputs[0]", "offset", "unit"),
    "outputs/0/scal": ("outputs[0]", "scale", "range"),
    "inputs/0/quux": ("inputs[0]", "", "name, size, unit, range, offset, scale"),
    "calibration/input": ("calibration", "inputs", "ranges"),
}


@pytest.mark.parametrize("field", UNKNOWN)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path, field: str) -> None:
    """In every table: ignored, it would silently leave the default."""
    label, meant, other = UNKNOWN[field]
    key = field.rpartition("/")[2]
    question = f" (did you mean '{meant}'?), expected " if meant else ", expected "
    bad = changed(GOOD, field, 1)
    compile_bad(save(bad, tmp_path / "m.pt"), f"{label}: unknown key '{key}'{question}", other, "docs/checkpoint.md")


@pytest.mark.parametrize("key", [None, 3, (1, 2), "x" * 5000, "\x1b[31m", ""])
def test_odd_unknown_keys(tmp_path: Path, key: Any) -> None:
    for bad in ({**GOOD, key: 1}, {**GOOD, "architecture": {**GOOD["architecture"], key: 1}}):
        compile_bad(save(bad, tmp_path / "m.pt"), "unknown key")


def test_unknown_keys_of_every_table_are_listed_at_once(tmp_path: Path) -> None:
    bad = GOOD
    for field in UNKNOWN:
        bad = changed(bad, field, 1)
    parts = [f"{label}: unknown key" for label, *_ in UNKNOWN.values()]
    compile_bad(save(bad, tmp_path / "m.pt"), f"{len(UNKNOWN)} faults", *parts)
    without = changed(changed(GOOD, "calibration", ...), "calibratoin", {"inputs": DATA})
    compile_bad(save(without, tmp_path / "m.pt"), 'key "calibration" is missing', "did you mean 'calibration'?")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_a_state_dict_is_told_from_a_checkpoint(tmp_path: Path, key: str) -> None:
    compile_bad(save(GOOD["state_dict"], tmp_path / "m.pt"), "bare state_dict", "lnnc import dlnet")
    compile_bad(save({key: GOOD["state_dict"], "epoch": 3}, tmp_path / "m.pt"), "bare state_dict", "lnnc import dlnet")


@pytest.mark.parametrize("value", [torch.zeros(3), [1, 2], "text", 5])
def test_a_document_that_is_no_dictionary(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "m.pt")
    compile_bad(tmp_path / "m.pt", "expected a dictionary")
    refused(lnnc("import", "dlnet", tmp_path / "m.pt"), "expected a state_dict")


@pytest.mark.parametrize("deep", [True, False])
def test_nesting_without_end(tmp_path: Path, deep: bool) -> None:
    nest: list[Any] = []
    if deep:
        for _ in range(200):
            nest = [nest]
    else:
        nest.append(nest)
    torch.save({**tensors_of(GOOD), "deep": nest}, tmp_path / "m.pt")
    compile_bad(tmp_path / "m.pt", "nested deeper")


# --- tensors ---

KEY = "encoder.0.weight"
WEIGHT = torch.from_numpy(GOOD["state_dict"][KEY])


def odd_tensors() -> dict[str, tuple[torch.Tensor, str]]:
    return {
        "bool": (WEIGHT > 0, "expected numbers, found bool"),
        "complex": (WEIGHT.cfloat(), "complex64"),
        "sparse": (WEIGHT.to_sparse(), "sparse_coo"),
        "csr": (WEIGHT.to_sparse_csr(), "sparse_csr"),
        "quantized": (torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), "quantized"),
        "meta": (torch.empty(6, 8, device="meta"), "data-less"),
        "scalar": (torch.tensor(1.0), "expected shape (6, 8), found ()"),
        "3-d": (torch.zeros(6, 8, 1), "expected shape (6, 8), found (6, 8, 1)"),
        "transposed": (WEIGHT.T.contiguous(), "expected shape (6, 8), found (8, 6) (transposed?)"),
        "no rows": (torch.zeros(0, 8), "found (0, 8)"),
        "no columns": (torch.zeros(6, 0), "found (6, 0)"),
        "huge": (torch.zeros(1, 1).expand(100_000, 100_000), "expected at most"),
        "NaN": (WEIGHT * float("nan"), "48 NaN or Inf, the first at [0, 0]"),
        "Inf": (WEIGHT.double() / 0, "NaN or Inf"),
        "beyond float32": (WEIGHT.double() * 1e200, "float32"),
    }


ODD = ["bool", "complex", "sparse", "csr", "quantized", "meta", "scalar", "3-d", "transposed", "huge", "NaN", "Inf"]


@pytest.mark.parametrize("kind", [*ODD, "no rows", "no columns", "beyond float32"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_tensors_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    tensor, part = odd_tensors()[kind]
    torch.save({**tensors_of(GOOD), "state_dict": {**tensors_of(GOOD["state_dict"]), KEY: tensor}}, tmp_path / "m.pt")
    compile_bad(tmp_path / "m.pt", KEY, part)


def test_one_wrong_shape_is_one_fault(tmp_path: Path) -> None:
    bad = changed(GOOD, f"state_dict/{KEY}", GOOD["state_dict"][KEY].T)
    assert "faults" not in lnnc("compile", save(bad, tmp_path / "m.pt")).err


@pytest.mark.parametrize("key", [5, (1, 2), True, None])
def test_keys_that_are_no_texts(tmp_path: Path, key: Any) -> None:
    bad = {**GOOD, "state_dict": {**GOOD["state_dict"], key: np.zeros(2, np.float32)}}
    compile_bad(save(bad, tmp_path / "m.pt"), "expected texts as keys")


# --- calibration ---

DATA = GOOD["calibration"]["inputs"]
CALIBRATIONS: dict[str, tuple[Any, str]] = {
    "neither": ({}, "expected"),
    "both": ({"inputs": DATA, "ranges": {"input": [0, 1]}}, "found both"),
    "none": ({"inputs": None}, "expected"),
    "one row flat": ({"inputs": DATA[0]}, "expected inputs of shape (N, 8), found (8,)"),
    "no rows": ({"inputs": DATA[:0]}, "found (0, 8)"),
    "width": ({"inputs": DATA[:, :7]}, "found (12, 7)"),
    "wrong window": ({"inputs": DATA.reshape(12, 4, 2)}, "found (12, 4, 2)"),
    "4-d": ({"inputs": DATA[None, None]}, "found (1, 1, 12, 8)"),
    "scalar": ({"inputs": np.array(1.0)}, "found ()"),
    "percent": ({"inputs": DATA * 100}, "another unit?"),
    "NaN": ({"inputs": DATA * np.nan}, "NaN or Inf"),
    "ragged": ({"inputs": [[1.0, 2.0], [3.0]]}, "rectangular"),
    "ranges none": ({"ranges": None}, "expected"),
    "ranges text": ({"ranges": "x"}, "expected a dictionary"),
    "ranges list": ({"ranges": [1]}, "expected a dictionary"),
    "ranges empty": ({"ranges": {}}, "lacks tensor 'input'"),
}


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_calibration_is_checked(tmp_path: Path, kind: str) -> None:
    value, part = CALIBRATIONS[kind]
    compile_bad(save({**GOOD, "calibration": value}, tmp_path / "m.pt"), "calibration", part)


ENTRIES: tuple[Any, ...] = (
    None, "ab", 1, [0, 1, 2], {"min": 5, "max": 1}, {"max": 1}, {"min": 0, "max": 1, "foo": 2}, {"min": True, "max": 2},
    {"min": float("nan"), "max": 1}, {"min": None, "max": 1}, {"min": "0", "max": 1}, {"min": 0, "max": 10**400},
    {"min": 0, "max": 1, "mean": float("nan")}, {"min": 0, "max": 1, "mean": 2}, {"min": 0, "max": 1, "mean": "x"},
    {"min": 0, "max": 1, "percentile": -1}, {"min": 0, "max": 1, "percentile": None},
    {"min": 0, "max": 1, "percentile": float("nan")}, {"min": 0, "max": 1, "means": 0},
    {"min": 0, "max": 1, "means": [1]},
    {"min": 0, "max": 1, "means": "abcdefgh"}, {"min": 0, "max": 1, "means": [[1.0]] * 8},
    {"min": 0, "max": 1, "means": [float("nan")] * 8},
)  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_ranges_are_checked_in_every_field(tmp_path: Path, entry: Any) -> None:
    from lnnc.frontend.parse import parse_checkpoint

    ranges = ranges_of_checkpoint(parse_checkpoint(GOOD, "good"))
    bad = {**GOOD, "calibration": {"ranges": {**ranges, "input": entry}}}
    unknown = ["unknown key 'foo', expected min, max"] if isinstance(entry, dict) and "foo" in entry else []
    compile_bad(save(bad, tmp_path / "m.pt"), "calibration.ranges['input']", *unknown)
    assert lnnc("inspect", save({**GOOD, "calibration": {"ranges": ranges}}, tmp_path / "m.pt")).code == 0


# --- safetensors ---


def test_safetensors_that_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors = {name: np.ascontiguousarray(value) for name, value in GOOD["state_dict"].items()}
    safetensors.numpy.save_file(tensors, path)
    compile_bad(path, "bare state_dict")
    for metadata in ("x", "[1]", "null", "[" * 100_000, "1" * 5000, "{}", json.dumps({"format": "lnnc-checkpoint"})):
        safetensors.numpy.save_file(tensors, path, metadata={"lnnc": metadata})
        compile_bad(path)
    whole = path.read_bytes()
    for cut in (1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        compile_bad(path, "not a readable safetensors file")
    save(GOOD, path)
    compile_bad(path, "not a readable safetensors file")


# --- names ---

BAD_NAMES = [
    "int",
    "class",
    "main",
    "INPUT",
    "HIGH",
    "Serial",
    "bool",
    "True",
    "and",
    "xor_eq",
    "A0",
    "B01",
    "INT16_MAX",
    "EOF",
    "abs",
    "setup",
    "loop",
    "a-b",
    "1a",
    "_a",
    "__x",
    "0x1",
    "a;b",
    "a*/b",
    "é",
]


@pytest.mark.parametrize("name", [*BAD_NAMES, "", "a b", "a\nb", "soh\n", "x" * 33, "a\\", 'a"b', "$(id)"])
def test_a_name_that_c_or_arduino_takes_is_refused(tmp_path: Path, name: str) -> None:
    model = save(GOOD, tmp_path / "m.pt")
    refused(lnnc("compile", model, "-o", tmp_path / "soh.c", "--name", name), "--name", "choose another")
    refused(lnnc("inspect", model, "--name", name), "--name")
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("name", ["memcpy", "int16_t", "stdint", "soh_step", "x" * 32, "state", "lnn"])
def test_a_name_that_only_looks_taken_is_a_prefix(tmp_path: Path, name: str) -> None:
    """`memcpy_step` collides with nothing: a prefix is never a name by itself."""
    assert lnnc("verify", save(GOOD, tmp_path / "m.pt"), "--name", name, "--vectors", 1).last.startswith("PASS")


@pytest.mark.parametrize("stem", ["é", 'a"b', "a\\b", "a\nb"])
def test_a_file_name_that_no_include_can_hold(tmp_path: Path, stem: str) -> None:
    model = save(GOOD, tmp_path / "m.pt")
    refused(lnnc("compile", model, "-o", tmp_path / f"{stem}.c", "--name", "soh"), "--output", "ASCII")
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("stem", ["a-b", "1x", "int", "a b"])
def test_a_file_name_that_suggests_a_bad_prefix(tmp_path: Path, stem: str) -> None:
    model = save(GOOD, tmp_path / "m.pt")
    refused(lnnc("compile", model, "-o", tmp_path / f"{stem}.c"), "--name")
    assert lnnc("compile", model, "-o", tmp_path / f"{stem}.c", "--name", "soh").code == 0


# --- outputs ---


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(GOOD, tmp_path / "m.pt")


@pytest.mark.parametrize("output", ["x", "x.h", "x.C", "x.cpp", "", "-", ".c", "m.pt"])
def test_an_output_that_is_no_c_file(model: Path, output: str) -> None:
    before = model.read_bytes()
    refused(lnnc("compile", model, "-o", model.parent / output if output == "m.pt" else output), "ends in .c")
    assert model.read_bytes() == before


def test_a_folder_that_cannot_be_written(model: Path) -> None:
    locked = model.parent / "locked"
    locked.mkdir(mode=0o555)
    refused(lnnc("compile", model, "-o", locked / "x.c"), "locked", "write-protected")
    refused(lnnc("compile", model, "-o", model.parent / "no" / "x.c"), "does not exist", "create it")
    refused(lnnc("compile", model, "-o", model / "x.c"), f"'{model}' is no folder")
    (model.parent / "link.c").symlink_to(model.parent / "no" / "x.c")
    refused(lnnc("compile", model, "-o", model.parent / "link.c"), f"a link into '{model.parent / 'no'}', which does")
    refused(lnnc("compile", model, "-o", model.parent / ("a" * 300 + ".c"), "--name", "x"), "cannot write")
    assert list(locked.iterdir()) == []


@pytest.mark.parametrize("file", ["x.c", "x.h", "x_golden.h"])
def test_a_file_in_the_way_stops_all_three(model: Path, file: str) -> None:
    """A folder, a protected file, or a file written by hand: the others are not written either."""
    way = model.parent / file
    out = ("compile", model, "-o", model.parent / "x.c")
    way.mkdir()
    refused(lnnc(*out), file, "no regular file")
    way.rmdir()
    way.write_text("int mine;\n")
    refused(lnnc(*out), file, "lnnc did not generate it")
    way.write_text("")
    way.chmod(0o444)
    refused(lnnc(*out), file, "write-protected")
    assert sorted(p.name for p in model.parent.iterdir()) == sorted(["m.pt", file])
    way.chmod(0o644)
    assert lnnc(*out).code == 0
    assert lnnc(*out).code == 0  # its own files it may replace


def test_a_full_disk_leaves_nothing(model: Path) -> None:
    full = mock.patch.object(Path, "write_text", side_effect=OSError(28, "No space left on device"))
    with full:
        refused(lnnc("compile", model, "-o", model.parent / "x.c"), "No space left on device")
    assert list(model.parent.iterdir()) == [model]


def test_several_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(files.LnncError, match="No space left"):
        files.write_together([(tmp_path / "a", lambda p: p.write_text("new") and None), (tmp_path / "b", fail)])
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    files.write_atomically(tmp_path / "link", lambda p: p.write_text("x") and None)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "x"


# --- data ---


def arrays() -> dict[str, tuple[Any, str]]:
    good = np.full((3, 8), 0.9)
    return {
        "width": (good[:, :7], "found (3, 7)"), "flat": (good[0, :5], "found (5,)"),
        "empty": (good[:0], "found (0, 8)"), "scalar": (np.array(1.0), "found ()"),
        "4-d": (good[None, None], "found (1, 1, 3, 8)"),
        "text": (np.array(["a"]), "expected numbers"), "bool": (good > 0, "expected numbers"),
        "complex": (good + 1j, "expected numbers"), "structured": (np.zeros(3, [("a", "f4")]), "expected numbers"),
        "NaN": (good * np.nan, "24 NaN or Inf"), "objects": (np.array([None, {}], dtype=object), "not a readable"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", arrays())
def test_data_of_the_wrong_kind(model: Path, kind: str) -> None:
    value, part = arrays()[kind]
    np.savez(model.parent / "X.npz", value)
    refused(lnnc("run", model, "--data", model.parent / "X.npz", "-o", model.parent / "Y.npz"), "X.npz", part)
    assert not (model.parent / "Y.npz").exists()


def test_data_files_that_cannot_be_read(model: Path) -> None:
    data = model.parent / "X.npz"

    def run(*more: Any) -> Result:
        return lnnc("run", model, "--data", data, *more)

    refused(run(), "no such file")
    np.savez(data)
    refused(run(), "it holds no array")
    for content in (b"1,2,3\n", b"PK\x03\x04xx", pickle.dumps([1])):
        data.write_bytes(content)
        refused(run(), "not a readable .npz or .npy file")
    np.savez(data, np.full((2, 8), 0.9))
    before = data.read_bytes()
    refused(run("-o", data), "would overwrite the inputs")
    refused(run("-o", model.parent / "Y.txt"), "ends in .npz")
    refused(run("-o", model.parent / "no" / "Y.npz"), "does not exist")
    assert data.read_bytes() == before
    data.write_bytes(before[:-40])
    refused(run(), "not a readable .npz or .npy file")


# --- options ---


@pytest.mark.parametrize("args", [
    ("--input-frac", 31), ("--input-frac", -16), ("--output-frac", 99), ("--input-frac", "x"),
    ("--activations", "int4"), ("--stop-after", "nothing"), ("--nonsense",),
])  # fmt: skip
def test_options_out_of_range(model: Path, args: tuple[Any, ...]) -> None:
    result = lnnc("compile", model, "-o", model.parent / "x.c", *args)
    assert result.code == 2
    assert str(args[0]) in result.err
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("args", [
    ("--on", "x"), ("--on", ""), ("--vectors", 0), ("--vectors", "x"), ("--seed", -1), ("--m4-route", "x"),
])  # fmt: skip
def test_verify_options_out_of_range(model: Path, args: tuple[Any, ...]) -> None:
    result = lnnc("verify", model, *args)
    assert result.code == 2
    assert str(args[0]) in result.err
    assert "PASS" not in result.out


def test_the_file_is_checked_before_missing_options(tmp_path: Path, model: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"junk\xff")
    refused(lnnc("run", tmp_path / "bad.pt"), "bad.pt")
    refused(lnnc("import", "dlnet", tmp_path / "bad.pt"), "bad.pt", "not a readable torch file")
    refused(lnnc("import", "dlnet", tmp_path / "no.pt", "-o", "x.txt"), "no.pt", "no such file")
    refused(lnnc("compile", tmp_path / "no.pt", "-o", "x.txt", "--name", "int"), "no.pt")
    refused(lnnc("run", model), "--data")


def test_missing_tools_say_how_to_get_them(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNNC_M4", "bogus")
    refused(lnnc("verify", model, "--on", "m4"), "bogus", "choose one of")
    monkeypatch.setenv("LNNC_M4", "debian")
    monkeypatch.setenv("PATH", "")
    np.savez(model.parent / "X.npz", np.full((2, 8), 0.9))
    refused(lnnc("verify", model, "--on", "m4"), "arm-none-eabi-gcc", "apt install")
    refused(lnnc("run", model, "--data", model.parent / "X.npz", "--engine", "m4"), "apt install")
    refused(lnnc("inspect", model, "--measure"), "apt install")


def test_bad_documents_are_unchanged() -> None:
    """The good document stays good: `changed` copies."""
    good: Document = document()
    changed(good, "inputs/0/size", 3)
    assert good["inputs"][0]["size"] == 8
