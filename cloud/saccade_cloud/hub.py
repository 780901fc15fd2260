"""What all servicers of one server share: the way in for packets and the way out for answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial

from saccade.codecs import PLAIN, Codecs
from saccade.errors import LimitExceeded, StorageError
from saccade.limits import Limits
from saccade.packet import unpack, used_part
from saccade.tasks import next_or_none, within
from saccade.types import FrameTokens, Timing
from saccade.v1 import tokens_pb2, vision_pb2
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.answering import Answerer
from saccade_cloud.cloud_load import Load
from saccade_cloud.engines.base import TokenChunk
from saccade_cloud.fair_gate import FairGate
from saccade_cloud.frame_store import CodedTokens, FrameStore, StoredFrame
from saccade_cloud.quotas import Quotas
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.shared_places import SharedPlaces
from saccade_cloud.store.base import Store
from saccade_cloud.store.no_store import NoStore
from saccade_cloud.store.store_types import Observation

log = logging.getLogger(__name__)

# Packets up to here are decoded in the event loop. The way to a thread and back costs more than
# decoding what edges usually send (0.2 ms), and the worst that fits in here, klt, takes 3 ms: less
# than a thread that computes may keep the loop waiting for the interpreter anyway (5 ms).
SMALL_PACKET_BYTES = 2048


# Questions of one client beyond the waiting room: enough for its rows of the batch, and for those
# that follow them.
IN_WORK_OF_ONE = 48
MOST_TAKING = 1 << 16  # clients; fewer have a stream


def _one_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="saccade-unpack")


@dataclass(frozen=True, slots=True, eq=False)
class Hub:
    """Serves one event loop. ``digest``: the bundle's, 32 bytes; ``codecs``: with its tables;
    ``domain``: what its model was trained to see.
    """

    digest: bytes
    limits: Limits
    answerer: Answerer
    frames: FrameStore
    settings: ServerSettings
    store: Store = field(default_factory=NoStore)
    codecs: Codecs = PLAIN
    domain: str = ""
    board: AnswerBroadcast = field(default_factory=AnswerBroadcast)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    unpacking: ThreadPoolExecutor = field(default_factory=_one_worker)
    quotas: Quotas = field(init=False)
    load: Load = field(init=False)
    working: FairGate = field(init=False)  # questions that the engine has, or gets next
    preparing: FairGate = field(init=False)  # for it: there is one thread
    taking: FairGate = field(init=False)  # small packets: one of each client in a turn of the loop
    decoding: FairGate = field(init=False)  # large packets: the same

    def __post_init__(self) -> None:
        settings, engine = self.settings, self.answerer.limits
        object.__setattr__(
            self, "quotas", Quotas(settings.quota, settings.streams, settings.max_cameras)
        )
        places = SharedPlaces("questions", engine.max_waiting + engine.max_batch, IN_WORK_OF_ONE)
        object.__setattr__(self, "working", FairGate(places))
        object.__setattr__(self, "preparing", FairGate(SharedPlaces("questions", 1, 1)))
        object.__setattr__(self, "decoding", FairGate(SharedPlaces("packets", 1, 1)))
        object.__setattr__(self, "taking", FairGate(SharedPlaces("packets", MOST_TAKING, 1)))
        object.__setattr__(self, "load", Load(self.settings.answer_wait_s))

    async def unpack(
        self, packet: tokens_pb2.FramePacket, hello: vision_pb2.Hello, client: str = ""
    ) -> StoredFrame:
        """An untrusted packet of ``client`` as a frame, with the stages ``receive`` and ``decode``.

        Decoded here, and again when somebody asks: nothing less tells an entropy-coded stream from
        one that its edge coded wrong, and it is that edge that must hear of it. ``receive`` is the
        wait for the thread that decodes what is large, client by client. Only what decoding used is
        kept. Raises ``PacketError`` and ``LimitExceeded``, also for tokens about which nothing can
        be answered.
        """
        received_ns, received = time.time_ns(), time.perf_counter()
        packet_bytes = packet.ByteSize()
        tokens, started, ended = await self._decode(packet, hello, packet_bytes, client)
        self.answerer.check_frame(tokens)
        stages = {"receive": (started - received) * 1e3, "decode": (ended - started) * 1e3}
        return StoredFrame(
            device=hello.device,
            boot=hello.boot,
            tokens=CodedTokens(
                used_part(packet, tokens.damaged).SerializeToString(deterministic=True),
                hello,
                tokens.sequence,
                tokens.camera,
                tokens.captured_ns,
                tokens.damaged,
            ),
            packet_bytes=packet_bytes,
            received_ns=received_ns,
            timing=Timing(stages),
        )

    async def answer(
        self,
        frame: StoredFrame,
        question: str,
        max_tokens: int,
        number: int | None = None,
        client: str = "",
    ) -> AsyncGenerator[TokenChunk, None]:
        """The answer's chunks; the last one's timing has every stage of the frame's way.
        ``number``: the question's, in the load. ``client``: who asks; every client has its share.

        Raises what ``Answerer.prepare`` and ``generate`` raise, and ``LimitExceeded`` when it takes
        too long.
        """
        limit_s = self.settings.answer_timeout_s
        ends = time.monotonic() + limit_s
        async with aclosing(self._in_turn(frame, question, max_tokens, client)) as chunks:
            try:
                while chunk := await within(ends - time.monotonic(), next_or_none(chunks)):
                    self.load.begins(number, time.monotonic())
                    yield chunk
            except asyncio.TimeoutError:
                raise LimitExceeded(f"no whole answer within {limit_s:g} s") from None

    async def _in_turn(
        self, frame: StoredFrame, question: str, max_tokens: int, client: str
    ) -> AsyncGenerator[TokenChunk, None]:
        """The wait for a place counts as the stage ``queue``."""
        came = time.perf_counter()
        async with self.working.place(client):
            async with self.preparing.place(client):
                waited_ms = (time.perf_counter() - came) * 1e3
                tokens, timing = await self._tokens(frame, client)
                prepared = await self.answerer.prepare(tokens, question, max_tokens, client)
            async with aclosing(self.answerer.generate(prepared)) as chunks:
                async for chunk in chunks:
                    yield _after(timing, chunk, waited_ms)

    async def _tokens(self, frame: StoredFrame, client: str) -> tuple[FrameTokens, Timing]:
        """The frame's tokens, and its stages with the time that this took."""
        coded = frame.tokens
        packet = tokens_pb2.FramePacket.FromString(coded.packet)
        tokens, started, ended = await self._decode(packet, coded.hello, len(coded.packet), client)
        stages = dict(frame.timing.stages)
        stages["decode"] = stages.get("decode", 0.0) + (ended - started) * 1e3
        return tokens, Timing(stages)

    async def _decode(
        self,
        packet: tokens_pb2.FramePacket,
        hello: vision_pb2.Hello,
        packet_bytes: int,
        client: str,
    ) -> tuple[FrameTokens, float, float]:
        """The tokens, and when decoding began and ended."""
        work = partial(_timed_unpack, packet, hello, self.limits, self.codecs)
        if packet_bytes <= SMALL_PACKET_BYTES:
            async with self.taking.place(client):
                return work()
        async with self.decoding.place(client):
            return await asyncio.get_running_loop().run_in_executor(self.unpacking, work)

    async def posted_answer(
        self,
        frame: StoredFrame,
        question: str,
        max_tokens: int,
        number: int | None = None,
        client: str = "",
    ) -> AsyncGenerator[TokenChunk, None]:
        """``answer``; before its last chunk it is stored and on the board.

        Who heard the last chunk may forget the question, so the answer must be safe by then.
        """
        texts: list[str] = []
        async with aclosing(self.answer(frame, question, max_tokens, number, client)) as chunks:
            async for chunk in chunks:
                texts.append(chunk.text)
                if chunk.finish is not None:
                    answer = "".join(texts)
                    observed = _observation(frame, question, max_tokens, answer, chunk)
                    chunk = _before(chunk, await self._observe(observed))
                yield chunk

    async def _observe(self, observed: Observation) -> Timing:
        """Store it, then show it. A store that fails costs the history, not the answer."""
        started = time.perf_counter()
        try:
            await self.store.note(observed)
        except StorageError as error:
            path = f"{observed.device}/{observed.camera}"
            log.warning("no history of frame %d of %s: %s", observed.sequence, path, error)
        self.board.post(observed)
        ms = (time.perf_counter() - started) * 1e3
        return Timing({"store": ms} if self.store.durable else {})


def _timed_unpack(
    packet: tokens_pb2.FramePacket, hello: vision_pb2.Hello, limits: Limits, codecs: Codecs
) -> tuple[FrameTokens, float, float]:
    started = time.perf_counter()
    tokens = unpack(
        packet,
        limits=limits,
        cameras=hello.cameras,
        epoch_unix_ms=hello.epoch_unix_ms,
        codecs=codecs,
    )
    return tokens, started, time.perf_counter()


def _observation(
    frame: StoredFrame, question: str, max_tokens: int, answer: str, last: TokenChunk
) -> Observation:
    return Observation(
        device=frame.device,
        camera=frame.tokens.camera,
        boot=frame.boot,
        sequence=frame.tokens.sequence,
        captured_ns=frame.tokens.captured_ns,
        question=question,
        max_tokens=max_tokens,
        answer=answer,
        finish=last.finish or "length",
        packet_bytes=frame.packet_bytes,
        answered_ns=time.time_ns(),
        probability=last.probability,
    )


def _after(timing: Timing, chunk: TokenChunk, waited_ms: float) -> TokenChunk:
    if chunk.timing is None:
        return chunk
    stages = timing.stages | chunk.timing.stages
    stages["queue"] = stages.get("queue", 0.0) + waited_ms
    return replace(chunk, timing=Timing(stages))


def _before(chunk: TokenChunk, timing: Timing) -> TokenChunk:
    if chunk.timing is None:
        return chunk
    return replace(chunk, timing=Timing(chunk.timing.stages | timing.stages))
