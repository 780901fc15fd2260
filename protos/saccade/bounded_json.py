"""JSON from a file that a stranger may have written: nothing in it is too large to work with."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from saccade.errors import BundleError

MAX_DEPTH = 32
MAX_DIGITS = 19  # of an integer: what 64 bits hold
MAX_INTEGER = (1 << 63) - 1


def loads(data: bytes, what: str) -> Any:  # noqa: ANN401 - JSON, judged by a schema
    """The value in ``data``, UTF-8. ``what`` is read, for the messages.

    Raises ``BundleError`` for what is no JSON, for numbers beyond 64 bits or not finite, for an
    object that has one key twice, for text that is no Unicode, and for nesting beyond `MAX_DEPTH`.
    """
    reader = _Reader(what)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_int=reader.integer,
            parse_float=reader.number,
            parse_constant=reader.constant,
            object_pairs_hook=reader.object,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{what} is not JSON: {error}") from error
    except RecursionError as error:
        raise BundleError(f"{what} is nested deeper than {MAX_DEPTH} levels") from error
    _check_nesting(value, what)
    return value


class _Reader:
    """Hooks for `json.loads`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def integer(self, text: str) -> int:
        # Counted first: Python refuses to convert very long ones, with an error of its own.
        if len(text.lstrip("-")) > MAX_DIGITS or abs(int(text)) > MAX_INTEGER:
            raise BundleError(f"{self._what} holds {shown(text)}, an integer beyond 64 bits")
        return int(text)

    def number(self, text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise BundleError(f"{self._what} holds {shown(text)}, a number beyond 64 bits")
        return value

    def constant(self, name: str) -> NoReturn:
        raise BundleError(f"{self._what} holds {name}, which is not JSON")

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key in counts if counts[key] > 1)
            raise BundleError(f"{self._what} holds the key {shown(twice)} twice in one object")
        return found


def shown(value: object) -> str:
    """A value for a message: at most 60 characters, whatever it is."""
    text = repr(value[:80]) if isinstance(value, (str, list, tuple)) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_nesting(value: object, what: str) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    _check_text(key, what)
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str):
                _check_text(item, what)
        if not inner:
            return
        level = inner
    raise BundleError(f"{what} is nested deeper than {MAX_DEPTH} levels")


def _check_text(text: str, what: str) -> None:
    """Half a surrogate pair can be written in JSON and can't be printed."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BundleError(f"{what} holds {shown(ascii(text))}, which is no Unicode") from error
