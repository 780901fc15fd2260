"""PaliGemma and PaliGemma 2: SigLIP at one size, a linear projector, prompts that see themselves.

These checkpoints have no chat template: the processor puts all images first, then "<bos>", the
text and a line break. A conversation is its texts, line by line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.spec.geometry import FixedGrid
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import TokenPart, TokenSpec
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import parts
from saccade_export.families.base import TEMPLATE, Bucket
from saccade_export.families.gemma3 import check_processor, siglip
from saccade_export.families.vit import side

CHAT = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{- image_token -}}{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}{{- bos_token -}}"
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{{- '\n' -}}{%- endfor -%}"
)


class Adapter:
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "paligemma"
    architectures: ClassVar[tuple[str, ...]] = ("PaliGemmaForConditionalGeneration",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.model_config
        self.vision = self.config.vision_config
        self.size = side(self.vision.image_size)
        self.patches = self.size // side(self.vision.patch_size)
        check_processor(checkpoint, self.size)

    def buckets(self) -> tuple[Bucket, ...]:
        return (Bucket((self.size, self.size), (self.patches, self.patches)),)

    def tower(self, model: Any, bucket: Bucket) -> nn.Module:  # noqa: ANN401 - of transformers
        return siglip(model.model.vision_tower, self.patches)

    def projector(self, model: Any) -> nn.Module | None:  # noqa: ANN401 - likewise
        projector: nn.Module = model.model.multi_modal_projector
        return projector

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}

    def geometry(self) -> FixedGrid:
        bucket = self.buckets()[0]
        return FixedGrid(bucket.size, bucket.grid)

    def preprocess(self) -> Preprocess:
        return parts.preprocess(self.checkpoint)

    def tokens(self) -> TokenSpec:
        main = TokenPart("main", int(self.vision.hidden_size))
        return TokenSpec((main,), "after the vision tower's last norm, before the projector")

    def prompt(self) -> PromptSpec:
        token = parts.token_name(self.checkpoint, self.config.image_token_id)
        return PromptSpec(
            chat_template=TEMPLATE,
            image=ImageSpec(token=token),
            stop=parts.stop_tokens(self.checkpoint),
            attention="prefix",
            region_intro=parts.REGION_INTRO,
            template_args={
                "bos_token": str(self.checkpoint.tokenizer.bos_token),
                "image_token": token,
            },
        )

    def template(self) -> str:
        return CHAT
