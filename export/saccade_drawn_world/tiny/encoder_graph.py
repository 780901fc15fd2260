"""What an exported encoder gives of a view: features, saliency and keys, as bundles name them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade_drawn_world.tiny.registers import Registers
from saccade_drawn_world.tiny.tiny_encoder import Encoder


class Patches(nn.Module):
    """The encoder without its CLS output: a token for each patch, to be selected from."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, saliency, keys, _ = self.encoder(views)
        return features, saliency, keys


class Condensed(nn.Module):
    """The encoder and its registers: a token for each of these, the most important first."""

    def __init__(self, encoder: Encoder, registers: Registers) -> None:
        super().__init__()
        self.encoder, self.registers = encoder, registers
        # Selection by saliency keeps the highest: of a row that descends, a prefix.
        row = torch.arange(len(registers.queries), 0, -1, dtype=torch.float32)
        self.row: Tensor
        self.register_buffer("row", (row / row.sum()).view(1, 1, 1, -1), persistent=False)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Saliency is the same for every view; keys are the registers themselves."""
        features, _, _, cls = self.encoder(views)
        registers = self.registers(features, cls)
        return registers, self.row.expand(registers.shape[0], -1, -1, -1), registers.clone()
