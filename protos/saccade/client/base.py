"""The one interface of the SDK, synchronous and asynchronous.

`Vision` and `AsyncVision` promise the same, method by method; each has a remote implementation
(gRPC) and a local one (both halves in one process). In all four the same picture and question
have the same answer: the local ones, too, code and decode the tokens.

Every call raises a `saccade.errors.SaccadeError` when it fails: `SourceError` for what is no
usable picture, `QuestionError` for a question that can't be asked, `Unreachable` for a cloud
that doesn't answer within ``timeout_s`` seconds, ``LocalError`` for a client that is closed or
was used before a fork, and so on.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from saccade.client.fleet_types import Camera, WatchedAnswer
from saccade.client.streams import AnswerStream, AsyncAnswerStream
from saccade.turns import Question
from saccade.types import U8, Answer

if TYPE_CHECKING:
    from typing_extensions import Self


class PilImage(Protocol):
    """What we need of ``PIL.Image.Image``."""

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str) -> object: ...


# uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA; a file's path; the bytes of a file; a PIL image.
Picture = U8 | str | os.PathLike[str] | bytes | PilImage
# Or several, which the question names by their numbers from 1 on.
Pictures = Picture | list[Picture] | tuple[Picture, ...]


class Vision(ABC):
    """Answers questions about pictures. Safe to use from several threads.

    Close it, or use it in a ``with`` statement. A ``question`` is text, or a `Question`: turns of a
    system, a user and an assistant, which name pictures where they speak of them, and how the
    answer is drawn. Where it names none it is about all that are given. ``max_tokens`` 0 is the
    question's own, and where that says nothing the engine's maximum.
    """

    def ask(self, image: Pictures, question: Question | str, *, max_tokens: int = 0) -> Answer:
        """The answer to a question about one picture."""
        with self.stream(image, question, max_tokens=max_tokens) as pieces:
            return pieces.answer()

    @abstractmethod
    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AnswerStream:
        """The answer's text as it comes. Nothing happens, or fails, before the first piece is
        asked for.
        """

    @abstractmethod
    def cameras(self) -> tuple[Camera, ...]:
        """Every camera that the cloud knows, by device and name."""

    @abstractmethod
    def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        """The answer to a question about a camera's newest frame, however old that is: the
        answer says it (``age_s``, ``connected``).

        ``camera``: "device/name", or the name where it is unique. ``max_age_s``: raise
        ``StaleFrame`` where the frame is older when the question reaches the cloud.
        """

    @abstractmethod
    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> Iterator[WatchedAnswer]:
        """Every answer from now on, of one camera or all, for so many seconds or for ever."""

    @abstractmethod
    def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> Iterator[WatchedAnswer]:
        """Stored answers about what a camera captured from ``since`` to before ``until``, oldest
        first; None is open, ``limit`` 0 is all.

        Times have a time zone. ``camera`` is as in ``ask_camera``; "device/name" also reaches one
        that has not connected since the cloud started. Raises ``QuestionError`` where the cloud
        keeps no history.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connection and models. Closing twice is safe."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncVision(ABC):
    """`Vision` for asyncio; belongs to one event loop."""

    async def ask(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> Answer:
        """The answer to a question about one picture."""
        async with self.stream(image, question, max_tokens=max_tokens) as pieces:
            return await pieces.answer()

    @abstractmethod
    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AsyncAnswerStream:
        """See `Vision.stream`."""

    @abstractmethod
    async def cameras(self) -> tuple[Camera, ...]:
        """See `Vision.cameras`."""

    @abstractmethod
    async def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        """See `Vision.ask_camera`."""

    @abstractmethod
    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> AsyncIterator[WatchedAnswer]:
        """See `Vision.watch`."""

    @abstractmethod
    def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> AsyncIterator[WatchedAnswer]:
        """See `Vision.history`."""

    @abstractmethod
    async def close(self) -> None:
        """Release connection and models. Closing twice is safe."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
