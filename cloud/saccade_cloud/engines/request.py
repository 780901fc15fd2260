"""One question on its way through the ONNX engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import cached_property

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from saccade.errors import SaccadeError
from saccade.nouns import Timing
from saccade_cloud.engines.base import Finish, GenerateParams, TokenChunk
from saccade_cloud.engines.prefixes import prefix_key
from saccade_cloud.prompt import Prompt

Deliver = Callable[[TokenChunk | SaccadeError], None]


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

    def accept(self, token: int, tokenizer: Tokenizer, eos: int) -> bool:
        """Deliver the next token; True when it ended the answer."""
        if self.last_id < 0:
            self._first = time.perf_counter()
        self.last_id = token
        if token == eos:
            self.deliver(TokenChunk((), "", "stop", self._timing()))
            return True
        self._left -= 1
        text = self._text.step(tokenizer, token) or ""
        finish: Finish | None = None if self._left else "length"
        self.deliver(TokenChunk((token,), text, finish, self._timing() if finish else None))
        return finish is not None

    def _timing(self) -> Timing:
        now = time.perf_counter()
        return Timing(
            {
                "queue": (self._admitted - self._submitted) * 1e3,
                "prefill": (self._first - self._admitted) * 1e3,
                "decode_tokens": (now - self._first) * 1e3,
            }
        )
