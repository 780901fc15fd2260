"""Gemma 3: SigLIP at one size, patches averaged in squares; tokens of an image see each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.errors import BundleError
from saccade.spec.geometry import FixedGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenPart, TokenSpec
from saccade_export import export_attention
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket
from saccade_export.families.vit import Layers, Patches, VitTower, side


class Adapter:
    """See `FamilyAdapter`. Pan and scan, which the processor has switched off, is not supported:
    regions of interest are that, and better aimed.
    """

    name: ClassVar[str] = "gemma-3"
    architectures: ClassVar[tuple[str, ...]] = ("Gemma3ForConditionalGeneration",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        self.size = side(self.vision.image_size)
        self.patches = self.size // side(self.vision.patch_size)
        self.tokens_a_side = int(self.config.mm_tokens_per_image**0.5)
        if self.patches % self.tokens_a_side:
            raise BundleError(
                f"{checkpoint.folder}: {self.patches} patches a side can't be averaged to "
                f"{self.tokens_a_side} tokens"
            )
        check_processor(checkpoint, self.size)

    def buckets(self) -> tuple[Bucket, ...]:
        return (Bucket((self.size, self.size), (self.tokens_a_side, self.tokens_a_side)),)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        factor = self.patches // self.tokens_a_side
        return siglip(
            model.model.vision_tower, self.patches, factor, Averages(self.patches, factor)
        )

    def projector(self, model: Any) -> nn.Module | None:  # noqa: ANN401 - likewise
        own = model.model.multi_modal_projector
        return NormAndProduct(own.mm_soft_emb_norm, own.mm_input_projection_weight)

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> FixedGrid:
        bucket = self.buckets()[0]
        return FixedGrid(bucket.size, bucket.grid)

    def preprocess(self) -> Preprocess:
        return parts.preprocess(self.checkpoint)

    def tokens(self) -> TokenSpec:
        main = TokenPart("main", int(self.vision.hidden_size))
        return TokenSpec((main,), "after average pooling, before norm and projection")

    def prompt(self) -> PromptSpec:
        # The template writes the token that begins an image for all of it.
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        begin = parts.token_name(self.checkpoint, self.config.boi_token_index)
        end = parts.token_name(self.checkpoint, self.config.eoi_token_index)
        return PromptSpec(
            chat_template=TEMPLATE,
            image=ImageSpec(token, placeholder=begin, before=f"\n\n{begin}", after=f"{end}\n\n"),
            stop=parts.stop_tokens(self.checkpoint),
            attention="bidirectional",
            region_intro=parts.REGION_INTRO,
            template_args={"bos_token": str(self.checkpoint.tokenizer.bos_token)},
        )

    def template(self) -> str:
        return self.checkpoint.chat_template()


class Averages(nn.Module):
    """[B, patches**2, C] -> [B, (patches / factor)**2, C], means over squares of patches."""

    def __init__(self, patches: int, factor: int) -> None:
        super().__init__()
        self.patches, self.factor = patches, factor

    def forward(self, rows: Tensor) -> Tensor:
        width = rows.shape[-1]
        square = rows.transpose(1, 2).reshape(-1, width, self.patches, self.patches)
        tokens = (self.patches // self.factor) ** 2
        return functional.avg_pool2d(square, self.factor).reshape(-1, width, tokens).transpose(1, 2)


class NormAndProduct(nn.Module):
    """Per token: Gemma's norm, then the projection."""

    def __init__(self, norm: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.norm, self.weight = norm, nn.Parameter(weight, requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.matmul(self.norm(features), self.weight)


def siglip(tower: Any, patches: int, factor: int = 1, merge: nn.Module | None = None) -> VitTower:  # noqa: ANN401
    """SigLIP's tower with its last norm; ``merge`` makes tokens of ``factor`` x ``factor``."""
    export_attention.use(tower.config)
    embeddings = tower.embeddings
    rows = Patches(embeddings.patch_embedding, embeddings.position_embedding.weight)
    layers = Layers(list(tower.encoder.layers), (-1,), masked=True)
    grid = (patches, patches)
    return VitTower(rows, layers, grid, norm=tower.post_layernorm, factor=factor, merge=merge)


def check_processor(checkpoint: Checkpoint, size: int) -> None:
    """Raises ``BundleError`` for a processor that does not make what the encoder takes."""
    images = checkpoint.image_processor()
    made = {key: images.size[key] for key in ("height", "width")}
    if made != {"height": size, "width": size}:
        raise BundleError(
            f"{checkpoint.folder}: its processor makes {made}, its encoder takes {size} x {size}"
        )
    if getattr(images, "do_pan_and_scan", None):
        raise BundleError(f"{checkpoint.folder}: do_pan_and_scan is on, which is not supported")
