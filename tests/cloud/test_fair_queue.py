"""Who is read next in the engine, counted in its work: prompt positions and decoded tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade_cloud.engines.base import GenerateParams
from saccade_cloud.engines.fair_queue import (
    CREDIT,
    MANY_POSITIONS,
    PREFILL_POSITIONS,
    QUIET_TURNS,
    FairQueue,
)
from saccade_cloud.engines.request import Request
from saccade_testing.engine_contract import joined

ROWS = 32
TOKENS = 4  # of an answer
STEP = 40  # a decoding step costs about as much as so many positions, whatever the rows


def request(client: str, positions: int = 64, frame: int | None = None) -> Request:
    """``frame``: the number in its visual tokens; None: a frame of its own."""
    content = np.full((positions - 8, 1), np.random.default_rng(frame).random(), np.float32)
    prompt = joined((), content, range(8))
    return Request(prompt, GenerateParams(TOKENS, client=client), lambda _: None)


@dataclass
class Engine:
    """A queue, and turns as the scheduler makes them, with work for time."""

    queue: FairQueue = field(default_factory=FairQueue)
    rows: dict[Request, int] = field(default_factory=dict)  # tokens that are left
    work: int = 0
    served: Counter[str] = field(default_factory=Counter)
    greedy: int = 0  # requests that are kept waiting

    def turn(self) -> list[Request]:
        """The requests that ended in it."""
        while sum(each.client == "greedy" for each in self.queue) < self.greedy:
            self.queue.add(request("greedy"))
        prefixes: set[bytes] = set()
        for each in self.queue.take(ROWS - len(self.rows)):
            self.work += each.fresh_positions(prefixes)
            prefixes.add(each.prefix_key)
            self.rows[each] = TOKENS
        self.work += STEP if self.rows else 0
        ended = []
        for each in list(self.rows):
            self.queue.decoded(each)
            self.rows[each] -= 1
            if not self.rows[each]:
                del self.rows[each]
                self.queue.left(each)
                self.served[each.client] += 1
                ended.append(each)
        return ended

    def answer(self, asked: Request) -> int:
        """The work that is done before it is answered."""
        before = self.work
        self.queue.add(asked)
        while asked not in self.turn():
            pass
        return self.work - before


def test_an_honest_client_waits_little_longer_beside_a_greedy_one() -> None:
    """Three times what its answers take alone, in the median, counted from the middle of a turn."""
    alone = Engine().answer(request("honest"))
    engine, took = Engine(greedy=200), list[float]()
    for number in range(60):
        began = before = engine.work
        for _ in range(5 + number % 7):
            before = engine.work
            engine.turn()
        assert engine.work > began
        took.append((engine.work - before) / 2 + engine.answer(request("honest")))
    assert sorted(took)[30] <= 3 * alone
    assert engine.served["greedy"] > engine.served["honest"] == 60


def test_two_that_always_have_questions_share_the_engine_evenly() -> None:
    engine = Engine(greedy=400)
    for _ in range(2000):
        while sum(each.client == "b" for each in engine.queue) < 10:
            engine.queue.add(request("b"))
        engine.turn()
    assert engine.served["b"] / engine.served["greedy"] == pytest.approx(1.0, abs=0.1)


def test_many_clients_that_ask_a_little_are_read_together() -> None:
    engine = Engine()
    for number in range(8):
        engine.queue.add(request(f"camera-{number}"))
    assert len(engine.queue.take(ROWS)) == PREFILL_POSITIONS // 64


def test_a_greedy_client_is_never_starved() -> None:
    engine = Engine(greedy=100)
    for number in range(400):
        if number % 2:
            engine.queue.add(request(f"camera-{number % 6}"))
        engine.turn()
    assert engine.served["greedy"] > 100


def test_a_pause_saves_no_more_up_than_the_credit() -> None:
    engine = Engine(greedy=100)
    engine.answer(request("honest"))
    for _ in range(500):
        engine.turn()
    before = engine.served["greedy"]
    for _ in range(100):
        engine.queue.add(request("honest"))
    while engine.served["greedy"] < before + 20:
        engine.turn()
    assert engine.served["honest"] <= 20 + CREDIT / 64 + 24


def test_one_client_alone_is_read_in_large_pieces_and_beside_others_in_small_ones() -> None:
    engine = Engine(greedy=100)
    engine.turn()
    assert len(engine.rows) == PREFILL_POSITIONS // 64
    engine.answer(request("honest"))
    lengths = set()
    for _ in range(QUIET_TURNS + 50):
        before = len(engine.rows)
        ended = engine.turn()
        lengths.add(len(engine.rows) + len(ended) - before)
    assert {MANY_POSITIONS // 64, PREFILL_POSITIONS // 64} <= lengths


def test_one_client_leaves_rows_free() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.add(request("greedy", 16))
    taken = queue.take(ROWS)
    assert len(taken) == 24
    queue.add(request("honest", 16))
    assert [each.client for each in queue.take(ROWS - 24)] == ["honest"]


def test_questions_about_one_frame_cost_its_tokens_once() -> None:
    queue = FairQueue()
    for _ in range(20):
        queue.add(request("camera", 64, frame=7))
    assert len(queue.take(ROWS)) == 20


def test_a_cancelled_request_is_never_taken() -> None:
    queue = FairQueue()
    asked = [request("a") for _ in range(4)]
    for each in asked:
        queue.add(each)
    asked[0].cancelled = asked[2].cancelled = True
    assert queue.take(ROWS) == [asked[1], asked[3]]
    assert len(queue) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["add", "turn", "cancel"])),
        max_size=150,
    )
)
def test_every_request_is_taken_once_or_cancelled_and_nobody_is_remembered_for_ever(
    events: list[tuple[str, str]],
) -> None:
    engine, asked = Engine(), list[Request]()
    ended: list[Request] = []
    for client, what in events:
        if what == "add":
            asked.append(request(client, 40))
            engine.queue.add(asked[-1])
        elif what == "turn":
            ended += engine.turn()
        elif asked:
            asked[len(asked) // 2].cancelled = True
    for _ in range(len(asked) * (TOKENS + 5)):
        ended += engine.turn()
    assert len(ended) == len(set(ended))
    assert {each for each in asked if not each.cancelled} <= set(ended)
    assert (len(engine.queue), engine.queue.clients, len(engine.rows)) == (0, 0, 0)
