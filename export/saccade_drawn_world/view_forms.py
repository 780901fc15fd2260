"""The forms in which a trained run can send a view, each a bundle of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from saccade_drawn_world.tiny.encoder_graph import Condensed, Patches
from saccade_drawn_world.tiny.registers import Registers
from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig

KEPT_PATCHES = 16


@dataclass(frozen=True)
class Form:
    """What is sent of a view. ``name``: of the bundle; ``tokens``: what they are, in words.

    ``seeing``: uint8 [B, H, W, 3] -> features [B, T, D], saliency [B, L, heads, T], keys
    [B, T, Dk]; ``grid``: (rows, columns) of the T tokens; ``kept``: how many of them accuracy is
    measured with; ``first_place``: where the projector's table of places has the first.
    """

    name: str
    tokens: str
    config: EncoderConfig
    seeing: nn.Module
    grid: tuple[int, int]
    kept: int
    first_place: int = 0

    @property
    def count(self) -> int:
        """T."""
        rows, columns = self.grid
        return rows * columns


def patches(encoder: Encoder, name: str = "crossing") -> Form:
    """The encoder's own tokens, of which selection keeps some."""
    config = encoder.config
    return Form(
        name=name,
        tokens="patches, selected by CLS attention",
        config=config,
        seeing=Patches(encoder),
        grid=(config.rows, config.columns),
        kept=KEPT_PATCHES,
    )


def registers(encoder: Encoder, learned: Registers) -> Form:
    """Learned registers, of which any prefix can be sent. Their places follow the patches'."""
    count = len(learned.queries)
    return Form(
        name="crossing-registers",
        tokens="learned registers, the most important first; any prefix of them is enough",
        config=encoder.config,
        seeing=Condensed(encoder, learned),
        grid=(1, count),
        kept=count,
        first_place=encoder.config.tokens,
    )
