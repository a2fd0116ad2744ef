"""The command line as a user meets it: help, stages, engines, verdicts, exit codes, pipes, interruption."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from small import OUTPUTS, WINDOW, document, lnnc, save

from lnnc import cli
from lnnc.frontend.parse import parse_checkpoint
from lnnc.pipeline import compile_model
from lnnc.verify.vectors import fewer, make_groups

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("checkpoint", "graph", "passes", "calibrate", "program", "code")
WEIGHT_ERROR = 0.02  # weights of 8 bits, over an output scale of 0.2
SHARED_OPTIONS = {"--name", "--activations", "--input-frac", "--output-frac"}


def process(*args: Any, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m lnnc ARGS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lnnc", *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(document(), tmp_path / "m.pt")


@pytest.fixture
def source(model: Path) -> Path:
    assert lnnc("compile", model, "-o", model.parent / "soh.c").code == 0
    return model.parent / "soh.c"


# --- help ---


def commands(
    group: click.Group = cli.cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=str)
def test_every_command_and_option_explains_itself(path: tuple[str, ...], command: click.Command) -> None:
    shown = lnnc(*path, "--help")
    assert shown.code == 0
    assert command.help
    assert command.help.splitlines()[0].rstrip(".") in " ".join(shown.out.split())
    for option in (p for p in command.params if isinstance(p, click.Option)):
        assert option.help or isinstance(option.type, click.Choice), option.name
    assert lnnc(*path, "-h").out == shown.out


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=str)
def test_no_option_takes_nan_for_a_number(path: tuple[str, ...], command: click.Command) -> None:
    """click's own types do, and every comparison lets it through."""
    for parameter in command.params:
        if isinstance(parameter.type, click.types.FloatParamType):
            for text in ("nan", "inf", "-inf"):
                with pytest.raises(click.BadParameter):
                    parameter.type_cast_value(click.Context(command), text)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_no_board_is_waited_for_without_an_end(value: str, model: Path) -> None:
    for words in (("verify", model, "--on", "device"), ("simulate", "uno", model)):
        result = lnnc(*words, "--timeout", value)
        assert result.code == 2 and "--timeout" in result.err and value in result.err


def test_the_commands_of_the_overview_exist() -> None:
    overview = lnnc("--help").out
    assert set(re.findall(r"^  lnnc (\w+)", overview, re.M)) == set(cli.cli.commands)
    assert "Exit codes: 0 ok, 1 verification failed, 2 bad input or usage." in overview


@pytest.mark.parametrize("name", ["compile", "verify", "run", "inspect"])
def test_what_decides_the_arithmetic_is_the_same_everywhere(name: str) -> None:
    options = {p.opts[0]: p for p in cli.cli.commands[name].params if isinstance(p, click.Option)}
    assert set(options) >= SHARED_OPTIONS
    for option in SHARED_OPTIONS:
        other = {p.opts[0]: p for p in cli.cli.commands["compile"].params}[option]
        assert options[option].to_info_dict() == other.to_info_dict()


@pytest.mark.parametrize("args", [(), ("frobnicate",), ("compile",), ("compile", "--foo", "x"), ("import",)])
def test_wrong_usage_exits_with_2(args: tuple[str, ...]) -> None:
    result = lnnc(*args)
    assert result.code == 2
    assert "Usage: lnnc" in result.err
    assert result.out == ""


# --- compile ---


def test_compile_writes_three_files_and_says_so(model: Path) -> None:
    result = lnnc("compile", model, "-o", model.parent / "soh.c")
    assert sorted(p.name for p in model.parent.iterdir()) == ["m.pt", "soh.c", "soh.h", "soh_golden.h"]
    assert "soh_step, int16" in result.out
    assert "flash:" in result.out
    assert result.err == ""


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_printed_and_writes_nothing(model: Path, stage: str) -> None:
    result = lnnc("compile", model, "--stop-after", stage)
    assert result.code == 0
    expected = {
        "checkpoint": '"format": "lnnc-checkpoint"', "graph": "LayerNorm 6", "passes": "Euler 4 units",
        "calibrate": "99.95 % of |x|", "program": "linear_s16", "code": "int lnn_step(",
    }  # fmt: skip
    assert expected[stage] in result.out
    assert list(model.parent.iterdir()) == [model]


def test_the_printed_code_is_the_written_code(model: Path) -> None:
    printed = lnnc("compile", model, "--stop-after", "code", "--name", "lnn").out
    assert lnnc("compile", model, "-o", model.parent / "lnn.c").code == 0
    assert printed == (model.parent / "lnn.c").read_text()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, model: Path) -> None:
    """From another path, in another process, under another hash seed, from .safetensors too."""
    from lnnc.frontend.storage import load_checkpoint, save_checkpoint

    (tmp_path / "deep").mkdir()
    save_checkpoint(load_checkpoint(model), tmp_path / "deep" / "other.safetensors")
    assert lnnc("compile", model, "-o", tmp_path / "soh.c").code == 0
    done = process(
        "compile", "deep/other.safetensors", "-o", "deep/soh.c", cwd=tmp_path, PYTHONHASHSEED="7", LC_ALL="C"
    )
    assert done.returncode == 0, done.stderr
    for name in ("soh.c", "soh.h", "soh_golden.h"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "deep" / name).read_bytes()


def test_options_reach_the_code(model: Path) -> None:
    args = ("--name", "my_net", "--activations", "int8", "--input-frac", 12, "--output-frac", 13)
    assert lnnc("compile", model, "-o", model.parent / "x.c", *args).code == 0
    header = (model.parent / "x.h").read_text()
    assert "#define MY_NET_INPUT_FRAC (12)" in header
    assert "#define MY_NET_OUTPUT_FRAC (13)" in header
    manifest = json.loads((model.parent / "x.c").read_text().split("lnnc-manifest: ")[1].splitlines()[0])
    given = {key: value for key, value in manifest["options"].items() if value is not None}
    assert given == {"activations": "int8", "input_frac": 12, "output_frac": 13}


# --- run ---


def evaluate(model: Path, data: np.ndarray, engine: str, *more: Any) -> np.ndarray:
    np.savez(model.parent / "X.npz", first=data, ignored=np.zeros(3))
    result = lnnc(
        "run", model, "--data", model.parent / "X.npz", "--engine", engine, "-o", model.parent / "Y.npz", *more
    )
    assert result.code == 0, result.err
    with np.load(model.parent / "Y.npz") as made:
        assert made.files == ["output"]
        return np.asarray(made["output"])


ENGINES = ("float", "reference", "host")


@pytest.mark.parametrize("features", [1, 2])
def test_window_models_take_rows(tmp_path: Path, features: int) -> None:
    model = save(document("window", features), tmp_path / "m.pt")
    rows = np.random.default_rng(0).uniform(0.7, 1.0, (5, WINDOW * features))
    results = [evaluate(model, rows, engine) for engine in ENGINES]
    assert [r.shape for r in results] == [(5, OUTPUTS)] * 3
    assert np.array_equal(results[1], results[2])
    assert np.abs(results[0] - results[1]).max() < WEIGHT_ERROR
    assert not np.isnan(results).any()
    assert np.array_equal(evaluate(model, rows.reshape(5, WINDOW, features), "reference"), results[1])
    assert np.array_equal(evaluate(model, rows[0], "reference"), results[1][:1])


@pytest.mark.parametrize("features", [1, 2])
def test_stream_models_carry_their_state(tmp_path: Path, features: int) -> None:
    """NaN until the window is full; then each row is what the window model says of the last 8 samples."""
    model = save(document("stream", features), tmp_path / "m.pt")
    samples = np.random.default_rng(0).uniform(0.7, 1.0, (3, 14, features))
    results = [evaluate(model, samples, engine) for engine in ENGINES]
    assert [r.shape for r in results] == [(3, 14, OUTPUTS)] * 3
    for result in results:
        assert np.isnan(result[:, : WINDOW - 1]).all()
        assert not np.isnan(result[:, WINDOW - 1 :]).any()
    assert np.array_equal(results[1], results[2], equal_nan=True)
    assert np.nanmax(np.abs(results[0] - results[1])) < WEIGHT_ERROR
    one = evaluate(model, samples[1], "reference")
    assert np.array_equal(one, results[1][1], equal_nan=True)  # a reset before each stream
    if features == 1:
        assert np.array_equal(evaluate(model, samples[1, :, 0], "reference"), one, equal_nan=True)
    short = evaluate(model, samples[0, :5], "reference")
    assert short.shape == (5, OUTPUTS)
    assert np.isnan(short).all()
    window = save(document("window", features), tmp_path / "w.pt")
    rows = np.stack([samples[1, t : t + WINDOW].ravel() for t in range(14 - WINDOW + 1)])
    assert np.allclose(evaluate(window, rows, "float"), evaluate(model, samples[1], "float")[WINDOW - 1 :], atol=1e-12)


def test_run_without_output_shows_the_range(model: Path) -> None:
    np.save(model.parent / "X.npy", np.full((2, WINDOW), 0.9))
    result = lnnc("run", model, "--data", model.parent / "X.npy", "--activations", "int8")
    assert result.out.startswith("reference: 2 rows with output")
    assert sorted(p.name for p in model.parent.iterdir()) == ["X.npy", "m.pt"]


@pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_the_m4_says_what_the_reference_says(model: Path) -> None:
    rows = np.random.default_rng(0).uniform(0.7, 1.0, (3, WINDOW))
    assert np.array_equal(evaluate(model, rows, "m4"), evaluate(model, rows, "reference"))


# --- verify ---


def test_verify_ends_with_pass(model: Path, source: Path) -> None:
    for args in ((), (source,), (source, "--activations", "int16"), (source, "--name", "soh")):
        result = lnnc("verify", model, *args)
        assert result.code == 0, result
        assert result.last == "PASS: every byte equal on host"
        assert re.search(r"^host .*: \d+ vectors, \d+ bytes compared$", result.out, re.M)


def test_a_machine_is_asked_once(model: Path) -> None:
    assert lnnc("verify", model, "--on", "host, host").out.count("vectors") == 1


@pytest.mark.parametrize("mode", ["window", "stream"])
def test_vectors_are_as_many_as_the_help_says(mode: str) -> None:
    said = " ".join(lnnc("verify", "--help").out.split())
    assert "5 streams (8 with calibration data) of about N/3 steps each" in said
    compiled = compile_model(parse_checkpoint(document(mode), mode))
    for kept, streams in ((compiled.checkpoint.calibration, 8), (None, 5)):
        short, groups = (make_groups(compiled.program, kept, count) for count in (1, 1000))
        steps = sum(group.steps for group in groups)
        if mode == "window":
            assert 700 <= steps <= 1020
            continue
        assert [group.inputs.shape[0] for group in groups] == [streams]
        assert 1000 / 3.5 <= groups[0].inputs.shape[1] <= 1000 / 2.8
        assert sum(group.steps for group in short) > 40 * streams  # a window of 8, a reset, another window
        assert 1000 <= sum(group.steps for group in fewer(groups, 1000)) <= 1000 + steps / streams


def edited(source: Path, change: Callable[[str], str]) -> Path:
    text = source.read_text()
    changed = change(text)
    assert changed != text
    source.write_text(changed)
    return source


def test_one_changed_weight_fails_and_names_the_layer(model: Path, source: Path) -> None:
    def change(text: str) -> str:
        found = re.search(r"(soh_encoder_3\w*weight\w*\[\d+\] SOH_FLASH = \{\s*)(-?\d+)", text)
        assert found, "no such table"
        return text[: found.start(2)] + str(-int(found[2]) or 77) + text[found.end(2) :]

    result = lnnc("verify", model, edited(source, change))
    assert result.code == 1
    assert result.last.startswith("FAIL: model and C differ on text, host")
    assert "first difference: " in result.out
    assert "layer 'encoder.3'" in result.out
    assert "PASS" not in result.out
    assert process("verify", model, source).returncode == 1


def refusals(source: Path, model: Path, *args: Any) -> str:
    result = lnnc("verify", model, source, *args)
    assert result.code == 2, result
    assert result.err.startswith("error: ")
    assert "PASS" not in result.out
    return result.err


def test_verify_refuses_what_does_not_belong_together(model: Path, source: Path) -> None:
    other = save(document(seed=2), model.parent / "other.pt")
    assert "generated from another model" in refusals(source, other)
    assert "generated with" in refusals(source, model, "--activations", "int8")
    assert "generated with name soh, asked for other" in refusals(source, model, "--name", "other")
    assert "no such file" in refusals(source.with_name("no.c"), model)
    assert "expected the generated .c file" in refusals(model, model)
    foreign = source.with_name("foreign.c")
    foreign.write_text("int x;\n")
    assert "not a file that lnnc generated" in refusals(foreign, model)
    source.with_suffix(".h").unlink()
    assert "'soh.h' is not beside it" in refusals(source, model)


@pytest.mark.parametrize(("old", "new", "part"), [
    ("lnnc-manifest: {", "lnnc-manifest: ", "not a file that lnnc generated"),
    ("lnnc-manifest", "manifest", "not a file that lnnc generated"),
    ('"options": {', '"options": {"foo": 1, ', "manifest is damaged"),
    ('"options":', '"opt":', "manifest is damaged"),
    ('"name": "soh"', '"name": "int"', "--name"),
    ('"arithmetic": "', '"arithmetic": "x', "arithmetic x"),
])  # fmt: skip
def test_a_damaged_file_is_refused(model: Path, source: Path, old: str, new: str, part: str) -> None:
    assert part in refusals(edited(source, lambda text: text.replace(old, new, 1)), model)


def test_a_crash_is_no_pass(model: Path, source: Path) -> None:
    crash = "    *(volatile int *)0 = 1;\n    return 0;\n}\n\n#ifdef SOH_SELFTEST"
    bad = edited(source, lambda text: text.replace("    return 0;\n}\n\n#ifdef SOH_SELFTEST", crash, 1))
    result = lnnc("verify", model, bad)
    assert result.code == 1 and "killed by SIG" in result.out and result.last.startswith("FAIL")


def test_code_that_does_not_compile_fails(model: Path, source: Path) -> None:
    bad = edited(source, lambda text: text.replace("void soh_reset(", "viod soh_reset(", 1))
    result = lnnc("verify", model, bad)
    assert result.code == 1 and "the compiler refused the code" in result.out and result.last.startswith("FAIL")


@pytest.mark.parametrize("suffix", [".c", ".h", "_golden.h"])
def test_an_edit_that_no_vector_shows_fails(model: Path, source: Path, suffix: str) -> None:
    """One unit of a bias, a scale in the header, a golden value: the text is compared too."""
    file = source.with_name(f"soh{suffix}")
    text = file.read_text()
    bare = re.sub(r"/\*.*?\*/", lambda comment: " " * len(comment[0]), text, flags=re.DOTALL)
    at = max(found.start(1) for found in re.finditer(r"[ {(](\d+)[,);\n]", bare))
    file.write_text(text[:at] + "1" + text[at:])
    result = lnnc("verify", model, source)
    assert result.code == 1
    assert f"soh{suffix} line {text[:at].count(chr(10)) + 1} is not what lnnc" in result.out
    assert result.last.startswith("FAIL: model and C differ on text")


def test_layout_and_comments_may_change(model: Path, source: Path) -> None:
    changed = edited(source, lambda text: text.replace("{\n", "\n{  /* by hand */\n\n"))
    assert lnnc("verify", model, changed).last.startswith("PASS")


# --- inspect, doctor, demo ---


def test_inspect(model: Path) -> None:
    table = json.loads(lnnc("inspect", model, "--json").out)
    assert {"model", "digest", "arithmetic", "options", "layers", "state", "scratch"} <= set(table)
    text = lnnc("inspect", model).out
    assert table["digest"] in text
    for layer in ("encoder.0", "encoder.1", "dynamics", "decoder.0"):
        assert layer in text


def test_doctor_lists_every_tool() -> None:
    from lnnc.verify.tools import TOOLS

    shown = lnnc("doctor")
    assert shown.code == 0
    assert all(tool.name in shown.out for tool in TOOLS)
    installed = re.findall(r"^    need (\S+) have", (ROOT / "scripts" / "setup.sh").read_text(), re.M)
    assert {"clang", "simavr", "qemu-system-arm"} <= set(installed) <= {tool.apt for tool in TOOLS}


def test_demo_writes_where_it_is_told(tmp_path: Path) -> None:
    result = lnnc("demo", "--out", tmp_path / "d", "--on", "host")
    assert result.last.startswith("PASS"), result
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["soh.c", "soh.h", "soh_golden.h"]
    (tmp_path / "file").write_text("")
    assert lnnc("demo", "--out", tmp_path / "file").code == 2


# --- terminals, pipes, signals ---


def test_colour_only_on_a_terminal(model: Path) -> None:
    for variables in ({}, {"NO_COLOR": "1"}, {"COLUMNS": "40"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        done = process("verify", model, "--vectors", 1, **variables)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "PASS: every byte equal on host"


def on_a_terminal(*args: Any, **variables: str) -> str:
    """What the command shows on a pseudo-terminal, errors included."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "lnnc", *map(str, args)]
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    running = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux ends a pseudo-terminal with EIO
        pass
    os.close(ours)
    running.wait(timeout=60)
    return shown.decode()


def test_no_color_is_honoured_on_a_terminal(model: Path) -> None:
    for command in (("inspect", model), ("inspect", "no.pt")):
        environment = dict.fromkeys(("NO_COLOR",), "")
        assert "\x1b[" in on_a_terminal(*command, **environment)
        assert "\x1b[" not in on_a_terminal(*command, NO_COLOR="1")


@pytest.mark.parametrize("command", ["compile", "verify", "run", "inspect"])
def test_an_empty_name_is_refused(command: str, model: Path, tmp_path: Path) -> None:
    more: tuple[Any, ...] = ()
    if command == "run":
        np.save(tmp_path / "x.npy", np.full((1, 1), 0.9))
        more = ("--data", tmp_path / "x.npy")
    result = lnnc(command, model, "--name", "", *more)
    assert result.code == 2 and "cannot prefix C names" in result.err, result


def test_a_stage_shows_though_a_later_one_fails(model: Path) -> None:
    shown = lnnc("compile", model, "--stop-after", "graph", "--input-frac", 99)
    assert shown.code == 0 and "Linear" in shown.out
    assert lnnc("compile", model, "--stop-after", "program", "--input-frac", 99).code == 2


def test_an_error_leaves_the_process_with_2(tmp_path: Path) -> None:
    done = process("compile", tmp_path / "no.pt", LC_ALL="C")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_reader_that_leaves_early_is_no_fault(model: Path) -> None:
    """As in `lnnc compile ... --stop-after code | head -1`."""
    command = [sys.executable, "-m", "lnnc", "compile", str(model), "--stop-after", "code"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written(model: Path) -> None:
    command = [sys.executable, "-m", "lnnc", "inspect", str(model)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: cannot write")


def test_interrupted(model: Path, source: Path, tmp_path: Path) -> None:
    """Ctrl-C while the C runs: exit code 130, one line, no folder left behind."""
    edited(source, lambda text: text.replace("    return 0;\n}\n\n#ifdef", "    for (;;) {}\n}\n\n#ifdef", 1))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "lnnc", "verify", str(model), str(source)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    running = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "tmp").glob("lnnc-*/image")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)
    try:
        out, err = running.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):  # its C would run for ever
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert "PASS" not in out
    assert list((tmp_path / "tmp").iterdir()) == []


def test_help_needs_no_model_and_no_tools(tmp_path: Path) -> None:
    assert shutil.which("nothing-of-this-name") is None
    done = process("compile", "--help", PATH="", cwd=tmp_path)
    assert done.returncode == 0
    assert "--stop-after" in done.stdout
