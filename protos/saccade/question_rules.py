"""Is a question one that the bundle's model can answer? Asked before anything is computed.

Both ends and the SDK ask the same; nobody needs the tokenizer for it.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from saccade.errors import NotInFrame, QuestionError, UnknownWords
from saccade.manifest import CROP, Manifest
from saccade.turns import Question, as_question
from saccade.types import ViewTokens

_WORD = re.compile(r"\w+|[^\w\s]")
# Emoji and other symbols are no words: they are passed over, and a closed vocabulary's tokenizer
# drops them, too. Variation selectors (FE00 to FE0F) say how an emoji is drawn.
_SYMBOL_CATEGORIES = frozenset({"So", "Sk", "Cf"})
_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
_MOST_NAMED = 5  # unknown words in one message
_MAX_NUMBER_CHARS = 6  # of a crop in a message
_MAX_WORD_CHARS = 40  # in a message


@dataclass(frozen=True)
class QuestionRules:
    """What a bundle's manifest says about questions. ``chars``: the most that one's texts may have;
    ``frames``, ``crop_name`` and ``words``: see `saccade.manifest.QuestionSpec`.
    """

    chars: int
    crop_name: str = ""
    words: tuple[str, ...] = ()
    frames: int = 0

    @classmethod
    def of(cls, manifest: Manifest) -> QuestionRules:
        """A bundle's."""
        questions = manifest.questions
        return cls(questions.chars, questions.crop_name, questions.words, questions.frames)

    def check(self, question: Question | str) -> None:
        """Raises ``QuestionError`` for what is no question, whatever the frames show,
        ``UnknownWords`` for one with words that the model does not know, ``LimitExceeded``.
        """
        asked = as_question(question)
        asked.check(chars=self.chars, frames=self.frames or None)
        for turn in asked.turns if self.words else ():
            self._check_words(turn.text)

    def _check_words(self, said: str) -> None:
        text = _without_symbols(_plain(said))
        if not text.strip():
            raise QuestionError("the question has no word")
        if self._named is not None:
            text = self._named.sub(" ", text)
        unknown = [word for word in _WORD.findall(text) if word not in self._known]
        if unknown:
            raise unknown_words(unknown, self._known)

    def check_crops(self, question: Question | str, crops: Mapping[int, str]) -> None:
        """Raises ``NotInFrame`` for a question about a crop that is not among ``crops``: the label
        of each, empty where it is not known, by number.
        """
        if self._named is None:
            return
        shown = {str(number) for number in crops}
        for match in self._named.finditer(_plain(as_question(question).text)):
            digits = match["crop"]
            if digits not in shown:  # "04" is no name of crop 4, either
                name = self._name(digits[:_MAX_NUMBER_CHARS])
                raise NotInFrame(f"there is no {name} in this frame: it has {self._list(crops)}")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(_plain(word) for word in self.words)

    @cached_property
    def _named(self) -> re.Pattern[str] | None:
        """Finds what names a crop; its number is the group ``crop``."""
        if not self.crop_name:
            return None
        before, _, after = _plain(self.crop_name).partition(CROP)
        parts = (_spaced(before), r"(?P<crop>\d+)", _spaced(after))
        return re.compile(rf"(?<!\w){''.join(parts)}(?!\w)")

    def _name(self, number: int | str) -> str:
        return self.crop_name.replace(CROP, str(number))

    def _list(self, crops: Mapping[int, str]) -> str:
        """As in: vehicle 1 (car) and vehicle 2 (bus)."""
        if not crops:
            return f"no {self._name('').strip()}"
        labels = {number: f" ({label})" if label else "" for number, label in crops.items()}
        return _listed([self._name(number) + labels[number] for number in sorted(crops)])


def crops_of(views: Sequence[ViewTokens]) -> dict[int, str]:
    """The crops among a frame's views: the label of each by number."""
    return {view.slot: view.label for view in views if view.kind == "crop"}


def unknown_words(unknown: Sequence[str], known: frozenset[str]) -> UnknownWords:
    """The error that names them, with the nearest known word where there is one."""
    named = []
    distinct = list(dict.fromkeys(unknown))
    for word in distinct[:_MOST_NAMED]:
        near = difflib.get_close_matches(word[:_MAX_WORD_CHARS], known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        named.append(repr(word[:_MAX_WORD_CHARS]) + hint)
    more = len(distinct) - len(named)
    named += [f"{more} more"] if more else []
    return UnknownWords(
        f"the model does not know {_listed(named)}: its questions are made of {len(known)} words, "
        "and saccade bundle inspect shows examples"
    )


def _plain(text: str) -> str:
    """As the comparison takes it: one form of each character, no capitals."""
    return unicodedata.normalize("NFKC", text).casefold()


def _without_symbols(text: str) -> str:
    return "".join(
        char
        for char in text
        if unicodedata.category(char) not in _SYMBOL_CATEGORIES and char not in _SELECTORS
    )


def _spaced(text: str) -> str:
    """A pattern for ``text`` with any white space where it has some."""
    words = text.split()
    inner = r"\s+".join(re.escape(word) for word in words)
    lead = r"\s+" if words and text[:1].isspace() else ""
    trail = r"\s+" if words and text[-1:].isspace() else ""
    return lead + inner + trail


def _listed(items: Sequence[str]) -> str:
    """As in: one, two and three."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))
