"""Video clips made with PyAV, in any container and codec that it can write."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from saccade.types import U8

SIZE = (96, 160)  # height, width


def moving(count: int, size: tuple[int, int] = SIZE) -> list[U8]:
    """``count`` pictures of a red block that moves over grey: uint8 [H, W, 3] RGB."""
    height, width = size
    pictures = []
    for step in range(count):
        picture = np.full((height, width, 3), 60, np.uint8)
        left = (8 + 4 * step) % (width - 24)
        picture[height // 4 : height // 2, left : left + 24] = (220, 40, 30)
        pictures.append(picture)
    return pictures


@dataclass(frozen=True, slots=True)
class Making:
    """How a clip is made. ``stamps``: each frame's time stamp in units of 1/90,000 s, rising; None:
    evenly at ``rate`` frames a second.
    """

    container: str = "mp4"
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    rate: int = 10
    stamps: Sequence[int] | None = None
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    pixel_aspect: Fraction | None = None
    bit_rate: int | None = None


# A key frame every ten frames, and two frames of each three are predicted from both sides.
B_FRAMES = {"bf": "2", "g": "10", "b_strategy": "0"}


def clip_bytes(pictures: Iterable[U8 | VideoFrame], making: Making) -> bytes:
    """A whole clip; pictures are RGB, or frames in the clip's pixel format."""
    target = io.BytesIO()
    with av.open(
        target, "w", format=making.container, options=making.container_options
    ) as container:
        stream = container.add_stream(making.codec, rate=making.rate, options=making.options)
        context = stream.codec_context
        tick = Fraction(1, 90_000) if making.stamps is not None else Fraction(1, making.rate)
        if making.bit_rate is not None:
            stream.bit_rate = making.bit_rate
        for number, picture in enumerate(pictures):
            frame = as_frame(picture, making.pixel_format)
            if number == 0:
                stream.height, stream.width = frame.height, frame.width
                stream.pix_fmt = making.pixel_format
                context.time_base = tick
                context.color_range, context.colorspace = frame.color_range, frame.colorspace
                if making.pixel_aspect is not None:
                    context.sample_aspect_ratio = making.pixel_aspect
            frame.pts = number if making.stamps is None else making.stamps[number]
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def write_stamped(path: Path, stamps_ms: Sequence[int]) -> Path:
    """An FLV whose frames carry exactly these time stamps in ms, in their order. No muxer writes
    them out of order, so those of an ordinary file are written over.
    """
    data = bytearray(clip_bytes(moving(len(stamps_ms)), Making("flv", "flv", rate=10)))
    stamps = iter(stamps_ms)
    at = 13  # the file's header, and the length of the tag before the first
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] == 9:  # video
            stamp = next(stamps) & 0xFFFFFFFF
            data[at + 4 : at + 8] = (stamp & 0xFFFFFF).to_bytes(3, "big") + bytes([stamp >> 24])
        at += 11 + size + 4
    path.write_bytes(data)
    return path


def as_frame(picture: U8 | VideoFrame, pixel_format: str) -> VideoFrame:
    if isinstance(picture, VideoFrame):
        return picture
    frame = VideoFrame.from_ndarray(picture, format="rgb24")
    return frame.reformat(format=pixel_format)


def write_clip(path: Path, pictures: Iterable[U8 | VideoFrame], making: Making) -> Path:
    path.write_bytes(clip_bytes(pictures, making))
    return path
