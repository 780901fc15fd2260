"""Devices that only ask: real connections, packets of the clip, questions, no camera.

A greedy one keeps as many questions open as the protocol lets it, on many streams. A patient one
asks one question at a time, like a camera that looks now and then.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from saccade.channel import channel_options
from saccade.session import PROTOCOL
from saccade.tasks import end
from saccade.turns import asking
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub

MESSAGE_BYTES = 1 << 20
ANSWER_S = 10.0  # an answer that comes later counts as none
PAUSE_S = 0.05  # of a greedy stream that was refused a question


@dataclass(frozen=True, slots=True)
class Asker:
    """``packets``: serialised. ``open_questions`` of each of ``streams``; ``every_s``: of a patient
    one, between two questions.
    """

    address: str
    digest: bytes
    device: str
    packets: tuple[bytes, ...]
    questions: tuple[str, ...]
    seconds: float
    streams: int = 1
    open_questions: int = 1
    every_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """``answered_ms``: from question to last chunk; ``stages_ms``: of each answer, as the cloud
    says; ``asked`` in all.
    """

    asked: int = 0
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    refused: int = 0
    answered_ms: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Answers of all questions."""
        return len(self.answered_ms) / self.asked if self.asked else 0.0


class _Stream:
    """One conversation; every question is about a frame of its own."""

    def __init__(self, asker: Asker, number: int, outcome: Outcome) -> None:
        self._asker = asker
        self._number = number
        self._outcome = outcome
        self._sequences = itertools.count(1)
        self._writing = asyncio.Lock()
        self._packets = itertools.islice(itertools.cycle(asker.packets), number * 7, None)
        self._ended: dict[int, asyncio.Future[bool]] = {}  # by question: answered or refused

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        asker = self._asker
        own = ("grpc.use_local_subchannel_pool", 1)
        options = [*channel_options(asker.address, MESSAGE_BYTES), own]
        async with grpc.aio.insecure_channel(asker.address, options) as channel:
            self._call = VisionStub(channel).Connect(wait_for_ready=True)
            hello = pb.Hello(
                protocol=PROTOCOL,
                device=asker.device,
                boot=random.getrandbits(63) + 1,
                token_digest=asker.digest,
                cameras=[f"camera-{self._number}"],
                epoch_unix_ms=time.time_ns() // 1_000_000,
            )
            await self._call.write(pb.EdgeMessage(hello=hello))
            await self._call.read()
            listening = asyncio.ensure_future(self._listen())
            try:
                yield
            finally:
                await end(listening)
                self._call.cancel()

    async def ask(self) -> bool:
        """Send a frame, ask about it, wait for the answer; False where it was refused or late."""
        number = next(self._sequences)
        packet = tokens_pb2.FramePacket.FromString(next(self._packets))
        packet.sequence, packet.captured_ms, packet.camera = number, 0, 0
        text = self._asker.questions[number % len(self._asker.questions)]
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended[number] = ended
        self._outcome.asked += 1
        asked = pb.Question(id=number, turns=asking(text, (number,)).to_wire()[0])
        async with self._writing:  # one write at a time, says gRPC
            await self._call.write(pb.EdgeMessage(packet=packet))
            began_s = time.perf_counter()
            await self._call.write(pb.EdgeMessage(question=asked))
        done, _ = await asyncio.wait({ended}, timeout=ANSWER_S)
        if not done or not ended.result():
            self._outcome.refused += bool(done)
            return False
        self._outcome.answered_ms.append((time.perf_counter() - began_s) * 1e3)
        return True

    async def _listen(self) -> None:
        while isinstance(message := await self._call.read(), pb.CloudMessage):
            if message.answer.last:
                for stage in message.answer.timing:
                    self._outcome.stages_ms.setdefault(stage.stage, []).append(stage.ms)
                self._end(message.answer.question_id, answered=True)
            elif message.HasField("failure") and message.failure.question_id:
                self._end(message.failure.question_id, answered=False)

    def _end(self, number: int, *, answered: bool) -> None:
        ended = self._ended.pop(number, None)
        if ended is not None and not ended.done():
            ended.set_result(answered)


def live(asker: Asker) -> Outcome:
    """All of one device, in a process of its own."""
    return asyncio.run(_live(asker))


async def _live(asker: Asker) -> Outcome:
    outcome = Outcome()
    ends_s = time.monotonic() + asker.seconds
    streams = [_Stream(asker, number, outcome) for number in range(asker.streams)]
    await asyncio.gather(*(_ask_on(stream, asker, ends_s) for stream in streams))
    return outcome


async def _ask_on(stream: _Stream, asker: Asker, ends_s: float) -> None:
    async with stream.connected():
        turns = [_ask_again(stream, asker, ends_s) for _ in range(asker.open_questions)]
        await asyncio.gather(*turns)


async def _ask_again(stream: _Stream, asker: Asker, ends_s: float) -> None:
    while (began_s := time.monotonic()) < ends_s:
        answered = await stream.ask()
        pause_s = began_s + asker.every_s - time.monotonic() if asker.every_s else 0.0
        await asyncio.sleep(max(pause_s, 0.0 if answered else PAUSE_S))


def shares(outcomes: Sequence[Outcome]) -> Outcome:
    """Of several rounds together."""
    together = Outcome()
    for each in outcomes:
        together.asked += each.asked
        together.refused += each.refused
        together.answered_ms += each.answered_ms
        for stage, values in each.stages_ms.items():
            together.stages_ms.setdefault(stage, []).extend(values)
    return together
