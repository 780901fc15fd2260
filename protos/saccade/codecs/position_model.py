"""Places of kept tokens, coded by how often the calibration kept them.

Place by place, in raster order: is it kept? Of each place the model knows how often it was, for
each kind of view and by how many of the places that are left are still to be kept, in eighths: so
one model serves every budget. Where all or none of what is left is kept, nothing is said. A view
takes the cheapest of three forms, and says which: as *expected* by the model; *evenly*, every
subset of its size alike (the log2 C(T, K) bits of `ids`'s rank); *same*, as in the view before.

The widths are integers and every decision is one slot of `rans`: the same bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs.base import SetShape
from saccade.codecs.frequencies import RANGE_BITS, TOTAL, Frequencies
from saccade.codecs.rans import Decoder
from saccade.errors import CodecError
from saccade.types import I32, VIEW_KINDS

BUCKETS = 8
MAX_PLACES = 1 << 14
_EXPECTED, _EVENLY, _SAME = range(3)
_FORMS = Frequencies.of((60_000, 4_512, 1_024))
_FORM_BITS = (1, 4, 6)  # what naming it costs, rounded up

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PlaceModel:
    """``widths``: by kind of view, bucket and place, the share of 2^16 that "kept" has,
    1..2^16 - 1; no places where nothing was calibrated.
    """

    widths: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, widths: npt.ArrayLike) -> PlaceModel:
        """``widths``: [kinds, BUCKETS, places]. Raises ValueError for other shapes and shares."""
        table = np.asarray(widths, np.int64)
        if table.shape[:-1] != (len(VIEW_KINDS), BUCKETS) or table.shape[-1] > MAX_PLACES:
            raise ValueError(f"{table.shape} shares of places kept")
        if table.size and not (table.min() > 0 and table.max() < TOTAL):
            raise ValueError(f"a place that is kept {table.min()} to {table.max()} of {TOTAL}")
        return cls(tuple(tuple(tuple(row) for row in rows) for rows in table.tolist()))

    @classmethod
    def none(cls) -> PlaceModel:
        """One that expects nothing."""
        return cls.of(np.empty((len(VIEW_KINDS), BUCKETS, 0)))

    @property
    def places(self) -> int:
        """Tokens of the grid that it was calibrated for."""
        return len(self.widths[0][0])

    def slots(self, ids: Sequence[I32], shapes: Sequence[SetShape]) -> tuple[list[int], list[int]]:
        """(starts, widths) of the slots that `rans` writes for the views' ids."""
        starts: list[int] = []
        widths: list[int] = []
        for view, places in enumerate(ids):
            form, chosen = self._cheapest(view, ids, shapes)
            starts.append(_FORMS.starts[form])
            widths.append(_FORMS.widths[form])
            kept = set(places.tolist())
            for place, width in chosen:
                starts.append(0 if place in kept else width)
                widths.append(width if place in kept else TOTAL - width)
        return starts, widths

    def read(self, decoder: Decoder, shapes: Sequence[SetShape]) -> list[I32]:
        """The ids that `slots` was given. Raises CodecError."""
        found: list[I32] = []
        for view, shape in enumerate(shapes):
            (form,) = decoder.take(_FORMS, 1)
            if form == _SAME:
                if not _may_repeat(shapes, view):
                    raise CodecError(f"token ids: view {view} can't be as the one before it")
                found.append(found[-1])
                continue
            rows = self._rows(form, shape)
            if rows is None:
                raise CodecError(
                    f"token ids: a grid of {shape.places} places, expected are {self.places}"
                )
            found.append(np.array(_read(decoder, rows, shape), np.int32))
        return found

    def _cheapest(
        self, view: int, ids: Sequence[I32], shapes: Sequence[SetShape]
    ) -> tuple[int, list[tuple[int, int]]]:
        """The form, and of each place that it decides (place, width)."""
        places, shape = ids[view].tolist(), shapes[view]
        if _may_repeat(shapes, view) and np.array_equal(ids[view], ids[view - 1]):
            same = _FORM_BITS[_SAME]
        else:
            same = shape.places * RANGE_BITS
        evenly = _FORM_BITS[_EVENLY] + math.comb(shape.places, shape.count).bit_length()
        if rows := self._rows(_EXPECTED, shape):
            chosen = list(_decisions(places, rows, shape))
            if _FORM_BITS[_EXPECTED] + _bits(chosen, places) <= min(same, evenly):
                return _EXPECTED, chosen
        if same <= evenly:
            return _SAME, []
        return _EVENLY, list(_decisions(places, (), shape))

    def _rows(self, form: int, shape: SetShape) -> tuple[tuple[int, ...], ...] | None:
        """By bucket, the widths of each place; none at all where a form is even."""
        if form == _EVENLY:
            return ()
        return self.widths[VIEW_KINDS.index(shape.kind)] if shape.places == self.places else None


def bucket(left: int, places: int) -> int:
    """Which eighth of the ``places`` that are left is still to be kept; 0 < left < places."""
    return left * BUCKETS // places


def _width(rows: Sequence[Sequence[int]], place: int, left: int, places: int) -> int:
    """The share that "kept" has, where ``left`` of ``places`` are still to be kept."""
    return rows[bucket(left, places)][place] if rows else max((left << RANGE_BITS) // places, 1)


def _decisions(
    ids: Sequence[int], rows: Sequence[Sequence[int]], shape: SetShape
) -> Iterator[tuple[int, int]]:
    """(place, width) of each place that is not settled by those before it."""
    kept, left, places = set(ids), shape.count, shape.places
    for place in range(places):
        if not 0 < left < places - place:
            return
        yield place, _width(rows, place, left, places - place)
        left -= place in kept


def _read(decoder: Decoder, rows: Sequence[Sequence[int]], shape: SetShape) -> list[int]:
    ids: list[int] = []
    places = shape.places
    for place in range(places):
        left = shape.count - len(ids)
        if left == places - place:
            return [*ids, *range(place, places)]
        if not left:
            return ids
        if decoder.flag(_width(rows, place, left, places - place)):
            ids.append(place)
    return ids


def _bits(decisions: Sequence[tuple[int, int]], ids: Sequence[int]) -> int:
    """What they cost, to the bit: a product of shares, so that no logarithm is rounded."""
    kept, product = set(ids), 1
    for place, width in decisions:
        product *= width if place in kept else TOTAL - width
    return RANGE_BITS * len(decisions) - product.bit_length() + 1


def _may_repeat(shapes: Sequence[SetShape], view: int) -> bool:
    return view > 0 and shapes[view].keeps_as(shapes[view - 1])
