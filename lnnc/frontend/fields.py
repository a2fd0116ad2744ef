"""Typed values out of an untrusted document: a good value, or a noted fault and a harmless stand-in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from lnnc.errors import Findings, did_you_mean
from lnnc.ir.graph import Array

NUMBER_MAX = 1e15  # far beyond every unit and every weight that training leaves: what is larger is a mistake
WEIGHT_MAX = float(np.finfo(np.float32).max)
ELEMENTS_MAX = 1 << 26
TEXT_MAX = 64
RANGE_KEYS = ("min", "max", "mean", "percentile", "means", "peaks")
_STANDINS: dict[type, Any] = {str: "", int: 1, float: 1.0, list: []}
_UNPRINTABLE = ("*/", "/*", "\\", "??/")  # what would end, open or continue a C comment


def is_number(value: Any) -> TypeGuard[float]:
    """A finite int or float of a sane size (a bool is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -NUMBER_MAX <= value <= NUMBER_MAX  # NaN compares false; an int is compared without conversion


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def get(table: Mapping[str, Any], key: str, kind: type, label: str, found: Findings) -> Any:
    """The value under `key` if it is of `kind` (float takes ints; a bool is no int), else a stand-in."""
    value = table.get(key)
    fine = is_number(value) if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if fine:
        return value
    expected = {str: "a text", int: "a whole number", float: "a number", list: "a list"}[kind]
    found.add(f"{label}.{key}: expected {expected}, found {shown(value) if key in table else 'nothing'}")
    return _STANDINS[kind]


def unknown_keys(table: Mapping[Any, Any], allowed: Sequence[str], label: str, found: Findings) -> None:
    """Note every key of `table` that is not `allowed`: ignored, a misspelt one would silently leave its default."""
    for key in table:
        if key not in allowed:
            question = f" ({meant})" if isinstance(key, str) and (meant := did_you_mean(key, allowed)) else ""
            found.add(f"{label}: unknown key {shown(key)}{question}, expected {', '.join(allowed)}")


def text(table: Mapping[str, Any], key: str, label: str, found: Findings) -> str:
    """A short text that can stand in a C comment and in a message."""
    value = str(get(table, key, str, label, found))
    if not 1 <= len(value) <= TEXT_MAX or not value.isprintable() or any(mark in value for mark in _UNPRINTABLE):
        found.add(
            f"{label}.{key}: expected 1 ... {TEXT_MAX} printable characters without a backslash "
            f"or the marks of a C comment, found {shown(value)}"
        )
        return ""
    return value


def finite(value: Any, name: str, found: Findings) -> Array:
    """A float64 array, or a noted fault: not numeric, too large, NaN or Inf."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        found.add(f"tensor '{name}': expected numbers in a rectangular array, found {shown(value)}")
        return np.zeros(())
    if array.dtype.kind not in "fiu":
        kind = "no numbers" if array.dtype.kind == "O" else str(array.dtype)
        found.add(f"tensor '{name}': expected numbers, found {kind}")
        return np.zeros(())
    if array.size > ELEMENTS_MAX:
        found.add(f"tensor '{name}': expected at most {ELEMENTS_MAX} numbers, found shape {array.shape}")
        return np.zeros(())
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(np.atleast_1d(array)))[0].tolist()
        found.add(f"tensor '{name}': {np.count_nonzero(~np.isfinite(array))} NaN or Inf, the first at {bad}")
        return np.zeros(array.shape)
    if array.size and np.abs(array).max() > WEIGHT_MAX:
        found.add(f"tensor '{name}': expected float32 values, found {np.abs(array).max():.3g}")
        return np.zeros(array.shape)
    return array


def interval(value: Any, label: str, found: Findings) -> tuple[float, float] | None:
    """[low, high] with low < high, or None where nothing is declared."""
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if is_number(low) and is_number(high) and low < high:
            return float(low), float(high)
    found.add(f"{label}: expected [low, high] with low < high, finite, found {shown(value)}")
    return None


def range_entry(entry: Any, label: str, found: Findings) -> dict[str, Any] | None:
    """{"min", "max", ...} of a tensor, checked in every field; a pair stands for min and max."""
    if isinstance(entry, list | tuple) and len(entry) == 2:
        entry = {"min": entry[0], "max": entry[1]}
    if not isinstance(entry, Mapping):
        found.add(f"{label}: expected a dictionary with {', '.join(RANGE_KEYS)}, found {shown(entry)}")
        return None
    unknown_keys(entry, RANGE_KEYS, label, found)
    low, high = entry.get("min"), entry.get("max")
    if not (is_number(low) and is_number(high) and low <= high):
        found.add(f"{label}: expected min <= max, finite, found {shown(low)} and {shown(high)}")
        return None
    faults = _statistics_faults(entry, low, high)
    found.faults.extend(f"{label}.{fault}" for fault in faults)
    return None if faults else dict(entry)


def _statistics_faults(entry: Mapping[str, Any], low: float, high: float) -> list[str]:
    """What is wrong with the optional fields of a range."""
    top = max(abs(low), abs(high))
    slack = 1e-6 * top + 1e-12
    faults = []
    mean, percentile = entry.get("mean", low), entry.get("percentile", top)
    if not is_number(mean) or not low - slack <= mean <= high + slack:
        faults.append(f"mean: expected a number between min and max, found {shown(mean)}")
    if not is_number(percentile) or not 0 <= percentile <= top + slack:
        faults.append(f"percentile: expected a number between 0 and the largest magnitude, found {shown(percentile)}")
    for key in ("means", "peaks"):
        values = entry.get(key, [])
        if not isinstance(values, list | tuple) or not all(map(is_number, values)):
            faults.append(f"{key}: expected a list of numbers, one for each element, found {shown(values)}")
    return faults


def plain(value: Any) -> bool:
    """A text or a finite number: what provenance may hold."""
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
