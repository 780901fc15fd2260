"""A checkpoint's language model as a ``LanguageModel``: no state of a request stays on its modules.

What differs between model classes is found in their signatures and configurations: the name of the
cache's argument, deepstack arguments, masks by kind of layer, three axes of positions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from saccade.errors import BundleError, EngineError
from saccade.types import F32
from saccade_cloud.engines.base import I64
from saccade_cloud.engines.reading import Piece
from saccade_cloud.engines.transformers_engine import cache as torch_cache
from saccade_cloud.engines.transformers_engine import masks
from saccade_cloud.engines.transformers_engine.cache import TorchCache
from saccade_cloud.engines.transformers_engine.rotary import AXES, MemberRotary

_RUN_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """What all rows read: [B, L] places, right-aligned, padding before them."""

    ids: Tensor  # [B, L]
    positions: Tensor  # [A, B, L]
    visual: npt.NDArray[np.bool_]  # [B, L]
    embeds: F32  # [all visual tokens, D], row after row
    deepstack: F32 | None  # [layers, all visual tokens, D]


class TorchLanguageModel:
    """A ``LanguageModel`` over the parts of ``model`` that read text. Owned by one thread."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Raises ``BundleError`` for layers that keep anything but keys and values."""
        parts: Any = model  # whose methods are typed by half
        self.config = parts.config.get_text_config()
        self.decoder: nn.Module = parts.get_decoder()
        self._embedding = parts.get_input_embeddings()
        self._head = parts.get_output_embeddings()
        self._weight: Tensor = self._embedding.weight
        names = inspect.signature(self.decoder.forward).parameters
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        self.deepstack = {"visual_pos_masks", "deepstack_visual_embeds"} <= names.keys()
        self.mrope = "mrope_section" in (getattr(self.config, "rope_parameters", None) or {})
        self._softcap = getattr(self.config, "final_logit_softcapping", None)
        self._layer_types = _layer_types(self.config)
        self._eager = self.config._attn_implementation == "eager"
        rotary = getattr(self.decoder, "rotary_emb", None)
        self.members = self.mrope and isinstance(rotary, nn.Module)
        if isinstance(rotary, nn.Module) and self.members:
            self.decoder.rotary_emb = MemberRotary(rotary)

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def vocab(self) -> int:
        """Tokens that can be read."""
        return int(self._weight.shape[0])

    @property
    def max_context(self) -> int:
        return int(self.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return self._weight.device

    def empty(self, rows: int) -> TorchCache:
        """See ``LanguageModel``."""
        return torch_cache.empty(rows)

    def join(self, caches: Sequence[TorchCache]) -> TorchCache:
        """See ``LanguageModel``."""
        with torch.inference_mode():
            return torch_cache.join(caches)

    def take(self, cache: TorchCache, rows: Sequence[int]) -> TorchCache:
        """See ``LanguageModel``."""
        with torch.inference_mode():
            return torch_cache.take(cache, rows)

    def first(self, cache: TorchCache, places: int) -> TorchCache:
        """See ``LanguageModel``."""
        return torch_cache.first(cache, places)

    def read(self, pieces: Sequence[Piece], past: TorchCache) -> tuple[F32, TorchCache]:
        """See ``LanguageModel``."""
        try:
            with torch.inference_mode():
                hidden, cache = self.hidden(pieces, past)
                scores = self._head(hidden[:, -1]).float()
                if self._softcap is not None:
                    scores = torch.tanh(scores / self._softcap) * self._softcap
                return scores.cpu().numpy(), cache
        except _RUN_ERRORS as error:
            raise EngineError(
                f"the language model failed: {' '.join(str(error).split())}"
            ) from error

    def hidden(self, pieces: Sequence[Piece], past: TorchCache) -> tuple[Tensor, TorchCache]:
        """Hidden states [B, L, D] of what is read, and the cache with it."""
        block = self._block(pieces)
        read = block.ids.shape[1]
        lengths = past.lengths + np.array([len(piece) for piece in pieces], np.int64)
        places = np.concatenate([past.places, self._places(block, lengths)], axis=1)
        mask = masks.attention(pieces, lengths, past.columns + read)
        cache = past.opened()
        output = self.decoder(
            inputs_embeds=self._embeds(block),
            attention_mask=self._masks(mask, places),
            position_ids=block.positions if self.mrope else block.positions[0],
            use_cache=True,
            **{self._cache_name: cache},
            **self._deepstack(block),
        )
        return output.last_hidden_state, torch_cache.read(cache, lengths, places)

    def _block(self, pieces: Sequence[Piece]) -> _Block:
        read = max(len(piece) for piece in pieces)
        axes = max((len(piece.positions) for piece in pieces), default=1)
        axes = max(axes, AXES) if self.mrope else axes
        ids = np.zeros((len(pieces), read), np.int64)
        positions = np.zeros((axes, len(pieces), read), np.int64)
        visual = np.zeros((len(pieces), read), bool)
        for row, piece in enumerate(pieces):
            padding = read - len(piece)
            ids[row, padding:] = piece.ids
            rows = np.repeat(piece.positions, axes // len(piece.positions), axis=0)
            positions[:, row, padding:] = rows
            for span in piece.spans:
                visual[row, padding + span.start : padding + span.stop] = True
        ids[visual] = 0  # the vocabulary need not have the image token
        return _Block(
            torch.from_numpy(ids).to(self.device),
            torch.from_numpy(positions).to(self.device),
            visual,
            _stacked([span.embeds for piece in pieces for span in piece.spans], self.width),
            _deepstack(pieces) if self.deepstack else None,
        )

    def _embeds(self, block: _Block) -> Tensor:
        embeds: Tensor = self._embedding(block.ids)
        if block.visual.any():
            visual = torch.from_numpy(block.visual).to(self.device)
            embeds = embeds.clone()
            embeds[visual] = torch.from_numpy(block.embeds).to(self.device, embeds.dtype)
        return embeds

    def _places(self, block: _Block, lengths: I64) -> I64:
        """Where each place counts for sliding windows: a dropped token takes its place, too."""
        if self.mrope:  # whose positions do not count tokens
            read = block.ids.shape[1]
            return np.arange(-read, 0)[None] + lengths[:, None]
        return block.positions[0].cpu().numpy()

    def _masks(self, mask: masks.Mask, places: I64) -> Tensor | dict[str, Tensor]:
        made = {"full_attention": mask}
        if "sliding_attention" in self._layer_types:
            made["sliding_attention"] = masks.window(mask, places, int(self.config.sliding_window))
        tensors = {name: self._mask(each) for name, each in made.items()}
        if getattr(self.config, "layer_types", None) and len(tensors) > 1:
            return tensors
        return tensors[min(self._layer_types, default="full_attention")]

    def _mask(self, mask: masks.Mask) -> Tensor:
        """[B, 1, L, columns]: as the model's attention takes it."""
        allowed = torch.from_numpy(mask[:, None]).to(self.device)
        if not self._eager:
            return allowed
        dtype = self._weight.dtype
        lowest = torch.finfo(dtype).min
        return torch.zeros(allowed.shape, dtype=dtype, device=self.device).masked_fill(
            ~allowed, lowest
        )

    def _deepstack(self, block: _Block) -> dict[str, Any]:
        if block.deepstack is None:
            return {}
        rows = [torch.from_numpy(np.ascontiguousarray(rows)) for rows in block.deepstack]
        return {
            "visual_pos_masks": torch.from_numpy(block.visual).to(self.device),
            "deepstack_visual_embeds": [row.to(self.device) for row in rows],
        }


def _layer_types(config: Any) -> frozenset[str]:  # noqa: ANN401 - a class of transformers
    """Kinds of the layers' attention. Raises ``BundleError`` for a kind that is not known here."""
    types = getattr(config, "layer_types", None)
    if not types:
        windowed = getattr(config, "sliding_window", None) is not None
        return frozenset({"sliding_attention" if windowed else "full_attention"})
    unknown = sorted(set(types) - _LAYER_TYPES)
    if unknown:
        raise BundleError(f"the language model has layers of the kind {unknown[0]!r}")
    return frozenset(types)


def _deepstack(pieces: Sequence[Piece]) -> F32 | None:
    """[layers, all visual tokens, D]: zeros for spans that have none; None if no span has any."""
    spans = [span for piece in pieces for span in piece.spans]
    given = [span.deepstack for span in spans if span.deepstack is not None]
    if not given:
        return None
    layers, _, width = given[0].shape
    zeros = (np.zeros((layers, len(span), width), np.float32) for span in spans)
    filled = zip(spans, zeros, strict=True)
    return np.concatenate([zero if s.deepstack is None else s.deepstack for s, zero in filled], 1)


def _stacked(rows: Sequence[F32], width: int) -> F32:
    return np.concatenate(rows) if rows else np.zeros((0, width), np.float32)
