"""What the synchronous and the asynchronous client say and hear on the wire."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from typing import Literal

import grpc

from saccade.bundle import Bundle
from saccade.client.eye import EPOCH_UNIX_MS, Seen
from saccade.errors import QuestionError, RemoteError, SaccadeError, Unreachable
from saccade.limits import Limits
from saccade.nouns import Answer, Timing
from saccade.session import PROTOCOL
from saccade.status import from_rpc
from saccade.text import check_question, host_name
from saccade.tls import ClientTls
from saccade.tls_reason import tls_reason
from saccade.v1 import fleet_pb2
from saccade.v1 import vision_pb2 as pb

# An InferRequest holds a hello and a question beside its packet.
MESSAGE_BYTES = Limits().message_bytes + 64 * 1024


def infer_request(bundle: Bundle, seen: Seen, question: str, max_tokens: int) -> pb.InferRequest:
    """One question about one picture, with all that the cloud needs to understand it.

    Raises ``QuestionError`` for what is no question.
    """
    check_question(question, Limits.of(bundle.manifest).question_chars)
    hello = pb.Hello(
        protocol=PROTOCOL,
        device=host_name(),
        boot=secrets.randbits(64),
        bundle_digest=bundle.digest,
        cameras=[seen.tokens.camera],
        epoch_unix_ms=EPOCH_UNIX_MS,
    )
    return pb.InferRequest(
        hello=hello, packet=seen.packet, question=question, max_tokens=max_tokens
    )


def history_request(
    camera: str, since: datetime | None, until: datetime | None, limit: int
) -> fleet_pb2.HistoryRequest:
    """Raises ``QuestionError`` for times and limits that can't be meant."""
    if not 0 <= limit < 1 << 32:
        raise QuestionError(f"a limit of {limit} answers")
    return fleet_pb2.HistoryRequest(
        camera=camera, since_unix_ms=_unix_ms(since), until_unix_ms=_unix_ms(until), limit=limit
    )


def _unix_ms(when: datetime | None) -> int:
    """0 for None, which the wire takes for open."""
    if when is None:
        return 0
    if when.tzinfo is None:
        raise QuestionError(f"{when} has no time zone: is it local time or UTC?")
    return max(1, int(when.timestamp() * 1000))


class Hearing:
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

    def hear(self, reply: pb.InferReply | fleet_pb2.AskReply) -> str:
        """The next reply's text."""
        self._texts.append(reply.text)
        if reply.last:
            self._last = reply
        return reply.text

    def answer_about(self, seen: Seen) -> Answer:
        """The whole answer to `infer_request`. Raises ``RemoteError`` if its end is missing."""
        return self._answer(seen.tokens.sequence, seen.packet.ByteSize())

    def answer_of_camera(self) -> Answer:
        """The whole answer to an AskRequest. Raises ``RemoteError`` if its end is missing."""
        last = self._last
        if not isinstance(last, fleet_pb2.AskReply):
            raise RemoteError("the cloud ended the call before its answer was whole")
        return self._answer(last.sequence, last.packet_bytes)

    def _answer(self, sequence: int, bytes_sent: int) -> Answer:
        passed_ms = (time.perf_counter() - self._started) * 1e3
        if self._last is None:
            raise RemoteError("the cloud ended the call before its answer was whole")
        cloud = Timing({entry.stage: float(entry.ms) for entry in self._last.timing})
        link = {"link": max(passed_ms - cloud.total_ms, 0.0)}
        finish: Literal["stop", "length"] = "length" if self._last.finish == "length" else "stop"
        return Answer(
            text="".join(self._texts),
            sequence=sequence,
            camera=self._camera,
            timing=Timing(self._before.stages | link | cloud.stages),
            bytes_sent=bytes_sent,
            finish=finish,
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
