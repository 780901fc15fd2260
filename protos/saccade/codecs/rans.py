"""Symbols to bytes by their frequencies: range asymmetric numeral systems (Duda 2014), one state.

The coder knows no tokens: it writes slots (start, width) of a range of 2^16, integers only, so the
bytes are the same on every machine. The state starts at 0 and not at its lower bound, which is why
a stream costs no more than its information rounded up to two bytes.

Layout: with up to six bytes, the state alone, little-endian, without leading zeros. With more, the
state in six bytes, then the 16-bit words, little-endian, in the order in which they are read. A
stream that decodes to the end is the one that `encode` writes for its symbols: the state must be
back at 0 and every word read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from saccade.codecs.frequencies import RANGE_BITS, Frequencies
from saccade.errors import CodecError

WORD_BITS = 16
STATE_BYTES = 6
# The state stays in LOW..2^48 while words are left: 16 bits more than the range, so that rounding
# a slot to the state costs less than 2^-16 of a bit.
LOW_BITS = 32
_LOW = 1 << LOW_BITS
_MASK = (1 << RANGE_BITS) - 1


def encode(starts: Sequence[int], widths: Sequence[int]) -> bytes:
    """The stream of the slots ``starts[i] .. starts[i] + widths[i] - 1``, each width 1..2^16."""
    state = 0
    words: list[int] = []
    emit = words.append
    # Backwards, because what is written last is read first.
    for start, width in zip(reversed(starts), reversed(widths), strict=True):
        if state >> LOW_BITS >= width:
            emit(state & 0xFFFF)
            state >>= WORD_BITS
        quotient = state // width
        state += start + quotient * (_MASK + 1 - width)
    if not words:
        return state.to_bytes((state.bit_length() + 7) // 8, "little")
    return state.to_bytes(STATE_BYTES, "little") + np.array(words[::-1], "<u2").tobytes()


class Decoder:
    """Reads a stream symbol by symbol. Raises CodecError for what `encode` doesn't write."""

    __slots__ = ("_state", "_words")

    def __init__(self, data: bytes) -> None:
        state, words = data[:STATE_BYTES], data[STATE_BYTES:]
        if len(words) * 8 % WORD_BITS:
            raise CodecError(f"an entropy-coded stream of {len(data)} bytes ends within a word")
        self._state = int.from_bytes(state, "little")
        if (words and self._state < _LOW) or (not words and state[-1:] == b"\0"):
            raise CodecError("an entropy-coded stream that begins with an impossible state")
        self._words: list[int] = np.frombuffer(words, "<u2")[::-1].tolist()

    def take(self, table: Frequencies, count: int) -> list[int]:
        """The next ``count`` symbols, all of one table."""
        if not (self._state or self._words):
            return [0] * count  # what is left takes no bytes, so it shall take no time
        # The loop that costs most of a frame's decoding: everything in it is local.
        state, words, low, mask = self._state, self._words, _LOW, _MASK
        starts, widths, find = table.starts, table.widths, bisect_right
        symbols: list[int] = []
        append = symbols.append
        for _ in repeat(None, count):
            slot = state & mask
            symbol = find(starts, slot) - 1
            append(symbol)
            state = widths[symbol] * (state >> RANGE_BITS) + slot - starts[symbol]
            if state < low and words:
                state = state << WORD_BITS | words.pop()
        self._state = state
        return symbols

    def flag(self, width: int) -> bool:
        """One decision: whether the slot is one of the first ``width`` of 2^16, 1..2^16 - 1."""
        slot, high = self._state & _MASK, self._state >> RANGE_BITS
        yes = slot < width
        state = width * high + slot if yes else (_MASK + 1 - width) * high + slot - width
        if state < _LOW and self._words:
            state = state << WORD_BITS | self._words.pop()
        self._state = state
        return yes

    def finish(self) -> None:
        """Raises CodecError unless the stream ends here."""
        if self._words or self._state:
            raise CodecError(
                f"an entropy-coded stream that doesn't end with its symbols: {len(self._words)} "
                "words are left"
            )
