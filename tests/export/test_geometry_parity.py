"""Layouts are those of the families' own image processors, for any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
    get_all_supported_aspect_ratios,
    get_optimal_tiled_canvas,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.modeling_llava_onevision import unpad_image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from saccade.errors import LimitExceeded
from saccade.spec import DynamicGrid, TiledGrid, tilings


class SizesOnly(Idefics3ImageProcessorPil):
    """The processor, which notes the sizes that it asks for instead of resizing."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def resize(self, image: Any, size: Any, *_: Any, **__: Any) -> Any:
        self.asked.append((size.height, size.width))
        return image


sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
PINPOINTS = [[384 * i, 384 * j] for i in range(1, 7) for j in range(1, 7)]
ONEVISION = TiledGrid(
    size=(384, 384),
    grid=(27, 27),
    rule="best-resolution",
    tilings=tuple((i, j) for i in range(1, 7) for j in range(1, 7)),
    overview="first",
    alone=True,
)
INTERNVL = TiledGrid((448, 448), (16, 16), "closest-ratio", tilings.arrangements(1, 12), "last")


@given(sizes)
@example((1080, 1920))
def test_onevision_layout_is_the_processors(size: tuple[int, int]) -> None:
    layout = ONEVISION.layout(size)
    best = select_best_resolution(size, PINPOINTS)
    assert layout.resized == best
    picture = np.empty((3, *size), np.bool_)
    high, wide = get_patch_output_size(picture, best, "channels_first")  # type: ignore[no-untyped-call]
    assert layout.steps == ((high, wide),)
    assert layout.content == ((best[0] - high) // 2, (best[1] - wide) // 2, high, wide)
    rows, columns = best[0] // 384, best[1] // 384
    assert layout.grid == (rows * columns + 1, 27, 27)


@given(sizes)
@example((100, 5000))
def test_onevision_visible_tokens_are_those_that_unpadding_leaves(size: tuple[int, int]) -> None:
    layout = ONEVISION.layout(size)
    rows, columns = (side // 384 for side in layout.resized)
    ids = torch.arange(layout.grid[0] * 27 * 27).view(-1, 27, 27)
    mosaic = ids[1:].view(rows, columns, 27, 27).permute(0, 2, 1, 3).reshape(rows * 27, -1)
    left = unpad_image(mosaic[None], size)[0]  # type: ignore[no-untyped-call]
    expected = torch.cat([ids[0].flatten(), left.flatten()]).sort().values
    assert layout.visible().tolist() == expected.tolist()


@given(sizes, st.sampled_from([(1, 12), (1, 6), (2, 7)]))
def test_internvl_tiling_is_the_processors(size: tuple[int, int], span: tuple[int, int]) -> None:
    order = tilings.arrangements(*span)
    expected = get_all_supported_aspect_ratios(*span)
    assert [(columns, rows) for rows, columns in order] == expected
    columns, rows = get_optimal_tiled_canvas(size, (448, 448), *span)
    assert tilings.closest_ratio(size, (448, 448), order) == (rows, columns)


@given(sizes)
@example((448, 448))
def test_internvl_has_an_overview_behind_several_tiles(size: tuple[int, int]) -> None:
    layout = INTERNVL.layout(size)
    columns, rows = get_optimal_tiled_canvas(size, (448, 448), 1, 12)
    assert layout.grid[0] == rows * columns + (rows * columns > 1)
    assert layout.tiles[-1].overview
    assert (layout.steps[-1], layout.overview_after) == ((rows * 448, columns * 448), 0)


@given(sizes, st.sampled_from([(2048, 512), (1456, 364), (1536, 384), (8192, 512)]))
@example((64, 64), (2048, 512))
@example((3000, 20), (2048, 512))
def test_longest_edge_layout_is_idefics3s(size: tuple[int, int], edges: tuple[int, int]) -> None:
    edge, tile = edges
    grid = TiledGrid((tile, tile), (8, 8), "longest-edge", (), "last", longest_edge=edge)
    layout = grid.layout(size)
    processor = SizesOnly()
    first = tilings.longest_edge(size, edge)
    processor.resize_for_vision_encoder(np.broadcast_to(np.uint8(0), (3, *first)), tile)
    (asked,) = processor.asked
    rows, columns = asked[0] // tile, asked[1] // tile
    assert layout.steps == (first, asked)
    assert layout.grid[0] == (rows * columns + 1 if rows * columns > 1 else 1)
    assert layout.overview_after == (2 if rows * columns > 1 else 1)
    assert np.prod(layout.grid) <= grid.most_tokens


@given(sizes, st.sampled_from([512, 1536, 2048, 5000]))
def test_longest_edge_is_idefics3s(size: tuple[int, int], edge: int) -> None:
    from transformers.models.idefics3 import image_processing_pil_idefics3 as idefics3

    picture = np.broadcast_to(np.uint8(0), (3, *size))
    assert tilings.longest_edge(size, edge) == idefics3.get_resize_output_image_size(picture, edge)


bounds = st.sampled_from([(28, 56 * 56, 28 * 28 * 1280), (32, 65536, 16777216), (28, 3136, 200704)])


@given(sizes, bounds)
@example((200, 1), (28, 56 * 56, 28 * 28 * 1280))
def test_dynamic_layout_is_smart_resize_where_its_size_is_listed(
    size: tuple[int, int], bound: tuple[int, int, int]
) -> None:
    unit, least, most = bound
    if max(size) > 200 * min(size):
        grid = DynamicGrid(((unit, unit),), unit, least, most)
        try:
            grid.layout(size)
        except LimitExceeded:
            return
        raise AssertionError("no aspect is too much")
    wanted = smart_resize(*size, unit, least, most)
    others = ((unit, unit), (4 * unit, 8 * unit), wanted, (wanted[0] + unit, wanted[1]))
    layout = DynamicGrid(others, unit, least, most).layout(size)
    assert layout.pixels == wanted
    assert layout.grid == (1, wanted[0] // unit, wanted[1] // unit)
