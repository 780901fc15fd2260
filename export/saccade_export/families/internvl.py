"""InternVL (the ``-hf`` classes): its own ViT with CLS on tiles and an overview, pixel shuffle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.errors import BundleError
from saccade.spec import tilings
from saccade.spec.geometry import FixedGrid, TiledGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenSpec
from saccade_export import export_attention
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket
from saccade_export.families.vit import Layers, Patches, Shuffle, VitTower, side


class Adapter:
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "internvl"
    architectures: ClassVar[tuple[str, ...]] = ("InternVLForConditionalGeneration",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        self.factor = round(1 / float(self.config.downsample_ratio))
        if self.config.vision_feature_select_strategy != "default":
            raise BundleError(
                f"{checkpoint.folder}: vision_feature_select_strategy is not default: CLS would be "
                "a token without a place"
            )

    @property
    def dim(self) -> int:
        """Features of a token before the projector."""
        return int(self.vision.hidden_size) * self.factor**2

    @property
    def patches(self) -> tuple[int, int]:
        """(h, w) patches of a tile."""
        count = side(self.vision.image_size) // side(self.vision.patch_size)
        return count, count

    def buckets(self) -> tuple[Bucket, ...]:
        size, tokens = side(self.vision.image_size), self.patches[0] // self.factor
        return (Bucket((size, size), (tokens, tokens)),)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        vision = model.model.vision_tower
        export_attention.use(vision.config)
        embeddings, layers = vision.embeddings, list(vision.encoder.layer)
        taken = int(self.config.vision_feature_layer)
        if embeddings.position_embeddings is None:
            raise BundleError(f"{self.checkpoint.folder}: its vision tower has no positions")
        after = parts.narrower(self.checkpoint, self.dim)
        return VitTower(
            Patches(
                embeddings.patch_embeddings.projection,
                embeddings.position_embeddings[0],
                embeddings.cls_token,
            ),
            Layers(layers, (taken,), masked=False),
            self.patches,
            norm=vision.layernorm if taken == -1 else None,
            factor=self.factor,
            merge=Shuffle(self.patches, self.factor),
            projector=model.model.multi_modal_projector if after else None,
        )

    def projector(self, model: Any) -> nn.Module | None:  # noqa: ANN401
        if parts.narrower(self.checkpoint, self.dim):
            return None
        projector: nn.Module = model.model.multi_modal_projector
        return projector

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> FixedGrid | TiledGrid:
        images, bucket = self.checkpoint.image_processor(), self.buckets()[0]
        # The family's image processor leaves splitting to the caller; its processor asks for it.
        most = int(images.max_patches)
        if most == 1:
            return FixedGrid(bucket.size, bucket.grid)
        return TiledGrid(
            size=bucket.size,
            grid=bucket.grid,
            rule="closest-ratio",
            tilings=tilings.arrangements(int(images.min_patches), most),
            overview="last",
        )

    def preprocess(self) -> Preprocess:
        return parts.preprocess(self.checkpoint)

    def tokens(self) -> TokenSpec:
        return parts.main_part(self.checkpoint, self.dim, "pixel shuffle")

    def template(self) -> str:
        return parts.template(self.checkpoint)

    def prompt(self) -> PromptSpec:
        tokenizer = self.checkpoint.tokenizer
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        image = ImageSpec(
            token=token,
            before=str(getattr(tokenizer, "start_image_token", "<img>")),
            after=str(getattr(tokenizer, "end_image_token", "</img>")),
        )
        return PromptSpec(
            chat_template=TEMPLATE,
            image=image,
            stop=parts.stop_tokens(self.checkpoint),
            region_intro=parts.REGION_INTRO,
            template_args=parts.template_args(self.checkpoint),
        )
