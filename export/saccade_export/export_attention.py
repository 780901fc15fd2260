"""Attention as exported graphs compute it, and what is read from its queries and keys.

transformers lets a model's attention be replaced by name. Ours writes plain matrix products, which
every runtime takes, keeps scores in float32 if asked, and hands out queries and keys, so that
saliency needs no full map of attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "saccade_export"
# Scores of more queries are computed in parts: 4,096 x 4,096 of 16 heads would be a gigabyte.
QUERIES_AT_ONCE = 1024
SAMPLED_QUERIES = 256


@dataclass(frozen=True)
class Call:
    """One attention: ``queries`` [B, H, N, Dh], ``keys`` [B, H, N, Dh], ``scaling`` of scores."""

    queries: Tensor
    keys: Tensor
    scaling: float


@dataclass
class Calls:
    """Those of one forward pass, in order. ``float32``: scores are computed in float32 whatever
    the weights are; softmax always is.
    """

    float32: bool = True
    made: list[Call] = field(default_factory=list)


_current: ContextVar[Calls | None] = ContextVar("calls", default=None)


def use(config: Any) -> None:  # noqa: ANN401 - a configuration class of transformers
    """Let the models of this configuration, and of those inside it, use our attention."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    config._attn_implementation = NAME


@contextmanager
def recording(*, float32: bool = True) -> Iterator[Calls]:
    """Collect the attention calls of the forward passes inside."""
    calls = Calls(float32)
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


def made() -> list[Call]:
    """The calls so far, of the `recording` that this is inside."""
    calls = _current.get()
    if calls is None:
        raise LookupError("no recording of attention is open")
    return calls.made


def keep_last(count: int) -> None:
    """Forget earlier calls: their queries and keys weigh as much as a layer's activations."""
    del made()[:-count]


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,  # noqa: ANN401
) -> tuple[Tensor, None]:
    """[B, H, N, Dh] each -> [B, N, H, Dh]; ``attention_mask`` [B or 1, 1, N, N] joins scores."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    calls = _current.get()
    if calls is not None:
        calls.made.append(Call(query, key, scale))
    float32 = calls is None or calls.float32
    parts = []
    for start in range(0, query.shape[2], QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        mask = None if attention_mask is None else attention_mask[:, :, part]
        weights = _weights(query[:, :, part], key, scale, mask, float32=float32)
        parts.append(weights.to(value.dtype) @ value)
    mixed = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return mixed.transpose(1, 2), None


def _weights(
    query: Tensor, key: Tensor, scale: float, mask: Tensor | None = None, *, float32: bool = True
) -> Tensor:
    """[B, H, n, Dh], [B, H, N, Dh] -> [B, H, n, N] float32, every row sums to 1."""
    if float32:
        query, key = query.float(), key.float()
    # Scaled before the product: its sum over features then stays in half precision's range.
    scores = ((query * scale) @ key.transpose(-1, -2)).float()
    return (scores if mask is None else scores + mask.float()).softmax(-1)


def cls_rows(calls: list[Call]) -> Tensor:
    """What CLS, the first token, pays to each other one: [B, L, H, T] for L calls."""
    rows = [_weights(c.queries[:, :, :1], c.keys, c.scaling)[:, :, 0, 1:] for c in calls]
    return torch.stack(rows, dim=1)


def received(calls: list[Call], skip: int = 0, sample: int = SAMPLED_QUERIES) -> Tensor:
    """What each token receives from a sample of evenly spaced queries, mean: [B, L, H, T].

    ``skip``: that many first tokens are no patches, they neither ask nor are counted.
    """
    return torch.stack([_received(call, skip, sample) for call in calls], dim=1)


def _received(call: Call, skip: int, sample: int) -> Tensor:
    patches = call.queries.shape[2] - skip
    queries = call.queries[:, :, skip:]
    if patches > sample:
        places = torch.linspace(0, patches - 1, sample).round().long()
        queries = queries.index_select(2, places)
    return _weights(queries, call.keys, call.scaling)[..., skip:].mean(2)


def mean_keys(call: Call, skip: int = 0) -> Tensor:
    """Keys of one call, mean over heads: [B, T, Dh]."""
    return call.keys[:, :, skip:].mean(1)


def pooled(values: Tensor, grid: tuple[int, int], factor: int, dim: int) -> Tensor:
    """Mean over blocks of ``factor`` x ``factor`` patches along ``dim``, where ``grid`` (h, w)
    patches lie in raster order.
    """
    high, wide = grid
    before, after = values.shape[:dim], values.shape[dim + 1 :]
    blocks = values.reshape(*before, high // factor, factor, wide // factor, factor, *after)
    inner = len(before)
    return blocks.mean((inner + 1, inner + 3)).reshape(*before, -1, *after)
