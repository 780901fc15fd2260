"""The language model as one stateless graph: embeddings and a KV cache in, logits and cache out.

Same weights and the same arithmetic as Hugging Face's ``LlamaForCausalLM``; written out,
because the cache must be plain inputs and outputs for ONNX Runtime. A test holds both to the
same logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer


class Decoder(nn.Module):
    """``forward`` as in the bundle's contract, cache flattened to a list of 2 * layers tensors."""

    def __init__(self, llama: LlamaForCausalLM) -> None:
        super().__init__()
        config = llama.config
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.head_dim = config.hidden_size // self.heads
        self.llama = llama
        base: float = (config.rope_parameters or {})["rope_theta"]  # type: ignore[assignment]
        half = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        self.frequencies: Tensor
        self.register_buffer("frequencies", base**-half, persistent=False)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor, *cache: Tensor
    ) -> tuple[Tensor, ...]:
        """[B, L, D], int64 [B, P+L], int64 [B, L], 2*layers x [B, heads, P, dh] ->
        logits [B, L, V], 2*layers x [B, heads, P+L, dh].
        """
        model = self.llama.model
        angles = position_ids[..., None].float() * self.frequencies
        angles = torch.cat([angles, angles], -1)[:, None]
        mask = self._mask(attention_mask, inputs_embeds.shape[1])
        x, present = inputs_embeds, []
        for i, layer in enumerate(model.layers):
            assert isinstance(layer, LlamaDecoderLayer)
            q, k, v = self._heads(layer.self_attn, layer.input_layernorm(x))
            k = torch.cat([cache[2 * i], _rotate(k, angles)], 2)
            v = torch.cat([cache[2 * i + 1], v], 2)
            present += [k, v]
            weights = _rotate(q, angles) @ k.transpose(-1, -2) * self.head_dim**-0.5
            mixed = ((weights + mask).softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + layer.self_attn.o_proj(mixed)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return (self.llama.lm_head(model.norm(x)), *present)

    def _heads(self, attention: LlamaAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (x.shape[0], x.shape[1], self.heads, self.head_dim)
        q, k, v = (
            p(x).view(shape).transpose(1, 2)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return q, k, v

    @staticmethod
    def _mask(attention_mask: Tensor, length: int) -> Tensor:
        """[B, 1, L, P+L], 0 or a large negative number: causal, and padding is not looked at."""
        total = attention_mask.shape[1]
        keys = torch.arange(total)
        queries = torch.arange(length)[:, None] + (total - length)
        allowed = (keys <= queries)[None, None] & (attention_mask[:, None, None, :] > 0)
        # Not -inf: a row of left padding would otherwise be NaN.
        return torch.where(allowed, 0.0, -1e9)


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


class Embedding(nn.Module):
    """int64 [B, L] -> [B, L, D]."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", table)  # exported as a weight, where an attribute is not

    def forward(self, input_ids: Tensor) -> Tensor:
        return functional.embedding(input_ids, self.table)


class Placing(nn.Module):
    """The projector with the slots' vectors baked in; its ids are places from ``first`` on."""

    def __init__(self, projector: nn.Module, names: Tensor, first: int = 0) -> None:
        super().__init__()
        self.projector, self.names, self.first = projector, names, first

    def forward(
        self, features: Tensor, ids: Tensor, slots: Tensor, boxes: Tensor, kinds: Tensor
    ) -> Tensor:
        places = ids + self.first
        out: Tensor = self.projector(features, places, slots, boxes, kinds, self.names)
        return out
