from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from saccade.errors import BundleError, QuestionError
from saccade.text import check_question
from saccade_cloud.prompt import PromptBuilder, TextSegment, VisualSegment
from saccade_cloud.tokenizer_file import parse_tokenizer
from saccade_testing.tiny_bundle import SPECIALS, write_tokenizer

TEMPLATE = ("<bos>", "{visual}", "question : {question} answer :")
VISUAL = VisualSegment(np.zeros((3, 4), np.float32), np.zeros((3, 3), np.int32))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return parse_tokenizer(path.read_bytes())


def test_the_template_is_applied_in_order(tokenizer: Tokenizer) -> None:
    prompt = PromptBuilder(tokenizer, TEMPLATE, 200).build(VISUAL, "What color is the car ?")
    bos, visual, text = prompt.segments
    assert bos == TextSegment((SPECIALS.index("<bos>"),))
    assert visual is VISUAL
    assert isinstance(text, TextSegment)
    told = tokenizer.decode(list(text.ids), skip_special_tokens=False)
    assert told == "question : what color is the car? answer :"
    assert len(prompt) == 1 + 3 + len(text)


def test_the_shared_part_ends_with_the_visual_tokens(tokenizer: Tokenizer) -> None:
    builder = PromptBuilder(tokenizer, TEMPLATE, 200)
    first, second = builder.build(VISUAL, "how many"), builder.build(VISUAL, "is the car red")
    assert first.shared == second.shared == first.segments[:2]
    assert first.shared_length == 4


@pytest.mark.parametrize("special", SPECIALS)
def test_a_special_token_in_a_question_is_only_text(tokenizer: Tokenizer, special: str) -> None:
    prompt = PromptBuilder(tokenizer, TEMPLATE, 200).build(VISUAL, f"is it {special} red")
    text = prompt.segments[-1]
    assert isinstance(text, TextSegment)
    assert SPECIALS.index(special) not in text.ids


def test_braces_in_a_question_are_only_text(tokenizer: Tokenizer) -> None:
    builder = PromptBuilder(tokenizer, TEMPLATE, 200)
    assert len(builder.build(VISUAL, "{visual} {question} {0} {").segments) == 3


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("x" * 21, "21 characters, the bundle allows 20"),
        ("two\nlines", r"U\+000A at position 3"),
        ("\x00", r"U\+0000 at position 0"),
        ("\x1b[2J", r"U\+001B"),
        ("\ud800", r"U\+D800"),
    ],
)
def test_what_is_no_question_is_refused_with_its_values(question: str, says: str) -> None:
    with pytest.raises(QuestionError, match=says):
        check_question(question, 20)


@pytest.mark.parametrize("question", ["是红色吗", "👩\u200d🚒 ?", "x" * 20, "¿qué?"])
def test_questions_of_every_script_pass(question: str, tokenizer: Tokenizer) -> None:
    assert len(PromptBuilder(tokenizer, TEMPLATE, 20).build(VISUAL, question).segments) == 3


@pytest.mark.parametrize(
    "template",
    [("<bos>", "{question}"), ("{visual}",), ("{visual}", "{visual}", "{question}"), ()],
)
def test_a_template_needs_one_picture_and_one_question(
    tokenizer: Tokenizer, template: tuple[str, ...]
) -> None:
    with pytest.raises(BundleError, match="it needs one"):
        PromptBuilder(tokenizer, template, 200)
