"""LLaVA-OneVision: SigLIP on an overview and on tiles of a canvas that the picture is fitted into.

The model shrinks the token mosaic of pictures above about ten tiles *behind* its projector, which
no per-token cloud can do: such pictures get the best tiling of at most ten tiles instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from saccade.errors import BundleError
from saccade.spec.geometry import TiledGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenSpec
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import llava, parts
from saccade_export.families.base import TEMPLATE, vector_file
from saccade_export.families.vit import side

NEWLINE = "image_newline"
# "anyres_max_9": from 1.1 times the side of nine tiles on, the mosaic is shrunk.
SHRUNK_FROM = 1.1


class Adapter(llava.Adapter):
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "llava-onevision"
    architectures: ClassVar[tuple[str, ...]] = ("LlavaOnevisionForConditionalGeneration",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        if self.config.vision_config.model_type != "siglip_vision_model":
            raise BundleError(f"{checkpoint.folder} has a vision tower with CLS in tiles")

    def separators(self, model: Any) -> Mapping[str, Tensor]:  # noqa: ANN401 - of transformers
        return {NEWLINE: model.model.image_newline}

    def geometry(self) -> TiledGrid:  # type: ignore[override]  # another kind of grid
        bucket = self.buckets()[0]
        tile = side(self.vision.image_size)
        pairs = [(high // tile, wide // tile) for high, wide in self.config.image_grid_pinpoints]
        return TiledGrid(
            size=bucket.size,
            grid=bucket.grid,
            rule="best-resolution",
            tilings=tuple(pair for pair in pairs if pair[0] * pair[1] <= self._most_tiles),
            overview="first",
            alone=True,
        )

    @property
    def _most_tiles(self) -> int:
        limit = str(self.checkpoint.processor_fields.get("vision_aspect_ratio", "anyres_max_9"))
        digits = limit.removeprefix("anyres_max_")
        if not digits.isdigit():
            raise BundleError(f"{self.checkpoint.folder}: vision_aspect_ratio is {limit[:40]!r}")
        return int(int(digits) * SHRUNK_FROM**2)

    def preprocess(self) -> Preprocess:
        mean = self.checkpoint.image_processor().image_mean
        return parts.preprocess(
            self.checkpoint, fit="stretch", fit_several="pad", pad_color=parts.levels(mean)
        )

    def tokens(self) -> TokenSpec:
        return parts.main_part(self.checkpoint, self.dim, "the vision tower's last layer")

    def prompt(self) -> PromptSpec:
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        return PromptSpec(
            chat_template=TEMPLATE,
            image=ImageSpec(token=token, separator=NEWLINE, separator_alone=True),
            stop=parts.stop_tokens(self.checkpoint),
            region_intro=parts.REGION_INTRO,
            template_args=parts.template_args(self.checkpoint),
            vectors={NEWLINE: vector_file(NEWLINE)},
        )
