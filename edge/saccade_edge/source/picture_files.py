"""Single pictures, folders of them, and arrays that a program hands over."""

from __future__ import annotations

import stat
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from saccade.errors import SourceError
from saccade.types import U8, Frame
from saccade_edge.source.base import FrameError
from saccade_edge.source.headers import picture_size
from saccade_edge.source.picture_bounds import check_size

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
# The largest picture (see `bounds`), uncompressed, with 16 bits in each of four channels.
MAX_FILE_BYTES = 400_000_000


def read_picture(path: Path) -> U8:
    """The picture at ``path``: uint8 [H, W, 3] RGB, turned as its EXIF orientation says.

    Raises ``SourceError`` when it is missing, no PNG, JPEG or WebP, too large, or damaged.
    """
    what = printable(str(path))
    return decode_picture(_read(path, what), what)


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


def _read(path: Path, what: str) -> bytes:
    """A whole file, ``what`` in errors. Reading a pipe or a device might never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise SourceError(f"{what} is {kind}, not a picture")
        if status.st_size > MAX_FILE_BYTES:
            raise SourceError(f"{what} has {status.st_size} bytes, the limit is {MAX_FILE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {what}: {error.strerror}") from error


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


def is_picture(path: Path) -> bool:
    """By its name. Hidden files are none: macOS keeps notes about ``a.jpg`` in ``._a.jpg``."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of ``folder`` in the order of their names; ``SourceError`` when none."""
    what = printable(str(folder))
    try:
        found = sorted(path for path in folder.iterdir() if is_picture(path))
    except OSError as error:
        raise SourceError(f"cannot read {what}: {error.strerror}") from error
    if not found:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise SourceError(f"{what} holds no picture ({kinds})")
    return found


def picture_frames(paths: Sequence[Path], camera: str) -> Generator[Frame | FrameError, None, None]:
    """One frame for each picture, or an error where it cannot be read; captured when it is read,
    because files have no clock.
    """
    for number, path in enumerate(paths, start=1):
        name = printable(path.name)
        try:
            picture = read_picture(path)
        except SourceError as error:
            yield FrameError(error.message, number, name)
        else:
            yield Frame(picture, time.time_ns(), camera, number, name)


def printable(name: str) -> str:
    """A file's name for people: what no terminal shows, or no UTF-8 can hold, is escaped."""
    whole = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)
