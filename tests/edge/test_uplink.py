from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import (
    DigestMismatch,
    Forbidden,
    LimitExceeded,
    QuestionError,
    RemoteError,
    SaccadeError,
    StorageError,
    Unreachable,
    VersionMismatch,
)
from saccade.limits import Limits
from saccade.types import Timing
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import to_failure, to_status
from saccade_edge.spool import SpoolEvent
from saccade_edge.uplink import (
    Acknowledged,
    Answered,
    AnswerPiece,
    CloudBudget,
    Connected,
    ConnectionLost,
    Refused,
    Uplink,
    UplinkEvent,
    UplinkSettings,
)
from saccade_testing.questions import text_of
from saccade_testing.scripted_cloud import Line, ScriptedCloud, honest, scripted_cloud, serve
from saccade_testing.shipped import SHIPPED

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def packet(sequence: int) -> tokens_pb2.FramePacket:
    return tokens_pb2.FramePacket(sequence=sequence, layers=[bytes(100)])


class Edge:
    """An uplink that runs, and the events that it has told."""

    def __init__(self, cloud: str, bundle: Bundle, **changes: Any) -> None:
        quick = {"backoff_first_s": 0.02, "backoff_most_s": 0.05, "patience_s": 10.0}
        settings = UplinkSettings(cloud, "kerb", ("north",), **{**quick, **changes})
        self.events: list[UplinkEvent | SpoolEvent] = []
        self._told = asyncio.Event()
        self.uplink = Uplink(settings, bundle, self._hear)
        self.running = asyncio.ensure_future(self.uplink.run())

    def _hear(self, event: UplinkEvent | SpoolEvent) -> None:
        self.events.append(event)
        self._told.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Conditions are looked at after each event."""
        while not condition():
            await self._told.wait()
            self._told.clear()

    async def end(self) -> bool:
        complete = await self.uplink.finish(5)
        await asyncio.wait_for(self.running, 10)
        return complete

    def told(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_is_sent_is_acknowledged_and_what_is_asked_is_answered(bundle: Bundle) -> None:
    async def test() -> None:
        async with scripted_cloud(bundle) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), ["what is it?"])
            await edge.uplink.send(packet(2), [])
            assert await edge.end()
            (line,) = cloud.lines
            (hello,) = line.said("hello")
            kinds = [m.WhichOneof("kind") for m in line.heard]
            assert kinds == ["hello", "packet", "question", "packet", "bye"]
            assert (hello.device, list(hello.cameras)) == ("kerb", ["north"])
            assert hello.token_digest == bundle.token_digest
            assert edge.events[0] == Connected(cloud.address, 0)
            acks = edge.told(Acknowledged)
            assert [(a.sequence, a.packet_bytes) for a in acks] == [
                (n, packet(n).ByteSize()) for n in (1, 2)
            ]
            assert all(0 < a.round_trip_ms < 5_000 for a in acks)
            assert [p.text for p in edge.told(AnswerPiece)] == ["blue", " car"]
            timing = Timing({"prefill": 1.5})
            captured_ns = (hello.epoch_unix_ms + packet(1).captured_ms) * 10**6
            assert edge.told(Answered) == [
                Answered(1, 1, "what is it?", "blue car", "stop", timing, "north", 104, captured_ns)
            ]

    play(test)


def test_no_more_is_in_flight_than_the_cloud_allows(bundle: Bundle) -> None:
    release = asyncio.Event()

    async def slow(line: Line) -> None:
        await line.greet(limits=pb.Limits(in_flight_packets=2))
        packets = [(await line.hear()).packet for _ in range(2)]  # type: ignore[union-attr]
        await release.wait()
        for waiting in packets:
            await line.ack(waiting)
        await serve(line)

    async def test() -> None:
        async with scripted_cloud(bundle, slow) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), [])
            await edge.uplink.send(packet(2), [])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(edge.uplink.room(0), 0.1)
            release.set()
            await edge.uplink.send(packet(3), [])
            assert await edge.end()
            assert [p.sequence for p in cloud.lines[0].said("packet")] == [1, 2, 3]

    play(test)


def test_after_a_lost_connection_all_that_is_owed_comes_and_nothing_twice(bundle: Bundle) -> None:
    async def breaks(line: Line) -> None:
        """Acknowledges 1, says half an answer about it, and is gone."""
        await line.greet()
        while len(line.said("packet")) < 2:
            await line.hear()
        await line.ack(line.said("packet")[0])
        await line.say(answer=pb.AnswerChunk(question_id=1, sequence=1, text="a half "))
        await line.context.abort(grpc.StatusCode.UNAVAILABLE, "the tunnel")

    async def test() -> None:
        async with scripted_cloud(bundle, breaks, honest) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), ["what is it?"])
            await edge.uplink.send(packet(2), [])
            await edge.until(lambda: len(edge.told(ConnectionLost)) == 1)
            await edge.uplink.send(packet(3), ["and now?"])
            assert await edge.end()
            second = cloud.lines[1]
            assert [p.sequence for p in second.said("packet")] == [1, 2, 3]
            assert [text_of(q) for q in second.said("question")] == ["what is it?", "and now?"]
            boots = {line.said("hello")[0].boot for line in cloud.lines}
            assert len(boots) == 1  # the cloud knows the packets again
            assert edge.told(Connected)[1] == Connected(cloud.address, 3)
            assert isinstance(edge.told(ConnectionLost)[0].error, Unreachable)
            assert [a.text for a in edge.told(Answered)] == ["blue car", "blue car"]

    play(test)


def test_what_is_stored_already_is_not_sent_again(bundle: Bundle) -> None:
    async def forgets_to_say(line: Line) -> None:
        await line.greet()
        while len(line.said("packet")) < 2:
            await line.hear()

    async def remembers(line: Line) -> None:
        await line.greet(stored=[1])
        await serve(line)

    async def test() -> None:
        async with scripted_cloud(bundle, forgets_to_say, remembers) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), [])
            await edge.uplink.send(packet(2), [])
            await edge.until(lambda: len(edge.told(Connected)) == 2)
            assert await edge.end()
            assert [list(line.said("hello")[0].in_doubt) for line in cloud.lines] == [[], [1, 2]]
            assert [p.sequence for p in cloud.lines[1].said("packet")] == [2]

    play(test)


def test_what_the_cloud_could_not_store_is_said_again_and_not_refused(bundle: Bundle) -> None:
    async def full(line: Line) -> None:
        await line.greet()
        message = await line.hear()
        assert message is not None
        error = StorageError("the disk is full")
        await line.say(failure=to_failure(error, sequence=message.packet.sequence))
        await line.hear()

    async def test() -> None:
        async with scripted_cloud(bundle, full, honest) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), [])
            assert await edge.end()
            assert [p.sequence for p in cloud.lines[1].said("packet")] == [1]
            assert [type(lost.error) for lost in edge.told(ConnectionLost)] == [StorageError]
            assert edge.told(Refused) == []

    play(test)


async def fatally(line: Line, error: SaccadeError) -> None:
    await line.hear()
    await line.say(failure=to_failure(error, fatal=True))
    await line.context.abort(*to_status(error))


@pytest.mark.parametrize("error", [Forbidden("another device"), VersionMismatch("protocol 9")])
@pytest.mark.parametrize("how", ["failure", "status"])
def test_what_no_retry_can_mend_ends_the_uplink_at_once(
    bundle: Bundle, error: SaccadeError, how: str
) -> None:
    async def refuses(line: Line) -> None:
        if how == "failure":
            await fatally(line, error)
        await line.hear()
        await line.context.abort(*to_status(error))

    async def test() -> None:
        async with scripted_cloud(bundle, refuses) as cloud:
            edge = Edge(cloud.address, bundle)
            with pytest.raises(type(error), match=str(error)):
                await edge.running
            assert len(cloud.lines) == 1

    play(test)


@pytest.mark.parametrize(
    ("lie", "error"),
    [({"token_digest": bytes(32)}, DigestMismatch), ({"protocol": 9}, VersionMismatch)],
)
def test_a_welcome_of_another_kind_is_not_accepted(
    bundle: Bundle, lie: dict[str, Any], error: type[SaccadeError]
) -> None:
    async def lies(line: Line) -> None:
        await line.greet(**lie)
        await line.hear()

    async def test() -> None:
        async with scripted_cloud(bundle, lies) as cloud:
            with pytest.raises(error):
                await Edge(cloud.address, bundle, patience_s=0.5).running

    play(test)


def test_a_cloud_that_stops_or_breaks_the_rules_is_tried_again(bundle: Bundle) -> None:
    async def stops(line: Line) -> None:
        await fatally(line, Unreachable("the cloud is stopping"))

    async def babbles(line: Line) -> None:
        await line.greet()
        await line.say(ack=pb.Acknowledgement(sequence=77))
        await line.hear()

    async def leaves(line: Line) -> None:
        await line.greet()

    async def test() -> None:
        async with scripted_cloud(bundle, stops, babbles, leaves, honest) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.until(lambda: len(edge.told(ConnectionLost)) == 3)
            await edge.uplink.send(packet(1), [])
            assert await edge.end()
            kinds = [type(lost.error) for lost in edge.told(ConnectionLost)]
            assert kinds == [Unreachable, RemoteError, Unreachable]
            assert "packet 77 is not in flight" in str(edge.told(ConnectionLost)[1].error)

    play(test)


def test_a_refusal_is_told_and_the_rest_goes_on(bundle: Bundle) -> None:
    async def refuses(line: Line) -> None:
        await line.greet()
        await line.hear()
        await line.hear()
        error = QuestionError("it asks about nothing")
        await line.say(failure=to_failure(LimitExceeded("too large"), sequence=1))
        await line.say(failure=to_failure(error, question_id=1))
        while not line.said("packet")[1:]:
            await line.hear()
        await line.ack(line.said("packet")[1])
        while not line.said("question")[1:]:
            await line.hear()
        await line.say(failure=to_failure(error, question_id=2))
        await serve(line)

    async def test() -> None:
        async with scripted_cloud(bundle, refuses) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), ["what is it?"])
            await edge.uplink.send(packet(2), ["and that?"])
            assert await edge.end()
            told = [(type(r.error), r.sequence, r.question) for r in edge.told(Refused)]
            # Without its frame the first question is refused, too, and only once.
            assert told == [
                (LimitExceeded, 1, ""),
                (LimitExceeded, 1, "what is it?"),
                (QuestionError, 2, "and that?"),
            ]
            assert [a.sequence for a in edge.told(Acknowledged)] == [2]

    play(test)


def test_the_clouds_bound_is_told(bundle: Bundle) -> None:
    async def bounds(line: Line) -> None:
        await line.greet()
        await line.say(budget=pb.Budget(frames_per_minute=20, reason="load"))
        await serve(line)

    async def test() -> None:
        async with scripted_cloud(bundle, bounds) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.until(lambda: len(edge.events) == 2)
            assert edge.told(CloudBudget) == [CloudBudget(20, "load")]
            await edge.end()

    play(test)


def test_what_the_cloud_would_refuse_is_not_sent(bundle: Bundle) -> None:
    async def test() -> None:
        async with scripted_cloud(bundle) as cloud:
            edge = Edge(cloud.address, bundle)
            with pytest.raises(QuestionError, match="empty"):
                await edge.uplink.send(packet(1), [" "])
            with pytest.raises(QuestionError, match="201 characters, the bundle allows 200"):
                await edge.uplink.send(packet(1), ["x" * 201])
            await edge.until(lambda: edge.events != [])
            large = tokens_pb2.FramePacket(layers=[bytes(Limits().message_bytes)])
            with pytest.raises(LimitExceeded, match="bytes in a packet"):
                await edge.uplink.send(large, [])
            assert await edge.end()
            kinds = [m.WhichOneof("kind") for m in cloud.lines[0].heard]
            assert kinds == ["hello", "bye"]

    play(test)


def test_a_cloud_that_is_not_there_is_an_error_after_the_patience(bundle: Bundle) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and says nothing
            address = f"127.0.0.1:{deaf.getsockname()[1]}"
            edge = Edge(address, bundle, connect_timeout_s=0.1, patience_s=0.5)
            with pytest.raises(Unreachable, match=f"{address} is not reachable"):
                await edge.running
            assert edge.told(ConnectionLost) != []
            assert edge.told(Connected) == []

    play(test)


def test_a_thousand_failed_connections_leave_the_memory_as_it_was() -> None:
    """Ten thousand and what else there is to see: bench/reconnect.py."""
    words = [sys.executable, "-m", "bench.reconnect", "--opens", "1000"]
    words += ["--bundle", str(SHIPPED)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    grown = json.loads(done.stdout.splitlines()[-1])["uplink"]["grown_bytes"]
    assert grown < 2_000_000  # a stream that leaks at each try: 0.5 kB, a channel: 50 kB


def test_finishing_does_not_wait_for_a_cloud_that_is_not_there(bundle: Bundle) -> None:
    async def test() -> None:
        edge = Edge("127.0.0.1:9", bundle, connect_timeout_s=20, patience_s=60)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert await edge.end()  # nothing was outstanding
        assert time.monotonic() - began < 2

    play(test)


def test_a_cloud_that_owes_answers_is_waited_for_only_so_long(bundle: Bundle) -> None:
    async def silent(line: Line) -> None:
        await line.greet()
        while await line.hear() is not None:
            pass

    async def test() -> None:
        async with scripted_cloud(bundle, silent) as cloud:
            edge = Edge(cloud.address, bundle)
            await edge.uplink.send(packet(1), ["what is it?"])
            assert not await edge.uplink.finish(0.1)
            await asyncio.wait_for(edge.running, 5)
            assert cloud.lines[0].said("bye") != []

    play(test)


def test_clouds_are_kept_apart(bundle: Bundle) -> None:
    """Two uplinks at once: each hears only its own."""

    async def ask(cloud: ScriptedCloud, count: int) -> Edge:
        edge = Edge(cloud.address, bundle)
        for sequence in range(1, count + 1):
            await edge.uplink.send(packet(sequence), ["what is it?"])
        assert await edge.end()
        return edge

    async def test() -> None:
        async with scripted_cloud(bundle) as cloud:
            few, many = await asyncio.gather(ask(cloud, 2), ask(cloud, 20))
            assert len(few.told(Answered)) == 2
            assert len(many.told(Answered)) == 20

    play(test)
