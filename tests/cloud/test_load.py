"""Edges are bounded when answers wait for the engine, and no longer than that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from saccade.bundle import Bundle
from saccade_cloud.assemble import open_engine
from saccade_cloud.load import STEPS, UP_S, Load
from saccade_testing.cloud_server import QUICK, EdgeEnd, HeldEngine, packet, question, serving

LADDER = [*STEPS, 0]
Event = tuple[str, float]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["ask", "begin", "leave", "idle"]), st.floats(0, 3)), max_size=120
)


@given(EVENTS, st.integers(1, 20))
def test_a_bound_is_at_least_one_frame_goes_up_one_step_and_ends(
    events: list[Event], edges: int
) -> None:
    load, now_s, before = Load(1.0), 0.0, len(STEPS)
    waiting: list[int] = []
    for number, (what, passed_s) in enumerate(events):
        now_s += passed_s
        if what == "ask":
            load.asked(number % edges, now_s)
            waiting.append(load.waits(now_s))
        elif waiting and what == "begin":
            load.begins(waiting.pop(0), now_s)
        elif waiting and what == "leave":
            load.leaves(waiting.pop(0))
        load.asked("edge", now_s)
        frames, _ = load.bound("edge", now_s)
        assert LADDER.index(frames) <= before + 1
        before = LADDER.index(frames)
    for number in waiting:
        load.leaves(number)
    for _ in range(30):
        now_s += UP_S
        load.bound("edge", now_s)
    load.asked("edge", now_s)  # who has not asked is not bounded anyway
    assert load.bound("edge", now_s)[0] == 0


def test_what_was_served_is_shared_by_those_who_asked_and_the_reason_says_so() -> None:
    load = Load(1.0)
    for edge in range(12):
        load.asked(edge, 0.0)
    for _ in range(10):
        load.begins(load.waits(0.0), 1.8)
    # 10 in 5 s are 120 a minute, 10 for each of the 12
    assert load.bound(0, 1.8) == (8, "answers wait 1.8 s for the engine, 12 edges")
    assert load.bound("who never asks", 1.8) == (0, "")


def test_0_never_bounds() -> None:
    load = Load(0.0)
    load.asked("edge", 0.0)
    load.waits(0.0)
    assert load.bound("edge", 100.0) == (0, "")


def test_an_edge_hears_a_bound_while_its_question_waits_and_its_end_afterwards(
    bundle: Bundle,
) -> None:
    async def main() -> None:
        engine = HeldEngine(open_engine(bundle))
        settings = replace(QUICK, answer_wait_s=0.2)
        async with serving(bundle, engine, settings) as served:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            assert (await edge.hear()).HasField("ack")
            await edge.say(question=question(1))
            budget = (await edge.hear()).budget
            assert 1 <= budget.frames_per_minute <= 120
            assert budget.reason.startswith("answers wait ")
            assert budget.reason.endswith(" s for the engine, 1 edge")
            engine.gate.set()
            while budget.frames_per_minute:
                message = await edge.hear()
                budget = message.budget if message.HasField("budget") else budget

    asyncio.run(main())
