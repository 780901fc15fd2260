"""Learned registers: a view's tokens condensed to a few that any prefix of is useful.

Cross-attention from learned queries, as in Perceiver (Jaegle et al., 2021), trained with a random
number of them kept, as in Matryoshka Query Transformer (Hu et al., 2024). Unlike selection they
are trained together with the language side and fit no other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

REGISTERS = 8


class Mixer(nn.Module):
    """Pre-norm attention of queries over a context, then a feed-forward part."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.hear = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.pair = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[N, Q, width] and [N, T, width] -> [N, Q, width]."""
        views, asked, width = x.shape
        split = (self.heads, width // self.heads)
        q = self.query(self.ask(x)).view(views, asked, *split).transpose(1, 2)
        pair = self.pair(self.hear(context)).view(views, context.shape[1], 2, *split)
        k, v = pair.permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * split[1] ** -0.5) @ k.transpose(-1, -2)).float().softmax(-1)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(views, asked, width)
        x = x + self.out(mixed)
        added: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm(x)), approximate="tanh"))
        return added


class Registers(nn.Module):
    """``count`` registers of a view, the most important first."""

    def __init__(
        self, dim: int, wide: int, places: int, count: int = REGISTERS, width: int = 128,
        depth: int = 2,
    ) -> None:  # fmt: skip
        """``dim``: features of a token and of a register; ``wide``: of CLS."""
        super().__init__()
        self.widen, self.whole = nn.Linear(dim, width), nn.Linear(wide, width)
        self.place = nn.Parameter(torch.randn(places, width) * 0.02)
        self.queries = nn.Parameter(torch.randn(count, width) * 0.2)
        self.mixers = nn.ModuleList(Mixer(width, 4) for _ in range(depth))
        self.narrow = nn.Linear(width, dim)
        self.unit = nn.LayerNorm(dim, elementwise_affine=False)  # as the encoder's tokens are

    def forward(self, features: Tensor, cls: Tensor) -> Tensor:
        """Tokens [N, T, dim] and CLS [N, wide] of views -> [N, count, dim]."""
        context = torch.cat([self.widen(features) + self.place, self.whole(cls)[:, None]], 1)
        x = self.queries.expand(features.shape[0], -1, -1).to(context.dtype)
        for mixer in self.mixers:
            x = mixer(x, context)
        registers: Tensor = self.unit(self.narrow(x).float())
        return registers
