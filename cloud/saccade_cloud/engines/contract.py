"""What an engine is given, and what it says of itself.

A prompt is text ids and visual spans kept apart, with the positions of all of it: the builder of
prompts computes them, so that an engine need not know how a family counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from saccade.nouns import F32

I64 = npt.NDArray[np.int64]
Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, eq=False)
class VisualSpan:
    """Visual tokens that follow each other, from place ``start`` of the prompt.

    ``embeds``: [K, D] float32. ``deepstack``: [L, K, D] float32, added to the hidden states after
    the first L layers; None where the family has none. ``bidirectional``: its tokens attend to each
    other both ways; spans that follow each other without a gap with the same ``image`` do so
    together.
    """

    start: int
    embeds: F32
    deepstack: F32 | None = None
    bidirectional: bool = False
    image: int = 0

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def stop(self) -> int:
        """The place behind its last token."""
        return self.start + len(self.embeds)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What an engine completes.

    ``ids``: [N] int64, the image token's id at visual places. ``spans``: ascending, none over
    another. ``positions``: [1, N] int64, or [3, N] for M-RoPE's rows (t, h, w). ``next_position``:
    of the first generated token, the others count on from it. ``shared``: how many leading places
    every question about the same upload has in common; they end behind the last visual token or
    before. ``prefix``: the whole prompt attends both ways (PaliGemma).
    """

    ids: I64
    spans: tuple[VisualSpan, ...]
    positions: I64
    next_position: int
    shared: int = 0
    prefix: bool = False

    def __len__(self) -> int:
        """Places that the prompt takes in the language model's context."""
        return len(self.ids)

    @property
    def visual(self) -> int:
        """Visual tokens in all spans."""
        return sum(len(span) for span in self.spans)

    def pieces(self) -> Iterator[I64 | VisualSpan]:
        """The prompt in its order: ids of a run of text, or a span."""
        place = 0
        for span in self.spans:
            if span.start > place:
                yield self.ids[place : span.start]
            yield span
            place = span.stop
        if place < len(self.ids):
            yield self.ids[place:]


@dataclass(frozen=True, slots=True)
class GenerateParams:
    """``max_tokens`` of the answer. ``temperature`` 0 is greedy: the same prompt has one answer;
    above it tokens are drawn, by ``seed``, from the likeliest that have ``top_p`` together.
    ``stop``: texts that end the answer, and are not in it.

    ``client``: who asks. When several clients have questions, each gets its share of the engine.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    client: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a bundle asks of an engine. ``language``: the forms in which the bundle has its language
    model ("onnx", "transformers"), one of them is enough. The others as `Capabilities`.
    """

    language: frozenset[str]
    max_context: int = 0
    explicit_positions: bool = False
    mrope: bool = False
    deepstack: bool = False
    bidirectional: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do. ``language``: the forms of a language model that it runs;
    ``max_context``: 0 where only the model bounds it; ``explicit_positions``: positions with gaps,
    as pruned tokens leave them; ``mrope``: three rows of them; ``deepstack``; ``bidirectional``:
    among the visual tokens of an image; ``prefix``: in the whole prompt; ``sampling``: by
    temperature.
    """

    language: frozenset[str]
    max_context: int = 0
    explicit_positions: bool = False
    mrope: bool = False
    deepstack: bool = False
    bidirectional: bool = False
    prefix: bool = False
    sampling: bool = False

    def missing(self, needs: Needs) -> tuple[str, ...]:
        """Names of what ``needs`` asks for and the engine can't do; empty where it can do all."""
        names = ("explicit_positions", "mrope", "deepstack", "bidirectional", "prefix")
        lacking = [name for name in names if getattr(needs, name) and not getattr(self, name)]
        if needs.language and not self.language & needs.language:
            lacking.insert(0, f"a language model as {' or '.join(sorted(self.language))}")
        if self.max_context and needs.max_context > self.max_context:
            lacking.append(f"a context of {needs.max_context}")
        return tuple(lacking)
