"""What programs hand over as a picture, in the forms that the encoder takes."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from saccade.errors import SourceError
from saccade.types import U8

if TYPE_CHECKING:
    from PIL import Image

    from saccade.client.base import Picture

_TAKEN = "a picture is a path, the bytes of a file, a uint8 array or a PIL image"
# What Pillow raises for pixels or metadata that it cannot read, or an image that is closed.
_UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, KeyError, EOFError, struct.error)


def plain(image: Picture) -> U8 | str | bytes:
    """An array, a path, or the bytes of an encoded picture; a PIL image becomes an array.

    Raises ``SourceError`` for anything else, and for a PIL image that cannot be read.
    """
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return os.fsdecode(path) if isinstance(path, bytes) else path
    if not (hasattr(image, "mode") and hasattr(image, "convert")):
        raise SourceError(f"{_TAKEN}, not {type(image).__name__}")
    try:
        return _rgb(cast("Image.Image", image))
    except _UNREADABLE as error:
        raise SourceError(f"the PIL image cannot be read: {error}") from error


def _rgb(image: Image.Image) -> U8:
    """uint8 [H, W, 3], turned as its EXIF orientation says: as if it were read from its file."""
    from PIL import ImageOps

    opened = bool(getattr(image, "format", None))  # read from a file, and not changed since
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image) >> 8)
    if image.mode == "I":
        return _grey(_eight_bits(np.asarray(image), opened=opened))
    if image.mode == "F":
        raise SourceError(
            "a PIL image of mode F does not say what its values mean: convert it to mode L or RGB"
        )
    if image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode in ("La", "RGBa"):  # alpha is multiplied in; Pillow takes it out on this way
        image = image.convert(image.mode.upper())
    return np.asarray(image.convert("RGB"), np.uint8)


def _eight_bits(values: npt.NDArray[np.generic], *, opened: bool) -> npt.NDArray[np.integer]:
    """Mode I has 32 bits, and a range that only its maker knows.

    Files of 16 bits come in it, and use all 16. Pillow itself takes what lies in 0..255 for 8 bits.
    """
    integers = values.astype(np.int64)
    low, high = int(integers.min(initial=0)), int(integers.max(initial=0))
    if low < 0 or high > 0xFFFF:
        raise SourceError(
            f"a PIL image of mode I with values in {low}..{high} is neither of 8 nor of 16 bits: "
            "convert it to mode L or RGB"
        )
    return integers if high <= 0xFF and not opened else integers >> 8


def _grey(values: npt.NDArray[np.generic]) -> U8:
    """[H, W] in 0..255 as RGB."""
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def _from_lab(image: Image.Image) -> Image.Image:
    """Pillow converts LAB by colour management alone."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    if converted is None:
        raise SourceError("the PIL image of mode LAB cannot be converted: convert it to mode RGB")
    return converted
