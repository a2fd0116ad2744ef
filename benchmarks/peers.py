"""Other tools that make C of a network: what each makes of an ONNX step, and how its C is called.

A peer is a package from the package index, called in a process of its own. What it cannot do is a reason in words.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from networks import Case
from numpy.typing import NDArray
from peer_image import Sources

from lnnc.errors import LnncError
from lnnc.ir.graph import Array

BAKENN_SCRIPT = Path(__file__).with_name("peer_bakenn.py")
FLOAT_LIMIT, INT8_LIMIT = 1e-4, 0.05  # errors that are accepted, as a part of the output's range
TIMEOUT = 900  # seconds, for an installation too
Bytes = NDArray[np.int8]
_INSTALLING = threading.Lock()


@dataclass(frozen=True)
class Package:
    """A package of a peer: the module that is imported, and what pip installs, in this order."""

    module: str
    requirements: tuple[str, ...]


EMX = Package("emx_onnx_cgen", ("emx-onnx-cgen==1.4.0",))
BAKENN = Package("bakenn", ("torch==2.13.0", "onnx", "bakenn==1.0.0"))


@dataclass(frozen=True)
class Ports:
    """How real numbers get into a peer's ports and out of them."""

    encode: Callable[[Array], bytes]
    decode: Callable[[bytes], Array]
    out_bytes: int


@dataclass(frozen=True)
class Code:
    """What a peer made of a network.

    Attributes:
        entry: the function that is one step.
        glue: text of peer_glue.h; see peer_harness.c.
        ram: bytes that the caller provides: ports, state twice, arena.
        reference: what the peer's own reference gives for `Case.samples`, as bytes of the output port, or None.
        limit: largest error that is accepted, as a part of the output's range.
    """

    sources: Sources
    entry: str
    glue: str
    ports: Ports
    ram: int
    limit: float
    reference: bytes | None = None


@dataclass(frozen=True)
class Peer:
    """A tool with one setting.

    Attributes:
        name: of the tool, with its version.
        variant: arithmetic and kernels.
        levels: optimisations that it is compiled with.
        compile: from a network, a Python and an empty folder to C; LnncError says what it cannot do.
    """

    name: str
    variant: str
    package: Package
    levels: tuple[str, ...]
    compile: Callable[[Case, str, Path], Code]


def find_python(package: Package, given: str | None, say: Callable[[str], None]) -> str:
    """A Python that has a package: the one given, this one, or one in a folder for temporary files, made by pip.

    Raises:
        LnncError: it is not there and cannot be installed.
    """
    if given is not None:
        if _run([given, "-c", f"import {package.module}"]).returncode != 0:
            how = " ".join(package.requirements)
            raise LnncError(f"{given} cannot import {package.module}", "--peers-python", f"pip install {how}")
        return given
    if importlib.util.find_spec(package.module) is not None:
        return sys.executable
    return _installed(package, say)


def _installed(package: Package, say: Callable[[str], None]) -> str:
    with _INSTALLING:
        return _install(package, say)


def _install(package: Package, say: Callable[[str], None]) -> str:
    home = Path(tempfile.gettempdir()) / "lnnc-peers" / package.module
    python = home / "bin" / "python"
    if python.exists() and _run([str(python), "-c", f"import {package.module}"]).returncode == 0:
        return str(python)
    say(f"installing {' '.join(package.requirements)} into {home}")
    venv.create(home, with_pip=True, clear=True)
    for requirement in package.requirements:
        done = _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement])
        if done.returncode != 0:
            raise LnncError(f"cannot be installed ({_last_line(done.stderr)})", f"pip install {requirement}")
    return str(python)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return subprocess.CompletedProcess(command, 1, "", str(fault))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "no message"


def compile_emx(case: Case, python: str, folder: Path) -> Code:
    """emx-onnx-cgen: float32 C from ONNX, temporaries on the stack (as it never frees a heap it did not need)."""
    model, source = case.write_onnx(folder), folder / "peer.c"
    options = ["--input-dim", "batch=1", "--large-temp-threshold", "0", "--large-weight-threshold", "0"]
    command = [python, "-m", "emx_onnx_cgen", "compile", str(model), str(source), "--model-name", "peer_step", *options]
    done = _run(command)
    if done.returncode != 0 or not source.exists():
        raise LnncError(_last_line(done.stderr or done.stdout))
    states, graph = list(case.exported.states.values()), case.plan.graph
    ports = Ports(lambda x: x.astype("<f4").tobytes(), lambda b: np.frombuffer(b, "<f4").astype(np.float64),
                  4 * graph.output_size)  # fmt: skip
    sizes = (4 * graph.input_size, 4 * graph.output_size, 4 * sum(states))
    return Code(
        Sources((source,)),
        "peer_step",
        _emx_glue(sizes, states),
        ports,
        sizes[0] + sizes[1] + 2 * sizes[2],
        FLOAT_LIMIT,
    )


def _emx_glue(sizes: tuple[int, int, int], states: Sequence[int]) -> str:
    """Its step is void peer_step(x, state, ..., y, next state, ...): pointers to float, whatever their shape."""
    starts = np.cumsum([0, *states])[:-1]
    held, after = ([f"(float *)({side}) + {start}" for start in starts] for side in ("held", "next"))
    arguments = ["(float *)(in)", *held, "(float *)(out)", *after]
    return _glue(
        sizes, f"void peer_step({', '.join(['float *'] * len(arguments))});",
        f"peer_step({', '.join(arguments)})",
    )  # fmt: skip


def _glue(sizes: tuple[int, int, int], declared: str, call: str) -> str:
    names = ("PEER_IN", "PEER_OUT", "PEER_STATE")
    defines = [f"#define {name} {size}u" for name, size in zip(names, sizes, strict=True)]
    return "\n".join(["#include <stdint.h>", *defines, declared, f"#define PEER_CALL(in, held, next, out) {call}", ""])


def compile_bakenn(variant: str, case: Case, python: str, folder: Path) -> Code:
    """bakeNN: int8 C from torch; see peer_bakenn.py for how the ONNX graph gets there."""
    model, samples, made = case.write_onnx(folder), folder / "samples.npy", folder / "made"
    np.save(samples, case.samples.reshape(-1, case.plan.graph.input_size))
    done = _run([python, str(BAKENN_SCRIPT), str(model), str(samples), str(made), variant])
    if done.returncode != 0:
        raise LnncError(_last_line(done.stderr))
    return bakenn_code(made)


def bakenn_code(made: Path) -> Code:
    """What bakeNN wrote into a folder under the name "peer", and reference.npy, as a peer's code."""
    header = (made / "bknn_peer.h").read_text(encoding="utf-8")
    n_in, n_out, arena = (int(_defined(header, name)) for name in ("INPUT_BYTES", "OUTPUT_BYTES", "ARENA_SIZE"))
    declared = f'#include "bknn_peer.h"\nstatic uint8_t arena[{max(arena, 1)}] __attribute__((aligned(16)));'
    arguments = f"{'arena' if arena else '0'}, (const int8_t *)(in), (int8_t *)(out)"
    call = f"((void)(held), (void)(next), bknn_peer_infer({arguments}))"
    third = made / "third_party"
    include = [f"-I{each}" for each in (made, third / "cmsis_nn" / "Include", third / "cmsis_core" / "Include")]
    return Code(
        Sources(tuple(sorted(made.rglob("*.c"))), (*include, "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY")), "bknn_peer_infer",
        _glue((n_in, n_out, 0), declared, call), _int8_ports(header, n_out), n_in + n_out + arena, INT8_LIMIT,
        np.load(made / "reference.npy").astype(np.int8).tobytes(),
    )  # fmt: skip


def _defined(header: str, name: str) -> str:
    found = re.search(rf"^#define BKNN_PEER_{name} (\S+?)u?$", header, re.MULTILINE)
    if found is None:
        raise LnncError(f"BKNN_PEER_{name} is not in the header that bakeNN wrote")
    return found.group(1)


def _int8_ports(header: str, out_bytes: int) -> Ports:
    """q = round(x / scale) + zero point, halves away from zero, in float32 as bakeNN's own quantize_input."""
    scales = [float.fromhex(_defined(header, f"{port}_SCALE").rstrip("f")) for port in ("INPUT", "OUTPUT")]
    zeros = [int(_defined(header, f"{port}_ZERO_POINT")) for port in ("INPUT", "OUTPUT")]

    def encode(x: Array) -> bytes:
        ratio = x.astype(np.float32) / np.float32(scales[0])
        whole = np.copysign(np.floor(np.abs(ratio) + np.float32(0.5)), ratio) + zeros[0]
        codes: Bytes = np.clip(whole, -128, 127).astype(np.int8)
        return codes.tobytes()

    def decode(data: bytes) -> Array:
        return np.asarray((np.frombuffer(data, np.int8).astype(np.float64) - zeros[1]) * scales[1])

    return Ports(encode, decode, out_bytes)


def _bakenn(variant: str, words: str) -> Peer:
    def compile_with(case: Case, python: str, folder: Path) -> Code:
        return compile_bakenn(variant, case, python, folder)

    return Peer("bakeNN 1.0.0", words, BAKENN, ("-O2", "-O3", "-Os"), compile_with)


PEERS = (
    Peer("emx-onnx-cgen 1.4.0", "float32", EMX, ("-O2", "-O3", "-Os"), compile_emx),
    _bakenn("portable", "int8, portable C"),
    _bakenn("smlad", "int8, its Cortex-M4 kernels"),
    _bakenn("cmsis", "int8, CMSIS-NN 4.0.0"),
)
