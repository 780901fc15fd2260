"""From a question and what the edge saw to a prompt.

The family's chat template writes the turns, with a placeholder for each image. Each placeholder is
replaced by the image's texts and one image token for each visual token; then the whole text goes
through the tokenizer at once, as it does in the family's own processor, so that it cuts text alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from saccade.errors import BundleError, QuestionError
from saccade.question_rules import QuestionRules, unknown_words
from saccade.spec import PromptSpec
from saccade.turns import Question, as_question, asking
from saccade.types import F32, Box
from saccade_cloud.chat_template import ChatTemplate
from saccade_cloud.engines.base import I64, Prompt, VisualSpan
from saccade_cloud.positions import Positions, TextRun, VisualRun, positions
from saccade_cloud.visual_frame import Stretch, VisualFrame, VisualImage, arrange

# Put into what a user types where it would be a special token: every tokenizer knows it.
_BREAK = " "


@dataclass(frozen=True, slots=True, eq=False)
class PromptFiles:
    """What a bundle's prompts are made with. ``tokenizer``: of its own, it is changed.
    ``vectors``: learned vectors by name, [D] float32.
    """

    tokenizer: Tokenizer
    template: ChatTemplate
    vectors: Mapping[str, F32]


class PromptBuilder:
    """Raises ``BundleError`` for a prompt specification that the tokenizer does not know."""

    def __init__(self, files: PromptFiles, spec: PromptSpec, rules: QuestionRules) -> None:
        self._tokenizer = files.tokenizer
        self._tokenizer.encode_special_tokens = False
        self._template = files.template
        self._vectors = files.vectors
        self._spec = spec
        self._rules = rules
        self._unknown_id = _unknown_id(self._tokenizer)
        self._image_id = self._id_of(spec.image.token)
        self._special = _special_tokens(self._tokenizer, spec)
        for text in spec.stop:
            self._id_of(text)

    def check(self, question: Question | str) -> None:
        """Raises ``QuestionError`` for a question that ``build`` would refuse whatever the frames
        show, and ``UnknownWords`` for one with words that the model does not know.
        """
        question = as_question(question)
        self._rules.check(question)
        for turn in question.turns:
            if turn.role == "user":
                self._check_words(turn.text)
        self._render(question, None)

    def check_crops(self, question: Question | str, crops: Mapping[int, str]) -> None:
        """Raises ``NotInFrame`` for a question about a crop that is not among a frame's."""
        self._rules.check_crops(question, crops)

    def build(self, question: Question, frames: Mapping[int, VisualFrame]) -> Prompt:
        """The whole prompt. ``frames``: by the sequences that the question names.

        Raises ``QuestionError``.
        """
        text, images = self._render(question, frames)
        pieces = self._pieces(text, images)
        stretches = [
            (piece, number)
            for number, part in pieces
            for piece in part
            if isinstance(piece, Stretch)
        ]
        token = self._spec.image.token
        # A stretch of which nothing is kept is marked by one token, too, which is taken out again:
        # the text on both sides stays apart, and its place is known.
        whole = "".join(
            piece if isinstance(piece, str) else token * max(len(piece), 1)
            for _, part in pieces
            for piece in part
        )
        ids = np.array(self._tokenizer.encode(whole, add_special_tokens=False).ids, np.int64)
        return self._placed(ids, stretches)

    @property
    def least_text_tokens(self) -> int:
        """Places in the context that the template takes with a question of one character."""
        text, _ = self._render(asking("a"), None)
        text = text.replace(self._spec.image.mark, "")
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _render(
        self, question: Question, frames: Mapping[int, VisualFrame] | None
    ) -> tuple[str, list[tuple[str, VisualImage]]]:
        """The template's text, and the images whose placeholders it holds, in their order, each
        with its introduction. ``frames`` None: one image for each, not looked at.
        """
        images: list[tuple[str, VisualImage]] = []
        messages: list[dict[str, Any]] = []
        plain: list[dict[str, Any]] = []
        for turn in question.turns:
            content: list[dict[str, str]] = []
            for part in turn.content:
                if isinstance(part, str):
                    content.append({"type": "text", "text": self._harmless(part)})
                    continue
                seen = [] if frames is None else self._introduced(frames[part.sequence])
                images += seen
                content += [{"type": "image"}] * (len(seen) if frames is not None else 1)
            messages.append({"role": turn.role, "content": content})
            plain.append({"role": turn.role, "content": [_plain(item) for item in content]})
        text = self._template.render(messages)
        count = sum(item["type"] == "image" for turn in messages for item in turn["content"])
        self._check_specials(text, self._template.render(plain), count)
        return text, images

    def _check_specials(self, text: str, plain: str, images: int) -> None:
        """Raises ``QuestionError`` where what was typed makes a special token with what is beside
        it, or the template leaves an image out.
        """
        mark = self._spec.image.mark
        if text.count(mark) != images:
            raise QuestionError(
                f"the chat template has {text.count(mark)} places for {images} images"
            )
        if len(self._special.findall(text)) != len(self._special.findall(plain)):
            raise QuestionError(
                "the question's texts make a special token with what is beside them"
            )

    def _harmless(self, text: str) -> str:
        """What was typed, with no special token in it."""
        return self._special.sub(lambda found: found[0][:1] + _BREAK + found[0][1:], text)

    def _introduced(self, frame: VisualFrame) -> list[tuple[str, VisualImage]]:
        """Each image with the text before it; there is none where the frame is one image."""
        several = len(frame.images) > 1
        number, introduced = 0, []
        for image in frame.images:
            number += image.kind != "overview"
            introduced.append((self._intro(image, number) if several else "", image))
        return introduced

    def _intro(self, image: VisualImage, number: int) -> str:
        if image.kind == "overview":
            return self._spec.overview_intro
        text = self._spec.region_intro.replace("{number}", str(number))
        text = text.replace("{place}", place_of(image.window))
        return text.replace("{label}", image.label or image.kind)

    def _pieces(
        self, text: str, images: Iterable[tuple[str, VisualImage]]
    ) -> list[tuple[int, list[str | Stretch]]]:
        """The text with its placeholders replaced; pieces of the n-th image have its number."""
        spec = self._spec.image
        first, *rest = text.split(spec.mark)
        pieces: list[tuple[int, list[str | Stretch]]] = [(-1, [first])]
        for number, ((intro, image), after) in enumerate(zip(images, rest, strict=True)):
            if intro and spec.opening:
                before = pieces[-1][1]
                last = before[-1]
                assert isinstance(last, str)
                before[-1] = last.removesuffix(spec.opening)
                intro += spec.opening if last.endswith(spec.opening) else ""
            pieces.append((number, [intro, *arrange(image, spec, self._vectors)]))
            pieces.append((-1, [after]))
        return pieces

    def _placed(self, ids: I64, stretches: Sequence[tuple[Stretch, int]]) -> Prompt:
        """The prompt of a text whose visual places are the stretches', one after another."""
        places = np.flatnonzero(ids == self._image_id)
        lengths = np.array([len(stretch) for stretch, _ in stretches], np.int64)
        expected = int(np.maximum(lengths, 1).sum())
        if len(places) != expected:
            raise QuestionError(
                f"the prompt has {len(places)} places for {expected} visual tokens: what is beside "
                f"an image changes {self._spec.image.token}"
            )
        firsts = places[np.cumsum(np.maximum(lengths, 1)) - np.maximum(lengths, 1)]
        ids = np.delete(ids, firsts[lengths == 0])
        # What was taken out before a place moves it up.
        starts = (firsts - np.cumsum(lengths == 0) + (lengths == 0)).tolist()
        placed = self._positions(len(ids), starts, stretches)
        bidirectional = self._spec.attention == "bidirectional"
        prefix = self._spec.attention == "prefix"
        spans = _spans(starts, stretches, bidirectional=bidirectional)
        return Prompt(
            ids=ids,
            positions=placed.rows,
            next_position=placed.next_position,
            spans=spans,
            shared=spans[-1].stop if spans and not prefix else 0,
            prefix_attention=prefix,
        )

    def _positions(
        self, length: int, starts: Sequence[int], stretches: Sequence[tuple[Stretch, int]]
    ) -> Positions:
        runs: list[TextRun | VisualRun] = []
        place = 0
        for start, (stretch, _) in zip(starts, stretches, strict=True):
            runs += [TextRun(start - place)] if start > place else []
            runs.append(VisualRun(stretch.grid, stretch.kept, stretch.owners))
            place = start + len(stretch)
        runs += [TextRun(length - place)] if length > place else []
        spec = self._spec
        compact = spec.pruned_positions == "compact"
        return positions(runs, spec.positions, compact=compact, members=spec.members)

    def _check_words(self, text: str) -> None:
        text = self._harmless(text)
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        if not encoded.ids:  # nothing but characters that the tokenizer drops
            raise QuestionError("the question is empty")
        pairs = zip(encoded.ids, encoded.offsets, strict=True)
        unknown = [text[start:end] for id_, (start, end) in pairs if id_ == self._unknown_id]
        if unknown:
            raise unknown_words(unknown, self._vocabulary())

    def _vocabulary(self) -> frozenset[str]:
        special = {added.content for added in self._tokenizer.get_added_tokens_decoder().values()}
        return frozenset(self._tokenizer.get_vocab()) - special

    def _id_of(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        if number is None:
            raise BundleError(f"the tokenizer has no token {token!r}, which the prompt needs")
        return number


def place_of(window: Box) -> str:
    """Where in the frame a window's centre lies, in words."""
    x, y = (window[0] + window[2]) / 2, (window[1] + window[3]) / 2
    row = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    return f"{row} {column}".strip() or "centre"


def _spans(
    starts: Sequence[int], stretches: Sequence[tuple[Stretch, int]], *, bidirectional: bool
) -> tuple[VisualSpan, ...]:
    """Stretches that stand together are one span; of one image where its tokens see each other."""
    groups: list[list[tuple[int, Stretch, int]]] = []
    for start, (stretch, image) in zip(starts, stretches, strict=True):
        if not len(stretch):
            continue
        if groups:
            place, last, before = groups[-1][-1]
            if place + len(last) == start and (image == before or not bidirectional):
                groups[-1].append((start, stretch, image))
                continue
        groups.append([(start, stretch, image)])
    return tuple(_span(group, bidirectional=bidirectional) for group in groups)


def _span(group: Sequence[tuple[int, Stretch, int]], *, bidirectional: bool) -> VisualSpan:
    deep = [s.deepstack for _, s, _ in group if s.deepstack is not None]
    return VisualSpan(
        start=group[0][0],
        embeds=np.concatenate([stretch.embeds for _, stretch, _ in group]),
        deepstack=np.concatenate(deep, axis=1) if deep else None,
        bidirectional=bidirectional,
    )


def _plain(item: Mapping[str, str]) -> dict[str, str]:
    """A part of a turn with a word for what was typed."""
    text = item.get("text", "")
    return {**item, "text": "a"} if text.strip() else dict(item)


def _special_tokens(tokenizer: Tokenizer, spec: PromptSpec) -> re.Pattern[str]:
    """Finds what nobody may type: the tokenizer's special tokens, and those around images."""
    added = tokenizer.get_added_tokens_decoder().values()
    names = {token.content for token in added if token.special}
    names |= {spec.image.token, spec.image.mark}
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The token that stands for every word that the tokenizer does not know, if it has one."""
    token = getattr(tokenizer.model, "unk_token", None)
    return tokenizer.token_to_id(token) if isinstance(token, str) else None
