"""Calibrated tables as files: a magic, then plain little-endian arrays, nothing that is executed.

Whoever reads has to know the layout; lengths come before what they count, and are compared with
what the file still holds before anything is made of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.errors import BundleError

Data = bytes | memoryview  # of a file, read or mapped

MAGIC_BYTES = 8
MAX_FILE_BYTES = 1 << 28  # a 4096-wide transform takes 2^26


class TableWriter:
    """Appends arrays. ``magic``: 8 bytes that name the layout and its version."""

    def __init__(self, magic: bytes) -> None:
        self._parts = [magic]

    def put(self, dtype: str, values: npt.ArrayLike) -> None:
        self._parts.append(np.asarray(values, dtype).tobytes())

    def frequencies(self, table: Frequencies) -> None:
        """uint16 [N]: a table of two symbols or more has no width of 2^16."""
        self.put("<u2", table.widths)

    def to_bytes(self) -> bytes:
        return b"".join(self._parts)


class TableReader:
    """Reads what `TableWriter` wrote. Raises BundleError."""

    def __init__(self, data: Data, magic: bytes) -> None:
        found = bytes(data[:MAGIC_BYTES])
        if found != magic:
            raise BundleError(f"a codec table begins with {magic!r}, not {found!r}")
        self._data = data
        self._position = MAGIC_BYTES

    def take(self, dtype: str, *shape: int) -> npt.NDArray[Any]:
        """The next array, read-only."""
        count, item = math.prod(shape), np.dtype(dtype).itemsize
        left = len(self._data) - self._position
        if count * item > left:
            raise BundleError(
                f"a codec table of {len(self._data)} bytes: {count * item} are needed at byte "
                f"{self._position}, {left} are left"
            )
        array = np.frombuffer(self._data, dtype, count, self._position).reshape(shape)
        self._position += count * item
        return array

    def number(self, dtype: str, least: float, most: float, what: str) -> Any:  # noqa: ANN401 - int or float
        """One number within its bounds."""
        value = self.take(dtype, 1)[0].item()
        if not least <= value <= most:
            raise BundleError(f"a codec table with {what} {value}, {least}..{most} are possible")
        return value

    def frequencies(self, symbols: int) -> Frequencies:
        try:
            return Frequencies.of(self.take("<u2", symbols).tolist())
        except ValueError as error:
            raise BundleError(f"a codec table's frequencies: {error}") from error

    def finish(self) -> None:
        if self._position != len(self._data):
            raise BundleError(
                f"a codec table is {self._position} bytes, the file has {len(self._data)}"
            )
