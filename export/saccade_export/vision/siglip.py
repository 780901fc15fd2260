"""A SigLIP vision tower for views of its own size, with or without average pooling.

No CLS token: saliency is the attention that a place gets from a sample of queries in the last
block, so that Gemma 3's 4,096 patches need no 4,096 x 4,096 map.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from saccade_export.families.base import TowerOutput
from saccade_export.vision.attention import attend, received


class SiglipTower(nn.Module):
    """Pixels [B, 3, S, S] -> features [B, T, D], saliency [B, 1, heads, T], keys [B, T, d].

    ``tower``: transformers' ``SiglipVisionModel``; features are those after its last norm.
    ``pool``: side of the square of patches that are averaged into one token, 1 for none.
    """

    def __init__(self, tower: Any, pool: int = 1) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        config = tower.config
        inner = getattr(tower, "vision_model", tower)  # a level that some versions have
        self.pool = pool
        self.patches = inner.embeddings.patch_embedding
        table = inner.embeddings.position_embedding.weight.detach()
        self.register_buffer("positions", table, persistent=False)
        self.positions: Tensor
        self.blocks, self.norm = inner.encoder.layers, inner.post_layernorm
        self.heads, self.width = config.num_attention_heads, config.hidden_size
        self.side = config.image_size // config.patch_size
        self.head = self.width // self.heads
        self.scale = self.head**-0.5

    def forward(self, pixels: Tensor) -> TowerOutput:
        patches = self.patches(pixels)
        rows = patches.reshape(-1, self.width, self.side**2).transpose(1, 2) + self.positions
        for index, block in enumerate(self.blocks):
            normed, attention = block.layer_norm1(rows), block.self_attn
            queries = self._heads(attention.q_proj(normed))
            keys = self._heads(attention.k_proj(normed))
            if index == len(self.blocks) - 1:
                saliency, shown = received(queries, keys, self.scale), keys.mean(dim=1)
            mixed = attend(queries, keys, self._heads(attention.v_proj(normed)), self.scale)
            joined = mixed.transpose(1, 2).reshape(-1, self.side**2, self.width)
            rows = rows + attention.out_proj(joined)
            rows = rows + block.mlp(block.layer_norm2(rows))
        features = self._pooled(self.norm(rows).transpose(1, 2), self.width)
        attended = self._pooled(saliency, self.heads) * self.pool**2
        keyed = self._pooled(shown.transpose(1, 2), self.head)
        return TowerOutput(features.transpose(1, 2), attended[:, None], keyed.transpose(1, 2))

    def _heads(self, rows: Tensor) -> Tensor:
        """[B, N, C] -> [B, H, N, d]."""
        return rows.reshape(-1, self.side**2, self.heads, self.head).transpose(1, 2)

    def _pooled(self, channels: Tensor, count: int) -> Tensor:
        """[B, C, patches] -> [B, C, T], the mean over squares of patches."""
        if self.pool == 1:
            return channels
        square = channels.reshape(-1, count, self.side, self.side)
        tokens = (self.side // self.pool) ** 2
        return functional.avg_pool2d(square, self.pool).reshape(-1, count, tokens)
