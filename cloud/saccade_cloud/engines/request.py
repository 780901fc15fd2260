"""One question on its way through an engine that batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from functools import cached_property

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from saccade.errors import EngineError, SaccadeError
from saccade.types import Probability, Timing
from saccade_cloud.engines.base import Finish, GenerateParams, Prompt, TokenChunk
from saccade_cloud.engines.prefixes import prefix_key
from saccade_cloud.engines.sampling import Decoded, Draw, Forced, draw_of
from saccade_cloud.engines.stopping import StopTexts

Deliver = Callable[[TokenChunk | SaccadeError], None]


class Request:
    """A prompt, where its chunks go, and how far it is.

    ``deliver`` is called from the engine's thread: chunks, the last one with ``finish``, or one
    error. ``cancelled`` may be set from any thread; nothing is delivered once the engine saw it.
    """

    def __init__(
        self,
        prompt: Prompt,
        params: GenerateParams,
        deliver: Deliver,
        forced: Forced | None = None,
    ) -> None:
        """``forced``: a continuation of ``max_tokens`` tokens, of which none ends it."""
        self.prompt = prompt
        self.client = params.client
        self.deliver = deliver
        self.cancelled = False
        self.draw: Draw = forced or draw_of(params)
        self._is_forced = forced is not None
        self.last_id = -1
        self._left = params.max_tokens
        self._stops = StopTexts(params.stop)
        self._logs: list[float] = []
        self._text = DecodeStream(skip_special_tokens=True)
        self._submitted = time.perf_counter()
        self._admitted = self._first = self._submitted

    @cached_property
    def prefix_key(self) -> bytes:
        """Stands for the content of the prompt's shared prefix."""
        return prefix_key(self.prompt)

    @property
    def last_position(self) -> int:
        """Of the token that was decoded last."""
        return self.prompt.next_position + len(self._logs) - 1

    def fresh_positions(self, prefixes: Collection[bytes]) -> int:
        """Positions to be read where those of ``prefixes`` are read already."""
        shared = self.prompt.shared if self.prefix_key in prefixes else 0
        return max(len(self.prompt) - shared, 1)

    def admitted(self) -> None:
        """The engine starts to read the prompt."""
        self._admitted = time.perf_counter()

    def accept(self, decoded: Decoded, tokenizer: Tokenizer, stops: Collection[int]) -> bool:
        """Deliver the next token; True when it ended the answer, as broken scores do, too."""
        if self.last_id < 0:
            self._first = time.perf_counter()
        token = self.last_id = decoded.token
        if math.isnan(decoded.log_probability):
            self.deliver(EngineError("the language model gave scores that are not numbers"))
            return True
        self._logs.append(decoded.log_probability)
        if token in stops and not self._is_forced:
            self.deliver(self._last((), self._stops.rest(), "stop"))
            return True
        self._left -= 1
        chunk = self._chunk(token, self._stops.feed(self._text.step(tokenizer, token) or ""))
        self.deliver(chunk)
        return chunk.finish is not None

    def _chunk(self, token: int, text: str) -> TokenChunk:
        if self._stops.found:
            return self._last((token,), text, "stop")
        if not self._left:
            return self._last((token,), text + self._stops.rest(), "length")
        return TokenChunk((token,), text)

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
