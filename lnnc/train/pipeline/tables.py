"""TOML tables into frozen dataclasses: every key known, every value of its type and in its range."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lnnc.errors import Findings, did_you_mean
from lnnc.frontend.fields import is_number, shown

T = TypeVar("T")
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def key(default: Any = MISSING, **rules: Any) -> Any:
    """A field of a table. rules: `least`, `most` (numbers, or of each element), `choices`, `some` (not empty)."""
    return field(metadata=rules) if default is MISSING else field(default=default, metadata=rules)


def read_table(kind: type[T], table: Any, where: str, found: Findings) -> T | None:
    """A dataclass from a table; None where there were faults, which are noted.

    A field of a dataclass type is a table below; `dict[str, Any]` is taken as it is, for a reader of its own.
    """
    assert is_dataclass(kind)
    if not isinstance(table, Mapping):
        found.add(f"{where}: expected a table, found {shown(table)}")
        return None
    before = len(found.faults)
    known = {f.name: f for f in fields(kind)}
    for name in table:
        if name not in known:
            found.add(f"{_path(where, name)}: unknown key{_meant(name, list(known), where)}")
    hints = get_type_hints(kind)
    values = {name: _value(f, hints[name], table, where, found) for name, f in known.items()}
    return kind(**values) if len(found.faults) == before else None


def _meant(name: str, known: list[str], where: str) -> str:
    if question := did_you_mean(name, known):
        return f"; {question}"
    return f"; {'[' + where + ']' if where else 'the file'} has {', '.join(known)}"


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(f: Field[Any], hint: Any, table: Mapping[str, Any], where: str, found: Findings) -> Any:
    path = _path(where, f.name)
    if f.name not in table:
        if f.default is not MISSING:
            return f.default
        if f.default_factory is not MISSING:
            return f.default_factory()
        if is_dataclass(hint):
            return read_table(hint, {}, path, found)  # type: ignore[arg-type]
        found.add(f"{path}: missing, and it has no default")
        return None
    if is_dataclass(hint):
        return read_table(hint, table[f.name], path, found)  # type: ignore[arg-type]
    value = _typed(hint, table[f.name], path, found)
    if value is not None:
        _check_rules(value, f.metadata, path, found)
    return value


def _typed(hint: Any, value: Any, path: str, found: Findings) -> Any:
    """The value as `hint` has it: a scalar, tuple[X, ...], X | Y, or dict[str, Any]."""
    origin = get_origin(hint)
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_typed(get_args(hint)[0], item, f"{path}[{i}]", found) for i, item in enumerate(value))
    elif origin in (types.UnionType, Union):
        for option in get_args(hint):
            trial = Findings()
            if option is not type(None) and (got := _typed(option, value, path, trial)) is not None:
                return got
    elif origin is dict:
        if isinstance(value, Mapping):
            return dict(value)
    elif _is(value, hint):
        return float(value) if hint is float else value
    found.add(f"{path}: expected {_expected(hint)}, found {shown(value)}")
    return None


def _is(value: Any, hint: Any) -> bool:
    if hint is float:
        return is_number(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _expected(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is tuple:
        return f"a list, each {_expected(get_args(hint)[0])}"
    if origin is dict:
        return "a table"
    if origin in (types.UnionType, Union):
        return " or ".join(_expected(option) for option in get_args(hint) if option is not type(None))
    return NAMES[hint]


def _check_rules(value: Any, rules: Mapping[str, Any], path: str, found: Findings) -> None:
    items = value if isinstance(value, tuple) else (value,)
    if rules.get("some") and not value:
        found.add(f"{path}: expected something, found nothing")
    for item in items:
        if "choices" in rules and item not in rules["choices"]:
            meant = f"; {question}" if (question := did_you_mean(item, rules["choices"])) else ""
            found.add(f"{path}: expected {', '.join(map(str, rules['choices']))}, found {shown(item)}{meant}")
        low, high = rules.get("least"), rules.get("most")
        if is_number(item) and ((low is not None and item < low) or (high is not None and item > high)):
            bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} ... {high}"
            found.add(f"{path}: expected {bounds}, found {shown(item)}")
