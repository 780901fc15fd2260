"""What the synchronous and the asynchronous client say and hear on the wire."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import datetime
from typing import Literal

import grpc

from saccade.answer_probability import mean_and_least, probability_of
from saccade.bundle import Bundle
from saccade.client.packet_encoder import EPOCH_UNIX_MS, EncodedQuestion
from saccade.errors import QuestionError, RemoteError, SaccadeError, Unreachable
from saccade.limits import MOST_MESSAGE_BYTES, Limits, check
from saccade.session import PROTOCOL
from saccade.text import host_name
from saccade.tls import ClientTls
from saccade.tls_reason import tls_reason
from saccade.turns import MAX_UINT32, Question, as_question
from saccade.types import NS_PER_MS, Answer, Timing
from saccade.v1 import fleet_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import from_rpc

# An InferRequest holds a hello and a question beside its packets, which `infer_request` bounds by
# what the bundle allows.
ENVELOPE_BYTES = 64 * 1024
MESSAGE_BYTES = MOST_MESSAGE_BYTES + ENVELOPE_BYTES
_MAX_INT64 = (1 << 63) - 1


def infer_request(bundle: Bundle, asked: EncodedQuestion) -> pb.InferRequest:
    """One question about pictures, with all that the cloud needs to understand it.

    Raises ``LimitExceeded`` for pictures that are too much for one message.
    """
    most_bytes = Limits.of(bundle.manifest).message_bytes
    check("bytes in the packets of a question", asked.packet_bytes, most_bytes)
    hello = pb.Hello(
        protocol=PROTOCOL,
        device=host_name(),
        boot=secrets.randbits(64),
        token_digest=bundle.token_digest,
        cameras=[asked.about.camera],
        epoch_unix_ms=EPOCH_UNIX_MS,
    )
    turns, generation = asked.question.to_wire()
    return pb.InferRequest(
        hello=hello,
        packets=[picture.packet for picture in asked.pictures],
        turns=turns,
        generation=generation,
    )


def camera_request(
    camera: str, question: Question | str, max_tokens: int, max_age_s: float | None
) -> fleet_pb2.AskRequest:
    """Raises ``QuestionError`` for what can't be meant."""
    check_camera(camera)
    asked = as_question(question).with_frames(0).within(max_tokens)
    asked.check()
    turns, generation = asked.to_wire()
    request = fleet_pb2.AskRequest(camera=camera, turns=turns, generation=generation)
    if max_age_s is not None:
        request.max_age_ms = _age_ms(max_age_s)
    return request


def watch_request(camera: str | None) -> fleet_pb2.WatchRequest:
    """None: of all cameras. Raises ``QuestionError``."""
    if camera is not None:
        check_camera(camera)
    return fleet_pb2.WatchRequest(camera=camera or "")


def check_camera(camera: str) -> None:
    """Raises ``QuestionError`` for what names no camera."""
    if not isinstance(camera, str) or not camera or not camera.isprintable():
        raise QuestionError(f"{camera!r} names no camera: give DEVICE/NAME, or a name")


def _age_ms(max_age_s: float) -> int:
    if isinstance(max_age_s, bool) or not isinstance(max_age_s, (int, float)) or not max_age_s >= 0:
        raise QuestionError(f"max_age_s is a number of seconds from 0 on, not {max_age_s!r}")
    return min(int(min(max_age_s, 1e15) * 1e3), _MAX_INT64)


def history_request(
    camera: str, since: datetime | None, until: datetime | None, limit: int
) -> fleet_pb2.HistoryRequest:
    """Raises ``QuestionError`` for times and limits that can't be meant."""
    check_camera(camera)
    if not isinstance(limit, int) or not 0 <= limit <= MAX_UINT32:
        raise QuestionError(f"a limit of {limit!r} answers")
    return fleet_pb2.HistoryRequest(
        camera=camera, since_unix_ms=_unix_ms(since), until_unix_ms=_unix_ms(until), limit=limit
    )


def _unix_ms(when: datetime | None) -> int:
    """0 for None, which the wire takes for open."""
    if when is None:
        return 0
    if not isinstance(when, datetime):
        raise QuestionError(f"a time is a datetime, not {type(when).__name__}")
    if when.tzinfo is None:
        raise QuestionError(f"{when} has no time zone: is it local time or UTC?")
    return max(1, int(when.timestamp() * 1000))


class AnswerAssembler:
    """Puts an answer together from one call's replies; create it when the request is sent.

    ``before``: the stages so far. What neither end accounts for is the stage ``link``; where the
    caller reads pieces slowly, its time is in there, too.
    """

    def __init__(self, camera: str, before: Timing | None = None) -> None:
        self._camera = camera
        self._before = before or Timing()
        self._started = time.perf_counter()
        self._texts: list[str] = []
        self._last: pb.InferReply | fleet_pb2.AskReply | None = None

    def add(self, reply: pb.InferReply | fleet_pb2.AskReply) -> str:
        """The next reply's text."""
        self._texts.append(reply.text)
        if reply.last:
            self._last = reply
        return reply.text

    def answer_about(self, asked: EncodedQuestion) -> Answer:
        """The whole answer to `infer_request`. Raises ``RemoteError`` if its end is missing."""
        answer = self._answer(asked.about.sequence, asked.packet_bytes)
        return replace(answer, captured_ns=asked.about.captured_ns, age_s=self._passed_s)

    def answer_of_camera(self) -> Answer:
        """The whole answer to an AskRequest. Raises ``RemoteError`` if its end is missing."""
        last = self._last
        if not isinstance(last, fleet_pb2.AskReply):
            raise RemoteError("the cloud ended the call before its answer was whole")
        return replace(
            self._answer(last.sequence, last.packet_bytes),
            captured_ns=last.captured_unix_ms * NS_PER_MS,
            age_s=last.age_ms / 1e3 if last.HasField("age_ms") else None,
            clock_ahead_s=last.clock_ahead_ms / 1e3,
            connected=last.connected,
        )

    @property
    def _passed_s(self) -> float:
        """Since the picture was read."""
        return time.perf_counter() - self._started + self._before.total_ms / 1e3

    def _answer(self, sequence: int, bytes_sent: int) -> Answer:
        passed_ms = (time.perf_counter() - self._started) * 1e3
        if self._last is None:
            raise RemoteError("the cloud ended the call before its answer was whole")
        cloud = Timing({entry.stage: float(entry.ms) for entry in self._last.timing})
        link = {"link": max(passed_ms - cloud.total_ms, 0.0)}
        probability, least = mean_and_least(probability_of(self._last))
        finish: Literal["stop", "length"] = "length" if self._last.finish == "length" else "stop"
        return Answer(
            text="".join(self._texts),
            sequence=sequence,
            camera=self._camera,
            timing=Timing(self._before.stages | link | cloud.stages),
            bytes_sent=bytes_sent,
            finish=finish,
            probability=probability,
            least_probability=least,
            domain=self._last.domain,
        )


def translated(error: grpc.RpcError, cloud: str, tls: ClientTls | None) -> SaccadeError:
    """What a failed call raises: the cloud's own error, or which cloud is not there and why.

    May look at the cloud's certificate, which blocks for some seconds at most.
    """
    known = from_rpc(error)
    if not isinstance(known, Unreachable):
        return known
    refused = (
        isinstance(error, (grpc.Call, grpc.aio.AioRpcError))
        and error.code() is grpc.StatusCode.UNAVAILABLE
    )
    reason = tls_reason(cloud, tls) if refused else None
    return Unreachable(f"the cloud at {cloud} does not answer: {reason or known}")
