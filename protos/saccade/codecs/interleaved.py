"""Tens of thousands of symbols to bytes: `rans` with many states side by side (Giesen,
"Interleaved entropy coders", 2014), so that NumPy codes a row of symbols at a time.

Row after row, state i codes symbol i of each row, and all states read their words from one stream.
Fewer than ``LEAST_SYMBOLS`` symbols have one state: the bytes of `rans` itself. Symbols that are
not known of beforehand (escapes) come last, in the innermost stream.

States stay in 2^16..2^32, or the decoder could not tell which of them need a word. A state that
starts there would cost two bytes for nothing. So it starts with two bytes of the *tail*: the stream
of the last rows, coded first, by these rules again. That leaves half a byte a state.

Layout, numbers little-endian: uint8 rows in the tail; uint32 its bytes; a bit for each state (four
bytes, else three), first bit highest; the states' three bytes each, then the fourth of those that
have it; the 16-bit words in the order in which they are read; the tail's bytes beyond those that
the states hold (zeros where it has fewer). A stream has one reading: states must come back to bytes
of the tail, and every byte is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs import rans
from saccade.codecs.frequencies import RANGE_BITS, TOTAL, Frequencies
from saccade.errors import CodecError

I64 = npt.NDArray[np.int64]

LEAST_SYMBOLS = 1 << 12  # below, one state takes at most 2 ms
ROWS, MOST_STATES = 160, 1 << 10  # a row takes 12 us: few rows, but not too many states
MOST_TAIL_ROWS = 64
_SEED_BYTES = 2  # of the tail, in each state
_SHORT_BYTES = 3
_HEAD_BYTES = 5
_WORD_BITS = _LOW_BITS = 16
_LOW = 1 << _LOW_BITS


def states_for(symbols: int) -> int:
    """How many states code so many symbols that are known of beforehand."""
    return 1 if symbols < LEAST_SYMBOLS else min(symbols // ROWS, MOST_STATES)


@dataclass(frozen=True, slots=True)
class Tables:
    """Several tables as arrays: ``keys`` ascend, number of the table x 2^16 + start; ``widths``;
    ``firsts`` [tables + 1]: where each table begins.
    """

    single: tuple[Frequencies, ...]
    keys: I64
    widths: I64
    firsts: I64

    @classmethod
    def of(cls, tables: Sequence[Frequencies]) -> Tables:
        """``tables`` by number."""
        sizes = [len(table.widths) for table in tables]
        numbers = np.repeat(np.arange(len(tables), dtype=np.int64), sizes)
        starts = np.array([s for table in tables for s in table.starts], np.int64)
        widths = np.array([w for table in tables for w in table.widths], np.int64)
        firsts = np.cumsum([0, *sizes], dtype=np.int64)
        return cls(tuple(tables), (numbers << RANGE_BITS) + starts, widths, firsts)

    def slots(self, numbers: I64, symbols: I64) -> tuple[I64, I64]:
        """(starts, widths) of ``symbols`` [N], each of the table ``numbers`` [N]."""
        at = self.firsts[numbers] + symbols
        return self.keys[at] & (TOTAL - 1), self.widths[at]


def encode(starts: I64, widths: I64, known: int) -> bytes:
    """The stream of these slots; the decoder knows of the first ``known`` beforehand."""
    states = states_for(known)
    if states == 1:
        return rans.encode(starts.tolist(), widths.tolist())
    rows = known // states
    tail_rows = _tail_rows(widths[: rows * states].reshape(rows, states))
    split = (rows - tail_rows) * states
    tail = encode(starts[split:], widths[split:], known - split)
    held = tail[: _SEED_BYTES * states].ljust(_SEED_BYTES * states, b"\0")
    state = np.frombuffer(held, "<u2").astype(np.int64) + _LOW
    words = []
    for row in range(rows - tail_rows - 1, -1, -1):  # what is written last is read first
        here = slice(row * states, (row + 1) * states)
        width = widths[here]
        full = (state >> _WORD_BITS >= width).nonzero()[0]
        words.append((state[full] & (TOTAL - 1)).astype("<u2"))
        state[full] >>= _WORD_BITS
        state += starts[here] + state // width * (TOTAL - width)
    head = bytes([tail_rows]) + len(tail).to_bytes(4, "little")
    body = _packed(state) + np.concatenate(words[::-1]).tobytes()
    return head + body + tail[_SEED_BYTES * states :]


def decode(data: bytes, tables: Tables, numbers: I64) -> tuple[I64, rans.Decoder]:
    """Symbols [N], each of the table ``numbers`` [N], which ascend; and the decoder of what comes
    behind, which has to be finished. Raises CodecError for what `encode` doesn't write.
    """
    states = states_for(len(numbers))
    if states == 1:
        decoder = rans.Decoder(data)
        return take(decoder, tables.single, numbers), decoder
    rows = len(numbers) // states
    if len(data) < _HEAD_BYTES or not 1 <= data[0] <= min(MOST_TAIL_ROWS, rows - 1):
        raise CodecError(f"an interleaved stream that begins with {data[:_HEAD_BYTES].hex()}")
    split = (rows - data[0]) * states
    length = int.from_bytes(data[1:_HEAD_BYTES], "little")
    state, start = _unpacked(data, states)
    end = len(data) - max(length - _SEED_BYTES * states, 0)
    if end < start or (end - start) % 2:
        raise CodecError(f"an interleaved stream of {len(data)} bytes, {length} of them its tail")
    words = np.frombuffer(data, "<u2", (end - start) // 2, start).astype(np.int64)
    found = _read(state, words, tables, numbers[:split].reshape(-1, states))
    if np.any(state >= 2 * _LOW):
        raise CodecError("an interleaved stream that doesn't end with its symbols")
    held = (state - _LOW).astype("<u2").tobytes()
    if any(held[length:]):
        raise CodecError("an interleaved stream whose filling is not zero")
    rest, decoder = decode(held[:length] + data[end:], tables, numbers[split:])
    return np.concatenate([found, rest]), decoder


def take(decoder: rans.Decoder, tables: Sequence[Frequencies], numbers: I64) -> I64:
    """Symbols [N] from one state, each of the table ``numbers`` [N]."""
    symbols: list[int] = []
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    counts = np.diff(starts, append=len(numbers)).tolist()
    for number, count in zip(numbers[starts].tolist(), counts, strict=True):
        symbols += decoder.take(tables[number], count)
    return np.array(symbols, np.int64)


def _read(state: I64, words: I64, tables: Tables, numbers: I64) -> I64:
    """[rows, states] numbers of tables to the symbols, one row; ``state`` is changed in place.

    The loop that costs most of decoding.
    """
    # A row has few tables: a search among theirs alone takes a third of the time.
    firsts, ends = tables.firsts[numbers[:, 0]], tables.firsts[numbers[:, -1] + 1]
    at = np.empty_like(numbers)
    mask, low, read = TOTAL - 1, _LOW, 0
    for row, (first, end) in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
        keys = tables.keys[first:end]
        key = state & mask
        key += numbers[row] << RANGE_BITS
        entry = keys.searchsorted(key, "right")
        entry -= 1
        np.add(entry, first, out=at[row])
        key -= keys[entry]
        state >>= RANGE_BITS
        state *= tables.widths[first:end][entry]
        state += key
        empty = (state < low).nonzero()[0]
        if len(empty):
            new = words[read : read + len(empty)]
            if len(new) != len(empty):
                raise CodecError(f"an interleaved stream of {len(words)} words, more are needed")
            state[empty] = (state[empty] << _WORD_BITS) | new
            read += len(empty)
    if read != len(words):
        raise CodecError(f"an interleaved stream with {len(words) - read} words left")
    return (at - tables.firsts[numbers]).ravel()


def _tail_rows(widths: I64) -> int:
    """How many of the last rows [R, states] fill the states, about."""
    # log2 by a chord in each octave, without rounding: every machine writes the same.
    mantissas, exponents = np.frexp(widths[-MOST_TAIL_ROWS:].astype(np.float64))
    bits = (RANGE_BITS + 2 - exponents - 2 * mantissas).sum(axis=1)[::-1].cumsum()
    filled = int(np.searchsorted(bits, 8.0 * _SEED_BYTES * widths.shape[1])) + 1
    return min(filled, MOST_TAIL_ROWS, len(widths) - 1)


def _packed(state: I64) -> bytes:
    octets: npt.NDArray[np.uint8] = state.astype("<u4").view(np.uint8).reshape(-1, 4)
    long = octets[:, _SHORT_BYTES] > 0
    parts = np.packbits(long), octets[:, :_SHORT_BYTES].ravel(), octets[long, _SHORT_BYTES]
    return np.concatenate(parts).tobytes()


def _unpacked(data: bytes, states: int) -> tuple[I64, int]:
    """The states [states], and where they end. Raises CodecError."""
    flags = (states + 7) // 8
    bits = np.unpackbits(np.frombuffer(data[_HEAD_BYTES : _HEAD_BYTES + flags], np.uint8))
    long = bits[:states] > 0
    count = int(np.count_nonzero(bits))
    start = _HEAD_BYTES + flags
    end = start + _SHORT_BYTES * states + count
    if len(data) < end or count != np.count_nonzero(long):
        raise CodecError(f"an interleaved stream of {len(data)} bytes for {states} states")
    packed = np.frombuffer(data, np.uint8, end - start, start)
    octets = np.zeros((states, 4), np.uint8)
    octets[:, :_SHORT_BYTES] = packed[: _SHORT_BYTES * states].reshape(states, _SHORT_BYTES)
    octets[long, _SHORT_BYTES] = packed[_SHORT_BYTES * states :]
    state = octets.view("<u4").astype(np.int64).ravel()
    if np.any(state < _LOW) or not np.all(octets[long, _SHORT_BYTES]):
        raise CodecError("an interleaved stream with an impossible state")
    return state, end
