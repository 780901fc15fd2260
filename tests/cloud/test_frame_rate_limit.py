"""An edge that asks about more frames than it was told is refused, and one that obeys never is."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from saccade.bundle import Bundle
from saccade.errors import LimitExceeded
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.assemble import open_engine
from saccade_cloud.cloud_load import STEPS
from saccade_cloud.frame_rate_limit import UNDER_WAY, FrameRateLimit
from saccade_edge.budget.cloud_bound import CloudBound
from saccade_testing.cloud_server import QUICK, EdgeEnd, HeldEngine, packet, question, serving


def lets_in(limit: FrameRateLimit, sequence: int, now_s: float) -> bool:
    with suppress(LimitExceeded):
        limit.check(sequence, now_s)
        return True
    return False


@pytest.mark.parametrize("bounds", [[60], [500, 20], [1], [30, 0, 30, 12, 0, 6]])
def test_an_edge_that_obeys_is_never_refused(bounds: list[int]) -> None:
    """It hears of a bound a little later, and some of its frames are under way by then."""
    limit, edge, dice = FrameRateLimit(), CloudBound(), random.Random(1)
    now_s, sequence = 0.0, 0
    for bound in bounds:
        limit.set(bound, now_s)
        hears_s, heard = now_s + 0.3, False
        ends_s = now_s + 90
        while now_s < ends_s:
            now_s += 0.05
            if not heard and now_s >= hears_s:
                edge.set(bound, "load", dice.random())
                heard = True
            if edge.takes_frame(now_s) and dice.random() < 0.9:
                edge.sent(now_s)
                sequence += 1
                for _ in range(3):
                    limit.check(sequence, now_s)


def test_one_that_does_not_is_held_to_its_bound() -> None:
    limit = FrameRateLimit()
    limit.set(60, 0.0)
    let_in = 0
    for sequence in range(1, 6001):  # ten a second, for ten minutes
        let_in += lets_in(limit, sequence, sequence / 10)
    assert 600 <= let_in <= 1.25 * 600 + UNDER_WAY + 1


def test_a_lower_bound_gives_no_second_start() -> None:
    limit = FrameRateLimit()
    for step, bound in enumerate((60, 50, 40, 30)):
        limit.set(bound, step / 10)
        let_in = sum(lets_in(limit, 1000 * step + frame, step / 10) for frame in range(1, 100))
        assert let_in <= (1 if step else UNDER_WAY)


def test_questions_about_a_frame_that_was_let_in_are_free() -> None:
    limit = FrameRateLimit()
    limit.set(1, 0.0)
    for sequence in range(1, UNDER_WAY + 1):
        limit.check(sequence, 0.0)
    for sequence in range(1, UNDER_WAY + 1):
        limit.check(sequence, 0.0)
    with pytest.raises(LimitExceeded):
        limit.check(UNDER_WAY + 1, 0.0)


def test_who_ignores_its_bound_hears_it_for_each_question_and_its_stream_goes_on(
    bundle: Bundle,
) -> None:
    async def main() -> None:
        engine = HeldEngine(open_engine(bundle))
        async with serving(bundle, engine, replace(QUICK, answer_wait_s=0.2)) as served:
            edge, other = EdgeEnd(served, bundle), EdgeEnd(served, bundle)
            await edge.greet()
            await other.greet(device="mast")
            await edge.say(packet=packet(1))
            await edge.say(question=question(1))
            assert 1 <= await _bound(edge) <= STEPS[-1]
            for number in range(2, UNDER_WAY + 12):
                await edge.say(packet=packet(number))
                await edge.say(question=question(number, number))
            failure = await _failure(edge)
            assert (failure.code, failure.fatal) == ("limit", False)
            assert "frames a minute that the cloud takes" in failure.message
            assert failure.question_id > UNDER_WAY
            await other.say(packet=packet())
            engine.gate.set()
            assert (await other.hear()).HasField("ack")
            await other.say(question=question(1))
            assert (await other.answer(1))[0]

    asyncio.run(asyncio.wait_for(main(), 60))


async def _bound(edge: EdgeEnd) -> int:
    while not (message := await edge.hear()).HasField("budget"):
        pass
    return message.budget.frames_per_minute


async def _failure(edge: EdgeEnd) -> pb.Failure:
    while not (message := await edge.hear()).HasField("failure"):
        pass
    return message.failure
