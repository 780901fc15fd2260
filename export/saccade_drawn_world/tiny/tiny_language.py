"""The demo bundle's language side: projector and a Hugging Face Llama of a million weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def plain_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention as matrix products in the values' own type, for training.

    Transformers' "eager" takes the softmax in float32 and CPU autocast casts around it; both
    are memory traffic. Measured on four bfloat16 cores: 74 instead of 34 frames a second.
    """
    with torch.autocast(query.device.type, enabled=False):
        kind = value.dtype
        weights = (query.to(kind) * scaling) @ key.to(kind).transpose(-1, -2)
        mixed = (weights + mask.to(kind)).softmax(-1) @ value
    return mixed.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("saccade_plain", plain_attention)


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of the Llama; ``inner`` is the width of its feed-forward part."""

    vocab: int
    width: int = 128
    layers: int = 5
    heads: int = 2  # two of 64: attention matrices are the larger part of the traffic
    inner: int = 384
    context: int = 1024

    def llama(self) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=self.vocab, hidden_size=self.width, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, num_key_value_heads=self.heads,
            intermediate_size=self.inner, max_position_embeddings=self.context,
            tie_word_embeddings=True, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
            pad_token_id=0, initializer_range=0.02,
        )  # fmt: skip


class Projector(nn.Module):
    """Tokens on the wire to the language model's space, put back in their place.

    Slot binding: the vector of slot i is the language model's own embedding of the word
    "vehicle i", so that a question about vehicle 2 finds the tokens of crop 2 (without it the
    model cannot tell crops apart; measured in a trial: 53 % instead of 74 % after 150 s).
    """

    def __init__(self, dim: int, width: int, places: int, slots: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.place = nn.Embedding(places, width)
        self.kind = nn.Embedding(3, width)  # overview, crop, close-up
        self.box = nn.Linear(4 * 7, width)
        self.slot_scale = nn.Parameter(torch.tensor(3.0))
        for table in (self.place, self.kind):
            nn.init.normal_(table.weight, std=0.02)

    def forward(
        self,
        features: Tensor,
        ids: Tensor,
        slots: Tensor,
        boxes: Tensor,
        kinds: Tensor,
        names: Tensor,
    ) -> Tensor:
        """Features [..., dim], ids and slots [...], boxes [..., 4] normalised, kinds [...] (0
        overview, 1 crop, 2 close-up, which has its crop's slot), names [1 + crops, width] ->
        [..., width].
        """
        x = self.down(nn.functional.gelu(self.up(features), approximate="tanh"))
        x = x + self.place(ids) + self.kind(kinds) + self.box(fourier(boxes))
        placed: Tensor = x + self.slot_scale * names[slots]
        return placed


def fourier(boxes: Tensor) -> Tensor:
    """[..., 4] in 0..1 -> [..., 28]: the value and sine and cosine at three octaves."""
    angles = [boxes * (torch.pi * 2**octave) for octave in range(3)]
    return torch.cat([boxes, *(f(a) for a in angles for f in (torch.sin, torch.cos))], -1)


class Language(nn.Module):
    """Projector and Llama. ``slot_words``: token ids of <overview>, "vehicle 1" and so on."""

    def __init__(
        self, config: LanguageConfig, dim: int, places: int, slot_words: list[int]
    ) -> None:
        super().__init__()
        self.config = config
        self.llama = LlamaForCausalLM(config.llama())
        self.llama.set_attn_implementation("saccade_plain")
        self.projector = Projector(dim, config.width, places, len(slot_words))
        self.slot_words: Tensor
        self.register_buffer("slot_words", torch.tensor(slot_words), persistent=False)

    def names(self) -> Tensor:
        """[1 + crops, width]: the vectors of the slots."""
        table = self.llama.model.embed_tokens.weight
        named: Tensor = table[self.slot_words]
        return named

    def visual(
        self, features: Tensor, ids: Tensor, slots: Tensor, boxes: Tensor, kinds: Tensor
    ) -> Tensor:
        out: Tensor = self.projector(features, ids, slots, boxes, kinds, self.names())
        return out
