"""Single pictures, folders of them, and arrays that a program hands over."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from saccade.errors import SourceError
from saccade.nouns import U8, Frame
from saccade_edge.source.bounds import check_size
from saccade_edge.source.headers import picture_size

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def read_picture(path: Path) -> U8:
    """The picture at ``path``: uint8 [H, W, 3] RGB, turned as its EXIF orientation says.

    Raises ``SourceError`` when it is missing, no PNG, JPEG or WebP, too large, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in it
        raise SourceError(f"{str(path)!r} is no path: {error}") from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, what: str) -> U8:
    """As ``read_picture``, of a file's bytes; ``what`` names it in errors."""
    size = picture_size(data)
    if size is None:
        raise SourceError(f"{what} is neither PNG, JPEG nor WebP")
    check_size(*size, what=what)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{what} cannot be decoded: {error.err}") from error
    if decoded is None:
        raise SourceError(f"{what} is damaged: its header is fine, its pixels cannot be decoded")
    return as_rgb(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def as_rgb(array: npt.NDArray[np.generic]) -> U8:
    """``array`` as uint8 [H, W, 3] RGB.

    Takes uint8 [H, W], [H, W, 1], [H, W, 3] and [H, W, 4] (alpha is dropped); anything else
    raises ``SourceError``, because guessing a range for floats would change what is seen.
    """
    if array.dtype != np.uint8:
        raise SourceError(f"a picture is uint8 in 0..255, received {array.dtype}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise SourceError(f"a picture is [H, W], [H, W, 3] or [H, W, 4], received {array.shape}")
    check_size(array.shape[0], array.shape[1], what="the picture")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3], np.uint8)


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of ``folder`` in the order of their names; ``SourceError`` when none."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise SourceError(f"{folder} holds no picture ({kinds})")
    return found


def picture_frames(paths: Sequence[Path], camera: str) -> Generator[Frame, None, None]:
    """One frame for each picture; captured when it is read, because files have no clock."""
    for number, path in enumerate(paths, start=1):
        yield Frame(read_picture(path), time.time_ns(), camera, number)
