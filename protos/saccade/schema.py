"""JSON to frozen dataclasses, with a list of everything that is wrong rather than the first thing.

A dataclass is its own schema: field names are keys, annotations are types, fields with defaults
may be absent, and keys that no field names are ignored (a later version may add some). Known
types: bool, int, float, str, ``tuple[X, ...]``, ``tuple[X, Y, Z]``, ``Mapping[str, X]``,
``X | None``, `Any`, dataclasses, and unions of dataclasses whose class variable ``kind`` is a key.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from saccade.bounded_json import shown

T = TypeVar("T")

MAX_PLACE_CHARS = 120  # a key of a mapping can be any text


class Misfit(Exception):
    """A value that doesn't fit; the reason is already in the list of problems."""


def read(kind: type[T], data: object, problems: list[str], where: str = "") -> T:
    """``data`` as a ``kind``. Appends to ``problems`` and raises Misfit where it isn't one."""
    if not isinstance(data, dict):
        raise _misfit(problems, where, "an object", data)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    complete = True
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # kind is a dataclass
        place = f"{where}.{field.name}" if where else field.name
        if field.name not in data:
            if _required(field):
                problems.append(f"{place} is missing")
                complete = False
            continue
        try:
            values[field.name] = _value(hints[field.name], data[field.name], problems, place)
        except Misfit:
            complete = False
    if not complete:
        raise Misfit
    return kind(**values)


def _value(hint: Any, data: object, problems: list[str], where: str) -> Any:  # noqa: ANN401 - hints
    """``data`` as what an annotation says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return data
    if origin is types.UnionType:
        if types.NoneType not in arguments:
            return _one_of(arguments, data, problems, where)
        return None if data is None else _value(arguments[0], data, problems, where)
    if origin is tuple:
        return _tuple(arguments, data, problems, where)
    if origin is Mapping:
        return _mapping(arguments[1], data, problems, where)
    if dataclasses.is_dataclass(hint):
        return read(hint, data, problems, where)  # type: ignore[arg-type]  # a class, not an instance
    return _scalar(hint, data, problems, where)


def _one_of(kinds: tuple[Any, ...], data: object, problems: list[str], where: str) -> object:
    """The dataclass whose ``kind`` the data states."""
    by_name = {kind.kind: kind for kind in kinds}
    stated = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(stated, str) or stated not in by_name:
        raise _misfit(problems, f"{where}.kind", f"one of {', '.join(by_name)}", stated)
    return read(by_name[stated], data, problems, where)


def write(value: object) -> Any:  # noqa: ANN401 - JSON
    """What `read` makes ``value`` of: objects, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: write(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = getattr(type(value), "kind", None)
        return {"kind": kind, **fields} if isinstance(kind, str) else fields
    if isinstance(value, Mapping):
        return {key: write(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [write(item) for item in value]
    return value


def _scalar(hint: type, data: object, problems: list[str], where: str) -> object:
    # bool is an int in Python, but true is not a number in a manifest.
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, hint) or (hint is not bool and isinstance(data, bool)):
        raise _misfit(problems, where, hint.__name__, data)
    return data


def _tuple(
    arguments: tuple[Any, ...], data: object, problems: list[str], where: str
) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _misfit(problems, where, "a list", data)
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(data)
    if len(data) != len(arguments):
        raise _misfit(problems, where, f"a list of {len(arguments)}", data)
    pairs = enumerate(zip(arguments, data, strict=True))
    return tuple(_value(hint, item, problems, f"{where}[{i}]") for i, (hint, item) in pairs)


def _mapping(hint: Any, data: object, problems: list[str], where: str) -> Mapping[str, Any]:  # noqa: ANN401 - hints
    if not isinstance(data, dict):
        raise _misfit(problems, where, "an object", data)
    return types.MappingProxyType(
        {key: _value(hint, item, problems, f"{where}[{key!r}]") for key, item in data.items()}
    )


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _misfit(problems: list[str], where: str, wanted: str, data: object) -> Misfit:
    place = where if len(where) <= MAX_PLACE_CHARS else f"{where[:MAX_PLACE_CHARS]}..."
    problems.append(f"{place or 'the manifest'} is {wanted}, not {shown(data)}")
    return Misfit()
