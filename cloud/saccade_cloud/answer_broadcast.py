"""Every answer, as it is given, to those who watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from saccade.errors import LimitExceeded, SaccadeError
from saccade_cloud.closable_queue import ClosableQueue
from saccade_cloud.store.store_types import Observation

Wanted = Callable[[Observation], bool]


class AnswerBroadcast:
    """Answers from now on, to any number of subscribers. Used from one event loop."""

    def __init__(self, backlog: int = 256) -> None:
        self._backlog = backlog
        self._subscribers: dict[ClosableQueue[Observation], Wanted] = {}

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def publish(self, posted: Observation) -> None:
        """Show ``posted`` to all whom it concerns. Never waits for a slow watcher.

        One that is further behind than the backlog gets ``LimitExceeded`` after what it missed
        nothing of: better an error than a gap that nobody sees.
        """
        for queue, wanted in list(self._subscribers.items()):
            if wanted(posted) and not queue.offer(posted):
                del self._subscribers[queue]
                queue.end(LimitExceeded(f"the watcher fell {self._backlog} answers behind"))

    async def subscribe(self, wanted: Wanted) -> AsyncGenerator[Observation, None]:
        """Every wanted answer from the first step on."""
        queue: ClosableQueue[Observation] = ClosableQueue(self._backlog)
        self._subscribers[queue] = wanted
        try:
            async for posted in queue:
                yield posted
        finally:
            self._subscribers.pop(queue, None)

    def close(self, reason: SaccadeError) -> None:
        """No more answers: every watcher gets ``reason`` after what it has not read yet."""
        for queue in self._subscribers:
            queue.end(reason)
        self._subscribers.clear()
