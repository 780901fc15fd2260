"""M-RoPE for merged tokens that keep the places of several members (PPE, arXiv 2510.22936)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

AXES = 3  # t, h, w


class MemberRotary(nn.Module):
    """The model's own rotary embedding, for [3 * K, B, L] positions too.

    Row axis * K + k is the k-th member's. The channels that an axis turns are cut into K parts;
    the k-th part takes the k-th row.
    """

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, [B, L, d] each."""
        members = position_ids.shape[0] // AXES
        if members < 2:
            cos, sin = self.rotary(x, position_ids)
            return cos, sin
        rows = position_ids.view(AXES, members, *position_ids.shape[1:])
        turned = [self.rotary(x, rows[:, member].contiguous()) for member in range(members)]
        chosen = self._members(x, members).expand(*turned[0][0].shape)[None]
        cos, sin = (torch.stack(each).gather(0, chosen)[0] for each in zip(*turned, strict=True))
        return cos, sin

    def _members(self, x: Tensor, members: int) -> Tensor:
        """[d] which member's row each channel takes. Which axis turns it is found by turning one
        axis after the other: models order them in different ways.
        """
        one = x[:1, :1]
        places = torch.zeros((AXES, AXES, 1), dtype=torch.long, device=x.device)
        places[range(AXES), range(AXES)] = 1000
        axis_of = torch.stack(
            [self.rotary(one.float(), place[:, None])[1][0, 0].abs() for place in places]
        ).argmax(0)
        half = axis_of[: len(axis_of) // 2]
        chosen = torch.zeros_like(half)
        for axis in range(AXES):
            own = (half == axis).nonzero()[:, 0]
            chosen[own] = torch.arange(len(own), device=x.device) * members // max(len(own), 1)
        return torch.cat([chosen, chosen])
