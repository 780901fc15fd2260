"""Heads that exist during training only: they ask tokens and CLS about the ground truth.

The dense heads sit on the narrow features, so what they can read is what the wire carries;
the CLS heads make CLS look for what questions are about, which is what its attention rows
(the saliency) then point at.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade_drawn_world.crossing.scene import (
    COLOURS,
    HEADINGS,
    KINDS,
    LIGHTS,
    PLATE_ALPHABET,
    PLATE_LENGTH,
    TIMES,
    WEATHERS,
)
from saccade_drawn_world.training.encoder_targets import COVERS, IGNORE

MAX_COUNT = 6
# (classes, weight of class 0): "nothing here" is by far the most frequent target.
DENSE = {
    "cover": len(COVERS),
    "colour": len(COLOURS),
    "heading": len(HEADINGS),
    "light": 1 + len(LIGHTS),
    "chars": 1 + len(PLATE_ALPHABET),
    "nth": PLATE_LENGTH,
}
CROP = [len(KINDS), len(COLOURS), len(HEADINGS), *[len(PLATE_ALPHABET)] * PLATE_LENGTH]
SCENE = [len(TIMES), len(WEATHERS), len(LIGHTS), *[MAX_COUNT] * (2 + len(KINDS) + len(COLOURS))]
WEIGHTS = {"cover": 0.3, "light": 0.05, "chars": 0.05, "people": 0.2, "walkers": 0.02}


class Heads(nn.Module):
    """``dim``: width of CLS; ``out``: width of a token on the wire; ``cells``: stem channels."""

    def __init__(self, dim: int, out: int, cells: int) -> None:
        super().__init__()
        self.dense = nn.ModuleDict({name: nn.Linear(3 * out, n) for name, n in DENSE.items()})
        self.extra = nn.ModuleDict(
            {
                "kinds": nn.Linear(3 * out, len(KINDS)),
                "colours": nn.Linear(3 * out, len(COLOURS)),
                "people": nn.Linear(3 * out, 4),
                "time": nn.Linear(3 * out, len(TIMES)),
                "weather": nn.Linear(3 * out, len(WEATHERS)),
            }
        )
        self.inner = nn.Linear(out, 3 * out)
        self.cell = nn.Conv2d(cells, 2, 1)
        self.crop = nn.Linear(dim, sum(CROP))
        self.scene = nn.Linear(dim, sum(SCENE))

    def forward(self, features: Tensor, cls: Tensor, asked: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features [B, T, out], cls [B, dim], targets as in ``Targets`` with a leading batch
        dimension -> named losses.
        """
        inner = functional.gelu(self.inner(features))
        losses = {n: _cross(self.dense[n](inner), asked[n], WEIGHTS.get(n)) for n in DENSE}
        kinds = asked["kinds"].float()
        losses["kinds"] = _presence(self.extra["kinds"](inner), kinds[..., :-1])
        losses["colours"] = _presence(self.extra["colours"](inner), asked["colours"].float())
        people = asked["kinds"][..., -1].clamp(max=3)
        losses["people"] = _cross(self.extra["people"](inner), people, WEIGHTS["people"])
        for i, name in enumerate(("time", "weather")):  # every overview token knows the whole
            whole = asked["scene"][:, i, None].expand(-1, features.shape[1])
            losses[name] = _cross(self.extra[name](inner), whole, None)
        losses["cls_crop"] = _split(self.crop(cls), asked["crop"], CROP)
        losses["cls_scene"] = _split(self.scene(cls), asked["scene"], SCENE)
        return losses

    def walkers(self, cells: Tensor, asked: Tensor) -> Tensor:
        """Cells [B, channels, h, w], asked [B, h * w]: 1 where a person's centre is. People are as
        narrow as a cell: asked of whole patches alone, one in five stayed unseen.
        """
        logits = self.cell(cells).permute(0, 2, 3, 1)
        return _cross(logits, asked, WEIGHTS["walkers"])


SHARES = {
    "walkers": 2.0,
    "chars": 2.0,
    "kinds": 4.0,
    "colours": 4.0,
    "people": 4.0,
    "time": 0.3,
    "weather": 0.5,
    "cls_crop": 3.0,
    "cls_scene": 2.0,
}


def total(losses: dict[str, Tensor]) -> Tensor:
    """The weighted sum that training descends."""
    return torch.stack([SHARES.get(n, 1.0) * v for n, v in losses.items()]).sum()


def _cross(logits: Tensor, target: Tensor, nothing: float | None) -> Tensor:
    weight = torch.ones(logits.shape[-1], device=logits.device)
    if nothing is not None:
        weight[0] = nothing
    flat = target.reshape(-1).long()
    if not bool((flat != IGNORE).any()):
        return logits.sum() * 0.0
    return functional.cross_entropy(
        logits.float().reshape(-1, logits.shape[-1]), flat, weight, ignore_index=IGNORE
    )


def _presence(logits: Tensor, counts: Tensor) -> Tensor:
    """Weighted binary cross entropy: a centre falls into one patch of dozens."""
    weight = torch.where(counts > 0, 1.0, 0.1)
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), (counts > 0).float(), weight, reduction="sum"
    )
    return loss / weight.sum()


def _split(logits: Tensor, target: Tensor, sizes: list[int]) -> Tensor:
    ends = list(itertools.accumulate(sizes, initial=0))
    parts = [
        _cross(logits[:, a:b], target[:, i], None)
        for i, (a, b) in enumerate(itertools.pairwise(ends))
    ]
    return torch.stack(parts).mean()
