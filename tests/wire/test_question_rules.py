"""Questions that nobody could answer honestly are refused, with the reason in them."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.errors import LimitExceeded, NotInFrame, QuestionError, UnknownWords
from saccade.question_rules import QuestionRules, crops_of
from saccade.turns import as_question, check_max_tokens
from saccade.types import TokenSet, ViewTokens

RULES = QuestionRules(
    60, "vehicle {crop}", ("what", "is", "colour", "the", "bus", "left", "of", "?", "describe", ".")
)
SHOWN = {1: "car", 2: "bus"}


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("x" * 21, "21 characters, the bundle allows 20"),
        ("two\x0blines", r"U\+000B at position 3"),
        ("\x00", r"U\+0000 at position 0"),
        ("\x1b[2J", r"U\+001B"),
        ("\ud800", r"U\+D800"),
        (None, "text or a Question, not NoneType"),
        (b"what is it ?", "text or a Question, not bytes"),
        (7, "text or a Question, not int"),
    ],
)
def test_what_is_no_question_is_refused_with_its_values(question: str, says: str) -> None:
    with pytest.raises(QuestionError, match=says):
        as_question(question).check(chars=20)


def test_symbols_alone_are_no_question() -> None:
    with pytest.raises(QuestionError, match="has no word"):
        RULES.check("🚌 🚗")


@pytest.mark.parametrize("question", ["是红色吗", "👩\u200d🚒 ?", "x" * 20, "¿qué?"])
def test_questions_of_every_script_pass(question: str) -> None:
    QuestionRules(20).check(question)


@pytest.mark.parametrize(
    "question",
    [
        "what is vehicle 1 ?",
        "What is VEHICLE 2?",
        "what is vehicle\u00a0 1 ?",
        "is vehicle 1 left of vehicle 2 ?",
        "what is the bus ?",
        "what is vehicle \uff11 ?",
        "what is the bus ? 🚌",
        "what is ❤️ the bus ?",
    ],
)
def test_a_question_about_what_is_there_passes_however_it_is_written(question: str) -> None:
    RULES.check(question)
    RULES.check_crops(question, SHOWN)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("what is vehicle 4 ?", "vehicle 4"),
        ("WHAT IS VEHICLE  3?", "vehicle 3"),
        ("is vehicle 1 left of vehicle 12 ?", "vehicle 12"),
        ("what is vehicle 0 ?", "vehicle 0"),
        ("what is vehicle 01 ?", "vehicle 01"),
        ("what is vehicle \uff17 ?", "vehicle 7"),
        (f"what is vehicle {'9' * 30} ?", "vehicle 999999"),
    ],
)
def test_a_question_about_what_is_not_there_hears_what_is(question: str, name: str) -> None:
    with pytest.raises(NotInFrame) as caught:
        RULES.check_crops(question, SHOWN)
    there = "it has vehicle 1 (car) and vehicle 2 (bus)"
    assert caught.value.message == f"there is no {name} in this frame: {there}"


@pytest.mark.parametrize(
    ("crops", "says"),
    [
        ({}, "it has no vehicle"),
        ({1: ""}, "it has vehicle 1"),
        ({1: "", 2: "", 3: "van"}, "it has vehicle 1, vehicle 2 and vehicle 3 (van)"),
    ],
)
def test_labels_are_said_where_they_are_known(crops: dict[int, str], says: str) -> None:
    with pytest.raises(
        NotInFrame, match=rf"in this frame: {says}$".replace("(", r"\(").replace(")", r"\)")
    ):
        RULES.check_crops("what is vehicle 4 ?", crops)


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("what color is the bus ?", ["'color' (did you mean 'colour'?)"]),
        ("what is the moose ?", ["'moose'"]),
        ("what is vehicle4 ?", ["'vehicle4'"]),
        ("what is vehicle #1 ?", ["'vehicle'", "'#'", "'1'"]),
        ("what is the 2 ?", ["'2'"]),
        ("a b c d e f g", ["'a'", "2 more"]),
    ],
)
def test_words_that_the_model_does_not_know_are_named(question: str, named: list[str]) -> None:
    with pytest.raises(UnknownWords) as caught:
        RULES.check(question)
    assert all(word in caught.value.message for word in named)


def test_a_bundle_without_names_and_words_takes_every_question() -> None:
    open_rules = QuestionRules(200)
    open_rules.check("what is vehicle 9, by the way ?")
    open_rules.check_crops("what is vehicle 9, by the way ?", {})


def test_crops_are_numbered_as_views_are_and_close_ups_are_none() -> None:
    none = np.zeros(0, np.int32)
    tokens = TokenSet(np.zeros((0, 4), np.float32), none, (1, 8, 8), none)
    views = [
        ViewTokens(0, (0, 0, 1, 1), tokens),
        ViewTokens(1, (0, 0, 1, 1), tokens, "car"),
        ViewTokens(2, (0, 0, 1, 1), tokens),
        ViewTokens(3, (0, 0, 1, 1), tokens, "plate", closeup_of=1),
    ]
    assert crops_of(views) == {1: "car", 2: ""}


@pytest.mark.parametrize("wrong", [-1, 1.5, "4", None, True])
def test_max_tokens_is_a_whole_number_from_0_on(wrong: int) -> None:
    with pytest.raises(QuestionError, match="max_tokens is"):
        check_max_tokens(wrong)


@pytest.mark.parametrize(
    "huge", [1 << 32, 10**5000, -(10**5000)], ids=["2^32", "10^5000", "-10^5000"]
)
def test_max_tokens_beyond_all_engines_is_a_limit(huge: int) -> None:
    with pytest.raises(LimitExceeded, match="4,294,967,295"):
        check_max_tokens(huge)


def test_numbers_of_numpy_are_numbers() -> None:
    assert check_max_tokens(np.int64(3)) == 3
