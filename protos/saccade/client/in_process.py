"""Both halves in this process, with the packet between them that the wire would carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from threading import Lock

from saccade.answer_probability import mean_and_least
from saccade.client.base import AsyncVision, Pictures, Vision
from saccade.client.fleet_types import Camera, WatchedAnswer
from saccade.client.guard import Guard
from saccade.client.installed_halves import TokenAnswerer, open_answerer
from saccade.client.packet_encoder import EPOCH_UNIX_MS, EncodedPicture, PacketEncoder
from saccade.client.streams import AnswerStream, AsyncAnswerStream, AsyncItems, Items
from saccade.errors import QuestionError
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.turns import Question
from saccade.types import Answer, FrameTokens, Timing

_NO_CAMERAS = "one process has no cameras: connect to a cloud to {}"


class LocalVision(Vision):
    """Opens its models with the first question. Questions of several threads are batched."""

    def __init__(self, packet_encoder: PacketEncoder) -> None:
        self._packet_encoder = packet_encoder
        self._mind: TokenAnswerer | None = None
        self._opening = Lock()
        self._guard = Guard()

    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AnswerStream:
        return AnswerStream(self._answer(image, question, max_tokens))

    def cameras(self) -> tuple[Camera, ...]:
        self._guard.use()
        return ()

    def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        self._guard.use()
        raise QuestionError(_NO_CAMERAS.format(f"ask about {camera!r}"))

    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> Iterator[WatchedAnswer]:
        self._guard.use()
        raise QuestionError(_NO_CAMERAS.format("watch some"))

    def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> Iterator[WatchedAnswer]:
        self._guard.use()
        raise QuestionError(_NO_CAMERAS.format("read its history"))

    def close(self) -> None:
        self._guard.close()
        if self._guard.forked:
            return
        with self._opening:
            if self._mind is not None:
                self._mind.close()

    def _answer(self, image: Pictures, question: Question | str, max_tokens: int) -> Items:
        self._guard.use()
        begun = time.perf_counter()
        asked = self._packet_encoder.encode_for_question(image, question, max_tokens)
        mind = self._open()
        started = time.perf_counter()
        frames = {picture.tokens.sequence: self._receive(picture) for picture in asked.pictures}
        stages = asked.timing.stages | {"decode": (time.perf_counter() - started) * 1e3}
        received = frames[asked.about.sequence]
        texts = []
        for piece in mind.stream(frames, asked.question):
            texts.append(piece.text)
            if piece.text:
                yield piece.text
            if piece.finish is not None:
                probability, least = mean_and_least(piece.probability)
                yield Answer(
                    text="".join(texts),
                    sequence=received.sequence,
                    camera=received.camera,
                    timing=Timing(stages | (piece.timing.stages if piece.timing else {})),
                    bytes_sent=asked.packet_bytes,
                    finish=piece.finish,
                    probability=probability,
                    least_probability=least,
                    captured_ns=received.captured_ns,
                    age_s=time.perf_counter() - begun,
                    domain=self._packet_encoder.bundle.manifest.domain,
                )

    def _open(self) -> TokenAnswerer:
        with self._opening:
            self._guard.use()  # again: it may have been closed while the picture was encoded
            if self._mind is None:
                self._mind = open_answerer(self._packet_encoder.bundle)
            return self._mind

    def _receive(self, encoded: EncodedPicture) -> FrameTokens:
        return unpack(
            encoded.packet,
            limits=Limits.of(self._packet_encoder.bundle.manifest),
            cameras=[encoded.tokens.camera],
            epoch_unix_ms=EPOCH_UNIX_MS,
            codecs=self._packet_encoder.codecs,
        )


class AsyncLocalVision(AsyncVision):
    """`LocalVision` for asyncio, a thread for each step."""

    def __init__(self, packet_encoder: PacketEncoder) -> None:
        self._local = LocalVision(packet_encoder)

    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AsyncAnswerStream:
        return AsyncAnswerStream(_in_thread(self._local._answer(image, question, max_tokens)))

    async def cameras(self) -> tuple[Camera, ...]:
        return self._local.cameras()

    async def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        return self._local.ask_camera(camera, question, max_tokens=max_tokens)

    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> AsyncIterator[WatchedAnswer]:
        raise QuestionError(_NO_CAMERAS.format("watch some"))

    def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> AsyncIterator[WatchedAnswer]:
        raise QuestionError(_NO_CAMERAS.format("read its history"))

    async def close(self) -> None:
        await asyncio.to_thread(self._local.close)


async def _in_thread(items: Items) -> AsyncItems:
    step: asyncio.Future[str | Answer | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, items, None))
            item = await asyncio.shield(step)
            if item is None:
                return
            yield item
    finally:
        # A generator that runs in another thread can't be closed: its step ends first.
        if step is not None and not step.done():
            await asyncio.wait({step})
        await asyncio.to_thread(items.close)
