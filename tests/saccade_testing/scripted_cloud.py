"""A real gRPC server whose side of each conversation is written by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.session import PROTOCOL
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionServicer, add_VisionServicer_to_server
from saccade_testing.questions import sequence_of

Context = grpc.aio.ServicerContext[Any, Any]


class Line:
    """The cloud's end of one conversation; ``heard`` is all that the edge has said on it."""

    def __init__(self, bundle: Bundle, context: Context) -> None:
        self._bundle = bundle
        self.context = context
        self.heard: list[pb.EdgeMessage] = []

    async def hear(self) -> pb.EdgeMessage | None:
        """The edge's next message, None when it has said all."""
        message = await self.context.read()
        if not isinstance(message, pb.EdgeMessage):
            return None
        self.heard.append(message)
        return message

    async def say(self, **kind: Any) -> None:
        await self.context.write(pb.CloudMessage(**kind))

    async def greet(self, **fields: Any) -> None:
        """Hear hello, say welcome; ``fields`` of welcome that shall be different."""
        await self.hear()
        usual = {
            "protocol": PROTOCOL,
            "token_digest": self._bundle.token_digest,
            "codecs": self._bundle.manifest.codecs,
            "limits": Limits.of(self._bundle.manifest).to_wire(),
        }
        await self.say(welcome=pb.Welcome(**{**usual, **fields}))

    async def ack(self, packet: Any) -> None:
        await self.say(
            ack=pb.Acknowledgement(sequence=packet.sequence, bytes=packet.ByteSize(), stored=True)
        )

    async def answer(self, question: pb.Question, *texts: str) -> None:
        """One chunk for each text, the last one with a stage's time."""
        for index, text in enumerate(texts):
            last = index == len(texts) - 1
            chunk = pb.AnswerChunk(
                question_id=question.id, sequence=sequence_of(question), text=text, last=last
            )
            if last:
                chunk.finish = "stop"
                chunk.timing.add(stage="prefill", ms=1.5)
            await self.say(answer=chunk)

    def said(self, kind: str) -> list[Any]:
        """What the edge has said of one kind."""
        return [getattr(m, kind) for m in self.heard if m.WhichOneof("kind") == kind]


Script = Callable[[Line], Awaitable[None]]


async def honest(line: Line) -> None:
    """Welcomes, acknowledges every packet, answers every question with "blue car"."""
    await line.greet()
    await serve(line)


async def serve(line: Line) -> None:
    """What ``honest`` does after its welcome."""
    while (message := await line.hear()) is not None:
        kind = message.WhichOneof("kind")
        if kind == "packet":
            await line.ack(message.packet)
        elif kind == "question":
            await line.answer(message.question, "blue", " car")
        elif kind == "bye":
            return


@dataclass
class ScriptedCloud:
    """``lines``: the conversations so far, in order."""

    address: str
    lines: list[Line] = field(default_factory=list)


class _Vision(VisionServicer):
    """The n-th conversation plays the n-th script, the last one again and again."""

    def __init__(self, bundle: Bundle, scripts: Sequence[Script], lines: list[Line]) -> None:
        self._bundle = bundle
        self._scripts = scripts
        self._lines = lines

    async def Connect(  # type: ignore[override]  # noqa: N802 - the stub's name and looser types
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> None:
        script = self._scripts[min(len(self._lines), len(self._scripts) - 1)]
        line = Line(self._bundle, context)
        self._lines.append(line)
        await script(line)

    async def Infer(  # type: ignore[override]  # noqa: N802 - as above
        self, request: pb.InferRequest, context: Context
    ) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "edges do not call this")


@asynccontextmanager
async def scripted_cloud(
    bundle: Bundle, *scripts: Script, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[ScriptedCloud]:
    """Serves on a free loopback port."""
    lines: list[Line] = []
    server = grpc.aio.server()
    add_VisionServicer_to_server(_Vision(bundle, scripts or (honest,), lines), server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield ScriptedCloud(f"127.0.0.1:{port}", lines)
    finally:
        await server.stop(0)
