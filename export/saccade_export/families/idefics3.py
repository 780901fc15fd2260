"""SmolVLM and Idefics3: SigLIP on tiles and an overview, pixel shuffle, one linear projection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saccade.errors import BundleError
from saccade.spec.geometry import TiledGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenSpec
from saccade_export import export_attention
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket
from saccade_export.families.vit import Layers, Patches, Shuffle, VitTower, side

AROUND, WHOLE = "<fake_token_around_image>", "<global-img>"


class Adapter:
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "smolvlm"
    architectures: ClassVar[tuple[str, ...]] = (
        "Idefics3ForConditionalGeneration",
        "SmolVLMForConditionalGeneration",
    )

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        self.factor = int(self.config.scale_factor)

    @property
    def dim(self) -> int:
        """Features of a token before the projection."""
        return int(self.vision.hidden_size) * self.factor**2

    @property
    def patches(self) -> tuple[int, int]:
        """(h, w) patches of a tile."""
        count = side(self.vision.image_size) // side(self.vision.patch_size)
        if count % self.factor:
            raise BundleError(f"{count} patches a side are no whole blocks of {self.factor}")
        return count, count

    def buckets(self) -> tuple[Bucket, ...]:
        size, tokens = side(self.vision.image_size), self.patches[0] // self.factor
        return (Bucket((size, size), (tokens, tokens)),)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        vision, connector = model.model.vision_model, model.model.connector
        export_attention.use(vision.config)
        embeddings = vision.embeddings
        position = embeddings.position_embedding.weight[_places(self.patches[0])]
        layers = list(vision.encoder.layers)
        after = parts.narrower(self.checkpoint, self.dim)
        return VitTower(
            Patches(embeddings.patch_embedding, position),
            Layers(layers, (len(layers),), masked=True),
            self.patches,
            norm=vision.post_layernorm,
            factor=self.factor,
            merge=Shuffle(self.patches, self.factor),
            projector=connector.modality_projection if after else None,
        )

    def projector(self, model: Any) -> nn.Module | None:  # noqa: ANN401
        if parts.narrower(self.checkpoint, self.dim):
            return None
        projection: nn.Module = model.model.connector.modality_projection
        return projection

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> TiledGrid:
        images, bucket = self.checkpoint.image_processor(), self.buckets()[0]
        edge, tile = images.size["longest_edge"], images.max_image_size["longest_edge"]
        if not images.do_image_splitting or tile != bucket.size[0]:
            raise BundleError(
                f"{self.checkpoint.folder}: do_image_splitting is {images.do_image_splitting} with "
                f"tiles of {tile} px; supported are split pictures with tiles of {bucket.size[0]}"
            )
        return TiledGrid(
            size=bucket.size,
            grid=bucket.grid,
            rule="longest-edge",
            overview="last",
            longest_edge=int(edge),
        )

    def preprocess(self) -> Preprocess:
        return parts.preprocess(self.checkpoint)

    def tokens(self) -> TokenSpec:
        return parts.main_part(self.checkpoint, self.dim, "pixel shuffle")

    def template(self) -> str:
        return parts.template(self.checkpoint)

    def prompt(self) -> PromptSpec:
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        image = ImageSpec(
            token=token,
            tile=AROUND + "<row_{row}_col_{column}>",
            row_end="\n",
            overview=f"\n{AROUND}{WHOLE}",
            overview_after=AROUND,
            alone=AROUND + WHOLE,
        )
        return PromptSpec(
            chat_template=TEMPLATE,
            image=image,
            stop=parts.stop_tokens(self.checkpoint),
            region_intro=parts.REGION_INTRO,
            template_args=parts.template_args(self.checkpoint),
        )


def _places(count: int) -> Tensor:
    """Which learned position each patch of a full tile has: the model buckets fractions of a side,
    and rounding decides at their borders, so its own arithmetic is repeated.
    """
    boundaries = torch.arange(1 / count, 1.0, 1 / count)
    fractions = torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))
    line = torch.bucketize(fractions.clamp(max=1.0 - 1e-6), boundaries, right=True)
    return (line[:, None] * count + line).flatten()
