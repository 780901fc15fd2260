"""Qwen2-VL: views of any size, M-RoPE. Also what Qwen2.5-VL and Qwen3-VL have in common with it.

The processor lets a picture have almost any size. An edge runs static graphs, so a bundle has a
short list of sizes, and a picture gets the one nearest to what the processor would choose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.errors import BundleError
from saccade.spec.geometry import DynamicGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenPart, TokenSpec
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket, Size
from saccade_export.families.qwen_tower import QwenTower

# Tokens of a view, and its longer side by its shorter one. A further size costs little: all graphs
# share one file of weights.
AREAS = (64, 256)
SHAPES = (1.0, 4 / 3, 16 / 9)


class Adapter:
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "qwen2-vl"
    architectures: ClassVar[tuple[str, ...]] = ("Qwen2VLForConditionalGeneration",)
    positions: ClassVar[str] = "mrope"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        images = checkpoint.image_processor()
        own = (self.vision.patch_size, self.vision.spatial_merge_size)
        if (images.patch_size, images.merge_size) != own:
            raise BundleError(
                f"{checkpoint.folder}: its processor makes patches of {images.patch_size} and "
                f"merges {images.merge_size}, its encoder {own[0]} and {own[1]}"
            )
        self.unit = own[0] * own[1]
        self.pixels = (int(images.size["shortest_edge"]), int(images.size["longest_edge"]))

    @property
    def width(self) -> int:
        """Features of a token: those of the language model."""
        return int(self.config.get_text_config().hidden_size)

    def buckets(self) -> tuple[Bucket, ...]:
        grids = grid_sizes(*(pixels / self.unit**2 for pixels in self.pixels))
        return tuple(Bucket((h * self.unit, w * self.unit), (h, w)) for h, w in grids)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        return QwenTower(model.model.visual, bucket.size)

    def projector(self, model: nn.Module) -> nn.Module | None:
        return None

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> DynamicGrid:
        sizes = tuple(bucket.size for bucket in self.buckets())
        return DynamicGrid(sizes, self.unit, *self.pixels)

    def preprocess(self) -> Preprocess:
        return parts.preprocess(self.checkpoint)

    def tokens(self) -> TokenSpec:
        return TokenSpec((TokenPart("main", self.width),), "after the merger of 2 x 2 patches")

    def prompt(self) -> PromptSpec:
        return PromptSpec(
            chat_template=TEMPLATE,
            image=ImageSpec(
                parts.token_name(self.checkpoint, self.config.image_token_id),
                opening=parts.token_name(self.checkpoint, self.config.vision_start_token_id),
            ),
            stop=parts.stop_tokens(self.checkpoint),
            positions=self.positions,
            region_intro=parts.REGION_INTRO,
        )

    def template(self) -> str:
        return self.checkpoint.chat_template()


def grid_sizes(least: float, most: float) -> tuple[Size, ...]:
    """(rows, columns) of tokens of each area and shape, ``least`` to ``most`` tokens."""
    found: list[Size] = []
    for area in AREAS:
        for shape in SHAPES:
            short, long = _sides(min(max(area, least), most), shape, least, most)
            found += [(short, long), (long, short)]
    return tuple(dict.fromkeys(found))


def _sides(area: float, shape: float, least: float, most: float) -> Size:
    """The sides, shorter one first, whose area and shape are nearest to these."""
    candidates = [
        (short, long)
        for short in range(1, math.isqrt(int(most)) + 1)
        for long in (math.floor(short * shape), math.ceil(short * shape), math.ceil(least / short))
        if least <= short * long <= most and long >= short
    ]

    def off(sides: Size) -> float:
        short, long = sides
        return abs(math.log(short * long / area)) + abs(math.log(long / short / shape))

    return min(candidates, key=off)
