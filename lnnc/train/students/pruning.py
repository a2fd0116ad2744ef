"""Pruning of students of any kind, and the way back from a student to a network that can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.neurons import cell_neurons
from lnnc.train.learn.prune import Neurons, Slot, prune
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.models import Feedforward, Ltc, Network, Recurrent, networks
from lnnc.train.students.student import HEADS, Student

_SYNAPSE = ("sigma", "mu", "erev")


def student_neurons(student: Student) -> tuple[Neurons, ...]:
    """The units of its cell, or those of the hidden layers of an mlp; none of "linear"."""
    if student.kind in ("gated", "cfc"):
        return cell_neurons(student.arrays, HEADS[student.kind])
    if student.kind == "leaky":
        made = (Slot("drive.weight", 0), Slot("drive.bias", 0), Slot("weight", 0))
        return (_state(student, made, Slot("weight", 1), (Slot("alpha", 0), Slot("beta", 0))),)
    if student.kind == "ltc":
        synapses = (Slot("sensory_w", 1), Slot("w", 1))
        shape = [slot for name in _SYNAPSE for slot in (Slot(f"sensory_{name}", 1), Slot(name, 0), Slot(name, 1))]
        own = (*shape, *(Slot(name, 0) for name in ("cm", "gleak", "vleak")))
        return (_state(student, synapses, Slot("w", 0), own),)
    count = sum(name.startswith("layers.") for name in student.arrays) // 2
    return tuple(_layer(student, n, count) for n in range(count))


def _state(student: Student, made: tuple[Slot, ...], own: Slot, along: tuple[Slot, ...]) -> Neurons:
    return Neurons("state", student.units, made, (own, _head(student)), along)


def _head(student: Student) -> Slot:
    return Slot("head.weight", 1, INPUTS[student.inputs].size if student.skip else 0)


def _layer(student: Student, n: int, count: int) -> Neurons:
    made = (Slot(f"layers.{n}.weight", 0), Slot(f"layers.{n}.bias", 0))
    read = Slot(f"layers.{n + 1}.weight", 1) if n + 1 < count else _head(student)
    return Neurons(f"layers.{n}", len(student.arrays[f"layers.{n}.bias"]), made, (read,))


def prune_student(
    student: Student, fraction: float, kind: str = "l2", gradients: Sequence[Mapping[str, Array]] = ()
) -> Student:
    """A student without that fraction of its units; arguments as `prune.prune`.

    Raises:
        LnncError: as `prune.prune`; a linear student, which has none.
    """
    smaller = prune(student.arrays, student_neurons(student), fraction, kind, gradients)
    told = ("pruned", f"{smaller.removed[0]} of {smaller.removed[1]} units by {kind}")
    return replace(student, arrays=smaller.tensors, provenance=(*student.provenance, told))


def widths(student: Student) -> tuple[int, ...]:
    """Units of its hidden layers, as `models.networks` takes them."""
    return tuple(neurons.size for neurons in student_neurons(student)) if student.kind != "linear" else ()


def restored(students: Sequence[Student]) -> Network:
    """Students of one kind and size as the networks that they came from, side by side, ready to be trained on.

    Raises:
        LnncError: none, or they differ in more than their weights.
    """
    kinds = {(s.kind, s.inputs, s.skip, widths(s)) for s in students}
    if len(kinds) != 1:
        raise LnncError(f"students of one kind and size are expected, found {len(kinds)}", "students", "one at a time")
    kind, inputs, skip, units = kinds.pop()
    model = networks(kind, INPUTS[inputs].size, units, skip, len(students), 0)
    with torch.no_grad():
        for index, student in enumerate(students):
            load_weights(model, index, {name: torch.as_tensor(array) for name, array in student.arrays.items()})
    return model


def load_weights(model: Network, index: int, arrays: Mapping[str, Tensor]) -> None:
    """Set one of the networks to a student's weights."""
    head = arrays["head.weight"].T
    if model.skip is not None:
        seen = model.skip.shape[1]
        model.skip[index], head = head[:seen], head[seen:]
    model.head[index], model.head_bias[index, 0] = head, arrays["head.bias"]
    if isinstance(model, Recurrent):
        _load_cell(model, index, arrays)
    elif isinstance(model, Ltc):
        for name, parameter in model.named_parameters():
            if name in arrays:
                parameter[index] = _softplus_of(arrays[name]) if name in model.POSITIVE else arrays[name]
    elif isinstance(model, Feedforward):
        for n, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
            weight[index], bias[index, 0] = arrays[f"layers.{n}.weight"].T, arrays[f"layers.{n}.bias"]


def _load_cell(model: Recurrent, index: int, arrays: Mapping[str, Tensor]) -> None:
    if model.kind == "leaky":
        model.input[index], model.recurrent[index] = arrays["drive.weight"].T, arrays["weight"].T
        model.bias[index, 0] = arrays["drive.bias"]
        model.rate[index, 0], model.gain[index, 0] = torch.logit(arrays["alpha"]), arrays["beta"]
        return
    both = torch.cat([arrays[f"{name}.weight"] for name in model.heads]).T
    seen = model.input.shape[1]
    model.input[index], model.recurrent[index] = both[:seen], both[seen:]
    model.bias[index, 0] = torch.cat([arrays[f"{name}.bias"] for name in model.heads])


def _softplus_of(value: Tensor) -> Tensor:
    """x of softplus(x) = value > 0; a silenced synapse keeps the smallest."""
    small = value.clamp_min(1e-30)
    return small + torch.log(-torch.expm1(-small))
