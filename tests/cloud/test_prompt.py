from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from saccade.errors import BundleError, QuestionError, UnknownWords
from saccade.question_rules import QuestionRules
from saccade.turns import asking
from saccade_cloud.prompt import PromptBuilder, VisualSegment
from saccade_cloud.tokenizer_file import parse_tokenizer
from saccade_testing.tiny_bundle import SPECIALS, write_tokenizer

TEMPLATE = ("<bos>", "{visual}", "question : {question} answer :")
RULES = QuestionRules(200)
VISUAL = VisualSegment(np.zeros((3, 4), np.float32), np.zeros((3, 3), np.int32))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return parse_tokenizer(path.read_bytes())


def test_the_template_is_applied_in_order(tokenizer: Tokenizer) -> None:
    prompt = PromptBuilder(tokenizer, TEMPLATE, RULES).build(
        asking("What color is the car ?"), {0: VISUAL}
    )
    (span,) = prompt.spans
    assert prompt.ids[0] == SPECIALS.index("<bos>")
    assert (span.start, span.stop) == (1, 4)
    assert span.embeds is VISUAL.embeds
    told = tokenizer.decode(prompt.ids[4:].tolist(), skip_special_tokens=False)
    assert told == "question : what color is the car? answer :"
    assert prompt.positions.tolist() == [list(range(len(prompt)))]
    assert prompt.next_position == len(prompt)


def test_the_shared_part_ends_with_the_visual_tokens(tokenizer: Tokenizer) -> None:
    builder = PromptBuilder(tokenizer, TEMPLATE, RULES)
    first, second = (
        builder.build(asking("how many"), {0: VISUAL}),
        builder.build(asking("is the car red"), {0: VISUAL}),
    )
    assert first.shared == second.shared == 4
    assert first.ids[:4].tolist() == second.ids[:4].tolist()


@pytest.mark.parametrize("special", SPECIALS)
def test_a_special_token_in_a_question_is_only_text(tokenizer: Tokenizer, special: str) -> None:
    prompt = PromptBuilder(tokenizer, TEMPLATE, RULES).build(
        asking(f"is it {special} red"), {0: VISUAL}
    )
    assert SPECIALS.index(special) not in prompt.ids[4:]


def test_braces_in_a_question_are_only_text(tokenizer: Tokenizer) -> None:
    words = Tokenizer.from_str(tokenizer.to_str())
    words.add_tokens(["{", "}"])
    builder = PromptBuilder(words, TEMPLATE, RULES)
    prompt = builder.build(asking("{question} {0} {"), {0: VISUAL})
    assert [(span.start, len(span)) for span in prompt.spans] == [(1, 3)]


@pytest.mark.parametrize("question", ["是红色吗", "is 它 red", "¿is it red ?"])
def test_what_the_tokenizer_has_no_token_for_is_named(question: str, tokenizer: Tokenizer) -> None:
    unknown = next(word for word in ("是红色吗", "它", "¿") if word in question)
    with pytest.raises(UnknownWords, match=f"does not know '{unknown[0]}"):
        PromptBuilder(tokenizer, TEMPLATE, RULES).build(asking(question), {0: VISUAL})


def test_a_vocabulary_of_words_refuses_all_others_and_names_the_nearest() -> None:
    words = ("<unk>", "<bos>", "how", "many", "cars", "question", "answer", ":")
    vocab = {word: number for number, word in enumerate(words)}
    closed = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    closed.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    builder = PromptBuilder(closed, TEMPLATE, RULES)
    assert len(builder.build(asking("how many cars"), {0: VISUAL})) == 1 + 3 + 7
    with pytest.raises(UnknownWords, match=r"know 'carz' \(did you mean 'cars'\?\) and 'fly':"):
        builder.build(asking("how many carz fly"), {0: VISUAL})


def test_a_question_of_which_no_token_is_left_is_empty() -> None:
    bare = Tokenizer(models.WordLevel({"<unk>": 0, "<bos>": 1}, unk_token="<unk>"))
    bare.normalizer = normalizers.Replace("\u200b", "")
    with pytest.raises(QuestionError, match="empty"):
        PromptBuilder(bare, TEMPLATE, RULES).check("\u200b")


@pytest.mark.parametrize(
    "template",
    [("<bos>", "{question}"), ("{visual}",), ("{visual}", "{visual}", "{question}"), ()],
)
def test_a_template_needs_one_picture_and_one_question(
    tokenizer: Tokenizer, template: tuple[str, ...]
) -> None:
    with pytest.raises(BundleError, match="it needs one"):
        PromptBuilder(tokenizer, template, RULES)
