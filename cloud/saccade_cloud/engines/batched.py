"""What engines that decode many questions on one thread have in common.

The asyncio side is here; decoding happens on a thread of its own (``scheduler.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from threading import Thread
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from saccade.errors import EngineError, LimitExceeded, SaccadeError
from saccade.types import F32
from saccade_cloud.engines.base import (
    Capabilities,
    EngineLimits,
    GenerateParams,
    Needs,
    Prompt,
    TokenChunk,
)
from saccade_cloud.engines.batch import Batch
from saccade_cloud.engines.prefixes import PrefixCaches
from saccade_cloud.engines.reading import LanguageModel
from saccade_cloud.engines.request import Request
from saccade_cloud.engines.sampling import Forced
from saccade_cloud.engines.scheduler import Scheduler

MAX_STOP_TEXTS = 16  # of one question; each is looked for in every chunk
MAX_STOP_CHARACTERS = 256
MAX_TEMPERATURE = 100.0


class BatchedEngine:
    """An ``Engine`` over a ``LanguageModel``, which it then owns.

    ``stops``: ids of the tokens that end an answer. ``prefix_bytes`` bounds the caches of shared
    beginnings; 0 shares none. ``setup`` runs first on the thread that decodes.
    """

    def __init__(
        self,
        model: LanguageModel[Any],
        tokenizer: Tokenizer,
        *,
        stops: Collection[int],
        limits: EngineLimits,
        capabilities: Capabilities,
        prefix_bytes: int,
        setup: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._capabilities = capabilities
        batch = Batch(model, PrefixCaches(prefix_bytes))
        self._scheduler = Scheduler(batch, tokenizer, frozenset(stops), limits)
        self._setup = setup
        # A daemon thread: an engine that nobody closed does not keep the process alive.
        self._thread = Thread(target=self._run, name="saccade-decode", daemon=True)
        self._thread.start()

    @property
    def limits(self) -> EngineLimits:
        return self._limits

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        """See ``Engine.generate``."""
        async with aclosing(self._decode(prompt, params)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _decode(
        self, prompt: Prompt, params: GenerateParams, forced: Forced | None = None
    ) -> AsyncGenerator[TokenChunk, None]:
        check_prompt(prompt, params, self._limits)
        check_params(params)
        self._check_needs(prompt, params)
        mailbox = _Mailbox()
        request = Request(prompt, params, mailbox.post, forced)
        self._scheduler.submit(request)
        try:
            finished = False
            while not finished:
                chunk = await mailbox.take()
                finished = chunk.finish is not None
                yield chunk
        finally:
            request.cancelled = True

    async def scores(self, prompt: Prompt, continuation: Sequence[int]) -> F32:
        """See ``Scorer``."""
        params = GenerateParams(len(continuation))
        forced = Forced(continuation)
        async with aclosing(self._decode(prompt, params, forced)) as chunks:
            async for _ in chunks:
                pass
        return np.stack(forced.scores)

    async def close(self) -> None:
        """See ``Engine.close``."""
        self._scheduler.close()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        self._setup()
        self._scheduler.run()

    def _check_needs(self, prompt: Prompt, params: GenerateParams) -> None:
        missing = self._capabilities.missing(needs_of(prompt, params))
        if missing:
            raise EngineError(f"this engine cannot do what the question needs: {missing[0]}")


def needs_of(prompt: Prompt, params: GenerateParams) -> Needs:
    """What ``prompt`` asks of an engine."""
    counted = np.arange(len(prompt))
    return Needs(
        explicit_positions=not (prompt.positions == counted).all(),
        mrope=len(prompt.positions) > 1,
        members=len(prompt.positions) > 3,
        deepstack=any(span.deepstack is not None for span in prompt.spans),
        bidirectional=any(span.bidirectional for span in prompt.spans),
        prefix=prompt.prefix_attention,
        sampling=params.temperature > 0,
    )


def check_prompt(prompt: Prompt, params: GenerateParams, limits: EngineLimits) -> None:
    """Raises ``LimitExceeded``."""
    if not len(prompt):
        raise LimitExceeded("a prompt without positions")
    if not 1 <= params.max_tokens <= limits.max_tokens:
        raise LimitExceeded(
            f"asked for {params.max_tokens} tokens, the engine gives 1..{limits.max_tokens}"
        )
    if len(prompt) + params.max_tokens > limits.max_context:
        raise LimitExceeded(
            f"a prompt of {len(prompt)} positions and {params.max_tokens} tokens "
            f"do not fit the context of {limits.max_context}"
        )


def check_params(params: GenerateParams) -> None:
    """Raises ``LimitExceeded``."""
    if not 0 <= params.temperature <= MAX_TEMPERATURE:  # NaN is in no range
        raise LimitExceeded(f"a temperature of {params.temperature}, allowed: 0..{MAX_TEMPERATURE}")
    if not 0 < params.top_p <= 1:
        raise LimitExceeded(f"a top_p of {params.top_p}, allowed: above 0, at most 1")
    if params.seed < 0:
        raise LimitExceeded(f"a seed of {params.seed}, allowed: 0 and above")
    if len(params.stop) > MAX_STOP_TEXTS:
        raise LimitExceeded(f"{len(params.stop)} stop texts, allowed: {MAX_STOP_TEXTS}")
    longest = max((len(stop) for stop in params.stop), default=0)
    if longest > MAX_STOP_CHARACTERS:
        raise LimitExceeded(f"a stop text of {longest} characters, allowed: {MAX_STOP_CHARACTERS}")


class _Mailbox:
    """From the engine's thread to the event loop that made it. Holds one answer at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[TokenChunk | SaccadeError] = asyncio.Queue()

    def post(self, item: TokenChunk | SaccadeError) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:
            # The loop is closed: whoever asked is gone.
            return

    async def take(self) -> TokenChunk:
        """The next chunk; raises the error if one was posted."""
        item = await self._items.get()
        if isinstance(item, SaccadeError):
            raise item
        return item
