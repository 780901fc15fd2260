"""``TransformersEngine``: any checkpoint's language model, exactly as transformers computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from saccade.errors import ConfigError
from saccade_cloud.engines.base import Capabilities, EngineLimits
from saccade_cloud.engines.batched import BatchedEngine
from saccade_cloud.engines.stop_tokens import stop_ids
from saccade_cloud.engines.transformers_engine.checkpoint import DTYPES, open_model
from saccade_cloud.engines.transformers_engine.model import TorchLanguageModel
from saccade_cloud.engines.transformers_engine.probe import probe

PREFIX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointModel:
    """A checkpoint's language model and what it can do. One engine owns it."""

    language: TorchLanguageModel
    capabilities: Capabilities

    @classmethod
    def open(cls, folder: Path, *, dtype: str = "auto", device: str = "cpu") -> CheckpointModel:
        """Raises ``BundleError``, and ``ConfigError`` for a device that is not there."""
        check_options(dtype, device)
        return cls.of(open_model(folder, dtype=dtype, device=device))

    @classmethod
    def of(cls, whole: PreTrainedModel) -> CheckpointModel:
        """Of a model in memory, whose language model then belongs to the engine."""
        language = TorchLanguageModel(whole)
        return cls(language, probe(whole, language))


class TransformersEngine(BatchedEngine):
    """An ``Engine``. ``stop``: the tokens that end an answer. ``threads``: torch's, on the CPU."""

    def __init__(
        self,
        model: CheckpointModel,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        limits: EngineLimits | None = None,
        threads: int = 1,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        limits = limits or EngineLimits()
        context = min(limits.max_context, model.capabilities.max_context)
        super().__init__(
            model.language,
            tokenizer,
            stops=stop_ids(tokenizer, stop),
            limits=replace(limits, max_context=context),
            capabilities=replace(model.capabilities, max_context=context),
            prefix_bytes=prefix_bytes,
            setup=lambda: torch.set_num_threads(threads),
        )


def check_options(dtype: str, device: str) -> None:
    """Raises ``ConfigError`` for a number format or a device that cannot be had here."""
    if dtype not in DTYPES:
        raise ConfigError(f"{dtype!r} is no number format: {', '.join(DTYPES)}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"torch cannot use the device {device!r}: {reason}") from error
