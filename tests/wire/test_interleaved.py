"""Many states side by side: exact, within 3 % of the information, one reading per byte string."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs import interleaved, rans
from saccade.codecs.frequencies import TOTAL, Frequencies
from saccade.codecs.interleaved import LEAST_SYMBOLS, MOST_STATES, ROWS, Tables, states_for
from saccade.errors import CodecError

GOLDEN = (8980, "68b1d20b9a4d55ca5fe2a6cb75a6dad2")  # length, SHA-256

I64 = npt.NDArray[np.int64]

EVEN = Frequencies.of([256] * 256)
TABLES = Tables.of([Frequencies.fit([9 + i, 20, 9, i]) for i in range(18)])


def symbols_of(count: int, seed: int = 0) -> tuple[I64, I64]:
    """(numbers of tables, symbols), drawn as the tables expect."""
    generator = np.random.default_rng(seed)
    numbers = np.arange(count) * len(TABLES.single) // count
    slots = generator.integers(0, TOTAL, count)
    keys = (numbers << 16) + slots
    return numbers, np.searchsorted(TABLES.keys, keys, "right") - 1 - TABLES.firsts[numbers]


def encoded(numbers: I64, symbols: I64, extra: bytes = b"") -> bytes:
    starts, widths = TABLES.slots(numbers, symbols)
    more = np.frombuffer(extra, np.uint8).astype(np.int64) * 256
    slots = np.concatenate([starts, more]), np.concatenate([widths, np.full(len(more), 256)])
    return interleaved.encode(*slots, len(numbers))


def decoded(data: bytes, numbers: I64, extra: int = 0) -> tuple[I64, bytes]:
    symbols, decoder = interleaved.decode(data, TABLES, numbers)
    behind = bytes(decoder.take(EVEN, extra))
    decoder.finish()
    return symbols, behind


@given(
    count=st.integers(1, 40_000) | st.integers(LEAST_SYMBOLS - 2, LEAST_SYMBOLS + 2),
    seed=st.integers(0, 2**32 - 1),
    extra=st.binary(max_size=9),
)
def test_what_is_encoded_is_decoded(count: int, seed: int, extra: bytes) -> None:
    numbers, symbols = symbols_of(count, seed)
    found, behind = decoded(encoded(numbers, symbols, extra), numbers, len(extra))
    np.testing.assert_array_equal(found, symbols)
    assert behind == extra


@pytest.mark.parametrize("count", [LEAST_SYMBOLS, 60_000, 600_000])
def test_a_stream_costs_hardly_more_than_its_information(count: int) -> None:
    numbers, symbols = symbols_of(count)
    information = -np.log2(TABLES.slots(numbers, symbols)[1] / TOTAL).sum() / 8
    assert len(encoded(numbers, symbols)) < 1.025 * information + 16


@pytest.mark.parametrize("symbol", [0, 1])
def test_symbols_that_are_all_rare_or_all_common_come_back(symbol: int) -> None:
    """The rare fill a tail with one row, of the common no number of rows fills it."""
    tables = Tables.of([Frequencies.of([1, TOTAL - 1])])
    numbers = np.zeros(20_000, np.int64)
    starts, widths = tables.slots(numbers, np.full(20_000, symbol))
    data = interleaved.encode(starts, widths, 20_000)
    found, decoder = interleaved.decode(data, tables, numbers)
    decoder.finish()
    assert np.all(found == symbol)


def test_few_symbols_have_one_state_and_its_bytes() -> None:
    numbers, symbols = symbols_of(LEAST_SYMBOLS - 1)
    starts, widths = TABLES.slots(numbers, symbols)
    assert encoded(numbers, symbols) == rans.encode(starts.tolist(), widths.tolist())
    assert states_for(LEAST_SYMBOLS - 1) == 1
    assert states_for(ROWS * 100) == 100
    assert states_for(1 << 30) == MOST_STATES


@given(data=st.data())
def test_damaged_streams_are_refused_or_have_the_same_length(data: st.DataObject) -> None:
    """And what decodes is what `encode` writes: every stream has one reading."""
    numbers, symbols = symbols_of(9000)
    raw = bytearray(encoded(numbers, symbols))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 40))] ^= data.draw(
            st.integers(1, 255)
        )
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    damaged = bytes(raw[:cut]) + data.draw(st.binary(max_size=3))
    try:
        found, _ = decoded(damaged, numbers)
    except CodecError:
        return
    assert encoded(numbers, found) == damaged


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with"),
        (bytes(9000), "begins with"),
        (b"\xff" + bytes(9000), "begins with"),
        (b"\x01" + bytes(9000), "impossible state"),
        (b"\x01\xff\xff\xff\xff" + bytes(100), "for 56 states"),
        (b"\x01\xff\xff\xff\xff" + b"\xff" * 9000, "of them its tail"),
    ],
)
def test_noise_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        interleaved.decode(data, TABLES, symbols_of(9000)[0])


def test_the_format_is_the_golden_one() -> None:
    """The same bytes on every machine."""
    count = 30_000
    numbers = np.arange(count) * len(TABLES.single) // count
    data = encoded(numbers, np.arange(count) * 7919 // 31 % 4)
    assert (len(data), hashlib.sha256(data).hexdigest()[:32]) == GOLDEN
