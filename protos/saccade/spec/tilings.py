"""How model families choose a size or a tiling for a picture: pure functions of (height, width).

The arithmetic, floats and rounding included, is that of the families' own image processors: a
choice that differs by one row shifts every token behind it. Tilings are (rows, columns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]
Tiling = tuple[int, int]
MOST_EDGE = 4096  # pixels, of what Idefics3 and SmolVLM resize a picture to


def best_resolution(size: Size, tile: Size, tilings: Sequence[Tiling]) -> Tiling:
    """The tiling that keeps most of the picture's own pixels, and of these wastes least
    (LLaVA-NeXT and LLaVA-OneVision, "anyres"). The first of equals.
    """
    height, width = size
    best, most, least_waste = tilings[0], 0, math.inf
    for rows, columns in tilings:
        high, wide = rows * tile[0], columns * tile[1]
        scale = min(wide / width, high / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        waste = high * wide - kept
        if kept > most or (kept == most and waste < least_waste):
            best, most, least_waste = (rows, columns), kept, waste
    return best


def fitted(size: Size, canvas: Size) -> Size:
    """The largest size of a picture's aspect inside ``canvas`` (LLaVA-NeXT, LLaVA-OneVision)."""
    height, width = size
    scale_h, scale_w = canvas[0] / height, canvas[1] / width
    if scale_w < scale_h:
        return min(math.ceil(height * scale_w), canvas[0]), canvas[1]
    return canvas[0], min(math.ceil(width * scale_h), canvas[1])


def unpadded(size: Size, mosaic: Size) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the tokens that show a picture fitted into ``mosaic`` tokens;
    the others are padding (LLaVA-NeXT, LLaVA-OneVision).
    """
    height, width = size
    high, wide = mosaic
    if width / height > wide / high:
        padding = (high - int(round(height * (wide / width), 7))) // 2
        return padding, 0, high - 2 * padding, wide
    padding = (wide - int(round(width * (high / height), 7))) // 2
    return 0, padding, high, wide - 2 * padding


def arrangements(least: int, most: int) -> tuple[Tiling, ...]:
    """All tilings of ``least`` to ``most`` tiles, in the order in which InternVL tries them."""
    found = [
        (rows, columns)
        for columns in range(1, most + 1)
        for rows in range(1, most + 1)
        if least <= rows * columns <= most
    ]
    return tuple(sorted(found, key=math.prod))


def closest_ratio(size: Size, tile: Size, tilings: Sequence[Tiling]) -> Tiling:
    """The tiling whose aspect is nearest to the picture's; of equals the last one that is not more
    than twice as large as the picture (InternVL).
    """
    height, width = size
    best, least = (1, 1), math.inf
    for rows, columns in tilings:
        off = abs(width / height - columns / rows)
        if off < least:
            best, least = (rows, columns), off
        elif off == least and width * height > 0.5 * tile[0] * tile[1] * columns * rows:
            best = (rows, columns)
    return best


def longest_edge(size: Size, edge: int) -> Size:
    """The size with its longer side at ``edge``, the other one even, none above `MOST_EDGE`
    (Idefics3, SmolVLM).
    """
    height, width = size
    aspect = width / height
    if width >= height:
        height, width = int(edge / aspect), edge
        height += height % 2
    else:
        height, width = edge, int(edge * aspect)
        width += width % 2
    return _below(max(height, 1), max(width, 1))


def _below(height: int, width: int) -> Size:
    aspect = width / height
    if width >= height and width > MOST_EDGE:
        height, width = int(MOST_EDGE / aspect), MOST_EDGE
    elif height > width and height > MOST_EDGE:
        height, width = MOST_EDGE, int(MOST_EDGE * aspect)
    return max(height, 1), max(width, 1)


def whole_tiles(size: Size, tile: int) -> Size:
    """``size`` stretched to whole tiles of ``tile`` x ``tile`` pixels (Idefics3, SmolVLM)."""
    height, width = size
    aspect = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        height = math.ceil(int(width / aspect) / tile) * tile
    else:
        height = math.ceil(height / tile) * tile
        width = math.ceil(int(height * aspect) / tile) * tile
    return height, width


def smart_resize(size: Size, unit: int, min_pixels: int, max_pixels: int) -> Size:
    """Whole units near ``size``, between the least and the most pixels (Qwen2-VL and later)."""
    height, width = size
    high, wide = round(height / unit) * unit, round(width / unit) * unit
    if high * wide > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        high = max(unit, math.floor(height / shrink / unit) * unit)
        wide = max(unit, math.floor(width / shrink / unit) * unit)
    elif high * wide < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        high = math.ceil(height * grow / unit) * unit
        wide = math.ceil(width * grow / unit) * unit
    return high, wide


def nearest(size: Size, sizes: Sequence[Size]) -> Size:
    """The size that covers ``size`` with the least area on either that is not on both; the first
    of equals. Whole numbers only, so that every machine chooses alike.
    """
    height, width = size

    def apart(other: Size) -> int:
        both = min(height, other[0]) * min(width, other[1])
        return height * width + other[0] * other[1] - 2 * both

    return min(sizes, key=apart)
