"""Places that several holders share: streams of devices, calls of applications, cameras.

A quarter of all places is kept for holders that have none yet. Of the others, a holder has at most
``most``, and never more than a quarter of what the other holders leave. So no few greedy holders
take all: with N of them each gets 3/4 of the total / (N + 3), and a newcomer has a place.
(Dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from saccade.errors import LimitExceeded

SHARE = 4  # a holder's part of what others leave is 1 / SHARE
RESERVE = 4  # 1 / RESERVE of all is for first places


class SharedPlaces:
    """``total`` places, named ``what`` in messages. Used from one event loop."""

    def __init__(self, what: str, total: int, most: int) -> None:
        self._what = what
        self._total = total
        self._most = most
        self._held: dict[str, int] = {}
        self._used = 0

    @property
    def used(self) -> int:
        """Places that are held, by all holders."""
        return self._used

    def held(self, holder: str) -> int:
        """Places of one holder."""
        return self._held.get(holder, 0)

    def check(self, holder: str, count: int) -> None:
        """May ``holder`` have ``count`` places? Raises ``LimitExceeded``; takes nothing.

        Who wants no more than it has is never refused.
        """
        if not self.fits(holder, count):
            raise LimitExceeded(
                f"{count} {self._what} of {holder or 'one caller'}: its share of {self._total} "
                f"is {self._allowed(holder)} now"
            )

    def fits(self, holder: str, count: int) -> bool:
        """What ``check`` asks."""
        return count <= max(self.held(holder), self._allowed(holder))

    def hold(self, holder: str, count: int) -> None:
        """``holder`` has ``count`` places from now on. Raises ``LimitExceeded``."""
        self.check(holder, count)
        self._used += count - self.held(holder)
        if count:
            self._held[holder] = count
        else:
            self._held.pop(holder, None)

    def _allowed(self, holder: str) -> int:
        left = self._total - (self._used - self.held(holder))
        beyond_first = left - self._total // RESERVE
        return min(self._most, max(beyond_first // SHARE, 1), left)

    @contextmanager
    def one(self, holder: str) -> Iterator[None]:
        """One more place while the block runs. Raises ``LimitExceeded``."""
        self.hold(holder, self.held(holder) + 1)
        try:
            yield
        finally:
            self.hold(holder, self.held(holder) - 1)
