"""Qwen3-VL: a token has rows for the first layers of the language model, too (deepstack), and
M-RoPE's rows are interleaved over the channels of a head.
"""

from __future__ import annotations

from typing import ClassVar

from saccade.spec.tokens import DEEPSTACK, TokenPart, TokenSpec
from saccade_export.families import qwen2_vl


class Adapter(qwen2_vl.Adapter):
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "qwen3-vl"
    architectures: ClassVar[tuple[str, ...]] = ("Qwen3VLForConditionalGeneration",)
    positions: ClassVar[str] = "mrope-interleaved"

    def tokens(self) -> TokenSpec:
        main = super().tokens()
        rows = range(len(self.vision.deepstack_visual_indexes))
        deepstack = tuple(TokenPart(f"{DEEPSTACK}{row}", self.width) for row in rows)
        return TokenSpec((*main.parts, *deepstack), "after the mergers of 2 x 2 patches")
