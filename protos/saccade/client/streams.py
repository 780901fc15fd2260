"""An answer's text as it comes, and the whole answer at its end."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from saccade.errors import LocalError
from saccade.types import Answer

if TYPE_CHECKING:
    from typing_extensions import Self

# Pieces of text, then one answer.
Items = Generator[str | Answer, None, None]
AsyncItems = AsyncGenerator[str | Answer, None]

_LEFT_EARLY = "this stream was closed before its answer was whole"


class AnswerStream(Iterator[str]):
    """Iterate the pieces; joined, they are the answer's text. Close a stream that you leave
    early, or use it in a ``with`` statement.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._answer: Answer | None = None
        self._pid = os.getpid()

    def __next__(self) -> str:
        if self._pid != os.getpid():
            raise LocalError(f"this stream belongs to process {self._pid}, before the fork")
        item = next(self._items)
        if isinstance(item, str):
            return item
        self._answer = item
        raise StopIteration

    def answer(self) -> Answer:
        """The whole answer, once all pieces have come: those not read yet are skipped."""
        for _ in self:
            pass
        if self._answer is None:
            raise LocalError(_LEFT_EARLY)
        return self._answer

    def close(self) -> None:
        """End the call. Closing twice is safe."""
        if self._pid == os.getpid():
            self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncAnswerStream(AsyncIterator[str]):
    """`AnswerStream` for asyncio."""

    def __init__(self, items: AsyncItems) -> None:
        self._items = items
        self._answer: Answer | None = None

    async def __anext__(self) -> str:
        item = await anext(self._items)
        if isinstance(item, str):
            return item
        self._answer = item
        raise StopAsyncIteration

    async def answer(self) -> Answer:
        """The whole answer, once all pieces have come: those not read yet are skipped."""
        async for _ in self:
            pass
        if self._answer is None:
            raise LocalError(_LEFT_EARLY)
        return self._answer

    async def close(self) -> None:
        """End the call. Closing twice is safe."""
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
