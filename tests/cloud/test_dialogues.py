"""Questions as turns, about several frames, drawn or greedy, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import LimitExceeded, QuestionError, SaccadeError
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.turns import FrameReference, Generation, Question, Turn, asking
from saccade.types import FrameTokens
from saccade.v1 import fleet_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import from_failure, from_rpc
from saccade_cloud.local_cloud import LocalCloud
from saccade_testing.cloud_server import EdgeEnd, Served, hello, packet, serving
from saccade_testing.questions import ask_request
from saccade_testing.tiny_bundle import write_bundle
from saccade_testing.tokens import CAMERAS, EPOCH_UNIX_MS

KEPT = {1: 16, 2: 9, 3: 5}
TALK = Question(
    (
        Turn("system", ("answer in a word.\n",)),
        Turn("user", (FrameReference(1), "what is it?\nis it red?")),
        Turn("assistant", ("a blue car",)),
        Turn("user", ("and here: ", FrameReference(2), "?")),
    )
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("dialogue"), dialogue=True)


def play(bundle: Bundle, work: Callable[[Served], Awaitable[None]], store: str = "memory:") -> None:
    async def main() -> None:
        async with serving(bundle, store=store) as served:
            await work(served)

    asyncio.run(asyncio.wait_for(main(), 60))


def frames(bundle: Bundle) -> dict[int, FrameTokens]:
    limits = Limits.of(bundle.manifest)
    return {
        number: unpack(packet(number, kept=kept), limits=limits, cameras=CAMERAS,
                       epoch_unix_ms=EPOCH_UNIX_MS)
        for number, kept in KEPT.items()
    }  # fmt: skip


def local(bundle: Bundle, question: Question) -> str:
    with LocalCloud(bundle) as cloud:
        return "".join(chunk.text for chunk in cloud.stream(frames(bundle), question))


def said(number: int, question: Question) -> pb.Question:
    turns, generation = question.to_wire()
    return pb.Question(id=number, turns=turns, generation=generation)


class Edge(EdgeEnd):
    """One that has sent all frames."""

    async def begin(self) -> None:
        await self.greet()
        for number, kept in KEPT.items():
            await self.say(packet=packet(number, kept=kept))
            assert (await self.hear()).HasField("ack")

    async def ask(self, number: int, question: Question) -> str:
        await self.say(question=said(number, question))
        text, last = await self.answer(number)
        assert last.sequence == max(question.frames)
        return text

    async def refused(self, number: int, question: Question) -> SaccadeError:
        await self.say(question=said(number, question))
        message = await self.hear()
        assert message.failure.question_id == number
        return from_failure(message.failure)


def test_a_dialogue_about_two_frames_is_answered_as_in_one_process(bundle: Bundle) -> None:
    expected = local(bundle, TALK)
    others = [
        local(bundle, Question(TALK.turns[1:])),
        local(bundle, asking("and here: ?", (2,))),
        local(bundle, asking("and here: ?", (1, 2))),
    ]
    assert expected not in others, "turns and frames that change nothing tell nothing"

    async def work(served: Served) -> None:
        edge = Edge(served, bundle)
        await edge.begin()
        assert await edge.ask(1, TALK) == expected
        assert await inferred(served, bundle, TALK) == expected
        assert await fleet(served, TALK) == expected
        edge.call.cancel()

    play(bundle, work)


async def inferred(served: Served, bundle: Bundle, question: Question) -> str:
    turns, generation = question.to_wire()
    request = pb.InferRequest(
        hello=hello(bundle, device="an application"),
        packets=[packet(number, kept=KEPT[number]) for number in question.frames],
        turns=turns,
        generation=generation,
    )
    return "".join([reply.text async for reply in served.vision.Infer(request, timeout=20)])


async def fleet(served: Served, question: Question) -> str:
    replies: AsyncIterator[Any] = served.fleet.Ask(ask_request("kerb/north", question), timeout=20)
    return "".join([reply.text async for reply in replies])


def test_a_seed_draws_the_same_answer_and_stop_texts_end_it(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = Edge(served, bundle)
        await edge.begin()
        numbers = iter(range(1, 100))

        async def drawn(**how: Any) -> str:
            question = asking("what is it?", (1,), generation=Generation(**how))
            return await edge.ask(next(numbers), question)

        greedy = await drawn()
        assert await drawn(seed=5) == greedy
        seeds = [await drawn(temperature=2.0, seed=seed) for seed in range(6)]
        assert len(set(seeds)) > 1
        assert await drawn(temperature=2.0, seed=3) == seeds[3]
        assert await drawn(temperature=2.0, seed=3, top_p=1e-6) == greedy
        middle = greedy[len(greedy) // 2 : len(greedy) // 2 + 2]
        assert await drawn(stop=(middle,)) == greedy[: greedy.index(middle)]
        assert len(await drawn(max_tokens=1)) < len(greedy)
        edge.call.cancel()

    play(bundle, work)


def test_an_observation_is_one_of_question_frame_and_seed(bundle: Bundle, tmp_path: Path) -> None:
    drawn = Generation(temperature=2.0, seed=1)
    asked = [
        asking("what is it?", (1,)),
        asking("what is it?", (1,)),
        asking("what is it?", (1,), generation=Generation(seed=9)),  # greedy: no seed
        asking("what is it?", (1,), generation=drawn),
        asking("what is it?", (1,), generation=replace(drawn, seed=2)),
        asking("what is it?", (1,), system="be brief."),
        asking("what is it?", (1, 2)),
    ]

    async def work(served: Served) -> None:
        edge = Edge(served, bundle)
        await edge.begin()
        for number, question in enumerate(asked, 1):
            await edge.ask(number, question)
        past = served.fleet.History(fleet_pb2.HistoryRequest(camera="kerb/north"), timeout=20)
        observed = [reply async for reply in past]
        assert len(observed) == len({reply.identity for reply in observed}) == 5
        assert {reply.question for reply in observed} == {"what is it?"}
        edge.call.cancel()

    play(bundle, work, str(tmp_path / "store"))


def test_what_cannot_be_answered_says_why(bundle: Bundle) -> None:
    beyond = Limits.of(bundle.manifest).question_chars
    cases: list[tuple[Question, type[SaccadeError], str]] = [
        (asking("what?", (9,)), QuestionError, "no frame 9 here"),
        (asking("what?", (1, 9)), QuestionError, "no frame 9 here"),
        (asking("what?", (1, 2, 3, 4)), LimitExceeded, "received 4 frames in a question"),
        (asking("w" * (beyond + 1), (1,)), QuestionError, f"the bundle allows {beyond}"),
        (Question((Turn("user", ("what?",)),)), QuestionError, "speaks of no frame"),
        (Question(TALK.turns[:3]), QuestionError, "the last turn"),
        (asking("a b " * 495, (1,)), LimitExceeded, "context"),
        (asking("what?", (1,), generation=Generation(max_tokens=4000)), LimitExceeded, "4000"),
        (asking("what?", (1,), generation=Generation(top_p=2.0)), QuestionError, "top_p is 2"),
    ]

    async def work(served: Served) -> None:
        edge = Edge(served, bundle)
        await edge.begin()
        for number, (question, kind, says) in enumerate(cases, 1):
            error = await edge.refused(number, question)
            assert (type(error), says in str(error)) == (kind, True), error
        assert await edge.ask(99, TALK) == local_answer
        edge.call.cancel()

    local_answer = local(bundle, TALK)
    play(bundle, work)


def test_a_picture_that_did_not_come_along_is_missed(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        turns, _ = TALK.to_wire()
        request = pb.InferRequest(hello=hello(bundle), packets=[packet(1)], turns=turns)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.vision.Infer(request, timeout=20).read()
        error = from_rpc(caught.value)
        assert isinstance(error, QuestionError)
        assert "speaks of frame 2, which did not come" in str(error)

    play(bundle, work)
