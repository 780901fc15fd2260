"""The entropy coder: exact, within 2 % + 4 bytes of the entropy, one reading per byte string."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs import rans
from saccade.codecs.frequencies import MAX_SYMBOLS, TOTAL, Frequencies
from saccade.errors import CodecError

I64 = npt.NDArray[np.int64]


def encoded(symbols: list[int], table: Frequencies) -> bytes:
    return rans.encode([table.starts[s] for s in symbols], [table.widths[s] for s in symbols])


def decoded(data: bytes, table: Frequencies, count: int) -> list[int]:
    decoder = rans.Decoder(data)
    symbols = decoder.take(table, count)
    decoder.finish()
    return symbols


def entropy_bytes(symbols: I64) -> float:
    """The order-0 bound: as many symbols as these, with their own frequencies."""
    shares = np.bincount(symbols) / len(symbols)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum() * len(symbols) / 8)


def fitted(symbols: I64) -> Frequencies:
    return Frequencies.fit(np.bincount(symbols, minlength=2))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], Frequencies]:
    counts = draw(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=40))
    return draw(st.lists(st.integers(0, len(counts) - 1), max_size=80)), Frequencies.fit(counts)


@given(streams())
def test_what_is_encoded_is_decoded(stream: tuple[list[int], Frequencies]) -> None:
    symbols, table = stream
    assert decoded(encoded(symbols, table), table, len(symbols)) == symbols


@pytest.mark.parametrize("alphabet", [2, 3, 17, 256, 1024])
@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.05, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("count", [1000, 20_000])
def test_a_stream_is_within_two_percent_and_four_bytes_of_its_entropy(
    alphabet: int, decay: float, count: int
) -> None:
    """From uniform to nearly always the same symbol."""
    shares = np.exp(-decay * np.arange(alphabet))
    generator = np.random.default_rng(alphabet * count)
    symbols = generator.choice(alphabet, count, p=shares / shares.sum())
    data = encoded(symbols.tolist(), fitted(symbols))
    assert len(data) <= entropy_bytes(symbols) * 1.02 + 4


def test_one_symbol_in_a_thousand_costs_three_bytes() -> None:
    symbols = np.zeros(1000, np.int64)
    symbols[417] = 1
    assert entropy_bytes(symbols) < 1.5
    assert len(encoded(symbols.tolist(), fitted(symbols))) == 3


def test_no_symbols_cost_nothing() -> None:
    assert encoded([], fitted(np.arange(4))) == b""


@given(streams(), st.binary(max_size=40))
def test_bytes_that_are_read_are_the_bytes_that_are_written(
    stream: tuple[list[int], Frequencies], noise: bytes
) -> None:
    symbols, table = stream
    try:
        read = decoded(noise, table, len(symbols))
    except CodecError:
        return
    assert encoded(read, table) == noise


@given(streams(), st.data())
def test_no_other_bytes_are_read_as_the_same_symbols(
    stream: tuple[list[int], Frequencies], data: st.DataObject
) -> None:
    """Neighbours of a stream: zeros around it, a byte more, less or changed, the state written
    in full, words in another order.
    """
    symbols, table = stream
    whole = encoded(symbols, table)
    at = data.draw(st.integers(0, max(len(whole) - 1, 0)))
    byte = bytes([data.draw(st.integers(0, 255))])
    others = {
        *(whole + bytes(count) for count in range(1, 9)),
        *(bytes(count) + whole for count in (1, 2, 6)),
        whole.ljust(rans.STATE_BYTES, b"\0"),
        whole[: rans.STATE_BYTES].ljust(rans.STATE_BYTES, b"\0") + b"\0\0" + whole[6:],
        whole[:at] + byte + whole[at + 1 :],
        whole[:at] + byte + whole[at:],
        whole[:at] + whole[at + 1 :],
        whole[:6] + whole[8:] + whole[6:8],
    } - {whole}
    for other in others:
        with contextlib.suppress(CodecError):
            assert decoded(other, table, len(symbols)) != symbols


@given(st.lists(st.tuples(st.integers(1, TOTAL - 1), st.booleans()), max_size=80), st.binary())
def test_decisions_have_one_reading_too(decisions: list[tuple[int, bool]], noise: bytes) -> None:
    def stream(answers: list[bool]) -> bytes:
        slots = [
            (0, width) if yes else (width, TOTAL - width)
            for (width, _), yes in zip(decisions, answers, strict=True)
        ]
        return rans.encode([start for start, _ in slots], [width for _, width in slots])

    def read(data: bytes) -> list[bool]:
        decoder = rans.Decoder(data)
        answers = [decoder.flag(width) for width, _ in decisions]
        decoder.finish()
        return answers

    meant = [yes for _, yes in decisions]
    whole = stream(meant)
    assert read(whole) == meant
    for other in (noise, whole + b"\0", whole + b"\0\0", whole.ljust(6, b"\0"), whole[:-1]):
        with contextlib.suppress(CodecError):
            assert stream(read(other)) == other


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_a_truncated_stream_is_refused(symbols: list[int], data: st.DataObject) -> None:
    table = Frequencies.fit([5, 3, 2, 1])
    whole = encoded(symbols, table)
    if whole:
        cut = data.draw(st.integers(0, len(whole) - 1))
        with contextlib.suppress(CodecError):
            assert decoded(whole[:cut], table, len(symbols)) != symbols


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x05\x00", "begins with an impossible state"),
        (bytes(6) + b"ab", "begins with an impossible state"),
        (b"\xff" * 7, "7 bytes ends within a word"),
        (b"\xff" * 10, "doesn't end with its symbols"),
        (b"\x05", "doesn't end with its symbols"),
    ],
)
def test_impossible_streams_are_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decoded(data, Frequencies.fit([1, 1]), 1)


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=300))
def test_every_symbol_has_a_share_and_all_have_the_whole(counts: list[int]) -> None:
    table = Frequencies.fit(counts)
    assert min(table.widths) >= 1
    assert sum(table.widths) == TOTAL
    assert table.starts[-1] + table.widths[-1] == TOTAL


@pytest.mark.parametrize("widths", [[TOTAL], [TOTAL, 0], [5, 6], [1] * (MAX_SYMBOLS + 1)])
def test_tables_that_no_stream_can_have_are_refused(widths: list[int]) -> None:
    with pytest.raises(ValueError, match="of 65536"):
        Frequencies.of(widths)
