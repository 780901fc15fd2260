"""The packed part of a packet: frame size, tokens per view, where the crops were looking.

Layout, all integers unsigned LEB128 varints unless said otherwise:

- crops * 4 + near * 2 + usual; if ``usual`` is 0, the forms: no overview * 8 + eighths * 4 +
  square * 2 + by kind; a usual header has the last three, and an overview;
- height and width, in eighths of their pixels where both allow it;
- if ``near`` is 1, the crops that have a close-up, as a mask: bit 0 is slot 1;
- tokens: one count for the overview, for all crops and for all close-ups (of those that there
  are) where they agree by kind, else one per view;
- the windows of all views but the overview as one number of mixed radix, first window lowest,
  little-endian, in as many bytes as its largest value needs. Sides lie on whole 1/255 of the
  frame. Windows are *square* where each is as large a part of the frame's width as of its height
  (an encoder's input that has the frame's aspect): one of 5,559,680; else one of 32,640 intervals
  each way.

The first view is the overview, if there is one, whose window is the whole frame; crops come next,
close-ups last, in the order of their crops, at most one of each.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from saccade.errors import PacketError
from saccade.limits import Limits, check
from saccade.types import Box, ViewKind, view_kinds

MAX_SIDE_PX = 65_535
STEPS = 255  # windows are whole numbers of 1/255 of the frame
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_BLOCK_PX = 8  # sides of pictures are mostly multiples of it
_MASK_BITS = 28  # of the crops that may have close-ups: a varint of 4 bytes
_USUAL = 7
_BY_KIND, _SQUARE, _EIGHTHS, _NO_OVERVIEW = 1, 2, 4, 8
# How many squares are smaller than 1, 2, 3, ... steps; how many intervals there are.
_SMALLER = tuple(accumulate(((STEPS + 1 - side) ** 2 for side in range(1, STEPS + 1)), initial=0))
_INTERVALS = STEPS * (STEPS + 1) // 2

Steps = tuple[int, int, int, int]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class ViewsHeader:
    """``size``: (height, width) of the frame in pixels; one count and one window per view;
    ``closeups``: of the last views, the slot of the crop that each looks into, ascending;
    ``overview``: whether the first view is one.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]
    windows: tuple[Box, ...]
    closeups: tuple[int, ...] = ()
    overview: bool = True

    @property
    def crops(self) -> int:
        return len(self.counts) - self.overview - len(self.closeups)

    @property
    def kinds(self) -> tuple[ViewKind, ...]:
        """Of each view."""
        return view_kinds(self.crops, len(self.closeups), overview=self.overview)

    def to_bytes(self) -> bytes:
        """Raises PacketError for a size, a count or a window that the layout can't hold."""
        if not self.counts or len(self.counts) != len(self.windows):
            raise PacketError(f"{len(self.counts)} counts for {len(self.windows)} views")
        for side in self.size:
            _check_side(side)
        self._check_closeups()
        windows = [window_steps(window) for window in self.windows[self.overview :]]
        forms = self._forms(windows)
        near = bool(self.closeups)
        numbers = [self.crops * 4 + near * 2 + (forms == _USUAL)]
        numbers += [] if forms == _USUAL else [forms]
        numbers += [side // _BLOCK_PX if forms & _EIGHTHS else side for side in self.size]
        numbers += [sum(1 << slot - 1 for slot in self.closeups)] if near else []
        numbers += self._by_kind() if forms & _BY_KIND else self.counts
        square = bool(forms & _SQUARE)
        return b"".join(map(_varint, numbers)) + _windows_bytes(windows, square=square)

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits) -> ViewsHeader:
        """Raises PacketError for anything but this layout, LimitExceeded for too much of it."""
        reader = _Reader(data)
        crops, flags = divmod(reader.varint(), 4)
        near, usual = divmod(flags, 2)
        forms = _USUAL if usual else reader.forms()
        size = reader.size(_BLOCK_PX if forms & _EIGHTHS else 1)
        overview = not forms & _NO_OVERVIEW
        check("views", overview + crops, limits.views)
        check("crops", crops, limits.crops)
        closeups = reader.closeups(crops) if near else ()
        views = overview + crops + len(closeups)
        if not views:
            raise PacketError("the views header has no view")
        check("views", views, limits.views)
        check("close-ups", len(closeups), limits.closeups)
        kinds = (int(overview), crops, len(closeups))  # how many there are of each
        if forms & _BY_KIND:
            counts = tuple(n for times in filter(None, kinds) for n in (reader.varint(),) * times)
        else:
            counts = tuple(reader.varint() for _ in range(views))
        for view, count in enumerate(counts):
            check(f"tokens in view {view}", count, limits.tokens_per_view)
        windows = reader.windows(views - overview, square=bool(forms & _SQUARE))
        return cls(size, counts, (*(WHOLE,) * overview, *windows), closeups, overview)

    def _forms(self, windows: Sequence[Steps]) -> int:
        """What of the usual is true here, as bits."""
        kinds = filter(None, (int(self.overview), self.crops, len(self.closeups)))
        stated = zip(self._by_kind(), kinds, strict=True)
        by_kind = self.counts == tuple(n for count, times in stated for n in (count,) * times)
        square = all(x1 - x0 == y1 - y0 for x0, y0, x1, y1 in windows)
        eighths = all(side % _BLOCK_PX == 0 for side in self.size)
        usual = _BY_KIND * by_kind + _SQUARE * square + _EIGHTHS * eighths
        return usual + _NO_OVERVIEW * (not self.overview)

    def _by_kind(self) -> tuple[int, ...]:
        """The count of the first view of each kind."""
        kinds = (int(self.overview), self.crops, len(self.closeups))
        starts = accumulate(kinds, initial=0)
        return tuple(
            self.counts[start] for start, count in zip(starts, kinds, strict=False) if count
        )

    def _check_closeups(self) -> None:
        if list(self.closeups) != sorted({s for s in self.closeups if 1 <= s <= self.crops}):
            raise PacketError(
                f"close-ups of crops {list(self.closeups)} in a frame of {len(self.counts)} views: "
                "at most one of each, in their order"
            )
        if self.closeups and self.closeups[-1] > _MASK_BITS:
            raise PacketError(f"a close-up of crop {self.closeups[-1]}, at most of {_MASK_BITS}")


def window_steps(window: Box) -> Steps:
    """A normalised window in 1/255 steps: rounded, cut at the frame's edges, never empty.

    One that is as wide as it is tall stays so: then its centre is kept, and its sides may be off by
    3/4 of a step instead of a half. Raises PacketError for one that is empty or shows nothing of
    the frame.
    """
    left, right = _visible(window[0], window[2])
    top, bottom = _visible(window[1], window[3])
    x0, x1 = _interval(left, right)
    y0, y1 = _interval(top, bottom)
    width, height = right - left, bottom - top
    if abs(width - height) > 0.5 / STEPS or x1 - x0 == y1 - y0:
        return x0, y0, x1, y1
    side = min(max(round((width + height) / 2 * STEPS), 1), STEPS)
    x0, y0 = _centred(left, right, side), _centred(top, bottom, side)
    return x0, y0, x0 + side, y0 + side


def wire_window(window: Box) -> Box:
    """A normalised window as the other side will see it."""
    return _box(window_steps(window))


def _visible(start: float, end: float) -> tuple[float, float]:
    """The part of an interval that lies in the frame."""
    if not start < end:  # also where one isn't a number
        raise PacketError(f"a window from {start:g} to {end:g} of the frame is empty")
    if end <= 0 or start >= 1:
        raise PacketError(f"a window from {start:g} to {end:g} lies outside the frame, 0 to 1")
    return max(start, 0.0), min(end, 1.0)


def _interval(start: float, end: float) -> tuple[int, int]:
    first, last = round(start * STEPS), round(end * STEPS)
    if first == last:
        first, last = (first, last + 1) if last < STEPS else (first - 1, last)
    return first, last


def _centred(start: float, end: float, side: int) -> int:
    """Where an interval of ``side`` steps begins, so that it keeps the centre and the frame."""
    return min(max(round((start + end) / 2 * STEPS - side / 2), 0), STEPS - side)


def _box(steps: Steps) -> Box:
    x0, y0, x1, y1 = steps
    return (x0 / STEPS, y0 / STEPS, x1 / STEPS, y1 / STEPS)


def _windows_bytes(windows: Sequence[Steps], *, square: bool) -> bytes:
    number, radix = 0, _radix(square)
    for window in reversed(windows):
        number = number * radix + (_square_index(window) if square else _free_index(window))
    return number.to_bytes(_windows_length(len(windows), radix), "little")


def _radix(square: bool) -> int:
    return _SMALLER[-1] if square else _INTERVALS * _INTERVALS


def _windows_length(windows: int, radix: int) -> int:
    largest: int = radix**windows - 1
    return (largest.bit_length() + 7) // 8


def _square_index(steps: Steps) -> int:
    x0, y0, x1, _ = steps
    side = x1 - x0
    return _SMALLER[side - 1] + x0 * (STEPS + 1 - side) + y0


def _square(index: int) -> Steps:
    side = bisect_right(_SMALLER, index)
    x0, y0 = divmod(index - _SMALLER[side - 1], STEPS + 1 - side)
    return x0, y0, x0 + side, y0 + side


def _free_index(steps: Steps) -> int:
    x0, y0, x1, y1 = steps
    return (x1 * (x1 - 1) // 2 + x0) * _INTERVALS + y1 * (y1 - 1) // 2 + y0


def _free(index: int) -> Steps:
    (x0, x1), (y0, y1) = (_bounds(part) for part in divmod(index, _INTERVALS))
    return x0, y0, x1, y1


def _bounds(index: int) -> tuple[int, int]:
    end = (1 + math.isqrt(8 * index + 1)) // 2
    return index - end * (end - 1) // 2, end


def _check_side(side: int) -> None:
    if not 1 <= side <= MAX_SIDE_PX:
        raise PacketError(f"a frame side of {side} pixels, 1..{MAX_SIDE_PX} are possible")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        start, end = self._position, self._position + count
        if end > len(self._data):
            raise PacketError(f"the views header ends after {len(self._data)} bytes, {end} needed")
        self._position = end
        return self._data[start:end]

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise PacketError("a varint of more than 4 bytes in the views header")

    def forms(self) -> int:
        forms = self.varint()
        if forms == _USUAL or forms >= 2 * _NO_OVERVIEW:
            raise PacketError(f"the views header has forms {forms}, which are none")
        return forms

    def size(self, unit_px: int) -> tuple[int, int]:
        size = (self.varint() * unit_px, self.varint() * unit_px)
        for side in size:
            _check_side(side)
        return size

    def closeups(self, crops: int) -> tuple[int, ...]:
        mask = self.varint()
        if not 1 <= mask < 1 << crops:
            raise PacketError(f"close-ups {mask:#b} of {crops} crops")
        return tuple(slot for slot in range(1, crops + 1) if mask >> slot - 1 & 1)

    def windows(self, count: int, *, square: bool) -> list[Box]:
        """The last thing in the header."""
        radix = _radix(square)
        number = int.from_bytes(self.take(_windows_length(count, radix)), "little")
        if self._position != len(self._data):
            raise PacketError(
                f"the views header is {self._position} bytes, received {len(self._data)}"
            )
        windows: list[Box] = []
        for _ in range(count):
            number, index = divmod(number, radix)
            windows.append(_box(_square(index) if square else _free(index)))
        if number:
            raise PacketError(f"windows beyond the {radix} that are possible")
        return windows
