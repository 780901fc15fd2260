"""Bits to bytes, first bit highest, and Elias gamma codes (Elias 1975)."""

from __future__ import annotations

from saccade.errors import CodecError


class BitWriter:
    """Appends bits; the last byte is filled with zeros."""

    __slots__ = ("_value", "length")

    def __init__(self) -> None:
        self._value = 0
        self.length = 0

    def put(self, value: int, width: int) -> None:
        self._value = self._value << width | value
        self.length += width

    def gamma(self, value: int) -> None:
        """``value`` >= 1 in 2 * floor(log2 value) + 1 bits."""
        self.put(value, 2 * value.bit_length() - 1)

    def append(self, other: BitWriter) -> None:
        self.put(other._value, other.length)

    def to_bytes(self) -> bytes:
        padding = -self.length % 8
        return (self._value << padding).to_bytes((self.length + padding) // 8, "big")


class BitReader:
    """Reads what `BitWriter` wrote; raises CodecError at the end of the bytes."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def bit(self) -> int:
        byte, shift = divmod(self._position, 8)
        if byte >= len(self._data):
            raise CodecError(f"bits end after {len(self._data)} bytes")
        self._position += 1
        return self._data[byte] >> (7 - shift) & 1

    def gamma(self, largest: int) -> int:
        """A gamma code of 1..largest."""
        zeros = 0
        while not self.bit():
            zeros += 1
            if zeros >= largest.bit_length():
                raise CodecError(f"a number of more than {zeros} bits, at most {largest} fits")
        value = 1
        for _ in range(zeros):
            value = value << 1 | self.bit()
        if value > largest:
            raise CodecError(f"received {value}, at most {largest} fits")
        return value

    def finish(self) -> int:
        """Bytes taken; raises CodecError where the last one's padding isn't zero."""
        while self._position % 8:
            if self.bit():
                raise CodecError("padding bits are not zero")
        return self._position // 8
