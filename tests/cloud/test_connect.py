from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.types import FrameTokens
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.assemble import open_engine
from saccade_cloud.engines.base import Engine
from saccade_cloud.local_cloud import LocalCloud
from saccade_cloud.server_settings import ServerSettings
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    GatedEngine,
    Served,
    damaged_packet,
    packet,
    question,
    serving,
    until,
)
from saccade_testing.tiny_bundle import WORDS
from saccade_testing.tokens import CAMERAS, EPOCH_UNIX_MS

Work = Callable[[Served], Awaitable[None]]


def run(
    bundle: Bundle, work: Work, engine: Engine | None = None, settings: ServerSettings = QUICK
) -> None:
    async def main() -> None:
        async with serving(bundle, engine, settings) as served:
            await work(served)

    asyncio.run(main())


class TestHandshake:
    def test_welcome_says_what_was_agreed(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            welcome = (await EdgeEnd(served, bundle).greet()).welcome
            assert welcome.token_digest == bundle.token_digest
            assert list(welcome.codecs) == ["f16", "int8z"]
            language = bundle.manifest.language
            limits = replace(
                Limits.of(bundle.manifest),
                context_tokens=language.max_context,
                answer_tokens=language.max_tokens,
            )
            assert welcome.limits == limits.to_wire()
            assert welcome.resume_after == 0

        run(bundle, work)

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"token_digest": b"\x07" * 32}, "digest_mismatch"),
            ({"token_digest": b""}, "digest_mismatch"),
            ({"protocol": 9}, "version_mismatch"),
            ({"device": ""}, "remote_protocol"),
            ({"device": "a/b"}, "remote_protocol"),
            ({"cameras": []}, "remote_protocol"),
            ({"cameras": ["x", "x"]}, "remote_protocol"),
            ({"cameras": ["c" * 65]}, "limit"),
            ({"software": "a\0b"}, "remote_protocol"),
            ({"software": "s" * 129}, "limit"),
        ],
    )
    def test_who_does_not_fit_is_told_why(
        self, bundle: Bundle, fields: dict[str, object], code: str
    ) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            failure = (await edge.greet(**fields)).failure
            assert (failure.fatal, failure.code) == (True, code)
            await ends_with(edge, f"{code}: ")
            again = await EdgeEnd(served, bundle).greet()
            assert again.HasField("welcome"), "the next edge is welcome"

        run(bundle, work)

    def test_a_question_before_hello_ends_the_call(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.say(question=question(1))
            await ends_with(edge, "remote_protocol: the edge said question")

        run(bundle, work)

    def test_who_says_nothing_is_not_kept(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            await ends_with(EdgeEnd(served, bundle), "the first message did not come within 0.1 s")

        run(bundle, work, settings=replace(QUICK, hello_timeout_s=0.1))


class TestPackets:
    def test_every_packet_is_acknowledged_with_its_size(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            for sequence in (1, 2, 7):
                sent = packet(sequence)
                await edge.say(packet=sent)
                ack = (await edge.hear()).ack
                assert (ack.sequence, ack.bytes, ack.stored) == (sequence, sent.ByteSize(), False)
                assert ack.received_unix_ms > EPOCH_UNIX_MS

        run(bundle, work)

    def test_a_packet_sent_again_changes_nothing(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            for _ in range(3):
                await edge.say(packet=packet(4))
                assert (await edge.hear()).HasField("ack")
            [north, _] = served.cloud.frames.cameras()
            assert (north.frames, north.bytes) == (1, packet(4).ByteSize())

        run(bundle, work)

    def test_a_damaged_packet_is_refused_and_the_stream_goes_on(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge, other = EdgeEnd(served, bundle), EdgeEnd(served, bundle)
            await edge.greet()
            await other.greet(device="mast")
            await edge.say(packet=damaged_packet(1))
            failure = (await edge.hear()).failure
            assert (failure.code, failure.sequence, failure.fatal) == ("packet", 1, False)
            for end in (edge, other):
                await end.say(packet=packet(2))
                assert (await end.hear()).HasField("ack")

        run(bundle, work)

    def test_more_tokens_than_the_bundle_allows_are_refused(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            greedy = packet()
            # Five crops of one size, sixteen tokens a view: one view more than allowed.
            greedy.views = bytes([5 * 4 + 1, 48, 80, 16, 16]) + bytes(15)
            await edge.say(packet=greedy)
            failure = (await edge.hear()).failure
            assert failure.code == "limit"
            assert "6" in failure.message
            assert "5" in failure.message

        run(bundle, work)

    def test_an_oversized_message_ends_only_its_own_call(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge, other = EdgeEnd(served, bundle), EdgeEnd(served, bundle)
            await edge.greet()
            await other.greet(device="mast")
            huge = packet()
            huge.layers[0] = bytes(2 << 20)
            await edge.say(packet=huge)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.hear()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await other.say(packet=packet())
            assert (await other.hear()).HasField("ack")

        run(bundle, work)


class TestQuestions:
    def test_the_streamed_answer_is_the_local_one_with_every_stage_timed(
        self, bundle: Bundle
    ) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            await edge.say(question=question(3))
            text, last = await edge.answer(3)
            with LocalCloud(bundle) as cloud:
                expected = cloud.ask(frame_of(bundle), "what color is it")
            assert (text, last.finish) == (expected.text, expected.finish)
            assert [stage.stage for stage in last.timing] == [
                *("receive", "decode", "reconstruct", "queue", "prefill", "decode_tokens")
            ]
            assert all(stage.ms >= 0 for stage in last.timing)

        run(bundle, work)

    @pytest.mark.parametrize(
        ("asked", "part"),
        [
            (question(5, sequence=99), "frame 99"),
            (question(5, text=" "), "empty"),
            (question(5, text="x" * 201), "201"),
            (question(5, text="a\x1b[2J"), "U\\+001B"),
        ],
    )
    def test_a_question_that_cannot_be_answered_fails_alone(
        self, bundle: Bundle, asked: pb.Question, part: str
    ) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            await edge.hear()
            await edge.say(question=asked)
            failure = (await edge.hear()).failure
            assert (failure.code, failure.question_id, failure.fatal) == ("question", 5, False)
            assert part.replace("\\", "") in failure.message
            await edge.say(question=question(6))
            assert (await edge.answer(6))[0]

        run(bundle, work)

    def test_fifty_questions_at_once_get_the_answers_of_one_by_one(self, bundle: Bundle) -> None:
        # Five frames of different length, ten questions about each.
        asked = [(i % 5 + 1, " ".join(WORDS[i % 7 : i % 7 + 2 + i // 5])) for i in range(50)]

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            for sequence in range(1, 6):
                await edge.say(packet=packet(sequence, kept=4 + 9 * sequence))
                assert (await edge.hear()).HasField("ack")
            alone = []
            for i, (sequence, text) in enumerate(asked, 1):
                await edge.say(question=question(i, sequence, text))
                alone.append((await edge.answer(i))[0])
            for i, (sequence, text) in enumerate(asked, 1):
                await edge.say(question=question(i, sequence, text))
            together = await answers(edge, 50)
            assert [together[i] for i in range(1, 51)] == alone
            assert len(set(alone)) > 20

        run(bundle, work)

    def test_more_open_questions_than_agreed_end_the_call(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            most = (await edge.greet()).welcome.limits.open_questions
            await edge.say(packet=packet())
            await edge.hear()
            for i in range(1, most + 2):
                await edge.say(question=question(i))
            await ends_with(edge, f"the limit is {most}", grpc.StatusCode.RESOURCE_EXHAUSTED)

        run(bundle, work, GatedEngine(open_engine(bundle)))


class TestLeaving:
    def test_after_bye_the_cloud_finishes_what_it_owes(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            await edge.say(question=question(1))
            await edge.say(bye=pb.Bye(reason="night"))
            assert (await edge.answer(1))[0]
            assert await edge.call.read() is grpc.aio.EOF
            assert await edge.call.code() is grpc.StatusCode.OK

        run(bundle, work)

    def test_an_edge_that_vanishes_in_an_answer_leaves_nothing_behind(self, bundle: Bundle) -> None:
        engine = GatedEngine(open_engine(bundle))

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            for i in range(1, 5):
                await edge.say(question=question(i))
            await until(lambda: engine.running == 4)
            edge.call.cancel()
            await until(lambda: engine.running == 0)
            await until(lambda: not any(c.connected for c in served.cloud.frames.cameras()))
            engine.gate.set()
            again = EdgeEnd(served, bundle)
            await again.greet()
            await again.say(question=question(1))
            assert (await again.answer(1))[0], "the frame outlives the session"

        run(bundle, work, engine)

    def test_an_edge_that_does_not_read_delays_nobody(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            slow, quick = EdgeEnd(served, bundle), EdgeEnd(served, bundle)
            for edge, device in ((slow, "slow"), (quick, "quick")):
                await edge.greet(device=device)
                await edge.say(packet=packet())
                await edge.hear()
            for i in range(1, 41):
                await slow.say(question=question(i))
            await quick.say(question=question(1))
            expected, _ = await quick.answer(1)
            assert set((await answers(slow, 40)).values()) == {expected}

        run(bundle, work)

    def test_a_stopping_server_finishes_its_answers_first(self, bundle: Bundle) -> None:
        engine = GatedEngine(open_engine(bundle))

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            await edge.hear()
            await edge.say(question=question(1))
            await until(lambda: engine.running == 1)
            stopping = asyncio.create_task(served.server.stop())
            await asyncio.sleep(0.05)
            engine.gate.set()
            assert (await edge.answer(1))[0]
            farewell = (await edge.hear()).failure
            assert (farewell.code, farewell.fatal) == ("unreachable", True)
            await ends_with(edge, "the cloud is stopping", grpc.StatusCode.UNAVAILABLE)
            await asyncio.wait_for(stopping, 5)

        run(bundle, work, engine)

    def test_a_stopping_server_does_not_wait_for_ever(self, bundle: Bundle) -> None:
        engine = GatedEngine(open_engine(bundle))

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            await edge.say(question=question(1))
            await until(lambda: engine.running == 1)
            await asyncio.wait_for(served.server.stop(), 5)
            assert engine.running == 0

        run(bundle, work, engine, replace(QUICK, drain_s=0.2))


async def answers(edge: EdgeEnd, count: int) -> dict[int, str]:
    """The next ``count`` answers, by question."""
    texts: dict[int, str] = {}
    ended = 0
    while ended < count:
        chunk = (await edge.hear()).answer
        texts[chunk.question_id] = texts.get(chunk.question_id, "") + chunk.text
        ended += chunk.last
    return texts


async def ends_with(edge: EdgeEnd, details: str, status: grpc.StatusCode | None = None) -> None:
    """The call ends with an error that says ``details``."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.hear_all()
    assert details in (caught.value.details() or "")
    assert status in (None, caught.value.code())


def frame_of(bundle: Bundle) -> FrameTokens:
    limits = Limits.of(bundle.manifest)
    return unpack(packet(), limits=limits, cameras=CAMERAS, epoch_unix_ms=EPOCH_UNIX_MS)
