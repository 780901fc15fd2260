"""One question on its way through the ONNX engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from functools import cached_property
from typing import NamedTuple

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from saccade.errors import EngineError, SaccadeError
from saccade.types import Probability, Timing
from saccade_cloud.engines.base import Finish, GenerateParams, TokenChunk
from saccade_cloud.engines.prefixes import prefix_key
from saccade_cloud.prompt import Prompt

Deliver = Callable[[TokenChunk | SaccadeError], None]


class Decoded(NamedTuple):
    """A token and the logarithm of its probability, 0 at most; NaN from broken scores."""

    token: int
    log_probability: float


class Request:
    """A prompt, where its chunks go, and how far it is.

    ``deliver`` is called from the engine's thread: chunks, the last one with ``finish``, or one
    error. ``cancelled`` may be set from any thread; nothing is delivered once the engine saw it.
    """

    def __init__(self, prompt: Prompt, params: GenerateParams, deliver: Deliver) -> None:
        self.prompt = prompt
        self.client = params.client
        self.deliver = deliver
        self.cancelled = False
        self.last_id = -1
        self._left = params.max_tokens
        self._logs: list[float] = []
        self._text = DecodeStream(skip_special_tokens=True)
        self._submitted = time.perf_counter()
        self._admitted = self._first = self._submitted

    @cached_property
    def prefix_key(self) -> bytes:
        """Stands for the content of the prompt's shared prefix."""
        return prefix_key(self.prompt.shared)

    def fresh_positions(self, prefixes: Collection[bytes]) -> int:
        """Positions to be read where those of ``prefixes`` are read already."""
        shared = self.prompt.shared_length if self.prefix_key in prefixes else 0
        return max(len(self.prompt) - shared, 1)

    def admitted(self) -> None:
        """The engine starts to read the prompt."""
        self._admitted = time.perf_counter()

    def accept(self, decoded: Decoded, tokenizer: Tokenizer, eos: int) -> bool:
        """Deliver the next token; True when it ended the answer, as broken scores do, too."""
        if self.last_id < 0:
            self._first = time.perf_counter()
        token = self.last_id = decoded.token
        if math.isnan(decoded.log_probability):
            self.deliver(EngineError("the language model gave scores that are not numbers"))
            return True
        self._logs.append(decoded.log_probability)
        if token == eos:
            self.deliver(self._last((), "", "stop"))
            return True
        self._left -= 1
        text = self._text.step(tokenizer, token) or ""
        chunk = TokenChunk((token,), text) if self._left else self._last((token,), text, "length")
        self.deliver(chunk)
        return chunk.finish is not None

    def _last(self, ids: tuple[int, ...], text: str, finish: Finish) -> TokenChunk:
        mean = math.exp(math.fsum(self._logs) / len(self._logs))
        probability = Probability(mean, math.exp(min(self._logs)))
        return TokenChunk(ids, text, finish, self._timing(), probability)

    def _timing(self) -> Timing:
        now = time.perf_counter()
        return Timing(
            {
                "queue": (self._admitted - self._submitted) * 1e3,
                "prefill": (self._first - self._admitted) * 1e3,
                "decode_tokens": (now - self._first) * 1e3,
            }
        )
