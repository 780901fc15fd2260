"""A question: turns of text and pictures, and how its answer is drawn.

The same dataclasses are what an application writes, what travels (``question.proto``) and what a
prompt is built from. What comes from outside is checked by `Question.check` before anything else is
done with it.
"""

from __future__ import annotations

import hashlib
import math
import operator
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, SupportsIndex, get_args

from saccade.errors import LimitExceeded, QuestionError
from saccade.v1 import question_pb2 as pb

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)

MAX_UINT32 = (1 << 32) - 1
MAX_UINT64 = (1 << 64) - 1
MAX_TURNS = 256
MAX_PARTS = 256  # of all turns together
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_TEMPERATURE = 100.0
# Text may have any character but control characters (those of white space excepted) and lone
# surrogates: these stand for bytes of a command line that are no UTF-8, and cannot be sent. Format
# characters (Cf) stay allowed: scripts and emoji need the zero-width joiner.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})
_WHITE_SPACE = frozenset("\t\n\r")


@dataclass(frozen=True, slots=True)
class FrameReference:
    """A frame's place in the text. ``sequence`` 0: the frame at hand, which the call names."""

    sequence: int = 0


Part = str | FrameReference


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side of the dialogue says: texts, and frames where they are spoken of."""

    role: Role
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """Its texts, joined."""
        return "".join(part for part in self.content if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Generation:
    """``max_tokens`` 0: the engine's maximum. ``temperature`` 0: greedy, and the same question has
    one answer; else tokens are drawn with ``seed`` from the least set that has ``top_p`` of the
    probability. ``stop``: texts that end the answer, and are not part of it.
    """

    max_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ``QuestionError`` for what no engine can do, ``LimitExceeded`` for too much."""
        check_max_tokens(self.max_tokens)
        for name, value, most in (
            ("temperature", self.temperature, MAX_TEMPERATURE),
            ("top_p", self.top_p, 1.0),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise QuestionError(f"{name} is a number, not {value!r}")
            if not (math.isfinite(value) and 0 <= value <= most):
                raise QuestionError(f"{name} is {value}: give 0 to {most:g}")
        if not self.top_p:
            raise QuestionError("top_p is 0: no token has so little of the probability")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise QuestionError(f"seed is a whole number, not {self.seed!r}")
        if not 0 <= self.seed <= MAX_UINT64:
            raise QuestionError(f"seed is {self.seed}: give 0 to {MAX_UINT64}")
        _check_stops(self.stop)

    def to_wire(self) -> pb.Generation:
        """As it travels: the usual one is an empty message."""
        return pb.Generation(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=0.0 if self.top_p == 1.0 else self.top_p,
            seed=self.seed,
            stop=self.stop,
        )

    @classmethod
    def from_wire(cls, wire: pb.Generation) -> Generation:
        """As it came, not checked."""
        return cls(
            wire.max_tokens, wire.temperature, wire.top_p or 1.0, wire.seed, tuple(wire.stop)
        )


@dataclass(frozen=True, slots=True)
class Question:
    """Turns, the last one the user's, about one frame or several."""

    turns: tuple[Turn, ...]
    generation: Generation = field(default_factory=Generation)

    @property
    def text(self) -> str:
        """What the user says last, for people: in a list, a log, a history."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    @property
    def frames(self) -> tuple[int, ...]:
        """The sequences that it speaks of, each once, as they first occur."""
        parts = (part for turn in self.turns for part in turn.content)
        return tuple(
            dict.fromkeys(part.sequence for part in parts if isinstance(part, FrameReference))
        )

    @property
    def chars(self) -> int:
        """Characters of all texts."""
        return sum(len(turn.text) for turn in self.turns)

    def check(self, *, chars: int | None = None, frames: int | None = None) -> None:
        """Raises ``QuestionError`` for what is no question, or has more than ``chars`` characters,
        ``LimitExceeded`` for one with more than ``frames`` frames (None: any number).
        """
        turns = self.turns
        if not turns or turns[-1].role != "user":
            raise QuestionError("the last turn of a question is the user's")
        _at_most("turns in a question", len(turns), MAX_TURNS)
        parts = sum(len(turn.content) for turn in turns)
        _at_most("texts and frames in a question", parts, MAX_PARTS)
        for number, turn in enumerate(turns):
            _check_turn(turn, number)
        if not self.text.strip():
            raise QuestionError("the question is empty")
        if chars is not None and self.chars > chars:
            raise QuestionError(
                f"the question has {self.chars} characters, the bundle allows {chars}"
            )
        if frames is not None:
            _at_most("frames in a question", len(self.frames), frames)
        if not self.frames:
            raise QuestionError("the question speaks of no frame")
        self.generation.check()

    def with_frames(self, *frames: int) -> Question:
        """The same; where it speaks of no frame, about these, before what the user says last."""
        if self.frames or not frames or not self.turns:
            return self
        *before, last = self.turns
        seen = tuple(FrameReference(sequence) for sequence in frames)
        return Question((*before, Turn(last.role, (*seen, *last.content))), self.generation)

    def within(self, max_tokens: SupportsIndex) -> Question:
        """The same, with an answer of at most so many tokens; 0 changes nothing."""
        most = check_max_tokens(max_tokens)
        if not most:
            return self
        return Question(self.turns, replace(self.generation, max_tokens=most))

    def at_hand(self, sequence: int) -> Question:
        """The same, with ``sequence`` for the frame at hand."""
        return Question(tuple(_placed(turn, sequence) for turn in self.turns), self.generation)

    def identity(self, engine: str) -> bytes:
        """32 bytes that stand for the question, the engine and, where tokens are drawn, the seed:
        the same frame, asked the same, has one answer.
        """
        drawn = self.generation
        if not drawn.temperature:
            drawn = Generation(max_tokens=drawn.max_tokens, stop=drawn.stop)
        turns, _ = self.to_wire()
        digest = hashlib.sha256()
        for said in (*turns, drawn.to_wire()):
            text = said.SerializeToString(deterministic=True)
            digest.update(len(text).to_bytes(8, "little") + text)
        digest.update(engine.encode())
        return digest.digest()

    def to_wire(self) -> tuple[list[pb.Turn], pb.Generation | None]:
        """``turns`` and ``generation`` of the messages that carry a question; the usual generation
        is not said.
        """
        drawn = None if self.generation == Generation() else self.generation.to_wire()
        return [_turn_to_wire(turn) for turn in self.turns], drawn

    @classmethod
    def from_wire(cls, turns: Iterable[pb.Turn], generation: pb.Generation) -> Question:
        """As it came. Raises ``QuestionError`` for roles and parts that are none; not checked."""
        return cls(tuple(map(_turn_from_wire, turns)), Generation.from_wire(generation))


def asking(
    text: str,
    frames: Sequence[int] = (0,),
    *,
    system: str = "",
    generation: Generation | None = None,
) -> Question:
    """The usual question: the frames, then ``text``, in one turn, behind the system's."""
    before = (Turn("system", (system,)),) if system else ()
    seen = tuple(FrameReference(sequence) for sequence in frames)
    return Question((*before, Turn("user", (*seen, text))), generation or Generation())


def as_question(question: Question | str) -> Question:
    """Text is the usual question about the frame at hand. Raises ``QuestionError``."""
    if isinstance(question, str):
        return asking(question)
    if not isinstance(question, Question):
        raise QuestionError(f"a question is text or a Question, not {type(question).__name__}")
    return question


def check_max_tokens(max_tokens: SupportsIndex) -> int:
    """``max_tokens`` as the wire takes it. Raises ``QuestionError``, or ``LimitExceeded``."""
    try:
        tokens = operator.index(max_tokens)
    except TypeError:
        raise QuestionError(f"max_tokens is a whole number, not {max_tokens!r}") from None
    if abs(tokens) > MAX_UINT32:
        raise LimitExceeded(f"max_tokens is beyond {MAX_UINT32:,}, which no engine gives")
    if tokens < 0 or isinstance(max_tokens, bool):
        raise QuestionError(f"max_tokens is {max_tokens}: give 1 or more, or 0 for the maximum")
    return tokens


def check_text(text: str, what: str = "the question") -> None:
    """Raises ``QuestionError`` for what is no text, or has characters that no text has."""
    if not isinstance(text, str):
        raise QuestionError(f"{what} is text, not {type(text).__name__}")
    for place, char in enumerate(text):
        kind = unicodedata.category(char)
        if kind in _FORBIDDEN_CATEGORIES and char not in _WHITE_SPACE:
            flaw = "the control character" if kind == "Cc" else "no UTF-8:"
            raise QuestionError(f"{what} has {flaw} U+{ord(char):04X} at position {place}")


def _check_turn(turn: Turn, number: int) -> None:
    if turn.role not in ROLES:
        raise QuestionError(f"turn {number} has role {turn.role!r}: one of {', '.join(ROLES)}")
    if turn.role == "system" and number:
        raise QuestionError(f"turn {number} is the system's, which only the first can be")
    for part in turn.content:
        if not isinstance(part, FrameReference):
            check_text(part)
        elif turn.role != "user":
            raise QuestionError(f"turn {number} is the {turn.role}'s: only the user shows frames")
        elif not 0 <= part.sequence <= MAX_UINT64:
            raise QuestionError(f"turn {number} speaks of frame {part.sequence}")


def _check_stops(stop: Sequence[str]) -> None:
    if isinstance(stop, str):
        raise QuestionError("stop is a list of texts, not one text")
    _at_most("stop texts", len(stop), MAX_STOPS)
    for text in stop:
        check_text(text, "a stop text")
        if not text:
            raise QuestionError("a stop text is empty")
        _at_most("characters in a stop text", len(text), MAX_STOP_CHARS)


def _placed(turn: Turn, at_hand: int) -> Turn:
    content = tuple(
        FrameReference(at_hand) if isinstance(part, FrameReference) and not part.sequence else part
        for part in turn.content
    )
    return Turn(turn.role, content)


_TO_WIRE = {
    "system": pb.ROLE_SYSTEM,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
}
_FROM_WIRE: dict[int, Role] = {number: role for role, number in _TO_WIRE.items()}  # type: ignore[misc]


def _turn_to_wire(turn: Turn) -> pb.Turn:
    parts = [
        pb.Part(text=part) if isinstance(part, str) else pb.Part(frame=part.sequence)
        for part in turn.content
    ]
    return pb.Turn(role=_TO_WIRE[turn.role], content=parts)


def _turn_from_wire(wire: pb.Turn) -> Turn:
    role = _FROM_WIRE.get(wire.role)
    if role is None:
        raise QuestionError(f"a turn has role {wire.role}, which is none that is known")
    return Turn(role, tuple(map(_part_from_wire, wire.content)))


def _part_from_wire(wire: pb.Part) -> Part:
    kind = wire.WhichOneof("kind")
    if kind == "text":
        return wire.text
    if kind == "frame":
        return FrameReference(wire.frame)
    raise QuestionError("a turn has a part that is neither text nor a frame")


def _at_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise LimitExceeded(f"received {count} {what}, the limit is {most}")
