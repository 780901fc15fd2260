"""The board on which every answer appears, for those who watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from saccade.errors import LimitExceeded, SaccadeError
from saccade_cloud.closable_queue import ClosableQueue
from saccade_cloud.store.store_types import Observation

Wanted = Callable[[Observation], bool]


class AnswerBroadcast:
    """Answers from now on, to any number of watchers. Used from one event loop."""

    def __init__(self, backlog: int = 256) -> None:
        self._backlog = backlog
        self._watchers: dict[ClosableQueue[Observation], Wanted] = {}

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    def post(self, posted: Observation) -> None:
        """Show ``posted`` to all whom it concerns. Never waits for a slow watcher.

        One that is further behind than the backlog gets ``LimitExceeded`` after what it missed
        nothing of: better an error than a gap that nobody sees.
        """
        for pipe, wanted in list(self._watchers.items()):
            if wanted(posted) and not pipe.offer(posted):
                del self._watchers[pipe]
                pipe.end(LimitExceeded(f"the watcher fell {self._backlog} answers behind"))

    async def watch(self, wanted: Wanted) -> AsyncGenerator[Observation, None]:
        """Every wanted answer from the first step on."""
        pipe: ClosableQueue[Observation] = ClosableQueue(self._backlog)
        self._watchers[pipe] = wanted
        try:
            async for posted in pipe:
                yield posted
        finally:
            self._watchers.pop(pipe, None)

    def close(self, reason: SaccadeError) -> None:
        """No more answers: every watcher gets ``reason`` after what it has not read yet."""
        for pipe in self._watchers:
            pipe.end(reason)
        self._watchers.clear()
