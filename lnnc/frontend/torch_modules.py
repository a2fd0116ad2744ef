"""Torch modules as layers of a network: ncps' cells, torch's own, and those of `torch_cells`.

Classes are known by their module and name, so ncps need not be installed. A list of modules, or nn.Sequential, means
one after the other; where a module gives a tuple (output, state), the next one takes the output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.errors import Findings, LnncError
from lnnc.frontend.cells import GruCell, LstmCell, elman, gru, lstm
from lnnc.frontend.fields import finite
from lnnc.frontend.layers import Dense, activation_layer, layer_name, norm_layer
from lnnc.frontend.ncps_weights import CellConfig, Part, Weights, read_cell, read_linear
from lnnc.ir.graph import Array

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
_DERIVED = re.compile(r"(.*)_(?:orig|g|v)")  # parameters that torch.nn.utils makes `weight` of in a hook
_ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu", "GELU": "gelu"}
_BACKBONES = {"LeCun": "lecun_tanh", **{key: fn for key, fn in _ACTIVATIONS.items() if fn != "sigmoid"}}
GATES = {"LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n"), "RNN": ("h",)}


def read_module(module: Any, where: str) -> list[Part]:
    """The layers of a module in their order.

    Raises:
        LnncError: modules that are not supported, all of them, and how to give their parts.
    """
    found = Findings(where)
    parts: list[Part] = []
    unknown: list[tuple[str, nn.Module]] = []
    for path, leaf in leaves(module):
        kind = known(leaf)
        if kind is None:
            unknown.append((path, leaf))
        else:
            parts += READERS[kind](leaf, path, Weights(_arrays(leaf, path, found), found, f"{path}." if path else ""))
    for path, leaf in unknown:
        found.add(f"{path or 'the module'}: {type(leaf).__name__} is no layer that lnnc can read")
    found.raise_if_any(_advice(unknown) if unknown else "")
    if not parts:
        raise LnncError("no layer found in it", where, "give a torch module, or a list of modules in their order")
    return parts


def _advice(unknown: Sequence[tuple[str, nn.Module]]) -> str:
    """How to give what is not supported: the parts of the first module that has any, or what is supported."""
    supported = ", ".join(sorted({kind.rpartition(".")[2] for kind in READERS}))
    for _, leaf in unknown:
        names = [name for name, _ in leaf.named_children()]
        if names:
            parts = ", ".join(f"model.{name}" for name in names)
            return (
                f"its forward is code; give its parts in the order in which it calls them: from_torch([{parts}], ...)"
            )
    return f"supported are {supported}"


def leaves(module: Any, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules of a list or nn.Sequential in order, with their path; dropout and identity are left out."""
    module = _unwrapped(module)
    if isinstance(module, list | tuple | nn.Sequential | nn.ModuleList):
        for index, part in enumerate(module):
            yield from leaves(part, f"{path}.{index}".lstrip("."))
    elif not isinstance(module, nn.Module):
        raise LnncError(f"expected a torch module, found {type(module).__name__}", path, "give nn.Modules")
    elif not isinstance(module, nn.Identity | nn.Dropout):
        yield path, module


def _unwrapped(module: Any) -> Any:
    """A module without what torch.compile or DataParallel put round it."""
    inner = _WRAPPERS.get(type(module).__name__)
    return getattr(module, inner, module) if inner else module


def known(module: nn.Module) -> str | None:
    """The supported class that a module is, or inherits its forward from, as "module.Class"."""
    for kind in type(module).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in READERS and getattr(type(module), "forward", None) is getattr(kind, "forward", None):
            return name
    return None


def _arrays(module: nn.Module, path: str, found: Findings) -> dict[str, Array]:
    """Weights as the module uses them (pruned, normed or parametrized ones computed), named like its state_dict."""
    arrays = {}
    for name, inner in module.named_modules():
        if "parametrizations" in name.split("."):
            continue
        keys = {_plain_key(inner, key) for key in (*inner._parameters, *inner._buffers)}
        keys |= set(getattr(inner, "parametrizations", ()))
        for key in sorted(keys):
            mask = getattr(inner, f"{key}_mask", None)  # pruned: `key` itself is as old as the last forward
            value = getattr(inner, key) if mask is None else getattr(inner, f"{key}_orig") * mask
            if isinstance(value, Tensor):
                full = ".".join(part for part in (path, name, key) if part)
                arrays[full] = finite(_array(value), full, found)
    return arrays


def _plain_key(module: nn.Module, key: str) -> str:
    match = _DERIVED.fullmatch(key)
    return match[1] if match and isinstance(getattr(module, match[1], None), Tensor) else key


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def to_array(value: Any) -> Array:
    """A tensor as float64, anything else as NumPy takes it."""
    if isinstance(value, Tensor):
        return _array(value)
    try:
        return np.asanyarray(value)
    except (ValueError, RuntimeError):  # lists of unequal length: objects, which are refused as no numbers
        return np.asanyarray([None])


# --- readers: (module, path, weights) -> parts ---


def _cfc(module: Any, path: str, weights: Weights) -> list[Part]:
    cell = getattr(module, "rnn_cell", module)
    first = getattr(cell, "layer_0", cell)
    activation = _BACKBONES.get(type(first.backbone[1]).__name__, "") if first.backbone is not None else "tanh"
    if not activation:
        weights.found.add(f"{path}: backbone activation {type(first.backbone[1]).__name__} is not supported")
    return read_cell(weights, _cell_prefix(module), CellConfig("cfc", first.mode, activation or "tanh"))


def _ltc(module: Any, path: str, weights: Weights) -> list[Part]:
    cell = getattr(module, "rnn_cell", module)
    config = CellConfig(
        "ltc", unfolds=cell._ode_unfolds, implicit=cell._implicit_param_constraints, outputs=cell.motor_size
    )
    return read_cell(weights, _cell_prefix(module), config)


def _cell_prefix(module: nn.Module) -> str:
    return "rnn_cell." if hasattr(module, "rnn_cell") else ""


def _liquid(module: Any, path: str, weights: Weights) -> list[Part]:
    config = CellConfig("liquid", unfolds=int(module.steps), dt=float(module.dt))
    return read_cell(weights, "", config, layer_name(path or "liquid"))


def _euler_ltc(module: Any, path: str, weights: Weights) -> list[Part]:
    config = CellConfig("ltc", unfolds=int(module.unfolds), explicit=True)
    return read_cell(weights, "", config, layer_name(path or "ltc"))


def _torch_rnn(module: Any, path: str, weights: Weights) -> list[Part]:
    """nn.LSTM, GRU, RNN of any depth, and their cells."""
    kind = type_name(module).removesuffix("Cell")
    refused = [key for key in ("bidirectional", "proj_size") if getattr(module, key, False)]
    if refused:
        weights.found.add(f"{path or kind}: {kind} with {' and '.join(refused)} is not supported")
        return []
    suffixes = [""] if type_name(module).endswith("Cell") else [f"_l{k}" for k in range(module.num_layers)]
    src = layer_name(path or kind.lower())
    parts = []
    for suffix in suffixes:
        name = f"{src}{suffix.replace('_', '.')}"
        parts.append(_torch_layer(module, kind, name, weights, suffix))
    return parts


def type_name(module: nn.Module) -> str:
    """The supported class of a module, without its package."""
    return (known(module) or "").rpartition(".")[2]


def _torch_layer(module: Any, kind: str, src: str, weights: Weights, suffix: str) -> Part:
    seen, held = weights.take(f"weight_ih{suffix}", None, None), weights.take(f"weight_hh{suffix}", None, None)
    units, zeros = held.shape[1], np.zeros(len(held))
    biases = [weights.take(f"bias_{n}{suffix}", None) if module.bias else zeros for n in ("ih", "hh")]
    both, total = np.hstack([seen, held]), biases[0] + biases[1]
    rows = {gate: slice(k * units, (k + 1) * units) for k, gate in enumerate(GATES[kind])}
    gates = {gate: Dense(both[row], total[row]) for gate, row in rows.items()}
    append: Callable[..., None]
    if kind == "LSTM":
        append = partial(lstm, src=src, cell=LstmCell(gates))
    elif kind == "GRU":
        new = rows["n"]
        new_x, new_h = Dense(seen[new], biases[0][new]), Dense(held[new], biases[1][new])
        append = partial(gru, src=src, cell=GruCell(gates["r"], gates["z"], new_x, new_h))
    else:
        append = partial(elman, src=src, dense=gates["h"], fn=str(module.nonlinearity))
    return Part(seen.shape[1], append)


def _linear(module: nn.Module, path: str, weights: Weights) -> list[Part]:
    if path:
        return [read_linear(Weights(weights.tensors, weights.found), path)]
    bare = Weights({f"net.{key}": value for key, value in weights.tensors.items()}, weights.found)
    return [read_linear(bare, "net")]


def _norm(module: Any, path: str, weights: Weights) -> list[Part]:
    if len(module.normalized_shape) != 1:
        weights.found.add(f"{path or 'LayerNorm'}: expected LayerNorm over one axis, found {module.normalized_shape}")
        return []
    size = int(module.normalized_shape[0])
    gamma = weights.take("weight", size) if weights.has("weight") else np.ones(size)
    beta = weights.take("bias", size) if weights.has("bias") else np.zeros(size)
    src = layer_name(path or "norm")
    return [Part(size, partial(norm_layer, src=src, gamma=gamma, beta=beta, epsilon=float(module.eps)))]


def _activation(module: Any, path: str, weights: Weights) -> list[Part]:
    fn = _ACTIVATIONS[type_name(module)]
    if getattr(module, "approximate", "none") != "none":
        weights.found.add(f"{path or 'GELU'}: GELU with approximate='{module.approximate}'; use nn.GELU() as it is")
    return [Part(None, partial(activation_layer, src=layer_name(path or fn), fn=fn))]


Reader = Callable[[Any, str, Weights], list[Part]]
READERS: dict[str, Reader] = {
    "ncps.torch.cfc.CfC": _cfc,
    "ncps.torch.cfc_cell.CfCCell": _cfc,
    "ncps.torch.wired_cfc_cell.WiredCfCCell": _cfc,
    "ncps.torch.ltc.LTC": _ltc,
    "ncps.torch.ltc_cell.LTCCell": _ltc,
    "lnnc.frontend.torch_cells.Liquid": _liquid,
    "lnnc.frontend.torch_cells.EulerLtc": _euler_ltc,
    "torch.nn.modules.linear.Linear": _linear,
    "torch.nn.modules.normalization.LayerNorm": _norm,
    **{f"torch.nn.modules.rnn.{name}{cell}": _torch_rnn for name in GATES for cell in ("", "Cell")},
    **{f"torch.nn.modules.activation.{name}": _activation for name in _ACTIVATIONS},
}
