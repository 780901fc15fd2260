"""From a view's pixels to the encoder's tiles, as the family's own image processor makes them.

Everything is uint8 RGB here: rescaling and normalising are the encoder's first steps. Resizing is
Pillow's, which the processors use, or OpenCV's for "area".
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from saccade.spec import Preprocess, Tile, ViewLayout
from saccade.types import U8

Size = tuple[int, int]
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def tiles(picture: U8, layout: ViewLayout, spec: Preprocess, images: int = 1) -> U8:
    """uint8 [t, H, W, 3], in the order of ``layout``. ``picture``: the view, uint8 [h, w, 3];
    ``images``: how many there are in its prompt.
    """
    whole, canvas = picture, None
    cut: list[U8] = []
    for number, step in enumerate(layout.steps):
        if number == layout.overview_after:
            whole = picture
        picture = resize(picture, step, spec.resample) if not _single(layout, number) else picture
    if layout.overview_after >= len(layout.steps):
        whole = picture
    for tile in layout.tiles:
        if tile.overview:
            cut.append(fitted(whole, layout.pixels, spec.fit_of(images), spec))
            continue
        if canvas is None:
            canvas = _canvas(picture, layout, spec)
        cut.append(_cut(canvas, tile, layout.pixels))
    return np.stack(cut)


def fitted(picture: U8, size: Size, fit: str, spec: Preprocess) -> U8:
    """A whole view at ``size`` (height, width); ``fit`` as in `Preprocess`."""
    if fit == "pad":
        return resize(_padded(picture, size, spec.pad_color), size, spec.resample)
    if fit == "crop":
        return _centre(resize(picture, _covering(picture, size), spec.resample), size)
    return resize(picture, size, spec.resample)


def resize(picture: U8, size: Size, resample: str) -> U8:
    """``picture`` at ``size`` (height, width)."""
    height, width = size
    if resample == "area":
        shrinks = picture.shape[0] >= height
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), _FILTERS[resample]), np.uint8)


def _single(layout: ViewLayout, number: int) -> bool:
    """Whether a step is the last one of a layout of one overview tile: its fit makes that."""
    alone = len(layout.tiles) == 1 and layout.tiles[0].overview
    return alone and number == len(layout.steps) - 1


def _canvas(picture: U8, layout: ViewLayout, spec: Preprocess) -> U8:
    """What tiles are cut from."""
    top, left, height, width = layout.content
    if (top, left) == (0, 0) and (height, width) == layout.resized:
        return picture
    canvas = np.full((*layout.resized, 3), spec.canvas_color, np.uint8)
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _cut(canvas: U8, tile: Tile, size: Size) -> U8:
    height, width = size
    top, left = tile.row * height, tile.column * width
    return canvas[top : top + height, left : left + width]


def _padded(picture: U8, size: Size, color: tuple[int, int, int]) -> U8:
    """The picture in the centre of the least canvas of ``size``'s aspect around it."""
    height, width = picture.shape[:2]
    high = max(height, -(-width * size[0] // size[1]))
    wide = max(width, -(-height * size[1] // size[0]))
    if (high, wide) == (height, width):
        return picture
    canvas = np.full((high, wide, 3), color, np.uint8)
    top, left = (high - height) // 2, (wide - width) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _covering(picture: U8, size: Size) -> Size:
    """The picture's size with its shorter side at that of ``size``, as CLIP's processor rounds."""
    height, width = picture.shape[:2]
    short = min(size)
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def _centre(picture: U8, size: Size) -> U8:
    """The centre of a picture; what it lacks is black."""
    height, width = picture.shape[:2]
    if height < size[0] or width < size[1]:
        grown = np.zeros((max(height, size[0]), max(width, size[1]), 3), np.uint8)
        top, left = -(-(grown.shape[0] - height) // 2), -(-(grown.shape[1] - width) // 2)
        grown[top : top + height, left : left + width] = picture
        picture, (height, width) = grown, grown.shape[:2]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return picture[top : top + size[0], left : left + size[1]]
