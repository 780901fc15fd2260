"""Vision towers of plain ViTs: patches, positions, layers, and what selection needs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade_export import export_attention
from saccade_export.export_attention import Call
from saccade_export.families.base import TowerOutput

CLS_LAYERS = 2  # whose CLS rows are handed out: the last that features come from


class Patches(nn.Module):
    """Normalised pixels [B, 3, H, W] -> embedded patches [B, (1 +) N, width], positions added.

    ``position``: [(1 +) N, width], already what the model would look up for this size of picture;
    ``cls``: [width], None where the model has none; ``norm``: what CLIP does before its layers.
    """

    position: Tensor
    cls: Tensor | None

    def __init__(
        self,
        projection: nn.Module,
        position: Tensor,
        cls: Tensor | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.projection, self.norm = projection, norm
        self.register_buffer("position", position.detach().clone())
        self.register_buffer("cls", None if cls is None else cls.detach().reshape(1, 1, -1).clone())

    def forward(self, pixels: Tensor) -> Tensor:
        patches: Tensor = self.projection(pixels).flatten(2).transpose(1, 2)
        if self.cls is not None:
            patches = torch.cat([self.cls.expand(patches.shape[0], -1, -1), patches], dim=1)
        patches = patches + self.position
        return patches if self.norm is None else self.norm(patches)


class Layers(nn.Module):
    """The layers up to the last one whose output is taken.

    ``taken``: indices as transformers counts hidden states: 0 the input of the first layer, -1 the
    output of the last; several are put side by side. ``masked``: layers take a mask, none is given.
    """

    def __init__(self, layers: Sequence[nn.Module], taken: Sequence[int], *, masked: bool) -> None:
        super().__init__()
        self.taken = [index % (len(layers) + 1) for index in taken]
        self.layers = nn.ModuleList(layers[: max(self.taken)])
        self.masked = masked

    def forward(self, hidden: Tensor) -> Tensor:
        states = {0: hidden}
        for number, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, None) if self.masked else layer(hidden)
            export_attention.keep_last(CLS_LAYERS)
            if number in self.taken:
                states[number] = hidden
        picked = [states[index] for index in self.taken]
        return picked[0] if len(picked) == 1 else torch.cat(picked, dim=-1)


class VitTower(nn.Module):
    """A `Tower`. ``grid``: (h, w) patches; ``factor``: blocks of so many patches a side become one
    token through ``merge`` ([B, N, width] -> [B, N / factor^2, width * factor^2]); ``norm``: after
    the layers; ``projector``: the family's, where tokens are narrower behind it.
    """

    def __init__(
        self,
        patches: Patches,
        layers: Layers,
        grid: tuple[int, int],
        *,
        norm: nn.Module | None = None,
        keep_cls: bool = False,
        factor: int = 1,
        merge: nn.Module | None = None,
        projector: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.patches, self.layers, self.norm = patches, layers, norm
        self.merge, self.projector = merge, projector
        self.grid, self.factor, self.keep_cls = grid, factor, keep_cls

    def forward(self, pixels: Tensor) -> TowerOutput:
        tokens = self.layers(self.patches(pixels))
        calls = export_attention.made()
        tokens = tokens if self.norm is None else self.norm(tokens)
        has_cls = self.patches.cls is not None
        tokens = tokens[:, 1:] if has_cls and not self.keep_cls else tokens
        tokens = tokens if self.merge is None else self.merge(tokens)
        tokens = tokens if self.projector is None else self.projector(tokens)
        return TowerOutput(tokens, *self._scores(calls, has_cls=has_cls))

    def _scores(self, calls: list[Call], *, has_cls: bool) -> tuple[Tensor, Tensor]:
        """CLS rows, or what patches receive, [B, L, H, T]; keys of the last layer [B, T, Dh]."""
        if has_cls:
            saliency = export_attention.cls_rows(calls[-CLS_LAYERS:])
        else:
            saliency = export_attention.received(calls[-1:])
        keys = export_attention.mean_keys(calls[-1], skip=int(has_cls))
        if self.factor > 1:
            saliency = export_attention.pooled(saliency, self.grid, self.factor, dim=3)
            keys = export_attention.pooled(keys, self.grid, self.factor, dim=1)
        return saliency, keys


class Shuffle(nn.Module):
    """Pixel shuffle: a block of ``factor`` x ``factor`` patches becomes one token, their features
    side by side in raster order (SmolVLM, Idefics3, InternVL). ``grid``: (h, w) patches.
    """

    def __init__(self, grid: tuple[int, int], factor: int) -> None:
        super().__init__()
        self.grid, self.factor = grid, factor

    def forward(self, patches: Tensor) -> Tensor:
        high, wide = self.grid
        factor, width = self.factor, patches.shape[-1]
        blocks = patches.reshape(-1, high // factor, factor, wide // factor, factor, width)
        count = (high // factor) * (wide // factor)
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(-1, count, factor * factor * width)


def side(value: Any) -> int:  # noqa: ANN401 - a configuration's number or pair
    """One side of a square that configurations give as a number or as a pair."""
    return int(value[0]) if isinstance(value, (list, tuple)) else int(value)


def indices(value: Any) -> tuple[int, ...]:  # noqa: ANN401 - likewise
    """``vision_feature_layer``: one index or several."""
    return tuple(value) if isinstance(value, (list, tuple)) else (int(value),)
