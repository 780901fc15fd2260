"""From a question about frames at hand to its streamed answer, for one bundle's engine.

A question waits for a place at the engine, then for its turn at the thread that projects frames;
from there on the engine has it. Clients take turns at both. Its stages are put together once, with
the last chunk, and by then the answer is stored and shown to those who watch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

from saccade.errors import LimitExceeded, StorageError
from saccade.tasks import next_or_none, until
from saccade.turns import Question
from saccade.types import Timing
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.answering import Answerer, Prepared
from saccade_cloud.cloud_load import Load
from saccade_cloud.engines.base import TokenChunk
from saccade_cloud.fair_gate import FairGate
from saccade_cloud.frame_cache import DecodedFrame, ProjectedFrame
from saccade_cloud.frame_reader import FrameReader
from saccade_cloud.frame_store import StoredFrame
from saccade_cloud.shared_places import SharedPlaces
from saccade_cloud.store.base import Store
from saccade_cloud.store.store_types import Observation

log = logging.getLogger(__name__)

# Questions of one client beyond the waiting room: enough for its rows of the batch, and for those
# that follow them.
IN_WORK_OF_ONE = 48


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """``frames``: those that the question speaks of, by sequence; ``client``: who asks, each has
    its share; ``number``: the question's, in the load. ``came_along``: frames that the call itself
    brought, decoded. They are no device's: nothing of them is kept, and the answer is no
    observation.
    """

    question: Question
    frames: Mapping[int, StoredFrame]
    client: str = ""
    number: int | None = None
    came_along: Mapping[int, DecodedFrame] = field(default_factory=dict)

    @property
    def frame(self) -> StoredFrame:
        """The one that the answer is about."""
        return self.frames[max(self.frames)]


@dataclass(slots=True)
class _Stages:
    """Milliseconds of a question's way, beside those of the engine."""

    waited: float = 0.0
    decoded: float = 0.0
    projected: float = 0.0

    def merged(self, frame: Timing, engine: Timing) -> dict[str, float]:
        before = dict(frame.stages)
        before["decode"] = before.get("decode", 0.0) + self.decoded
        stages = before | {"reconstruct": self.projected} | engine.stages
        stages["queue"] = stages.get("queue", 0.0) + self.waited
        return stages


class AnswerService:
    """Of one bundle. Serves one event loop. ``engine``: what names engine and weights in an
    observation's identity.
    """

    def __init__(
        self,
        answerer: Answerer,
        reader: FrameReader,
        *,
        engine: str,
        store: Store,
        broadcast: AnswerBroadcast,
        timeout_s: float,
        wait_s: float,
    ) -> None:
        self._answerer = answerer
        self._reader = reader
        self._engine = engine
        self._store = store
        self._broadcast = broadcast
        self._timeout_s = timeout_s
        limits = answerer.limits
        self._working = FairGate(
            SharedPlaces("questions", limits.max_waiting + limits.max_batch, IN_WORK_OF_ONE)
        )
        self._preparing = FairGate(SharedPlaces("questions", 1, 1))  # there is one thread
        self.load = Load(wait_s)

    def check(self, question: Question) -> None:
        """Raises ``QuestionError`` or ``LimitExceeded`` for what `answer` would refuse, whatever
        the frames show.
        """
        self._answerer.check(question)

    async def answer(self, asked: Asked) -> AsyncGenerator[TokenChunk, None]:
        """The answer's chunks; the last one's timing has every stage of the frame's way.

        Who hears the last chunk may forget the question: an answer that is posted is stored by
        then. Raises what ``Answerer.prepare`` and the engine raise, ``LimitExceeded`` when it takes
        too long.
        """
        ends_s = time.monotonic() + self._timeout_s
        stages, texts = _Stages(), list[str]()
        try:
            async with AsyncExitStack() as stack:
                preparing = self._in_turn(asked, stages, stack)
                prepared = await until(ends_s, preparing)
                chunks = await stack.enter_async_context(
                    aclosing(self._answerer.generate(prepared))
                )
                while chunk := await until(ends_s, next_or_none(chunks)):
                    self.load.begins(asked.number, time.monotonic())
                    texts.append(chunk.text)
                    if chunk.finish is not None:
                        chunk = await self._ended(asked, chunk, stages, "".join(texts))
                    yield chunk
        except asyncio.TimeoutError:
            raise LimitExceeded(f"no whole answer within {self._timeout_s:g} s") from None

    async def close(self) -> None:
        """End the engine."""
        await self._answerer.close()

    async def _in_turn(self, asked: Asked, stages: _Stages, stack: AsyncExitStack) -> Prepared:
        """The prompt, once the client has a place at the engine, which ``stack`` holds."""
        came_s = time.perf_counter()
        await stack.enter_async_context(self._working.place(asked.client))
        async with self._preparing.place(asked.client):
            stages.waited = (time.perf_counter() - came_s) * 1e3
            seen = {
                sequence: await self._seen(asked, sequence, stages) for sequence in asked.frames
            }
            return self._answerer.prepare(asked.question, seen, asked.client)

    async def _seen(self, asked: Asked, sequence: int, stages: _Stages) -> ProjectedFrame:
        """A frame as prompts need it, from the cache where it has been asked about."""
        if (came := asked.came_along.get(sequence)) is not None:
            return await self._project(came, stages)
        frame = asked.frames[sequence]
        seen, took_ms = await self._reader.seen(frame, asked.client)
        stages.decoded += took_ms
        if isinstance(seen, ProjectedFrame):
            return seen
        projected = await self._project(seen, stages)
        self._reader.keep(frame, projected)
        return projected

    async def _project(self, decoded: DecodedFrame, stages: _Stages) -> ProjectedFrame:
        began_s = time.perf_counter()
        projected = await self._answerer.project(decoded.tokens)
        stages.projected += (time.perf_counter() - began_s) * 1e3
        return projected

    async def _ended(
        self, asked: Asked, last: TokenChunk, stages: _Stages, text: str
    ) -> TokenChunk:
        """The last chunk with all stages. A store that fails costs the history, not the answer."""
        merged = stages.merged(asked.frame.timing, last.timing or Timing())
        if not asked.came_along:
            began_s = time.perf_counter()
            observed = _observation(asked, self._engine, text, last)
            await self._store_it(observed)
            self._broadcast.publish(observed)
            if self._store.durable:
                merged["store"] = (time.perf_counter() - began_s) * 1e3
        return replace(last, timing=Timing(merged))

    async def _store_it(self, observed: Observation) -> None:
        try:
            await self._store.note(observed)
        except StorageError as error:
            path = f"{observed.device}/{observed.camera}"
            log.warning("no history of frame %d of %s: %s", observed.sequence, path, error)


def _observation(asked: Asked, engine: str, text: str, last: TokenChunk) -> Observation:
    frame = asked.frame
    return Observation(
        device=frame.device,
        camera=frame.tokens.camera,
        boot=frame.boot,
        sequence=frame.tokens.sequence,
        captured_ns=frame.tokens.captured_ns,
        identity=asked.question.identity(engine),
        question=asked.question.text,
        answer=text,
        finish=last.finish or "length",
        packet_bytes=frame.packet_bytes,
        answered_ns=time.time_ns(),
        probability=last.probability,
    )
