"""What was sent on this stream and is not acknowledged, and what is in doubt from earlier ones."""

from __future__ import annotations

import time
from collections.abc import Sequence

MOST_DOUBTS = 1024  # sequences in a Hello, some 3 bytes each


class InFlight:
    """Sizes in bytes, ages in seconds."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[int, float]] = {}  # sequence -> bytes, monotonic time
        self._doubts: dict[int, None] = {}  # ordered

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self._sent.values())

    @property
    def oldest_s(self) -> float:
        """0 where nothing is under way."""
        now_s = time.monotonic()
        return max((now_s - sent_s for _, sent_s in self._sent.values()), default=0.0)

    @property
    def doubts(self) -> Sequence[int]:
        """What the cloud is to be asked about."""
        return list(self._doubts)

    def sent(self, sequence: int, size: int) -> None:
        self._sent[sequence] = (size, time.monotonic())

    def settled(self, sequence: int) -> None:
        """Acknowledged or refused; a new stream's welcome says it of doubts."""
        self._sent.pop(sequence, None)
        self._doubts.pop(sequence, None)

    def fits(self, size: int, most_bytes: int) -> bool:
        """A packet that is larger than the bound goes alone."""
        return not self._sent or self.bytes + size <= most_bytes

    def begin(self) -> None:
        """A new stream, on which nothing has been sent."""
        self._sent.clear()

    def break_off(self) -> None:
        """The stream is gone: what was under way is in doubt."""
        self._doubts.update(dict.fromkeys(self._sent))
        for sequence in list(self._doubts)[:-MOST_DOUBTS]:
            del self._doubts[sequence]  # sent once more for nothing
        self._sent.clear()

    def forget_doubts(self) -> None:
        self._doubts.clear()
