"""docs/checkpoint.md: its examples run, what they save compiles, and its limits are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lnnc.errors import LnncError
from lnnc.frontend import checkpoint as grammar
from lnnc.frontend import fields
from lnnc.frontend.dlnet import _RESERVED
from lnnc.frontend.storage import load_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.pipeline import Options, compile_model
from lnnc.quantize.calibrate import ROWS_MAX
from lnnc.reference.interp import Machine
from lnnc.reference.quantio import to_raw, to_real

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "checkpoint.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder that the page's examples wrote into, and what they defined."""
    folder = tmp_path_factory.mktemp("page")
    names: dict[str, Any] = {"__name__": "page"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for example in EXAMPLES:
            exec(compile(example, "docs/checkpoint.md", "exec"), names)
    finally:
        os.chdir(before)
    return folder, names


def test_the_example_compiles_and_means_what_torch_computes(saved: tuple[Path, dict[str, Any]]) -> None:
    folder, names = saved
    compiled = compile_model(folder / "student.pt", "soh")
    rows = names["calibration"].numpy().astype(np.float64)
    want = names["model"](names["calibration"]).detach().numpy()
    graph = evaluate(compiled.graph, rows)[compiled.graph.result]
    np.testing.assert_allclose(graph, want, atol=1e-5)
    _, out = Machine(compiled.program, len(rows)).step(to_raw(rows, compiled.program.inputs))
    assert out is not None
    assert np.abs(to_real(out, compiled.program.outputs) - want).mean() < 0.005


@pytest.mark.parametrize("activations", ["int16", "int8"])
def test_the_other_forms_give_the_same_program(saved: tuple[Path, dict[str, Any]], activations: str) -> None:
    folder, _ = saved
    options = Options(activations)
    first, ranges, tensors = (
        compile_model(folder / name, "soh", options)
        for name in ("student.pt", "student_ranges.pt", "student.safetensors")
    )
    assert tensors.files == first.files
    assert ranges.checkpoint.calibration is None
    assert ranges.checkpoint.digest() != first.checkpoint.digest()
    assert [c.kernel for c in ranges.program.calls()] == [c.kernel for c in first.program.calls()]
    for a, b in zip(first.program.constants, ranges.program.constants, strict=True):
        assert np.abs(a.data - b.data).max() <= (2 if a.name.endswith("_bias") else 0), a.name


def test_safetensors_needs_no_torch(saved: tuple[Path, dict[str, Any]]) -> None:
    code = (
        "import sys; from lnnc.frontend.storage import load_checkpoint; load_checkpoint('student.safetensors'); "
        "sys.exit('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
    assert subprocess.run([sys.executable, "-c", code], cwd=saved[0], env=env, check=False).returncode == 0


def test_the_limits_are_those_of_the_code() -> None:
    assert grammar.WIDTH_MAX == ROWS_MAX == 8192
    assert (fields.TEXT_MAX, fields.NUMBER_MAX) == (64, 1e15)
    assert f"at most {grammar.LAYERS_MAX} layers" in TEXT
    assert (grammar.STEPS_MAX, grammar.DT_MAX) == (10_000, 100)
    assert f'`"{grammar.FORMAT}"`' in TEXT
    assert f"The checkpoint, version {grammar.VERSION}" in TEXT
    assert f"`{' '.join(_RESERVED)}`" in TEXT
    assert all(f"`{op}`" in TEXT for op in grammar.OPS)
    assert all(f"`{key}`" in TEXT for key in fields.RANGE_KEYS)


def test_a_pickled_module_is_refused_by_name(saved: tuple[Path, dict[str, Any]]) -> None:
    import torch

    path = saved[0] / "module.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(LnncError, match=r"refused without running it.*torch\.nn\.modules\.linear\.Linear"):
        load_checkpoint(path)
