"""`lnnc import dlnet`: what a state_dict tells, what is asked, and that the imported network is the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Result, lnnc
from torch import nn

from lnnc.frontend.build import build_graph
from lnnc.frontend.storage import load_checkpoint
from lnnc.ir.evaluate import evaluate

LOW, HIGH = 0.8, 1.0


class Cell(nn.Module):
    """The published liquid neuron, W full or diag(w_diag) + U V^T / rank."""

    def __init__(self, hidden: int, rank: int | None) -> None:
        super().__init__()
        if rank is None:
            self.W = nn.Linear(hidden, hidden, bias=False)
        else:
            self.w_diag = nn.Parameter(torch.randn(hidden))
            self.U = nn.Parameter(torch.randn(hidden, rank))
            self.V = nn.Parameter(torch.randn(hidden, rank))
        self.alpha = nn.Parameter(torch.rand(hidden) + 0.1)
        self.beta = nn.Parameter(torch.randn(hidden))
        self.rank = rank

    def forward(self, x: torch.Tensor, drive: torch.Tensor, dt: float, steps: int) -> torch.Tensor:
        w = self.W.weight if self.rank is None else torch.diag(self.w_diag) + self.U @ self.V.T / self.rank
        for _ in range(steps):
            x = x + dt * (-self.alpha * x + self.beta * torch.tanh(x @ w.T + drive))
        return x


class DLNet(nn.Module):
    """The published network: Linear, LayerNorm, ReLU, Dropout blocks round one liquid neuron and a residual."""

    def __init__(self, width: int, block: int, hidden: int, outputs: int, rank: int | None, residual: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(width, block), nn.LayerNorm(block), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(block, hidden), nn.LayerNorm(hidden), nn.Tanh(),
        )  # fmt: skip
        self.dynamics = Cell(hidden, rank)
        self.decoder = nn.Sequential(
            nn.Linear(hidden, block), nn.LayerNorm(block), nn.ReLU(), nn.Dropout(0.1), nn.Linear(block, outputs)
        )
        if residual:
            self.residual_weight = nn.Parameter(torch.tensor(0.3))
        for norm in (m for m in self.modules() if isinstance(m, nn.LayerNorm)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)

    def forward(self, u: torch.Tensor, dt: float, steps: int) -> torch.Tensor:
        e = self.encoder(u)
        x = self.dynamics(e, u.mean(dim=1, keepdim=True), dt, steps)
        return self.decoder(x + self.residual_weight * e if hasattr(self, "residual_weight") else x)


def network(seed: int = 0, width: int = 12, hidden: int = 4, rank: int | None = 2, residual: bool = True) -> DLNet:
    torch.manual_seed(seed)
    return DLNet(width, 7, hidden, 10, rank, residual).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.save(network().state_dict(), tmp_path / "w.pth")
    np.savez(tmp_path / "X.npz", np.random.default_rng(0).uniform(LOW, HIGH, (20, 12)))
    return tmp_path


def run_import(folder: Path, *more: Any, **options: Any) -> Result:
    """`lnnc import dlnet w.pth` with right answers; options replace them, None leaves one out."""
    given = {
        "dt": 0.05, "steps": 1, "scaler-min": LOW, "scaler-max": HIGH, "calibration": folder / "X.npz",
        "output": folder / "s.pt", **{key.replace("_", "-"): value for key, value in options.items()},
    }  # fmt: skip
    args = [part for key, value in given.items() if value is not None for part in (f"--{key}", value)]
    result = lnnc("import", "dlnet", folder / "w.pth", *args, *more)
    assert "Traceback" not in result.err
    if result.code:
        assert result.code == 2
        assert not (folder / "s.pt").exists()
    return result


def with_weights(folder: Path, **changes: Any) -> None:
    """w.pth with some tensors replaced (`__` stands for a dot) or, where the value is None, left out."""
    state = dict(network().state_dict())
    for key, value in changes.items():
        name = key.replace("__", ".")
        state.pop(name, None)
        if value is not None:
            state[name] = value
    torch.save(state, folder / "w.pth")


# --- the network ---


@pytest.mark.parametrize("seed", range(12))
def test_the_imported_graph_is_the_published_network(folder: Path, seed: int) -> None:
    """To 1e-6 for random sizes: full, low rank, square, with and without residual, 1 ... 9 steps."""
    rng = np.random.default_rng(seed)
    width, hidden = int(rng.integers(2, 40)), int(rng.integers(2, 20))
    rank = (None, hidden, max(1, hidden // 3))[seed % 3]
    steps, dt = int(rng.integers(1, 10)), float(rng.uniform(0.01, 0.3))
    net = network(seed, width, hidden, rank, residual=seed % 2 == 0)
    torch.save(net.state_dict(), folder / "w.pth")
    rows = rng.uniform(LOW, HIGH, (30, width))
    np.savez(folder / "X.npz", rows)
    assert run_import(folder, dt=dt, steps=steps).code == 0
    graph = build_graph(load_checkpoint(folder / "s.pt"))
    u = torch.from_numpy((rows - LOW) / (HIGH - LOW))
    with torch.no_grad():
        expected = net.double()(u, dt, steps).numpy() * (HIGH - LOW) + LOW
    assert np.abs(evaluate(graph, rows)[graph.result] - expected).max() < 1e-6


def test_shapes_and_layers_are_inferred(folder: Path) -> None:
    assert run_import(folder).code == 0
    arch = load_checkpoint(folder / "s.pt").architecture
    assert (arch.window, arch.features, arch.mode, arch.residual) == (12, 1, "window", "residual_weight")
    assert [layer.op for layer in arch.encoder] == ["linear", "norm", "relu", "linear", "norm", "tanh"]
    assert [layer.op for layer in arch.decoder] == ["linear", "norm", "relu", "linear"]
    assert arch.dynamics is not None
    assert arch.dynamics.recurrence == "low_rank"


def test_what_was_inferred_is_shown(folder: Path) -> None:
    assert run_import(folder).last == (
        "encoder: Linear 12->7, LayerNorm, ReLU, Linear 7->4, LayerNorm, tanh; "
        "liquid neuron 4, low rank, 1 x dt 0.05, residual; "
        "decoder: Linear 4->7, LayerNorm, ReLU, Linear 7->10; LayerNorm epsilon 1e-05"
    )
    torch.save(network(rank=None, residual=False).state_dict(), folder / "w.pth")
    assert "; liquid neuron 4, full, 2 x dt 0.111111; " in run_import(folder, dt="1/9", steps=2).last


def layers(part: str, kinds: dict[int, str], widths: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Tensors of Linear ("L") and LayerNorm ("N") layers at these indices, all but the last Linear 7 wide."""
    state, (width, last) = {}, widths
    final = max((index for index, kind in kinds.items() if kind == "L"), default=-1)
    for index, kind in kinds.items():
        to = width if kind == "N" else last if index == final else 7
        state[f"{part}.{index}.weight"] = torch.ones(width) if kind == "N" else torch.randn(to, width)
        state[f"{part}.{index}.bias"] = torch.zeros(to)
        width = to
    return state


def with_layers(folder: Path, encoder: str = "LN..LN", decoder: str = "LN..L") -> None:
    """w.pth with these layers: L a Linear, N a LayerNorm, a dot an index without weights."""
    state = {k: v for k, v in network().state_dict().items() if not k.startswith(("encoder", "decoder"))}
    for part, text, widths in (("encoder", encoder, (12, 4)), ("decoder", decoder, (4, 10))):
        state |= layers(part, {index: kind for index, kind in enumerate(text) if kind != "."}, widths)
    torch.save(state, folder / "w.pth")


@pytest.mark.parametrize(("decoder", "expected"), [
    ("L", "Linear 4->10"), ("LN", "Linear 4->10, LayerNorm"), ("L.L", "Linear 4->7, ReLU, Linear 7->10"),
    ("L..L", "Linear 4->7, ReLU, Linear 7->10"), ("LN.L", "Linear 4->7, LayerNorm, ReLU, Linear 7->10"),
    ("LN..LN.L", "Linear 4->7, LayerNorm, ReLU, Linear 7->7, LayerNorm, ReLU, Linear 7->10"),
    ("L.LN..L", "Linear 4->7, ReLU, Linear 7->7, LayerNorm, ReLU, Linear 7->10"),
])  # fmt: skip
def test_indices_as_published(folder: Path, decoder: str, expected: str) -> None:
    """One free index before the next Linear is a ReLU, two are a ReLU and a Dropout."""
    with_layers(folder, decoder=decoder)
    result = run_import(folder)
    assert result.code == 0, result.err
    assert f"decoder: {expected}; LayerNorm" in result.last


@pytest.mark.parametrize(("text", "part"), [
    ("LL", "between encoder.0 and encoder.1 stands no layer, expected a ReLU"),
    ("LNL", "between encoder.1 and encoder.2 stands no layer, expected a ReLU"),
    ("L...L", "between encoder.0 and encoder.4 stand 3 layers without weights, expected a ReLU, or"),
    ("LN.....L", "between encoder.1 and encoder.7 stand 5 layers without weights"),
    ("L.N", "between encoder.0 and encoder.2 stands a layer without weights before the LayerNorm: which?"),
    ("L..N.L", "between encoder.0 and encoder.3 stand 2 layers without weights before the LayerNorm: which?"),
    ("LN.N", "between encoder.1 and encoder.3 stands a layer without weights before the LayerNorm: which?"),
    ("LNN", "encoder.1 and encoder.2 are LayerNorms"),
    ("N", "expected it to begin with a Linear layer 'encoder.0.weight'"),
    ("NL", "expected it to begin with a Linear layer 'encoder.0.weight'"),
    (".L", "expected it to begin with a Linear layer 'encoder.0.weight': which layer stands before encoder.1?"),
    ("...LN", "which layer stands before encoder.3?"),
    ("", "encoder: expected it to begin with a Linear layer"),
])  # fmt: skip
def test_other_indices_are_asked_about(folder: Path, text: str, part: str) -> None:
    """What stands at an index without weights is not guessed."""
    with_layers(folder, encoder=text)
    result = run_import(folder)
    assert part in result.err
    assert "fix: describe the layers in a checkpoint of your own (docs/checkpoint.md)" in result.err


def test_all_odd_indices_are_listed_at_once(folder: Path) -> None:
    with_layers(folder, encoder="L.N...L", decoder=".LL")
    state = torch.load(folder / "w.pth", weights_only=True)
    torch.save({**state, "attention.q": torch.zeros(2)}, folder / "w.pth")
    error = run_import(folder).err
    assert "5 faults" in error
    for part in ("encoder.0 and encoder.2", "encoder.2 and encoder.6", "before decoder.1", "decoder.1 and decoder.2"):
        assert part in error
    assert "as model.state_dict() names them; describe the layers" in error


@pytest.mark.parametrize(("text", "value"), [("1/9", 1 / 9), ("0.05", 0.05), ("1", 1.0), ("2/3", 2 / 3)])
def test_dt_may_be_a_fraction(folder: Path, text: str, value: float) -> None:
    assert run_import(folder, dt=text).code == 0
    dynamics = load_checkpoint(folder / "s.pt").architecture.dynamics
    assert dynamics is not None
    assert dynamics.dt == value


def test_stream_mode_takes_streams_or_rows_of_one_feature(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for shape in ((4, 30), (4, 30, 1), (30, 1)):
        np.savez(folder / "X.npz", rng.uniform(LOW, HIGH, shape))
        assert run_import(folder, mode="stream").code == 0
        made = load_checkpoint(folder / "s.pt")
        assert made.inputs[0].size == 1
        assert made.calibration is not None
        assert made.calibration.shape[1:] == (30, 1)
    np.savez(folder / "X.npz", rng.uniform(LOW, HIGH, (4, 11)))
    (folder / "s.pt").unlink()
    assert "expected streams of shape (N, T >= 12, 1)" in run_import(folder, mode="stream").err


def test_features_share_the_window(folder: Path) -> None:
    np.savez(folder / "X.npz", np.random.default_rng(1).uniform(LOW, HIGH, (20, 4, 3)))
    assert run_import(folder, features=3).code == 0
    arch = load_checkpoint(folder / "s.pt").architecture
    assert (arch.window, arch.features) == (4, 3)
    (folder / "s.pt").unlink()
    assert "--features 5 does not divide the 12 inputs" in run_import(folder, features=5).err


def test_keep_ranges_stores_no_row(folder: Path) -> None:
    assert run_import(folder, keep="ranges").code == 0
    made = load_checkpoint(folder / "s.pt")
    assert made.calibration is None
    assert made.ranges
    assert lnnc("compile", folder / "s.pt", "-o", folder / "s.c").code == 0


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.8, 1.0, (0.0, 1.5)), (0.0, 1.5, (0.0, 1.5)), (-1.0, 1.0, (-3.0, 3.0)), (2.0, 4.0, (0.0, 6.0)),
])  # fmt: skip
def test_the_default_range(folder: Path, low: float, high: float, expected: tuple[float, float]) -> None:
    """0 ... 1.5 for a ratio, else the scaler's range widened by its span on both sides."""
    np.savez(folder / "X.npz", np.random.default_rng(1).uniform(low, high, (20, 12)))
    assert run_import(folder, scaler_min=low, scaler_max=high).code == 0
    made = load_checkpoint(folder / "s.pt")
    assert made.inputs[0].range == made.outputs[0].range == expected
    assert (made.inputs[0].offset, made.inputs[0].scale) == (low, high - low)


def test_a_given_range_unit_and_name(folder: Path) -> None:
    assert run_import(folder, port="voltage", unit="V", port_range="0.5:2").code == 0
    port = load_checkpoint(folder / "s.pt").outputs[0]
    assert (port.name, port.unit, port.range, port.size) == ("voltage", "V", (0.5, 2.0), 10)


def test_no_scaler_means_raw_values(folder: Path) -> None:
    assert run_import(folder, "--no-scaler", scaler_min=None, scaler_max=None).code == 0
    port = load_checkpoint(folder / "s.pt").inputs[0]
    assert (port.offset, port.scale) == (0.0, 1.0)


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "module.", "_orig_mod.", "safetensors"])
def test_weights_in_their_usual_wrappings(folder: Path, wrap: str) -> None:
    assert run_import(folder).code == 0
    plain, state = load_checkpoint(folder / "s.pt").digest(), network().state_dict()
    if wrap == "safetensors":
        from safetensors.torch import save_file

        save_file(state, folder / "w.safetensors")
        args = ["--dt", 0.05, "--steps", 1, "--scaler-min", LOW, "--scaler-max", HIGH]
        args += ["--calibration", folder / "X.npz", "-o", folder / "s.pt"]
        assert lnnc("import", "dlnet", folder / "w.safetensors", *args).code == 0
    else:
        named = {f"{wrap}{key}": value for key, value in state.items()}
        torch.save(named if wrap.endswith(".") else {wrap: state, "epoch": 3}, folder / "w.pth")
        assert run_import(folder).code == 0
    assert load_checkpoint(folder / "s.pt").digest() == plain


def test_the_published_students(shared: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "X.npz", np.linspace(0.82, 1.0, 300).reshape(3, 100))
    for name, recurrence in (
        ("student_deployed_h4", "low_rank"), ("student_h16_pruned90", "low_rank"), ("student_h64", "low_rank"),
        ("teacher_h128", "full"),
    ):  # fmt: skip
        (tmp_path / "w.pth").write_bytes((shared / f"models/dlnet/{name}_state_dict.pth").read_bytes())
        assert run_import(tmp_path).code == 0
        dynamics = load_checkpoint(tmp_path / "s.pt").architecture.dynamics
        assert dynamics is not None
        assert dynamics.recurrence == recurrence


# --- questions and refusals ---

QUESTIONS = ("which time step", "how many Euler steps", "which min/max scaler", "typical inputs", "where shall")


def test_every_open_question_is_asked_at_once(folder: Path) -> None:
    result = run_import(folder, dt=None, steps=None, scaler_min=None, calibration=None, output=None)
    for question in QUESTIONS:
        assert question in result.err


OPTIONS = ("dt", "steps", "scaler_max", "calibration", "output")


@pytest.mark.parametrize(("option", "question"), list(zip(OPTIONS, QUESTIONS, strict=True)))
def test_one_open_question(folder: Path, option: str, question: str) -> None:
    result = run_import(folder, **{option: None})
    assert question in result.err
    assert "faults" not in result.err


@pytest.mark.parametrize(("option", "value", "part"), [
    ("dt", "0", "time step in (0, 100], found 0"), ("dt", "-1", "found -1"), ("dt", "nan", "found nan"),
    ("dt", "inf", "found inf"), ("dt", "1/0", "a fraction such as 1/9"), ("dt", "x", "--dt"), ("dt", "", "--dt"),
    ("dt", "1/9/2", "--dt"), ("dt", "1000", "(0, 100]"), ("steps", 0, "--steps"), ("steps", "1.5", "--steps"),
    ("steps", 10_001, "--steps"), ("scaler_min", 2, "--scaler-min < --scaler-max"), ("scaler_max", LOW, "--scaler-min"),
    ("scaler_min", "nan", "finite"), ("scaler_max", "inf", "finite"), ("port_range", "1:0", "LOW < HIGH"),
    ("port_range", "1", "LOW:HIGH"), ("port_range", "nan:1", "LOW:HIGH"), ("port_range", "0:inf", "finite"),
    ("port_range", "5:6", "another unit?"), ("features", 0, "--features"), ("mode", "x", "--mode"),
    ("port", "*/ int x; /*", "inputs[0].name"), ("port", "a\n#error", "inputs[0].name"), ("port", "", "inputs[0].name"),
    ("port", "x" * 65, "inputs[0].name"), ("unit", "\\", "inputs[0].unit"), ("unit", "??/", "inputs[0].unit"),
    ("output", "s.txt", "ends in .pt or .safetensors"), ("output", "", "ends in .pt"), ("keep", "x", "--keep"),
])  # fmt: skip
def test_wrong_answers(folder: Path, option: str, value: Any, part: str) -> None:
    assert part in run_import(folder, **{option: value}).err


def test_calibration_of_another_unit_or_shape(folder: Path) -> None:
    rows = np.random.default_rng(0).uniform(LOW, HIGH, (20, 12))
    for bad, part in (
        (rows * 100, "another unit?"), (rows[:, :11], "found (20, 11)"), (rows[:0], "found (0, 12)"),
        (rows[0], "found (12,)"), (rows * np.nan, "NaN or Inf"), (rows > 0, "expected numbers"),
    ):  # fmt: skip
        np.savez(folder / "X.npz", bad)
        assert part in run_import(folder).err


def test_contradictions(folder: Path) -> None:
    assert "contradicts" in run_import(folder, "--no-scaler").err


@pytest.mark.parametrize("which", ["weights", "calibration"])
def test_nothing_that_was_read_is_overwritten(folder: Path, which: str) -> None:
    """`-o` on the weights themselves, directly or through a link, would lose them."""
    target = folder / "w.pth"
    if which == "calibration":
        (folder / "X.npz").rename(folder / "X.pt")
        target = folder / "X.pt"
    before = target.read_bytes()
    (folder / "link.pt").symlink_to(target)
    calibration = folder / ("X.npz" if which == "weights" else "X.pt")
    for output in (target, folder / "link.pt"):
        assert "would overwrite" in run_import(folder, output=output, calibration=calibration).err
    assert target.read_bytes() == before


def test_a_protected_file_is_not_replaced(folder: Path) -> None:
    """Not even by root, whom no permission stops."""
    other = folder / "other.pt"
    other.write_bytes(b"precious")
    other.chmod(0o444)
    assert "write-protected" in run_import(folder, output=other).err
    assert other.read_bytes() == b"precious"


BAD_WEIGHTS: dict[str, tuple[dict[str, Any], str]] = {
    "no bias": ({"encoder__0__bias": None}, "key 'encoder.0.bias' is missing"),
    "no alpha": ({"dynamics__alpha": None}, "key 'dynamics.alpha' is missing"),
    "no U": ({"dynamics__U": None}, "(missing: dynamics.U)"),
    "both recurrences": ({"dynamics__W__weight": torch.eye(4)}, "which recurrence is meant?"),
    "V transposed": ({"dynamics__V": torch.zeros(2, 4)}, "V looks transposed: save V.T"),
    "V of another rank": ({"dynamics__V": torch.zeros(4, 3)}, "expected the same (hidden, rank)"),
    "rank 0": ({"dynamics__U": torch.zeros(4, 0), "dynamics__V": torch.zeros(4, 0)}, "empty tensor"),
    "scalar weight": ({"encoder__0__weight": torch.tensor(1.0)}, "expected a matrix (Linear) or a vector"),
    "3-d weight": ({"encoder__0__weight": torch.zeros(2, 2, 2)}, "found 3-d"),
    "transposed weight": (
        {"encoder__4__weight": torch.zeros(7, 4)},
        "expected shape (4, 7), found (7, 4) (transposed?)",
    ),
    "not a tensor": ({"encoder__0__weight": "x"}, "expected a tensor, found str"),
    "NaN": ({"dynamics__beta": torch.full((4,), float("nan"))}, "4 NaN or Inf"),
    "residual of 4": ({"residual_weight": torch.zeros(4)}, "residual_weight"),
    "batch norm": ({"encoder__1__running_mean": torch.zeros(7)}, "not part of a DLNet network"),
    "unknown": ({"attention__q": torch.zeros(7)}, "key 'attention.q' is not part of a DLNet network"),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_weights_that_are_no_dlnet(folder: Path, kind: str) -> None:
    changes, part = BAD_WEIGHTS[kind]
    with_weights(folder, **changes)
    assert part in run_import(folder).err
    assert part in run_import(folder, dt=None, output=None).err  # before any question


def test_other_files(folder: Path) -> None:
    for content, part in (({}, "empty dictionary"), ({0: torch.zeros(2)}, "key '0'"), ({"optimizer": {}}, "a tensor")):
        torch.save(content, folder / "w.pth")
        assert part in run_import(folder).err
    torch.save(network().state_dict(), folder / "w.pth")
    assert run_import(folder).code == 0
    (folder / "s.pt").rename(folder / "w.pth")
    assert "already an lnnc checkpoint" in run_import(folder).err
