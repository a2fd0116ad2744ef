"""Ports and samples as a user gives them in Python, for networks that are imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.frontend.checkpoint import PortSpec
from lnnc.frontend.fields import finite, interval, is_number, shown, unknown_keys
from lnnc.ir.graph import Array

Ports = PortSpec | Mapping[str, Any] | Sequence[PortSpec | Mapping[str, Any]] | None


def streams(data: Array, where: str, features: int | None = None) -> Array:
    """Samples as (streams, T, features); (N, T) of one feature where that is what `features` says.

    Raises:
        LnncError: another shape, or NaN or Inf.
    """
    found = Findings(where)
    data = finite(data, "samples", found)
    found.raise_if_any("give finite numbers in real units")
    if data.ndim == 2:
        data = data[:, :, None] if features == 1 and data.shape[1] != 1 else data[None]
    if data.ndim != 3 or not data.size:
        raise LnncError(f"expected (T, features) or (N, T, features), found {data.shape}", where)
    if features is not None and data.shape[2] != features:
        raise LnncError(
            f"expected {features} features, found shape {data.shape}", where, "(T, features) or (N, T, features)"
        )
    return data


def port_specs(given: Ports, name: str, width: int, label: str) -> tuple[PortSpec, ...]:
    """Ports of `width` values in all; what is left out of a single one is its size, name and unit "1".

    Raises:
        LnncError: unknown keys, or sizes that do not add up.
    """
    items: list[Any] = list(given) if isinstance(given, list | tuple) else [{} if given is None else given]
    found = Findings(label)
    specs = []
    for index, item in enumerate(items):
        faults = Findings()
        specs.append(item if isinstance(item, PortSpec) else _spec(item, name, width, len(items), faults))
        found.faults += [f"[{index}].{fault}" if len(items) > 1 else fault for fault in faults.faults]
    total = sum(spec.size for spec in specs)
    if not found.faults and total != width:
        found.add(f"the ports hold {total} values, the network has {width}")
    found.raise_if_any("name, unit, range, size, offset and scale of each port")
    return tuple(specs)


def plain(value: Any) -> Any:
    """Numbers of NumPy as Python's, arrays as lists, anything else as it is."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _spec(item: Any, name: str, width: int, count: int, found: Findings) -> PortSpec:
    """A port from a dictionary; its name and unit are checked with the checkpoint, its numbers here."""
    if not isinstance(item, Mapping):
        found.add(f"expected a dictionary, found {shown(item)}")
        item = {}
    item = {key: plain(value) for key, value in item.items()}
    unknown_keys(item, [f.name for f in fields(PortSpec)], "port", found)
    size = item.get("size", width if count == 1 else 1)
    if type(size) is not int or size < 1:
        found.add(f"size: expected a whole number above 0, found {shown(size)}")
        size = 1
    offset, scale = item.get("offset", 0.0), item.get("scale", 1.0)
    if not is_number(offset) or not is_number(scale) or scale == 0:
        found.add(f"offset and scale must be finite and scale not 0, found {shown(offset)}, {shown(scale)}")
        offset, scale = 0.0, 1.0
    limits = interval(item.get("range"), "range", found)
    return PortSpec(item.get("name", name), size, item.get("unit", "1"), limits, float(offset), float(scale))
