"""A decoded frame as it is meant to be seen: RGB, square pixels, upright.

FFmpeg's ``scale`` filter converts and stretches. It is told the matrix and the range: the
conversion that PyAV offers itself (``reformat``) ignores both before version 17.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av.error
import av.filter
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from saccade.errors import SourceError
from saccade.types import U8
from saccade.views_header import MAX_SIDE_PX
from saccade_edge.source.picture_bounds import MAX_PIXELS, check_size

# ``AVColorSpace`` (ITU-T H.273, MatrixCoefficients) to the filter's names. What is not said, or not
# known to the filter, is BT.601, as in FFmpeg and OpenCV.
_MATRICES = {1: "bt709", 4: "fcc", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_UNSPECIFIED_MATRIX = "bt601"
_LIMITED, _FULL = 1, 2  # AVColorRange
# Nothing is converted by these, and FFmpeg refuses frames whose values it does not know.
_TAGS_LEFT_OUT = ("color_trc", "color_primaries")
_UNSPECIFIED = 2
# Exact within 2 of 255 for 8 bits, and five times as fast as the exact one.
_FAST = "bicubic"
_EXACT = "bicubic+accurate_rnd+full_chroma_int"
# No camera squeezes its pixels further: 16:9 in half the width of PAL is 2.9 to 1.
MAX_STRETCH = 8
_SQUARE = Fraction(1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a conversion depends on. ``out``: (height, width) in pixels."""

    pixel_format: str
    size: tuple[int, int]
    out: tuple[int, int]
    matrix: str
    full_range: bool


class Display:
    """Converts the frames of one video. Not for two threads at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._layout: _Layout | None = None
        self._graph: av.filter.Graph | None = None

    def picture(self, frame: VideoFrame, pixel_aspect: Fraction | None = None) -> U8:
        """``frame`` as uint8 [H, W, 3] RGB. ``pixel_aspect``: a pixel's width to its height; None,
        or one that cannot be: they are square. Raises ``SourceError`` where the size is absurd or
        FFmpeg cannot convert the frame.
        """
        check_size(frame.height, frame.width, what=self._name)
        layout = _layout(frame, pixel_aspect)
        try:
            rgb = self._convert(frame, layout)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise SourceError(
                f"{self._name}: a frame of {frame.format.name} cannot be converted: {error}"
            ) from error
        if frame.format.name.startswith("gray") and frame.color_range == _LIMITED:
            rgb = cv2.LUT(rgb, _EXPANDED).astype(np.uint8)
        return np.ascontiguousarray(oriented(rgb, _matrix_of(frame)), np.uint8)

    def _convert(self, frame: VideoFrame, layout: _Layout) -> U8:
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = _graph(layout), layout
        for name in _TAGS_LEFT_OUT:
            if hasattr(frame, name):
                setattr(frame, name, _UNSPECIFIED)
        self._graph.push(frame)
        rgb = cast("VideoFrame", self._graph.pull())
        return cast("U8", rgb.to_ndarray(format="rgb24"))


def _layout(frame: VideoFrame, pixel_aspect: Fraction | None) -> _Layout:
    return _Layout(
        frame.format.name,
        (frame.height, frame.width),
        square_size((frame.height, frame.width), pixel_aspect),
        _MATRICES.get(int(frame.colorspace), _UNSPECIFIED_MATRIX),
        frame.color_range == _FULL or frame.format.name.startswith("yuvj"),
    )


def _graph(layout: _Layout) -> av.filter.Graph:
    graph = av.filter.Graph()
    height, width = layout.size
    source = graph.add(
        "buffer",
        f"video_size={width}x{height}:pix_fmt={layout.pixel_format}"
        ":time_base=1/1000:pixel_aspect=1/1",
    )
    plain = layout.out == layout.size and layout.pixel_format in ("yuv420p", "yuvj420p")
    scale = graph.add(
        "scale",
        f"w={layout.out[1]}:h={layout.out[0]}:in_color_matrix={layout.matrix}"
        f":in_range={'pc' if layout.full_range else 'tv'}:flags={_FAST if plain else _EXACT}",
    )
    rgb = graph.add("format", "pix_fmts=rgb24")
    sink = graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(rgb)
    rgb.link_to(sink)
    graph.configure()
    return graph


def square_size(size: tuple[int, int], pixel_aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) of a picture of ``size`` with square pixels: its width is stretched, or its
    height shrunk where it would become too wide.
    """
    if pixel_aspect is None or not Fraction(1, MAX_STRETCH) <= pixel_aspect <= MAX_STRETCH:
        return size
    height, width = size
    wide = max(1, round(width * pixel_aspect))
    if wide <= MAX_SIDE_PX and wide * height <= MAX_PIXELS:
        return height, wide
    return max(1, round(height / pixel_aspect)), width


def oriented(picture: U8, matrix: tuple[int, ...] | None) -> U8:
    """``picture`` turned and flipped as a display matrix says, to the nearest quarter turn.

    ``matrix``: a, b, u, c, d, v, x, y, w of ISO/IEC 14496-12: column q and row p come to column
    a q + c p and row b q + d p.
    """
    if matrix is None:
        return picture
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, right, down = picture.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    if right < 0:
        picture = picture[:, ::-1]
    return picture[::-1] if down < 0 else picture


def _matrix_of(frame: VideoFrame) -> tuple[int, ...] | None:
    try:
        data = cast("bytes | None", frame.side_data.get("DISPLAYMATRIX"))
    except ValueError:  # a kind of side data that this PyAV has no name for
        return _turned(frame.rotation)
    return None if data is None else struct.unpack("=9i", bytes(data)[:36])


def _turned(degrees: int) -> tuple[int, ...] | None:
    """The matrix of a turn counter-clockwise, to the nearest quarter."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[round(degrees / 90) % 4]
    return cos, -sin, 0, sin, cos, 0, 0, 0, 1


def _expanded() -> npt.NDArray[np.uint8]:
    """Limited range to full range: 16..235 to 0..255."""
    levels = (np.arange(256) - 16) * (255 / 219)
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


_EXPANDED = _expanded()
