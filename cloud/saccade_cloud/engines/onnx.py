"""The embedded default engine: ONNX Runtime on the CPU, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from saccade.bundle_files import ModelFile
from saccade_cloud.engines.base import EngineLimits
from saccade_cloud.engines.batched import BatchedEngine
from saccade_cloud.engines.decoder import Decoder, DecoderShape
from saccade_cloud.engines.stop_tokens import stop_ids

PREFIX_BYTES = 64 * 1024 * 1024  # about 80 frames of 160 tokens at 5 layers of 128


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """What a bundle's language model is made of."""

    embedding: ModelFile
    decoder: ModelFile
    tokenizer: Tokenizer


class OnnxEngine(BatchedEngine):
    """An ``Engine``. ``stop``: the tokens that end an answer."""

    def __init__(
        self,
        files: OnnxFiles,
        shape: DecoderShape,
        *,
        stop: Sequence[str],
        limits: EngineLimits | None = None,
        threads: int = 1,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        limits = limits or EngineLimits()
        stops = stop_ids(files.tokenizer, stop)
        decoder = Decoder(files.embedding, files.decoder, shape, threads)
        super().__init__(
            decoder,
            files.tokenizer,
            stops=stops,
            limits=limits,
            capabilities=decoder.capabilities(limits.max_context),
            prefix_bytes=prefix_bytes,
        )
