"""How large a picture may be. Asked before anything is decoded."""

from __future__ import annotations

from saccade.errors import SourceError
from saccade.views_header import MAX_SIDE_PX

# A 48-megapixel camera fits; a decompression bomb that claims 30,000 x 30,000 does not.
MAX_PIXELS = 50_000_000
# Below this a picture is a broken header rather than something to look at.
MIN_SIDE_PX = 8


def check_size(height: int, width: int, what: str) -> None:
    """Raise ``SourceError`` unless ``height`` x ``width`` pixels are worth decoding."""
    if min(height, width) < MIN_SIDE_PX:
        raise SourceError(
            f"{what} is {width} x {height} pixels, each side needs at least {MIN_SIDE_PX}"
        )
    if max(height, width) > MAX_SIDE_PX:
        raise SourceError(f"{what} is {width} x {height} pixels, a side has at most {MAX_SIDE_PX}")
    if height * width > MAX_PIXELS:
        raise SourceError(f"{what} is {width} x {height} pixels, the limit is {MAX_PIXELS} in all")
