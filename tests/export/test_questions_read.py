"""A bundle's tokenizer reads a question the same however a person writes it."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from saccade.bundle import Bundle
from saccade_drawn_world.tiny.tiny_tokenizer import build, for_questions

WORDS = ("what", "is", "the", "weather", "describe", "scene", "answer", ":", "?", ".", "SNUZ")
TAIL = " answer :"


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return build(WORDS, crops=2)


@pytest.mark.parametrize(
    ("written", "as_trained"),
    [
        ("What is the weather?", "what is the weather ?"),
        ("WHAT IS THE WEATHER", "what is the weather ?"),
        ("  what  is the weather  ? ", "what is the weather ?"),
        ("What is Vehicle 2?", "what is vehicle 2 ?"),
        ("what is VEHICLE\u00a01", "what is vehicle 1 ?"),
        ("Describe the scene.", "describe the scene ."),
        ("describe the scene", "describe the scene ."),
        ("Describe vehicle 2", "describe vehicle 2 ."),
    ],
)
def test_capitals_spaces_and_a_missing_mark_do_not_count(
    words: Tokenizer, written: str, as_trained: str
) -> None:
    reads = for_questions(words, TAIL)
    expected = words.encode(as_trained + TAIL).tokens
    assert reads.encode(written + TAIL).tokens == reads.encode(as_trained + TAIL).tokens == expected


def test_training_still_reads_capitals(words: Tokenizer) -> None:
    before = words.encode("SNUZ").ids
    for_questions(words, TAIL)
    assert words.encode("SNUZ").ids == before
    assert words.encode("snuz").ids != before


@pytest.mark.parametrize("name", ["crossing", "crossing-registers"])
def test_the_shipped_bundles_read_their_examples_so(name: str) -> None:
    bundle = Bundle.open(name)
    language = bundle.manifest.language
    reads = Tokenizer.from_file(str(bundle.file(language.tokenizer)))
    tail = TAIL
    assert bundle.file(bundle.manifest.prompt.chat_template).read_text().endswith(tail)
    for example in bundle.manifest.questions.examples:
        question = example.replace("{crop}", "1").replace("{closeup}", "1")
        expected = reads.encode(question + tail).ids
        for written in (question.upper(), question[:-2], question.replace(" ", "  ")):
            assert reads.encode(written + tail).ids == expected
