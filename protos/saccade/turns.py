"""A question: turns of a conversation about frames, and how the answer is generated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text, as it was typed."""

    text: str


@dataclass(frozen=True, slots=True)
class FramePart:
    """The images of a frame stand here. ``frame``: an index into the frames that the question came
    with: 0, 1, 2, ..., each of them named once or not at all.
    """

    frame: int = 0


Part = TextPart | FramePart


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: Role
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class Generation:
    """``max_tokens`` of the answer, 0: as many as the engine allows. ``temperature`` 0 is greedy;
    above it tokens are drawn, by ``seed``, from the likeliest that have ``top_p`` together.
    ``stop``: texts that end the answer, and are not in it.
    """

    max_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """``turns``: the last one is the user's. Where no part names a frame, the frames stand before
    the first user's text, in their order.
    """

    turns: tuple[Turn, ...]
    generation: Generation = field(default_factory=Generation)

    @classmethod
    def of(cls, text: str, generation: Generation | None = None) -> Question:
        """One user's turn about one frame."""
        return cls((Turn("user", (TextPart(text),)),), generation or Generation())

    @property
    def text(self) -> str:
        """What the user said last."""
        return self.turns[-1].text if self.turns else ""

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that parts name, in their order."""
        parts = (part for turn in self.turns for part in turn.content)
        return tuple(part.frame for part in parts if isinstance(part, FramePart))
