"""The vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL for views of one size.

Three towers in one shape: patches with two-dimensional rotary positions, blocks that see the whole
view or windows of it, and a merger that makes one token of 2 x 2 patches. Qwen3-VL adds learned
positions and further mergers after some blocks (deepstack), whose rows follow the main one in each
token. A still image is a video of two equal frames, so the patch kernel is summed over time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade_export.families.base import TowerOutput
from saccade_export.vision.attention import attend, received


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """Of a view: ``rows`` x ``columns`` patches, ``merge`` x ``merge`` of which make a token."""

    rows: int
    columns: int
    merge: int

    @property
    def tokens(self) -> tuple[int, int]:
        return self.rows // self.merge, self.columns // self.merge

    def blocks(self) -> Tensor:
        """[T, merge**2] raster places of each token's patches, tokens in raster order."""
        high, wide = self.tokens
        places = torch.arange(self.rows * self.columns)
        places = places.reshape(high, self.merge, wide, self.merge)
        return places.transpose(1, 2).reshape(high * wide, self.merge**2)


class Windows(nn.Module):
    """Attention inside windows of ``side`` x ``side`` tokens, the last of a row or column smaller.

    Tokens stand window by window. Where windows differ in size, the smaller ones are filled up
    with places that nobody attends to.
    """

    def __init__(self, members: list[Tensor], patches: int, heads: int, head: int) -> None:
        super().__init__()
        sizes = [len(window) * patches for window in members]
        self.most = max(sizes)
        self.split = (-1, heads, len(sizes), self.most, head)
        self.joined = (-1, heads, len(sizes) * self.most, head)
        self.full = all(size == self.most for size in sizes)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        slots = torch.arange(self.most)
        used = torch.stack([slots < size for size in sizes])
        inside = torch.stack([torch.clamp(slots, max=size - 1) for size in sizes])
        places = inside + torch.tensor(starts)[:, None]
        bias = torch.zeros(used.shape).masked_fill(~used, -1e4)  # float16 holds it
        self.register_buffer("places", places.reshape(-1), persistent=False)
        self.register_buffer("bias", bias[:, None], persistent=False)
        self.register_buffer("back", torch.nonzero(used.reshape(-1))[:, 0], persistent=False)
        self.places: Tensor
        self.bias: Tensor
        self.back: Tensor

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        q, k, v = (self._split(rows) for rows in (queries, keys, values))
        scores = (q * scale) @ k.transpose(-1, -2)
        if not self.full:
            scores = scores + self.bias
        mixed = (torch.softmax(scores, dim=-1) @ v).reshape(self.joined)
        return mixed if self.full else torch.index_select(mixed, 2, self.back)

    def _split(self, rows: Tensor) -> Tensor:
        """[B, H, N, d] -> [B, H, windows, most, d]."""
        if not self.full:
            rows = torch.index_select(rows, 2, self.places)
        return rows.reshape(self.split)


class QwenTower(nn.Module):
    """Pixels [B, 3, H, W] -> features [B, T, (1 + L) * D], saliency [B, 1, heads, T], keys.

    ``visual``: transformers' tower, whose weights are used as they are.
    """

    def __init__(self, visual: Any, size: tuple[int, int]) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        config = visual.config
        patch, merge = config.patch_size, config.spatial_merge_size
        self.grid = PatchGrid(size[0] // patch, size[1] // patch, merge)
        self.patches = _still_patches(visual.patch_embed.proj, patch)
        self.blocks, self.merger = visual.blocks, visual.merger
        self.out = _width_of_tokens(config)
        self.heads, self.width = config.num_heads, self.patches.out_channels
        self.head, self.members = self.width // self.heads, merge**2
        self.places, self.tokens = self.grid.rows * self.grid.columns, math.prod(self.grid.tokens)
        self.scale = self.head**-0.5
        windows = _windows(config, self.grid)
        order = torch.cat(windows)
        self.windows = None
        if hasattr(config, "window_size"):
            self.windows = Windows(windows, self.members, self.heads, self.head)
        self.whole = set(getattr(config, "fullatt_block_indexes", range(len(self.blocks))))
        self.deepstack = dict(
            zip(
                getattr(visual, "deepstack_visual_indexes", ()),
                getattr(visual, "deepstack_merger_list", ()),
                strict=True,
            )
        )
        self.deepstack_mergers = nn.ModuleList(self.deepstack.values())
        places = self.grid.blocks()[order].reshape(-1)
        cos, sin = _rotary(visual.rotary_pos_emb.inv_freq, self.grid, places)
        learned = _learned_positions(visual, self.grid)
        constants = {"order": places, "back": torch.argsort(order), "cos": cos, "sin": sin}
        constants["learned"] = torch.zeros(1) if learned is None else learned[places]
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.order: Tensor
        self.back: Tensor
        self.cos: Tensor
        self.sin: Tensor
        self.learned: Tensor

    def forward(self, pixels: Tensor) -> TowerOutput:
        patches = self._flat(self.patches(pixels).permute(0, 2, 3, 1))
        rows = torch.index_select(patches, 1, self.order) + self.learned
        last_whole, stacked = max(self.whole), []
        for index, block in enumerate(self.blocks):
            queries, keys, values, plain = self._heads(block, rows)
            if index == last_whole:
                saliency, shown = received(queries, keys, self.scale), plain
            mix = attend if index in self.whole or self.windows is None else self.windows
            mixed = mix(queries, keys, values, self.scale)
            rows = rows + block.attn.proj(self._flat(mixed.transpose(1, 2)))
            rows = rows + block.mlp(block.norm2(rows))
            if index in self.deepstack:
                stacked.append(self._merged(self.deepstack[index], rows))
        features = torch.cat([self._merged(self.merger, rows), *stacked], dim=-1)
        return TowerOutput(features, self._summed(saliency)[:, None], self._keys(shown))

    def _flat(self, rows: Tensor) -> Tensor:
        """[B, ..., ...] -> [B, N, C]; sizes are constants, so the graph computes no shapes."""
        return rows.reshape(-1, self.places, self.width)

    def _heads(self, block: Any, rows: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - of transformers
        """Turned queries and keys, values, and keys before they are turned: [B, H, N, d]."""
        shape = (-1, self.places, 3, self.heads, self.head)
        split = block.attn.qkv(block.norm1(rows)).reshape(shape)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        return self._turned(queries), self._turned(keys), values, keys

    def _turned(self, rows: Tensor) -> Tensor:
        half = self.head // 2
        left, right = rows[..., :half], rows[..., half:]
        return rows * self.cos + torch.cat([-right, left], dim=-1) * self.sin

    def _merged(self, merger: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - of transformers
        """[B, T, D], tokens in raster order."""
        tokens = merger(rows).reshape(-1, self.tokens, self.out)
        return torch.index_select(tokens, 1, self.back)

    def _summed(self, saliency: Tensor) -> Tensor:
        """[B, heads, patches] -> [B, heads, T]."""
        tokens = saliency.reshape(-1, self.heads, self.tokens, self.members).sum(dim=-1)
        return torch.index_select(tokens, -1, self.back)

    def _keys(self, keys: Tensor) -> Tensor:
        """[B, heads, patches, d] -> [B, T, d]: the mean over heads and over a token's patches."""
        shape = (-1, self.tokens, self.members, self.head)
        tokens = keys.mean(dim=1).reshape(shape).mean(dim=2)
        return torch.index_select(tokens, 1, self.back)


def _width_of_tokens(config: Any) -> int:  # noqa: ANN401 - a configuration of transformers
    """Qwen2-VL calls it hidden_size, the others out_hidden_size."""
    return int(getattr(config, "out_hidden_size", config.hidden_size))


def _still_patches(kernel: nn.Conv3d, patch: int) -> nn.Conv2d:
    """The patch kernel for a still image, whose frames are all the same."""
    bias = kernel.bias is not None
    still = nn.Conv2d(kernel.in_channels, kernel.out_channels, patch, stride=patch, bias=bias)
    still.weight.data = kernel.weight.data.sum(dim=2)
    if kernel.bias is not None and still.bias is not None:
        still.bias.data = kernel.bias.data
    return still


def _windows(config: Any, grid: PatchGrid) -> list[Tensor]:  # noqa: ANN401 - of transformers
    """Tokens (raster) of each window, windows in raster order; one of all where there are none."""
    high, wide = grid.tokens
    tokens = torch.arange(high * wide).reshape(high, wide)
    if not hasattr(config, "window_size"):
        return [tokens.reshape(-1)]
    side = config.window_size // grid.merge // config.patch_size
    return [
        tokens[row : row + side, column : column + side].reshape(-1)
        for row in range(0, high, side)
        for column in range(0, wide, side)
    ]


def _rotary(frequencies: Tensor, grid: PatchGrid, places: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine, [N, head] each: half of a head turns with the row, half with the column."""
    row, column = places // grid.columns, places % grid.columns
    angles = torch.cat(
        [row[:, None] * frequencies.float(), column[:, None] * frequencies.float()], dim=-1
    )
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def _learned_positions(visual: Any, grid: PatchGrid) -> Tensor | None:  # noqa: ANN401 - of transformers
    """[N, C] in raster order: the learned square of positions, resampled to the view's grid."""
    if not hasattr(visual, "pos_embed"):
        return None
    table = visual.pos_embed.weight.detach().float()
    side = round(len(table) ** 0.5)
    square = table.T.reshape(1, -1, side, side)
    size = (grid.rows, grid.columns)
    resampled = functional.interpolate(square, size, mode="bilinear", align_corners=True)
    return resampled[0].flatten(1).T.contiguous()
