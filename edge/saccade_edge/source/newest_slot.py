"""A place for one thing: whoever fetches gets the newest, what came before is replaced."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """Size-1 hand-over between a producing and a consuming thread."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.replaced = 0  # items that nobody fetched before a newer one came

    def put(self, item: T) -> None:
        """Replace what lies here; nothing once it is closed."""
        with self._ready:
            if self._closed:
                return
            self.replaced += self._item is not None
            self._item = item
            self._ready.notify()

    def take(self) -> T | None:
        """The newest item, waiting for one; None once closed and empty."""
        with self._ready:
            self._ready.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return item

    def close(self, *, discard: bool = False) -> None:
        """No further items; ``discard`` also what lies here."""
        with self._ready:
            self._closed = True
            if discard:
                self._item = None
            self._ready.notify_all()
