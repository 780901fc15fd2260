"""The contract of an engine: it completes a prompt, token by token.

Every engine passes ``EngineContract`` (tests/cloud), which is this page as tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from saccade.types import F32, Probability, Timing

Finish = Literal["stop", "length"]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class VisualSpan:
    """Visual tokens that stand together in a prompt, from its place ``start`` on.

    ``embeds``: [K, D] float32, what the language model reads there. ``deepstack``: [L, K, D]
    float32, added to its hidden states after each of its first L layers. ``bidirectional``: each
    of the K tokens attends to all of them, not only to those before it.
    """

    start: int
    embeds: F32
    deepstack: F32 | None = None
    bidirectional: bool = False

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def stop(self) -> int:
        return self.start + len(self.embeds)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What an engine completes: N places, each a token of text or a visual token.

    ``ids``: [N] int64; at visual places the image token's, which the vocabulary need not have.
    ``positions``: [1, N] int64, with gaps where tokens were pruned; [3, N] (t, h, w) for M-RoPE;
    [3 * K, N] where merged tokens keep the places of K members: K rows of t, K of h, K of w.
    ``next_position``: of the first generated token; further ones follow by one.
    ``spans``: ascending, without overlap. ``shared``: leading places that every question about the
    same pictures has in common; no span reaches over it. ``prefix_attention``: each token of the
    prompt attends to the whole of it; ``shared`` is 0 then, since all depends on the question.
    """

    ids: I64
    positions: I64
    next_position: int
    spans: tuple[VisualSpan, ...] = ()
    shared: int = 0
    prefix_attention: bool = False

    def __len__(self) -> int:
        """Places that the prompt takes in the language model's context."""
        return len(self.ids)

    @property
    def visual(self) -> int:
        """Visual tokens."""
        return sum(len(span) for span in self.spans)


def text_prompt(ids: Sequence[int]) -> Prompt:
    """A prompt without pictures."""
    return Prompt(np.array(ids, np.int64), np.arange(len(ids))[None], len(ids))


@dataclass(frozen=True, slots=True)
class Needs:
    """What prompts of a bundle ask of an engine; all False: text positions that count from 0.

    ``explicit_positions``: positions with gaps. ``mrope``: three positions a token. ``members``:
    three for each of several members of a merged token. ``prefix``: see ``Prompt``.
    """

    explicit_positions: bool = False
    mrope: bool = False
    members: bool = False
    deepstack: bool = False
    bidirectional: bool = False
    prefix: bool = False
    sampling: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities(Needs):
    """What an engine can do with the language model that it has: of all that a bundle can need."""

    max_context: int = field(kw_only=True)

    def missing(self, needs: Needs) -> tuple[str, ...]:
        """Names of what is needed and not there."""
        names = (field.name for field in fields(needs))
        return tuple(name for name in names if getattr(needs, name) and not getattr(self, name))


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine accepts; everything above is refused with ``LimitExceeded``."""

    max_tokens: int = 24  # of one answer
    max_context: int = 1024  # prompt and answer together
    max_batch: int = 32  # questions decoded together
    max_waiting: int = 256  # questions that wait for a place in the batch


@dataclass(frozen=True, slots=True)
class GenerateParams:
    """How an answer is made.

    ``max_tokens`` of it. ``temperature`` 0 is greedy: the same prompt has one answer. Above 0 a
    token is drawn from the most probable ones that together have ``top_p``, by ``seed``: the same
    seed draws the same. ``stop``: texts that end the answer and are not part of it. ``client``: who
    asks. When several clients have questions, each gets its share of the engine.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    client: str = ""


@dataclass(frozen=True, slots=True)
class TokenChunk:
    """The next piece of an answer.

    ``ids``: the tokens it adds, the end token not included. ``text``: what they add to the text;
    empty while a character is still incomplete. ``finish`` and ``timing`` (stages ``queue``,
    ``prefill``, ``decode_tokens``) are set on the last chunk and only there, as is ``probability``.
    """

    ids: tuple[int, ...]
    text: str
    finish: Finish | None = None
    timing: Timing | None = None
    probability: Probability | None = None


class Engine(Protocol):
    """Completes prompts; many at once, each as if it were alone.

    One engine serves one event loop. ``limits`` are fixed at construction.
    """

    @property
    def limits(self) -> EngineLimits: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def generate(self, prompt: Prompt, params: GenerateParams) -> AsyncGenerator[TokenChunk, None]:
        """Stream the answer to ``prompt``.

        - Nothing happens before the first step of the iterator; errors are raised from a step.
        - The chunks' texts, joined, are the answer; chunks come as their tokens are decoded.
        - Batching never shows: the answer is the one that the prompt has when it is alone.
        - Probabilities are the softmax of the model's own scores, in float32.
        - Closing the iterator (or cancelling its task) frees the prompt's place in the batch.
        - A client with many questions delays another's no more than its share of the engine.
        - A slow reader delays nobody: at most ``max_tokens`` chunks wait for it.

        Raises ``LimitExceeded`` for a prompt or ``params`` beyond ``limits`` and when
        ``max_waiting`` prompts wait already, ``EngineError`` for a prompt that asks for what
        ``capabilities`` lack, when the engine is closed, or failed while it worked on this prompt.
        """
        ...

    async def close(self) -> None:
        """End the engine: running answers end with ``EngineError``. Closing twice is safe."""
        ...


class Scorer(Protocol):
    """An engine that also tells what its model thinks of a given answer."""

    async def scores(self, prompt: Prompt, continuation: Sequence[int]) -> F32:
        """[M, V] logits of the M tokens of ``continuation``.

        Row i follows ``prompt`` and the first i tokens. Raises as ``Engine.generate``.
        """
        ...
