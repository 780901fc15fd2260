"""Whose question is read next, when several clients have some waiting.

Each client has a counter of what the engine did for it: prompt positions read and tokens decoded
(a virtual token counter: Sheng et al., Fairness in Serving Large Language Models, OSDI 2024).

- The client with the lowest counter is next; its own questions keep their order.
- A client that comes back from a pause starts at most ``CREDIT`` below the highest counter with
  which one was read: a little priority for those who ask seldom, and none that can be saved up.
- A client that is ahead of one whose answer is under way waits for it, but no more than
  ``HELD_TURNS`` turns: reading a prompt takes several times as long as decoding a token of all
  answers, so an answer that is under way would wait for every prompt that is read meanwhile.
- A client has at most three times as many rows of the batch as it leaves free.
- While others come and go, a client with many requests is read in small pieces: who comes then
  waits for one of them.

Used under the scheduler's lock. No clock, no I/O.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from saccade_cloud.engines.request import Request

TOKEN_COST = 2  # prompt positions that a decoded token counts as
CREDIT = 1024  # positions: about fifteen questions about a frame of 50 tokens
SLACK = 256  # positions: clients that are so close are read together
HELD_TURNS = 2  # an answer that is under way waits for a piece in every third of them
ROWS_PER_FREE = 3
# Prompt positions read in one go: bounds how long running answers and newcomers wait. About eight
# frames; 2,048 at a time take 4 % less of the processor, 128 take 35 % more.
PREFILL_POSITIONS = 512
MANY = 8  # requests of one client, waiting and running
MANY_POSITIONS = 128  # of them in one go, while others come and go
QUIET_TURNS = 256  # without a client that comes back: nobody else is there. Some seconds


class FairQueue:
    """Requests that wait, and the clients of all that wait or run."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Request]] = {}
        self._count = 0
        self._costs: dict[str, float] = {}
        self._active: Counter[str] = Counter()  # requests that wait or run, by client
        self._running: Counter[str] = Counter()
        self._reached = 0.0  # the highest counter with which a client was read
        self._held_turns = 0
        self._quiet_turns = QUIET_TURNS

    def __len__(self) -> int:
        """Requests that wait."""
        return self._count

    def __iter__(self) -> Iterator[Request]:
        return (request for waiting in self._waiting.values() for request in waiting)

    @property
    def clients(self) -> int:
        """Clients that are remembered."""
        return len(self._costs)

    def add(self, request: Request) -> None:
        client = request.client
        if client not in self._active:
            self._forget_idle()
            start = self._reached - CREDIT
            self._costs[client] = max(self._costs.get(client, start), start)
            if self._active:
                self._quiet_turns = 0
        self._active[client] += 1
        self._waiting.setdefault(client, deque()).append(request)
        self._count += 1

    def decoded(self, request: Request) -> None:
        """A token of a running request."""
        self._costs[request.client] += TOKEN_COST

    def left(self, request: Request) -> None:
        """A request that was taken has ended."""
        self._running[request.client] -= 1
        self._ended(request.client)

    def take(self, free_rows: int) -> list[Request]:
        """The next requests to be read, in one go; those that were cancelled are dropped."""
        taken: list[Request] = []
        prefixes: set[bytes] = set()
        positions = 0
        while free_rows > len(taken):
            request = self._next(free_rows - len(taken), self._bound())
            if request is None:
                break
            cost = request.fresh_positions(prefixes)
            if taken and positions + cost > self._most_positions(request.client):
                break
            positions += cost
            prefixes.add(request.prefix_key)
            self._pop(request.client)
            self._reached = max(self._reached, self._costs[request.client])
            self._running[request.client] += 1
            self._costs[request.client] += cost
            taken.append(request)
        lifted = self._held_turns >= HELD_TURNS
        held = any(self._costs[client] > self._bound() for client in self._waiting)
        self._held_turns = self._held_turns + 1 if held and not lifted else 0
        self._quiet_turns = min(self._quiet_turns + 1, QUIET_TURNS)
        return taken

    def _most_positions(self, client: str) -> int:
        alone = self._quiet_turns >= QUIET_TURNS or self._active[client] <= MANY
        return PREFILL_POSITIONS if alone else MANY_POSITIONS

    def _bound(self) -> float:
        """The highest counter with which a client may be read now."""
        running = [self._costs[client] for client in self._running if self._running[client]]
        if not running or self._held_turns >= HELD_TURNS:
            return float("inf")
        return min(running) + SLACK

    def _next(self, free_rows: int, bound: float) -> Request | None:
        """The first request of the client with the lowest counter that may have a row."""
        self._drop_cancelled()
        allowed = [
            client
            for client in self._waiting
            if self._costs[client] <= bound
            and self._running[client] < max(ROWS_PER_FREE * free_rows, 1)
        ]
        if not allowed:
            return None
        return self._waiting[min(allowed, key=lambda client: self._costs[client])][0]

    def _drop_cancelled(self) -> None:
        for client in list(self._waiting):
            while client in self._waiting and self._waiting[client][0].cancelled:
                self._pop(client)
                self._ended(client)

    def _pop(self, client: str) -> None:
        waiting = self._waiting[client]
        waiting.popleft()
        self._count -= 1
        if not waiting:
            del self._waiting[client]

    def _ended(self, client: str) -> None:
        self._active[client] -= 1
        if not self._active[client]:
            del self._active[client]
            self._running.pop(client, None)
        if not self._active:
            self._costs.clear()  # nobody is behind anybody
            self._reached = 0.0

    def _forget_idle(self) -> None:
        """Clients that would start as low without being remembered."""
        start = self._reached - CREDIT
        for client in [c for c in self._costs if c not in self._active]:
            if self._costs[client] <= start:
                del self._costs[client]
