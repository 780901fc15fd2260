"""The contract of an engine: it completes a prompt, token by token.

Every engine passes ``EngineContract`` (tests/cloud), which is this page as tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from saccade.types import Probability, Timing
from saccade_cloud.prompt import Prompt

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine accepts; everything above is refused with ``LimitExceeded``."""

    max_tokens: int = 24  # of one answer
    max_context: int = 1024  # prompt and answer together
    max_batch: int = 32  # questions decoded together
    max_waiting: int = 256  # questions that wait for a place in the batch


@dataclass(frozen=True, slots=True)
class GenerateParams:
    """``max_tokens`` of the answer; decoding is greedy, so the same prompt has one answer.

    ``client``: who asks. When several clients have questions, each gets its share of the engine.
    """

    max_tokens: int
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

    def generate(self, prompt: Prompt, params: GenerateParams) -> AsyncGenerator[TokenChunk, None]:
        """Stream the answer to ``prompt``.

        - Nothing happens before the first step of the iterator; errors are raised from a step.
        - The chunks' texts, joined, are the answer; chunks come as their tokens are decoded.
        - Batching never shows: the answer is the one that the prompt has when it is alone.
        - Probabilities are the softmax of the model's own scores, in float32.
        - Closing the iterator (or cancelling its task) frees the prompt's place in the batch.
        - A client with many questions delays another's no more than its share of the engine.
        - A slow reader delays nobody: at most ``max_tokens`` chunks wait for it.

        Raises ``LimitExceeded`` for a prompt or ``max_tokens`` beyond ``limits`` and when
        ``max_waiting`` prompts wait already, ``EngineError`` when the engine is closed, or
        failed while it worked on this prompt.
        """
        ...

    async def close(self) -> None:
        """End the engine: running answers end with ``EngineError``. Closing twice is safe."""
        ...
