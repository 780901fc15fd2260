"""What the same views, and the whole frame, weigh as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from saccade.types import U8, Box
from saccade_edge.views import resample

# Of the views: middling, as where bytes are dear. Nobody has matched them for accuracy.
QUALITY = {"JPEG": 40, "WEBP": 30, "AVIF": 30}
FRAME_QUALITY = 75  # of a whole frame as JPEG: what cameras send
_AVIF_SPEED = 8  # of 0..10: a camera's budget, and the demo's


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: ``jpeg``, ``webp`` and ``avif`` of the views in one mosaic at the encoder's input
    size, then of the frame itself as JPEG and as pixels.
    """

    jpeg: int
    webp: int
    avif: int
    frame_jpeg: int
    frame_raw: int


def sizes(picture: U8, windows: Sequence[Box], view_size: tuple[int, int]) -> Sizes:
    """``windows`` in pixels of ``picture`` [H, W, 3]; ``view_size``: (height, width)."""
    mosaic = np.concatenate([resample(picture, window, view_size) for window in windows])
    return Sizes(
        jpeg=len(encoded(mosaic, "JPEG", QUALITY["JPEG"])),
        webp=len(encoded(mosaic, "WEBP", QUALITY["WEBP"])),
        avif=len(encoded(mosaic, "AVIF", QUALITY["AVIF"])),
        frame_jpeg=len(encoded(picture, "JPEG", FRAME_QUALITY)),
        frame_raw=picture.size,
    )


def encoded(picture: U8, codec: str, quality: int) -> bytes:
    """``picture`` [H, W, 3] as a JPEG, WEBP or AVIF file."""
    out = io.BytesIO()
    options = {"speed": _AVIF_SPEED} if codec == "AVIF" else {}
    Image.fromarray(picture).save(out, codec, quality=quality, **options)
    return out.getvalue()
