"""LLaVA-1.5: CLIP (or SigLIP) at one size, features of one layer or several, a two-layer MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.errors import BundleError
from saccade.spec.geometry import FixedGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenSpec
from saccade_export import export_attention
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket
from saccade_export.families.vit import Layers, Patches, VitTower, indices, side

TOWERS = ("clip_vision_model", "siglip_vision_model")


class Adapter:
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "llava-1.5"
    architectures: ClassVar[tuple[str, ...]] = ("LlavaForConditionalGeneration",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        check_tower(checkpoint, self.config)

    @property
    def dim(self) -> int:
        """Features of a token before the projector."""
        taken = indices(self.config.vision_feature_layer)
        return int(self.vision.hidden_size) * len(taken)

    def buckets(self) -> tuple[Bucket, ...]:
        size = side(self.vision.image_size)
        patches = size // side(self.vision.patch_size)
        return (Bucket((size, size), (patches, patches)),)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        own = model.model
        after = parts.narrower(self.checkpoint, self.dim)
        return tower(
            own.vision_tower, self.config, bucket, own.multi_modal_projector if after else None
        )

    def projector(self, model: Any) -> nn.Module | None:  # noqa: ANN401
        if parts.narrower(self.checkpoint, self.dim):
            return None
        projector: nn.Module = model.model.multi_modal_projector
        return projector

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> FixedGrid:
        bucket = self.buckets()[0]
        return FixedGrid(bucket.size, bucket.grid)

    def preprocess(self) -> Preprocess:
        images = self.checkpoint.image_processor()
        bucket = self.buckets()[0]
        if getattr(images, "do_pad", False):
            fit = "pad"
        elif images.do_center_crop:
            fit = "crop"
        else:
            fit = "stretch"
        reached = images.crop_size if fit == "crop" else images.size
        wanted = {"height": bucket.size[0], "width": bucket.size[1]}
        if {key: reached[key] for key in wanted if key in reached} not in ({}, wanted):
            raise BundleError(
                f"{self.checkpoint.folder}: its processor makes {dict(reached)}, "
                f"its encoder takes {wanted}"
            )
        return parts.preprocess(self.checkpoint, fit=fit, pad_color=parts.levels(images.image_mean))

    def tokens(self) -> TokenSpec:
        return parts.main_part(self.checkpoint, self.dim, "the vision tower's chosen layer")

    def template(self) -> str:
        return parts.template(self.checkpoint)

    def prompt(self) -> PromptSpec:
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        return PromptSpec(
            chat_template=TEMPLATE,
            image=ImageSpec(token=token),
            stop=parts.stop_tokens(self.checkpoint),
            region_intro=parts.REGION_INTRO,
            template_args=parts.template_args(self.checkpoint),
        )


def check_tower(checkpoint: Checkpoint, config: Any) -> None:  # noqa: ANN401 - of transformers
    """Raises ``BundleError`` for a vision tower that `tower` can't take apart."""
    kind = config.vision_config.model_type
    if kind not in TOWERS:
        raise BundleError(
            f"{checkpoint.folder} has vision tower {kind!r}, supported are {', '.join(TOWERS)}"
        )


def tower(vision: Any, config: Any, bucket: Bucket, projector: nn.Module | None) -> VitTower:  # noqa: ANN401
    """Of CLIP or SigLIP, up to the layers that ``config`` takes features from."""
    export_attention.use(vision.config)
    embeddings = vision.embeddings
    patches = Patches(
        embeddings.patch_embedding,
        embeddings.position_embedding.weight,
        getattr(embeddings, "class_embedding", None),
        getattr(vision, "pre_layrnorm", None),
    )
    taken = indices(config.vision_feature_layer)
    layers = Layers(list(vision.encoder.layers), taken, masked=True)
    # "full" keeps what the tower gives; SigLIP has no CLS to drop.
    full = config.vision_feature_select_strategy == "full"
    if full and patches.cls is not None:
        raise BundleError(
            "vision_feature_select_strategy is full: CLS would be a token without a place"
        )
    return VitTower(patches, layers, bucket.grid, projector=projector)
