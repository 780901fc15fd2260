"""Places of kept tokens to bytes: each view's ids in the cheapest of three forms.

- *rank*: which of the C(T, K) subsets it is (enumerative source coding, Cover 1973). The ranks of
  all such views are the digits of one mixed-radix number, so that only one byte is rounded up.
  16 of 64 places cost 48.8 bits, where a bitmap costs 64 and one byte per gap 128: neither a
  bitmap nor byte gaps are ever less than this.
- *runs*: alternating gaps and run lengths in Elias gamma codes, for ids that lie together.
- *same*: as in the view before, where that keeps as many. A selection that doesn't look at the
  features (a regular grid, say) pays for one view only.

Gaps in Rice codes would save 0.3 of 46 bits per view of the demo, all places cost nothing as they
are (C(T, T) = 1): neither is a form.

Layout: one digit per view (0 rank, 1 runs, 2 same), first view lowest, as one number of mixed
radix, little-endian: 3 where a view may be the same, else 2; the runs of those views, padded to a
byte; the ranks' number, big-endian. Numbers take as many bytes as their largest value needs. The
counts are known beforehand, so all lengths are. Every byte string has at most one reading, and
padding is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from saccade.codecs.base import SetShape
from saccade.codecs.bits import BitReader, BitWriter
from saccade.errors import CodecError
from saccade.types import I32

_RANK, _RUNS, _SAME = range(3)


def encode_ids(ids: Sequence[I32], shapes: Sequence[SetShape]) -> bytes:
    """``ids``: per view [K] int32, ascending within its grid."""
    forms: list[int] = []
    number, radix = 0, 1
    runs = BitWriter()
    for view, (places, shape) in enumerate(zip(ids, shapes, strict=True)):
        subsets = math.comb(shape.places, shape.count)
        coded = _runs(places.tolist())
        if _may_repeat(shapes, view) and np.array_equal(places, ids[view - 1]):
            forms.append(_SAME)
        elif coded.length < (subsets - 1).bit_length():
            forms.append(_RUNS)
            runs.append(coded)
        else:
            forms.append(_RANK)
            number += rank(places.tolist(), shape.places) * radix
            radix *= subsets
    return _head(forms, shapes) + runs.to_bytes() + number.to_bytes(_byte_length(radix), "big")


def decode_ids(data: bytes, shapes: Sequence[SetShape]) -> tuple[list[I32], int]:
    """The ids of every view, and how many bytes of ``data`` they took. Raises CodecError."""
    forms, start = _read_head(data, shapes)
    reader = BitReader(data[start:])
    found: dict[int, list[int]] = {}
    radix = 1
    for view, shape in enumerate(shapes):
        if forms[view] == _RUNS:
            found[view] = list(_read_runs(reader, shape))
        elif forms[view] == _RANK:
            radix *= math.comb(shape.places, shape.count)
    start += reader.finish()
    end = start + _byte_length(radix)
    number = int.from_bytes(_take(data, start, end), "big")
    if number >= radix:
        raise CodecError(f"token ids: rank beyond the {radix.bit_length()} bits of its range")
    for view, shape in enumerate(shapes):
        if forms[view] == _SAME:
            found[view] = found[view - 1]
        elif forms[view] == _RANK:
            number, digit = divmod(number, math.comb(shape.places, shape.count))
            found[view] = unrank(digit, shape.count, shape.places)
    return [np.array(found[view], np.int32) for view in range(len(shapes))], end


def rank(ids: Sequence[int], places: int) -> int:
    """Index of the ascending ``ids`` among all subsets of their size, in lexicographic order."""
    index, left, subsets = 0, len(ids), math.comb(places, len(ids))
    kept = set(ids)
    for place in range(places):
        # C(n - 1, k - 1) = C(n, k) * k / n subsets keep this place, and they come first.
        keeping = subsets * left // (places - place)
        if place in kept:
            subsets, left = keeping, left - 1
        else:
            index, subsets = index + keeping, subsets - keeping
    return index


def unrank(index: int, count: int, places: int) -> list[int]:
    """The subset that `rank` gave ``index``, 0 <= index < C(places, count)."""
    ids: list[int] = []
    subsets = math.comb(places, count)
    for place in range(places):
        keeping = subsets * (count - len(ids)) // (places - place)
        if index < keeping:
            ids.append(place)
            subsets = keeping
        else:
            index, subsets = index - keeping, subsets - keeping
    return ids


def _runs(ids: Sequence[int]) -> BitWriter:
    writer = BitWriter()
    free = 0  # first place that the runs so far don't settle
    for start, end in _bounds(ids):
        # The place after a run is known to be dropped, hence `free`: gaps count from behind it.
        writer.gamma(start - free + 1)
        writer.gamma(end - start)
        free = end + 1
    return writer


def _bounds(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of every run of neighbours."""
    start = 0
    for i in range(1, len(ids) + 1):
        if i == len(ids) or ids[i] != ids[i - 1] + 1:
            yield ids[start], ids[i - 1] + 1
            start = i


def _read_runs(reader: BitReader, shape: SetShape) -> Iterator[int]:
    left, free = shape.count, 0
    while left:
        first = free + reader.gamma(shape.places + 1) - 1
        length = reader.gamma(left)
        if first + length > shape.places:
            raise CodecError(
                f"token ids: places {first}..{first + length - 1} in a grid of {shape.places}"
            )
        yield from range(first, first + length)
        left, free = left - length, first + length + 1


def _may_repeat(shapes: Sequence[SetShape], view: int) -> bool:
    return view > 0 and shapes[view].keeps_as(shapes[view - 1])


def _radices(shapes: Sequence[SetShape]) -> list[int]:
    return [3 if _may_repeat(shapes, view) else 2 for view in range(len(shapes))]


def _head(forms: Sequence[int], shapes: Sequence[SetShape]) -> bytes:
    number, radix = 0, 1
    for form, possible in zip(forms, _radices(shapes), strict=True):
        number, radix = number + form * radix, radix * possible
    return number.to_bytes(_byte_length(radix), "little")


def _read_head(data: bytes, shapes: Sequence[SetShape]) -> tuple[list[int], int]:
    """The form of each view, and how many bytes that took."""
    radices = _radices(shapes)
    length = _byte_length(math.prod(radices))
    number = left = int.from_bytes(_take(data, 0, length), "little")
    forms = []
    for possible in radices:
        left, form = divmod(left, possible)
        forms.append(form)
    if left:
        raise CodecError(f"token ids: forms {number:#x} for {len(shapes)} views")
    return forms, length


def _byte_length(radix: int) -> int:
    """Bytes of the largest number below ``radix``."""
    return ((radix - 1).bit_length() + 7) // 8


def _take(data: bytes, start: int, end: int) -> bytes:
    if len(data) < end:
        raise CodecError(f"token ids: received {len(data)} bytes, {end} are needed")
    return data[start:end]
