"""A cache that several holders share, bounded by bytes, in all and for each of them.

A holder that puts more than its bound pushes out its own, the least recently used first. Where all
together have too much, the holder with the most makes room: one that asks much costs another
nothing. What came last is kept.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True)
class _Held(Generic[V]):
    bytes: int = 0
    # The least recently used first.
    entries: dict[Hashable, tuple[V, int]] = field(default_factory=dict)


class SharedCache(Generic[V]):
    """``max_bytes`` in all, ``holder_bytes`` for each holder. Used from one event loop."""

    def __init__(self, max_bytes: int, holder_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._holder_bytes = holder_bytes
        self._holders: dict[str, _Held[V]] = {}
        self.bytes = 0

    def get(self, holder: str, key: Hashable) -> V | None:
        """What is there, which is then the most recently used."""
        held = self._holders.get(holder)
        entry = held.entries.pop(key, None) if held else None
        if held is None or entry is None:
            return None
        held.entries[key] = entry
        return entry[0]

    def put(self, holder: str, key: Hashable, value: V, nbytes: int) -> None:
        """In the place of what is there. What is larger than a bound is not kept."""
        self.drop(holder, key)
        if nbytes > min(self._max_bytes, self._holder_bytes):
            return
        held = self._holders.setdefault(holder, _Held())
        held.entries[key] = (value, nbytes)
        held.bytes += nbytes
        self.bytes += nbytes
        while held.bytes > self._holder_bytes:
            self._drop_oldest(holder)
        while self.bytes > self._max_bytes:
            self._drop_oldest(self._most(but=held))

    def drop(self, holder: str, key: Hashable) -> None:
        """Nothing where it is not there."""
        held = self._holders.get(holder)
        entry = held.entries.pop(key, None) if held else None
        if held is None or entry is None:
            return
        held.bytes -= entry[1]
        self.bytes -= entry[1]
        if not held.entries:
            del self._holders[holder]

    def _most(self, but: _Held[V]) -> str:
        """Who has most, of those who have more than what came last, which is in ``but``."""
        others = {
            name: held.bytes
            for name, held in self._holders.items()
            if held is not but or len(held.entries) > 1
        }
        return max(others, key=lambda name: others[name])

    def _drop_oldest(self, holder: str) -> None:
        self.drop(holder, next(iter(self._holders[holder].entries)))
