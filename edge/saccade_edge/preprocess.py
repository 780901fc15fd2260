"""A view to the encoder's tiles, as the model family's own image processor makes them.

The families resize with Pillow, on uint8; so does this. What follows there (rescale, mean, standard
deviation) is inside the encoder's graph.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from saccade.spec.geometry import Size, Tile, ViewLayout
from saccade.spec.preprocess import Preprocess
from saccade.types import U8

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
Color = tuple[int, int, int]


def tiles(picture: U8, layout: ViewLayout, spec: Preprocess, images: int = 1) -> U8:
    """The tiles of a view: uint8 [t, H, W, 3] RGB in the order of ``layout.tiles``.

    ``picture``: uint8 [h, w, 3] RGB, of the size that ``layout`` was made for; ``images``: how many
    its prompt has.
    """
    stages = [picture]  # the view, and what each step made of it
    for size in layout.steps[: _steps_needed(layout)]:
        stages.append(resize(stages[-1], size, spec.resample))
    canvas = None
    if not all(tile.overview for tile in layout.tiles):
        canvas = _on_canvas(stages[-1], layout, spec.canvas_color)
    made = np.empty((len(layout.tiles), *layout.pixels, 3), np.uint8)
    for place, tile in enumerate(layout.tiles):
        if tile.overview or canvas is None:
            view = stages[layout.overview_after]
            made[place] = _fitted(view, layout.pixels, spec, spec.fit_of(images))
        else:
            made[place] = _cut(canvas, tile, layout.pixels)
    return made


def resize(picture: U8, size: Size, resample: str) -> U8:
    """To ``size`` (height, width). "area" is OpenCV's, all others are Pillow's, antialiased."""
    height, width = size
    if resample == "area":
        shrinks = height <= picture.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized: U8 = cv2.resize(picture, (width, height), interpolation=how).astype(np.uint8)
        return resized
    return np.asarray(Image.fromarray(picture).resize((width, height), FILTERS[resample]))


def short_edge(size: Size, edge: int) -> Size:
    """The size of the same aspect whose shorter side is ``edge``, as transformers rounds it."""
    height, width = size
    long, short = max(size), min(size)
    other = int(edge * long / short)
    return (edge, other) if width >= height else (other, edge)


def _steps_needed(layout: ViewLayout) -> int:
    """A single tile of the whole view is made by its fit, not by the last step."""
    alone = all(tile.overview for tile in layout.tiles)
    return layout.overview_after if alone else len(layout.steps)


def _on_canvas(picture: U8, layout: ViewLayout, color: Color) -> U8:
    """Padded to ``layout.resized``."""
    top, left, height, width = layout.content
    if (height, width) == layout.resized:
        return picture
    canvas = np.full((*layout.resized, 3), color, np.uint8)
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _cut(canvas: U8, tile: Tile, pixels: Size) -> U8:
    height, width = pixels
    top, left = tile.row * height, tile.column * width
    return canvas[top : top + height, left : left + width]


def _fitted(picture: U8, pixels: Size, spec: Preprocess, fit: str) -> U8:
    """The whole picture on one tile."""
    if fit == "pad":
        picture = _padded(picture, pixels, spec.pad_color)
    if fit == "crop":
        size = short_edge((picture.shape[0], picture.shape[1]), min(pixels))
        return _centre(resize(picture, size, spec.resample), pixels)
    return resize(picture, pixels, spec.resample)


def _padded(picture: U8, pixels: Size, color: Color) -> U8:
    """In the middle of the smallest canvas of the tile's aspect that holds it."""
    high, wide = picture.shape[:2]
    height = max(high, -(-wide * pixels[0] // pixels[1]))
    width = max(wide, -(-high * pixels[1] // pixels[0]))
    if (height, width) == (high, wide):
        return picture
    canvas = np.full((height, width, 3), color, np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    canvas[top : top + high, left : left + wide] = picture
    return canvas


def _centre(picture: U8, pixels: Size) -> U8:
    """Cut out of the middle; what the picture lacks is black, as in transformers."""
    height, width = pixels
    high, wide = picture.shape[:2]
    top, left = (high - height) // 2, (wide - width) // 2
    return picture[top : top + height, left : left + width]
