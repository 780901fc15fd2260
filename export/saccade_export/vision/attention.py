"""Attention in plain matrix products, which every runtime takes."""

from __future__ import annotations

import torch
from torch import Tensor

QUERY_BLOCK = 1024  # 16 heads, 4,096 keys, float32: 0.25 GiB of scores at a time
SAMPLED_QUERIES = 64


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """[..., N, d] each -> [..., N, d]. Blocks of queries keep the map of scores small."""
    turned = keys.transpose(-1, -2)
    count = int(queries.shape[-2])  # a constant of the graph
    blocks = [
        torch.softmax((queries[..., at : at + QUERY_BLOCK, :] * scale) @ turned, dim=-1) @ values
        for at in range(0, count, QUERY_BLOCK)
    ]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)


def received(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """How much attention each place gets from an even sample of at most 64 queries.

    [..., N, d] each -> [..., N] that sums to 1.
    """
    count = int(queries.shape[-2])  # a constant of the graph
    sample = spread(count, min(SAMPLED_QUERIES, count))
    asking = torch.index_select(queries, -2, sample.to(queries.device)) * scale
    return torch.softmax(asking @ keys.transpose(-1, -2), dim=-1).mean(dim=-2)


def spread(count: int, sample: int) -> Tensor:
    """``sample`` of 0..count-1 at even distances, the first half a distance from the start."""
    return ((torch.arange(sample) + 0.5) * count / sample).long()
