"""Edges are bounded when answers wait for the engine, and no longer than that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from saccade.bundle import Bundle
from saccade_cloud.assemble import open_engine
from saccade_cloud.cloud_load import MOST_UP, STEPS, UP_S, Load
from saccade_testing.cloud_server import QUICK, EdgeEnd, HeldEngine, packet, question, serving

LADDER = [*STEPS, 0]
Event = tuple[str, float]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["ask", "begin", "leave", "idle"]), st.floats(0, 3)), max_size=120
)


@given(EVENTS, st.integers(1, 20))
def test_a_bound_is_at_least_one_frame_goes_up_a_few_steps_and_ends(
    events: list[Event], edges: int
) -> None:
    load, now_s, before = Load(1.0), 0.0, len(STEPS)
    waiting: list[int | None] = []
    for number, (what, passed_s) in enumerate(events):
        now_s += passed_s
        if what == "ask":
            waiting.append(load.asks(number % edges, number, now_s))
        elif waiting and what == "begin":
            load.begins(waiting.pop(0), now_s)
        elif waiting and what == "leave":
            load.leaves(waiting.pop(0))
        frames, _ = load.bound(0, now_s)
        if frames or what == "ask":  # else 0 may be one that has not asked
            assert LADDER.index(frames) <= before + MOST_UP
            before = LADDER.index(frames)
    for each in waiting:
        load.leaves(each)
    for _ in range(30):
        now_s += UP_S
        load.bound(0, now_s)
    load.leaves(load.asks(0, -1, now_s))  # who has not asked is not bounded anyway
    assert load.bound(0, now_s)[0] == 0


def ask(load: Load, edge: int, frame: int, now_s: float) -> list[int | None]:
    """Three questions about a frame."""
    return [load.asks(edge, frame, now_s) for _ in range(3)]


def test_frames_of_which_half_were_served_are_halved_and_the_reason_says_so() -> None:
    load = Load(1.0)
    for frame in range(4):  # a frame a second, of 12 edges
        for edge in range(12):
            numbers = ask(load, edge, frame, float(frame))
            if frame % 2:
                for number in numbers:
                    load.begins(number, frame + 0.5)
    assert load.bound("who never asks", 3.6) == (0, "")
    frames, reason = load.bound(0, 3.6)
    # 60 a minute of each, half of it served, and a little less so that the queue ends; the next
    # step below is at most 12 % lower. Three questions about a frame are one frame.
    assert 16 <= frames <= 32
    assert reason == "answers wait 4.0 s for the engine, 12 cameras"  # 72 wait, 18 a second go


def test_an_engine_that_pauses_leaves_a_quarter() -> None:
    load = Load(1.0)
    for frame in range(1, 6):
        ask(load, 0, frame, frame * 0.5)
    assert load.bound(0, 2.5)[0] == 36  # of 150 in the window's two seconds


def test_a_recording_that_asks_alone_is_not_bounded_whatever_it_waits() -> None:
    load = Load(1.0)
    for frame in range(100):
        assert load.asks("recording", frame, frame / 10, recording=True) is None
    assert load.bound("recording", 10.0) == (0, "")


def test_a_recording_has_the_cameras_bound_while_there_are_any() -> None:
    load = Load(1.0)
    for frame in range(5):
        load.asks("recording", frame, frame * 0.5, recording=True)
        ask(load, 0, frame, frame * 0.5)
    assert load.bound("recording", 2.0) == load.bound(0, 2.0) != (0, "")
    load.ended(0)
    assert load.bound("recording", 2.5)[0] == 0


def test_0_never_bounds() -> None:
    load = Load(0.0)
    load.asks("edge", 1, 0.0)
    assert load.bound("edge", 100.0) == (0, "")


def test_a_device_whose_answers_wait_is_bounded_and_one_beside_it_is_not() -> None:
    load = Load(1.0)
    for frame in range(100):
        now_s = frame / 10
        load.asks("greedy", frame, now_s, device="greedy")
        number = load.asks("honest", frame, now_s, device="honest")
        load.begins(number, now_s + 0.02)
        load.leaves(number)
        assert load.bound("honest", now_s) == (0, "")
    assert 1 <= load.bound("greedy", 10.0)[0] <= STEPS[-1]


def test_streams_of_one_device_share_its_bound() -> None:
    one, two = Load(1.0), Load(1.0)
    for frame in range(40):
        one.asks("a", frame, frame / 10, device="kerb")
        two.asks("ab"[frame % 2], frame, frame / 10, device="kerb")
    assert two.bound("a", 4.0)[0] == two.bound("b", 4.0)[0]
    assert 0.4 <= two.bound("a", 4.0)[0] / one.bound("a", 4.0)[0] <= 0.6


def test_a_bound_is_looked_at_again_four_times_a_second_and_goes_up_two_seconds_after_it_fell() -> (
    None
):
    load = Load(1.0)
    numbers = ask(load, 0, 1, 0.0)
    fallen = load.bound(0, 1.1)[0]
    assert fallen > 0
    for number in numbers:
        load.leaves(number)
    seen = [load.bound(0, at_s)[0] for at_s in (1.4, 3.05, 3.15, 3.29, 3.31)]
    assert seen[:4] == [fallen] * 4
    assert seen[4] == STEPS[STEPS.index(fallen) + MOST_UP]
    later = [load.bound(0, 6.0 + 2.1 * turn)[0] for turn in range(40)]
    assert later[-1] == 0


def test_who_has_left_counts_no_more_and_leaves_nothing_behind() -> None:
    load = Load(1.0)
    numbers = [number for frame in range(9) for number in ask(load, 0, frame, frame / 3)]
    load.asks(1, 1, 3.0)
    assert load.bound(1, 3.0)[1].endswith("2 cameras")
    for number in numbers:
        load.leaves(number)
    load.ended(0)
    load.ended(0)
    assert load.bound(0, 3.3) == (0, "")
    load.leaves(load.asks(1, 2, 3.4))
    load.ended(1)
    assert load.bound(1, 3.5) == (0, "")


def test_an_edge_hears_a_bound_while_its_question_waits_and_of_more_afterwards(
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
            assert 1 <= budget.frames_per_minute <= STEPS[-1]
            assert budget.reason.startswith("answers wait ")
            assert budget.reason.endswith(" s for the engine, 1 camera")
            engine.gate.set()
            more = budget
            while more.frames_per_minute <= budget.frames_per_minute:
                message = await edge.hear()
                more = message.budget if message.HasField("budget") else more

    asyncio.run(main())
