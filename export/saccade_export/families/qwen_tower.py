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

from saccade_export import export_attention
from saccade_export.export_attention import Call
from saccade_export.families.base import TowerOutput

UNSEEN = -1e4  # added to a score, it leaves nothing of it; float16 holds it


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
    """Attention inside windows of tokens, which stand window by window.

    Where windows differ in size, the smaller ones are filled up with places that nobody attends to.
    Windows take the place of heads: each is one more small attention. ``sizes``: patches of each.
    """

    def __init__(self, sizes: list[int], heads: int, head: int) -> None:
        super().__init__()
        most = max(sizes)
        self.full = all(size == most for size in sizes)
        self.split = (-1, heads * len(sizes), most, head)
        self.joined = (-1, heads, len(sizes) * most, head)
        slots = torch.arange(most)
        used = torch.stack([slots < size for size in sizes])
        starts = torch.tensor([sum(sizes[:i]) for i in range(len(sizes))])
        inside = torch.stack([torch.clamp(slots, max=size - 1) for size in sizes])
        bias = torch.zeros(used.shape).masked_fill(~used, UNSEEN)
        constants = {
            "places": (inside + starts[:, None]).reshape(-1),
            "bias": bias.repeat(heads, 1)[None, :, None],
            "back": torch.nonzero(used.reshape(-1))[:, 0],
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.places: Tensor
        self.bias: Tensor
        self.back: Tensor

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """[B, H, N, d] each -> [B, N, H, d]."""
        q, k, v = (self._split(rows) for rows in (queries, keys, values))
        bias = None if self.full else self.bias
        mixed = export_attention.attention(self, q, k, v, bias, scale)[0].transpose(1, 2)
        mixed = mixed.reshape(self.joined)
        mixed = mixed if self.full else torch.index_select(mixed, 2, self.back)
        return mixed.transpose(1, 2)

    def _split(self, rows: Tensor) -> Tensor:
        """[B, H, N, d] -> [B, H * windows, most, d]."""
        if not self.full:
            rows = torch.index_select(rows, 2, self.places)
        return rows.reshape(self.split)


class WholeView(nn.Module):
    """Attention of every patch to all."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """[B, H, N, d] each -> [B, N, H, d]."""
        mixed: Tensor = export_attention.attention(self, queries, keys, values, None, scale)[0]
        return mixed


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
        self.whole = set(getattr(config, "fullatt_block_indexes", range(len(self.blocks))))
        self.whole_view = WholeView()
        sizes = [len(window) * self.members for window in windows]
        self.windows = Windows(sizes, self.heads, self.head)
        self.deepstack = dict(
            zip(
                getattr(visual, "deepstack_visual_indexes", ()),
                getattr(visual, "deepstack_merger_list", ()),
                strict=True,
            )
        )
        self.deepstack_mergers = nn.ModuleList(self.deepstack.values())
        places = self.grid.blocks()[order].reshape(-1)
        learned = _learned_positions(visual, self.grid)
        # No buffers: angles stay in float32 in a tower of half precision.
        self.turning = _rotary(visual.rotary_pos_emb.inv_freq, self.grid, places)
        constants = {"order": places, "back": torch.argsort(order)}
        constants["learned"] = torch.zeros(1) if learned is None else learned[places]
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.order: Tensor
        self.back: Tensor
        self.learned: Tensor

    def forward(self, pixels: Tensor) -> TowerOutput:
        patches = self._flat(self.patches(pixels).permute(0, 2, 3, 1))
        rows = torch.index_select(patches, 1, self.order) + self.learned
        shown, stacked = None, []
        for index, block in enumerate(self.blocks):
            queries, unturned, values = self._heads(block, rows)
            queries, keys = self._turned(queries), self._turned(unturned)
            if index == max(self.whole, default=-1):
                shown = Call(queries, keys, self.scale), self._keys(unturned)
            mix = self.whole_view if index in self.whole else self.windows
            rows = rows + block.attn.proj(self._flat(mix(queries, keys, values, self.scale)))
            rows = rows + block.mlp(block.norm2(rows))
            if index in self.deepstack:
                stacked.append(self._merged(self.deepstack[index], rows))
        features = torch.cat([self._merged(self.merger, rows), *stacked], dim=-1)
        if shown is None:  # every block sees windows alone
            return TowerOutput(features)
        call, plain = shown
        return TowerOutput(features, self._saliency(call), plain)

    def _flat(self, rows: Tensor) -> Tensor:
        """[B, ..., ...] -> [B, N, C]; sizes are constants, so the graph computes no shapes."""
        return rows.reshape(-1, self.places, self.width)

    def _heads(self, block: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        """Queries, keys and values of a block: [B, H, N, d] each."""
        shape = (-1, self.places, 3, self.heads, self.head)
        split = block.attn.qkv(block.norm1(rows)).reshape(shape)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        return queries, keys, values

    def _turned(self, rows: Tensor) -> Tensor:
        half = self.head // 2
        left, right = rows[..., :half], rows[..., half:]
        cos, sin = self.turning
        turned = rows.float() * cos + torch.cat([-right, left], dim=-1).float() * sin
        return turned.to(rows.dtype)

    def _merged(self, merger: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - of transformers
        """[B, T, D], tokens in raster order."""
        tokens = merger(rows).reshape(-1, self.tokens, self.out)
        return torch.index_select(tokens, 1, self.back)

    def _saliency(self, call: Call) -> Tensor:
        """[B, 1, H, T]: what a token's patches receive, together."""
        patches = export_attention.received([call])
        tokens = patches.reshape(-1, 1, self.heads, self.tokens, self.members).sum(dim=-1)
        return torch.index_select(tokens, -1, self.back)

    def _keys(self, keys: Tensor) -> Tensor:
        """[B, H, N, d] -> [B, T, d]: the mean over heads and over a token's patches."""
        patches = keys.mean(dim=1).reshape(-1, self.tokens, self.members, self.head)
        return torch.index_select(patches.mean(dim=2), 1, self.back)


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
