"""The contract of a model family, and how the family of a checkpoint is found.

To add one, write a module in this folder with a class that has what `FamilyAdapter` lists, and name
the module in `MODULES`. Nothing outside this folder may know a family's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Protocol

from torch import Tensor, nn

from saccade.errors import BundleError
from saccade_export.checkpoint import Checkpoint

if TYPE_CHECKING:
    from saccade.spec.geometry import AnyGrid
    from saccade.spec.preprocess import Preprocess
    from saccade.spec.prompt import PromptSpec
    from saccade.spec.tokens import TokenSpec

Size = tuple[int, int]

# Module -> the architectures that its adapter declares, so that looking one up imports one.
HERE = "saccade_export.families"
MODULES: Mapping[str, tuple[str, ...]] = {
    f"{HERE}.llava": ("LlavaForConditionalGeneration",),
    f"{HERE}.llava_onevision": ("LlavaOnevisionForConditionalGeneration",),
    f"{HERE}.idefics3": ("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"),
    f"{HERE}.internvl": ("InternVLForConditionalGeneration",),
    f"{HERE}.qwen2_vl": ("Qwen2VLForConditionalGeneration",),
    f"{HERE}.qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration",),
    f"{HERE}.qwen3_vl": ("Qwen3VLForConditionalGeneration",),
    f"{HERE}.gemma3": ("Gemma3ForConditionalGeneration",),
    f"{HERE}.paligemma": ("PaliGemmaForConditionalGeneration",),
}
# Files of the bundle that a prompt names.
TEMPLATE = "cloud/chat_template.jinja"


def vector_file(name: str) -> str:
    """The file of a learned vector."""
    return f"cloud/{name}.f32"


@dataclass(frozen=True)
class Bucket:
    """One static graph: ``size`` (height, width) px of a tile, ``grid`` (h, w) tokens of it."""

    size: Size
    grid: Size


@dataclass(frozen=True)
class TowerOutput:
    """What a vision tower gives for B tiles.

    ``features``: [B, T, D], the parts of the token spec side by side; ``saliency``: [B, L, H, T],
    rows of attention that say where to look; ``keys``: [B, T, Dk], of attention, mean over heads.
    T in raster order of the bucket's grid.
    """

    features: Tensor
    saliency: Tensor | None = None
    keys: Tensor | None = None


class Tower(Protocol):
    """Normalised pixels [B, 3, H, W] float -> `TowerOutput`, for one bucket's size.

    An ``nn.Module`` without data-dependent shapes; every size but B is a Python integer.
    """

    def __call__(self, pixels: Tensor) -> TowerOutput: ...


class FamilyAdapter(Protocol):
    """One family of models. ``name``: as people call it; ``architectures``: class names of
    transformers.

    All but `tower` and `projector` read the configuration alone. Raises ``BundleError`` for a
    configuration that the family has and this adapter does not support.
    """

    name: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]]

    def __init__(self, checkpoint: Checkpoint) -> None: ...

    def buckets(self) -> tuple[Bucket, ...]:
        """The encoder's graphs."""
        ...

    def tower(self, model: nn.Module, bucket: Bucket) -> nn.Module:
        """The `Tower` of one bucket, up to the cut: after the last step that mixes neighbours.

        ``model``: as `Checkpoint.vision` loads it.
        """
        ...

    def projector(self, model: nn.Module) -> nn.Module | None:
        """Per token: features [K, D] -> embeds [K, width]; None where the tower ends in them."""
        ...

    def separators(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Learned vectors of the image layout by name, [width] each, in the language's space."""
        ...

    def geometry(self) -> AnyGrid: ...

    def preprocess(self) -> Preprocess: ...

    def tokens(self) -> TokenSpec: ...

    def template(self) -> str:
        """The chat template's Jinja text."""
        ...

    def prompt(self) -> PromptSpec:
        """Its files are named as `TEMPLATE` and `vector_file` say."""
        ...


def adapter(checkpoint: Checkpoint) -> FamilyAdapter:
    """The adapter of the checkpoint's family. Raises ``BundleError`` that lists what there is."""
    for module, architectures in MODULES.items():
        if set(architectures) & set(checkpoint.architectures):
            kind: type[FamilyAdapter] = import_module(module).Adapter
            return kind(checkpoint)
    known = ", ".join(sorted(name for names in MODULES.values() for name in names))
    raise BundleError(
        f"{checkpoint.folder} is a {', '.join(checkpoint.architectures)[:200]}, which no family "
        f"covers; there are {known}. To add one, see the contract in {__file__}"
    )
