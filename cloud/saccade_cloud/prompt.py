"""From a question and what the edge saw to a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from saccade.errors import BundleError, QuestionError
from saccade.question_rules import QuestionRules, unknown_words
from saccade.turns import Question, as_question
from saccade.types import F32, I32
from saccade_cloud.engines.base import I64, Prompt, VisualSpan

VISUAL = "{visual}"
QUESTION = "{question}"


@dataclass(frozen=True, slots=True, eq=False)
class VisualSegment:
    """Visual tokens in the language model's space.

    ``embeds``: [K, D_llm] float32. ``positions``: [K, 3] int32, (t, h, w) of each token.
    """

    embeds: F32
    positions: I32

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        return self.embeds.nbytes + self.positions.nbytes


class PromptBuilder:
    """The bundle's template, applied.

    Template parts are a special token (``<bos>``), ``{visual}``, or text with ``{question}``.
    ``tokenizer``: of its own, it is changed. Raises ``BundleError`` for a template without exactly
    one visual part and one question.
    """

    def __init__(self, tokenizer: Tokenizer, template: Sequence[str], rules: QuestionRules) -> None:
        self._tokenizer = tokenizer
        # A user's "<eos>" is six characters of text, not the end of the prompt.
        self._tokenizer.encode_special_tokens = True
        self._template = tuple(template)
        self._rules = rules
        self._unknown_id = _unknown_id(self._tokenizer)
        for part, count in ((VISUAL, self._count(VISUAL)), (QUESTION, self._count(QUESTION))):
            if count != 1:
                raise BundleError(f"the template has {count} places for {part}, it needs one")

    def check(self, question: Question | str) -> None:
        """Raises ``QuestionError`` for a question that ``build`` would refuse, and ``UnknownWords``
        for one with words that the model does not know.
        """
        self._rules.check(question)
        asked = as_question(question)
        if len(asked.turns) > 1 or len(asked.frames) > 1:
            raise QuestionError(
                f"the bundle's model takes one question about one frame, not {len(asked.turns)} "
                f"turns about {len(asked.frames)} frames"
            )
        text = asked.text
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        if not encoded.ids:  # nothing but characters that the tokenizer drops
            raise QuestionError("the question is empty")
        pairs = zip(encoded.ids, encoded.offsets, strict=True)
        unknown = [text[start:end] for id_, (start, end) in pairs if id_ == self._unknown_id]
        if unknown:
            raise unknown_words(unknown, self._vocabulary())

    def check_crops(self, question: Question | str, crops: Mapping[int, str]) -> None:
        """Raises ``NotInFrame`` for a question about a crop that is not among a frame's."""
        self._rules.check_crops(question, crops)

    def build(self, question: Question, frames: Mapping[int, VisualSegment]) -> Prompt:
        """The whole prompt; ``frames``: those that the question speaks of, by sequence. Raises
        ``QuestionError``.
        """
        self.check(question)
        visual = frames[question.frames[0]]
        parts = [self._ids(part, visual, question.text) for part in self._template]
        ids = np.concatenate(parts)
        at = self._template.index(VISUAL)
        start = sum(len(part) for part in parts[:at])
        return Prompt(
            ids=ids,
            positions=np.arange(len(ids))[None],
            next_position=len(ids),
            spans=(VisualSpan(start, visual.embeds),) if len(visual) else (),
            shared=start + len(visual),
        )

    @property
    def least_text_tokens(self) -> int:
        """Places in the context that the template takes with a question of one character."""
        texts = (part for part in self._template if part != VISUAL)
        return sum(len(self._text(part, "a")) for part in texts)

    def _vocabulary(self) -> frozenset[str]:
        special = {added.content for added in self._tokenizer.get_added_tokens_decoder().values()}
        return frozenset(self._tokenizer.get_vocab()) - special

    def _count(self, place: str) -> int:
        return sum(part.count(place) for part in self._template)

    def _ids(self, part: str, visual: VisualSegment, question: str) -> I64:
        if part == VISUAL:
            return np.zeros(len(visual), np.int64)
        return np.array(self._text(part, question), np.int64)

    def _text(self, part: str, question: str) -> list[int]:
        special: int | None = self._tokenizer.token_to_id(part)
        if special is not None:
            return [special]
        text = part.replace(QUESTION, question)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The token that stands for every word that the tokenizer does not know, if it has one."""
    token = getattr(tokenizer.model, "unk_token", None)
    return tokenizer.token_to_id(token) if isinstance(token, str) else None
