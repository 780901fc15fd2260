"""The loop that decodes: who waits, who is in the batch, whose turn it is.

One thread runs ``run``; every other method may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from threading import Condition
from typing import Any

from tokenizers import Tokenizer

from saccade.errors import EngineError, LimitExceeded
from saccade_cloud.engines.base import EngineLimits
from saccade_cloud.engines.batch import Batch
from saccade_cloud.engines.fair_queue import FairQueue
from saccade_cloud.engines.request import Request
from saccade_cloud.engines.sampling import Decoded


class Scheduler:
    """Each turn lets newcomers in, then decodes one token of every running answer."""

    def __init__(
        self,
        batch: Batch[Any],
        tokenizer: Tokenizer,
        stops: Collection[int],
        limits: EngineLimits,
    ) -> None:
        """``stops``: ids of the tokens that end an answer."""
        self._batch = batch
        self._tokenizer = tokenizer
        self._stops = stops
        self._limits = limits
        self._waiting = FairQueue()
        self._newcomers: list[Request] = []  # being read, not yet in the batch
        self._changed = Condition()
        self._closed = False

    def submit(self, request: Request) -> None:
        """Queue ``request``. Raises ``LimitExceeded`` (queue full), ``EngineError`` (closed)."""
        with self._changed:
            if self._closed:
                raise EngineError("the engine is closed")
            if len(self._waiting) >= self._limits.max_waiting:
                raise LimitExceeded(
                    f"{len(self._waiting)} questions wait already, "
                    f"the engine holds {self._limits.max_waiting}"
                )
            self._waiting.add(request)
            self._changed.notify()

    def close(self) -> None:
        """Let ``run`` return after the turn it is in."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Serve until closed; whoever is left then gets an ``EngineError``."""
        try:
            while self._wait_for_work():
                self._drop_cancelled()
                self._admit_newcomers()
                self._step()
        finally:
            # Also on a defect that ends this thread: nobody waits for ever.
            self.close()
            left = [*self._newcomers, *self._batch.requests, *self._waiting]
            _fail(left, "the engine closed before the end")

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or len(self._batch))
            return not self._closed

    def _drop_cancelled(self) -> None:
        requests = self._batch.requests
        self._keep([row for row, request in enumerate(requests) if not request.cancelled])

    def _admit_newcomers(self) -> None:
        with self._changed:
            self._newcomers = self._waiting.take(self._limits.max_batch - len(self._batch))
        if not self._newcomers:
            return
        for request in self._newcomers:
            request.admitted()
        running = len(self._batch)
        try:
            tokens = self._batch.admit(self._newcomers)
        except EngineError as err:
            self._fail(self._newcomers, str(err))
        else:
            self._deliver(tokens, first_row=running)
        self._newcomers = []

    def _step(self) -> None:
        if not len(self._batch):
            return
        try:
            tokens = self._batch.step()
        except EngineError as err:
            failed = self._batch.requests
            self._batch.keep([])
            self._fail(failed, str(err))
            return
        self._deliver(tokens, first_row=0)

    def _deliver(self, tokens: Sequence[Decoded], first_row: int) -> None:
        """Hand ``tokens`` to the rows from ``first_row`` on; finished rows leave the batch."""
        rows = range(first_row, first_row + len(tokens))
        with self._changed:
            for row in rows:
                self._waiting.decoded(self._batch.requests[row])
        finished = {
            row
            for row, token in zip(rows, tokens, strict=True)
            if self._batch.requests[row].accept(token, self._tokenizer, self._stops)
        }
        self._keep([row for row in range(len(self._batch)) if row not in finished])

    def _keep(self, rows: Sequence[int]) -> None:
        """Let all rows of the batch but ``rows`` go."""
        kept = set(rows)
        gone = [request for row, request in enumerate(self._batch.requests) if row not in kept]
        self._batch.keep(rows)
        with self._changed:
            for request in gone:
                self._waiting.left(request)

    def _fail(self, requests: Sequence[Request], reason: str) -> None:
        """Requests that were taken from the queue and are in no row any more."""
        with self._changed:
            for request in requests:
                self._waiting.left(request)
        _fail(requests, reason)


def _fail(requests: Sequence[Request], reason: str) -> None:
    for request in requests:
        request.deliver(EngineError(reason))
