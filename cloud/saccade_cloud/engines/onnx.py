"""The embedded default engine: ONNX Runtime on the CPU, no torch.

The asyncio side is here; decoding happens on one thread of its own (``scheduler.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from threading import Thread

from tokenizers import Tokenizer

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError, LimitExceeded, SaccadeError
from saccade_cloud.engines.base import EngineLimits, GenerateParams, TokenChunk
from saccade_cloud.engines.batch import Batch
from saccade_cloud.engines.decoder import Decoder, DecoderShape
from saccade_cloud.engines.prefixes import PrefixCaches
from saccade_cloud.engines.request import Request
from saccade_cloud.engines.scheduler import Scheduler
from saccade_cloud.prompt import Prompt

PREFIX_BYTES = 64 * 1024 * 1024  # about 80 frames of 160 tokens at 5 layers of 128


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """What a bundle's language model is made of."""

    embedding: ModelFile
    decoder: ModelFile
    tokenizer: Tokenizer


class OnnxEngine:
    """An ``Engine``. ``prefix_bytes`` bounds the shared visual prefixes; 0 shares none."""

    def __init__(
        self,
        files: OnnxFiles,
        shape: DecoderShape,
        *,
        eos: str,
        limits: EngineLimits | None = None,
        threads: int = 1,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        self._limits = limits or EngineLimits()
        eos_id = files.tokenizer.token_to_id(eos)
        if eos_id is None:
            raise BundleError(f"the tokenizer has no token {eos!r}")
        decoder = Decoder(files.embedding, files.decoder, shape, threads)
        batch = Batch(decoder, PrefixCaches(prefix_bytes))
        self._scheduler = Scheduler(batch, files.tokenizer, eos_id, self._limits)
        # A daemon thread: an engine that nobody closed does not keep the process alive.
        self._thread = Thread(target=self._scheduler.run, name="saccade-decode", daemon=True)
        self._thread.start()

    @property
    def limits(self) -> EngineLimits:
        return self._limits

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        """See ``Engine.generate``."""
        self._check(prompt, params)
        mailbox = _Mailbox()
        request = Request(prompt, params, mailbox.post)
        self._scheduler.submit(request)
        try:
            finished = False
            while not finished:
                chunk = await mailbox.take()
                finished = chunk.finish is not None
                yield chunk
        finally:
            request.cancelled = True

    async def close(self) -> None:
        """See ``Engine.close``."""
        self._scheduler.close()
        await asyncio.to_thread(self._thread.join)

    def _check(self, prompt: Prompt, params: GenerateParams) -> None:
        limits = self._limits
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
