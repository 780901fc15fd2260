"""A question survives the wire whole, and what is no question is refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import LimitExceeded, QuestionError
from saccade.turns import (
    MAX_STOPS,
    MAX_TURNS,
    FrameReference,
    Generation,
    Question,
    Turn,
    asking,
)
from saccade.v1 import question_pb2 as pb

TEXTS = st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=40)
PARTS = st.one_of(TEXTS, st.builds(FrameReference, st.integers(0, (1 << 64) - 1)))
TURNS = st.builds(
    Turn, st.sampled_from(("system", "user", "assistant")), st.tuples(PARTS, PARTS, PARTS)
)
GENERATIONS = st.builds(
    Generation,
    max_tokens=st.integers(0, (1 << 32) - 1),
    temperature=st.floats(0, 2, width=32),
    top_p=st.floats(0.0625, 1, width=32),
    seed=st.integers(0, (1 << 64) - 1),
    stop=st.lists(TEXTS, max_size=3).map(tuple),
)
LINES = Question(
    (
        Turn("system", ("You look at streets.\nAnswer in one word.",)),
        Turn("user", (FrameReference(7), "Was ist das?\n\n— e.g. «Автобус» 🚌 חתול")),
        Turn("assistant", ("ein Bus",)),
        Turn("user", ("And here?", FrameReference(9), FrameReference(7))),
    )
)


@given(turns=st.lists(TURNS, max_size=4), generation=GENERATIONS)
def test_what_is_written_is_what_is_read(turns: list[Turn], generation: Generation) -> None:
    question = Question(tuple(turns), generation)
    wire, drawn = question.to_wire()
    again = [pb.Turn.FromString(turn.SerializeToString()) for turn in wire]
    raw = b"" if drawn is None else drawn.SerializeToString()
    assert Question.from_wire(again, pb.Generation.FromString(raw)) == question


def test_the_usual_generation_takes_no_byte() -> None:
    assert Generation().to_wire().SerializeToString() == b""


def test_many_lines_in_any_language_are_a_question() -> None:
    LINES.check(chars=1000, frames=2)
    assert LINES.frames == (7, 9)
    assert LINES.text == "And here?"


def test_the_frame_at_hand_is_the_one_that_the_call_names() -> None:
    asked = asking("what is it?", system="Be brief.").at_hand(12)
    assert asked.frames == (12,)
    assert asked.turns[0] == Turn("system", ("Be brief.",))


def test_turns_without_a_frame_are_about_those_that_came_along() -> None:
    asked = Question((Turn("user", ("what changed?",)),)).with_frames(1, 2)
    assert asked.turns == (Turn("user", (FrameReference(1), FrameReference(2), "what changed?")),)
    assert LINES.with_frames(5) == LINES


SEEN = FrameReference(1)
REFUSED = {
    "the last turn": Question(()),
    "the last turn of a": Question((Turn("assistant", ("a car",)),)),
    "question is empty": Question((Turn("user", (SEEN, " \n")),)),
    "101 characters, the bundle allows 100": asking("a" * 101),
    "no frame": Question((Turn("user", ("what is it?",)),)),
    "only the first": Question((Turn("user", (SEEN,)), Turn("system", ()), Turn("user", ("c",)))),
    "only the user shows": Question((Turn("assistant", (SEEN,)), Turn("user", ("c",)))),
    r"U\+0007": asking("ring\x07"),
    "no UTF-8": asking("half \ud800"),
    "role 'robot'": Question((Turn("robot", ("a",)), Turn("user", (SEEN, "c")))),  # type: ignore[arg-type]
    "is text, not int": Question((Turn("user", (SEEN, 5)),)),  # type: ignore[arg-type]
    "give 1 or more": asking("what?", generation=Generation(max_tokens=-1)),
    "temperature is nan": asking("what?", generation=Generation(temperature=float("nan"))),
    "temperature is -1": asking("what?", generation=Generation(temperature=-1)),
    "top_p is 1.5": asking("what?", generation=Generation(top_p=1.5)),
    "top_p is 0": asking("what?", generation=Generation(top_p=0)),
    "seed is -1": asking("what?", generation=Generation(seed=-1)),
    "a list of texts": asking("what?", generation=Generation(stop="end")),  # type: ignore[arg-type]
    "has 101 characters, the bundle allows 100": asking("a" * 101),
    "stop text is empty": asking("what?", generation=Generation(stop=("",))),
}  # fmt: skip
TOO_MUCH = {
    "turns in a question": Question((Turn("user", ("a",)),) * (MAX_TURNS + 1)),
    "texts and frames": Question((Turn("user", ("a",) * 300),)),
    "frames in a question": asking("what?", tuple(range(1, 4))),
    "stop texts": asking("what?", generation=Generation(stop=("a",) * (MAX_STOPS + 1))),
    "characters in a stop text": asking("what?", generation=Generation(stop=("a" * 300,))),
    "max_tokens is beyond": asking("what?", generation=Generation(max_tokens=1 << 33)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_question_is_refused(reason: str) -> None:
    with pytest.raises(QuestionError, match=reason):
        REFUSED[reason].check(chars=100, frames=2)


@pytest.mark.parametrize("reason", TOO_MUCH)
def test_more_than_the_limits_is_refused(reason: str) -> None:
    with pytest.raises(LimitExceeded, match=reason):
        TOO_MUCH[reason].check(chars=100, frames=2)


@pytest.mark.parametrize("turn", [pb.Turn(), pb.Turn(role=pb.ROLE_USER, content=[pb.Part()])])
def test_a_turn_of_the_wire_without_a_role_or_a_part_is_refused(turn: pb.Turn) -> None:
    with pytest.raises(QuestionError, match="none that is known|neither text nor a frame"):
        Question.from_wire([turn], pb.Generation())


def test_an_identity_is_of_question_engine_and_seed() -> None:
    drawn = Generation(temperature=1.0, seed=1)
    others = [
        asking("what?"),
        asking("what ?"),
        asking("what?", (1,)),
        asking("what?", system="Be brief."),
        asking("what?", generation=Generation(max_tokens=5)),
        asking("what?", generation=drawn),
        asking("what?", generation=Generation(temperature=1.0, seed=2)),
    ]
    identities = {question.identity("onnx") for question in others}
    assert len(identities) == len(others)
    assert {len(identity) for identity in identities} == {32}
    assert others[0].identity("vllm") not in identities


def test_greedy_answers_have_no_seed() -> None:
    assert asking("what?", generation=Generation(seed=3)).identity("a") == asking("what?").identity(
        "a"
    )
