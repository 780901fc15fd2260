"""Views as an image codec would send them: the arm that tokens are compared with.

Real files, whole: a decoder needs nothing else. ``payload_bytes`` says how much of a file is
picture, for those who would send headers once.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image

from saccade.types import U8

Payload = Callable[[bytes], int]


@dataclass(frozen=True)
class PictureCodec:
    """``qualities``: the codec's own scale, coarse first; ``options`` for its encoder."""

    name: str
    qualities: tuple[int, ...]
    payload: Payload
    options: tuple[tuple[str, object], ...] = ()

    def encode(self, picture: U8, quality: int) -> bytes:
        """``picture``: uint8 [H, W, 3] RGB."""
        out = io.BytesIO()
        Image.fromarray(picture).save(out, self.name, quality=quality, **dict(self.options))
        return out.getvalue()


def decode(data: bytes) -> U8:
    """uint8 [H, W, 3] RGB."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def mosaic(views: Sequence[U8]) -> U8:
    """The views as one picture, as near to a square as their number allows; empty places black.

    One file for all of them: fewer headers, one entropy coder.
    """
    height, width = views[0].shape[:2]
    columns = _columns(len(views), height, width)
    rows = math.ceil(len(views) / columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, view in enumerate(views):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = view
    return sheet


def cut(sheet: U8, count: int, size: tuple[int, int]) -> list[U8]:
    """The ``count`` views of ``size`` (height, width) that ``mosaic`` laid out."""
    height, width = size
    columns = sheet.shape[1] // width
    places = [divmod(i, columns) for i in range(count)]
    return [sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] for y, x in places]


def _columns(count: int, height: int, width: int) -> int:
    """The fewest empty places first, then the squarest."""
    return min(
        range(1, count + 1),
        key=lambda c: (-(-count // c) * c - count, abs(c * width - -(-count // c) * height)),
    )


def _jpeg_payload(data: bytes) -> int:
    """Entropy-coded bytes: all behind the last start-of-scan header, without the end marker."""
    at = 2
    while data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data) - (at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")) - 2


def _webp_payload(data: bytes) -> int:
    """The chunks named VP8 of a RIFF container."""
    return int(sum(size for name, size in _chunks(data) if name == b"VP8 "))


def _chunks(data: bytes) -> list[tuple[bytes, int]]:
    at, found = 12, []
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        found.append((name, size))
        at += 8 + size + size % 2
    return found


def _heif_payload(data: bytes) -> int:
    """The media data box of an ISO base media file."""
    at, total = 0, 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I", data, at)[0], data[at + 4 : at + 8]
        total += size - 8 if name == b"mdat" else 0
        at += int(size) or len(data)
    return int(total)


@cache
def codecs() -> dict[str, PictureCodec]:
    """JPEG (4:2:0, optimised tables), WebP (slowest method), AVIF (libaom, as Pillow brings it;
    speed 2 takes six times as long as 4 and its files are as large, within 2 %), HEIC (x265).
    """
    pillow_heif.register_heif_opener()
    found = [
        PictureCodec("JPEG", (2, 5, 10, 18, 30, 50, 75), _jpeg_payload, (("optimize", True),)),
        PictureCodec("WEBP", (0, 5, 12, 22, 35, 55, 75), _webp_payload, (("method", 6),)),
        PictureCodec(
            "AVIF", (1, 8, 15, 22, 30, 45, 65), _heif_payload, (("speed", 4), ("max_threads", 1))
        ),
        PictureCodec("HEIF", (5, 12, 18, 25, 35, 50), _heif_payload),
    ]
    return {codec.name: codec for codec in found}
