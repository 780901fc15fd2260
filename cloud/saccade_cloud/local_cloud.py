"""The cloud inside this process: the same answers without a server, for tests and small uses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator, Mapping
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from saccade.bundle import Bundle
from saccade.errors import EngineError
from saccade.tasks import next_or_none
from saccade.turns import Question
from saccade.types import Answer, FrameTokens
from saccade_cloud.assemble import open_answerer, open_engine
from saccade_cloud.engines.base import TokenChunk

T = TypeVar("T")


class LocalCloud:
    """Synchronous; safe to call from several threads, whose questions are then batched.

    Close it, or use it as a context manager. Asyncio programs use ``open_answerer`` directly.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self._answerer = open_answerer(bundle, open_engine(bundle, threads=threads))
        self._pid = os.getpid()  # its threads are in this process alone
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="saccade-local", daemon=True)
        self._thread.start()

    def ask(self, frame: FrameTokens, question: str, max_tokens: int = 0) -> Answer:
        """The whole answer. Raises what ``Answerer.stream`` raises."""
        return self._run(self._answerer.answer(frame, question, max_tokens))

    def stream(self, frames: Mapping[int, FrameTokens], question: Question) -> Iterator[TokenChunk]:
        """The answer's chunks as they come; ``frames``: those that the question speaks of."""
        chunks = self._answerer.stream(frames, question)
        try:
            while (chunk := self._run(next_or_none(chunks))) is not None:
                yield chunk
        finally:
            self._run(chunks.aclose())

    def close(self) -> None:
        """End the engine and its threads. Closing twice is safe."""
        if self._loop.is_closed() or self._pid != os.getpid():
            return
        self._run(self._answerer.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> LocalCloud:  # noqa: PYI034 - typing.Self is Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed() or self._pid != os.getpid():
            work.close()
            gone = "closed" if self._loop.is_closed() else "in the process before the fork"
            raise EngineError(f"the local cloud is {gone}")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
