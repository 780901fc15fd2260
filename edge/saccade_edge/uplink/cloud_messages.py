"""What the cloud says, as events; the outbox learns what is settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from saccade.answer_probability import probability_of
from saccade.errors import StorageError
from saccade.types import NS_PER_MS, Timing
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import from_failure
from saccade_edge.uplink.outbox import Outbox
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    Answered,
    AnswerPiece,
    CloudBudget,
    Refused,
    UplinkEvent,
)


class CloudMessageHandler:
    """Of one stream: half-heard answers end with it, so that they are not told twice."""

    def __init__(
        self,
        outbox: Outbox,
        emit: Callable[[UplinkEvent], None],
        cameras: Sequence[str],
        epoch_unix_ms: int,
    ) -> None:
        self._outbox = outbox
        self._emit = emit
        self._cameras = cameras
        self._epoch_unix_ms = epoch_unix_ms
        self._texts: dict[int, str] = {}
        self.sent_s: dict[int, float] = {}

    async def handle(self, message: pb.CloudMessage) -> None:
        kind = message.WhichOneof("kind")
        if kind == "ack":
            await self._acknowledged(message.ack)
        elif kind == "answer":
            await self._answered(message.answer)
        elif kind == "failure":
            await self._refused(message.failure)
        elif kind == "budget":
            budget = message.budget
            self._emit(CloudBudget(budget.frames_per_minute, budget.reason))

    async def _acknowledged(self, ack: pb.Acknowledgement) -> None:
        queued = await self._outbox.settle(ack.sequence, stored=ack.stored)
        now_s = time.monotonic()
        self._emit(
            Acknowledged(
                sequence=ack.sequence,
                packet_bytes=ack.bytes,
                stored=ack.stored,
                round_trip_ms=(now_s - self.sent_s.pop(ack.sequence, now_s)) * 1e3,
                received_unix_ms=ack.received_unix_ms,
                live=queued is None or queued.live,
            )
        )

    async def _answered(self, chunk: pb.AnswerChunk) -> None:
        text = self._texts.pop(chunk.question_id, "") + chunk.text
        if chunk.text:
            self._emit(AnswerPiece(chunk.question_id, chunk.sequence, chunk.text))
        if not chunk.last:
            self._texts[chunk.question_id] = text
            return
        answered = await self._outbox.answered(chunk.question_id)
        if answered is not None:
            question, queued = answered
            timing = Timing({entry.stage: float(entry.ms) for entry in chunk.timing})
            finish: Literal["stop", "length"] = "length" if chunk.finish == "length" else "stop"
            self._emit(
                Answered(
                    question.id,
                    question.sequence,
                    question.text,
                    text,
                    finish,
                    timing,
                    camera=self._cameras[queued.packet.camera],
                    packet_bytes=queued.size,
                    captured_ns=(self._epoch_unix_ms + queued.packet.captured_ms) * NS_PER_MS,
                    probability=probability_of(chunk),
                )
            )

    async def _refused(self, failure: pb.Failure) -> None:
        error = from_failure(failure)
        if failure.sequence and isinstance(error, StorageError):
            # Not refused, only not stored yet: it stays in the outbox, and is sent again on a new
            # stream, after a pause.
            raise error
        if failure.sequence:
            self._emit(Refused(error, failure.sequence))
            # There is no frame now that could be asked about.
            for question in await self._outbox.refuse(failure.sequence, error.code):
                self._texts.pop(question.id, None)
                self._emit(Refused(error, question.sequence, question.text))
        if answered := await self._outbox.answered(failure.question_id):
            question, _ = answered
            self._texts.pop(question.id, None)
            self._emit(Refused(error, question.sequence, question.text))
