"""The packed part of a packet: frame size, tokens per view, where the crops were looking.

Layout, all integers unsigned LEB128 varints: height; width; views * 4 + near * 2 + same; one
count if ``same`` is 1, else one per view; if ``near`` is 1, the number of close-ups and for each
the slot of the crop that it looks into; then four bytes (x0, y0, x1, y1) per view but the first,
in 1/255 of the frame's width and height. The first view is the overview, whose window is the
whole frame; crops come next, close-ups last.
"""

from __future__ import annotations

from dataclasses import dataclass

from saccade.errors import PacketError
from saccade.limits import Limits, check
from saccade.nouns import Box

MAX_SIDE_PX = 65_535
STEPS = 255  # windows are whole numbers of 1/255 of the frame
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class ViewsHeader:
    """``size``: (height, width) of the frame in pixels; one count and one window per view;
    ``closeups``: of the last views, the slot of the crop that each looks into.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]
    windows: tuple[Box, ...]
    closeups: tuple[int, ...] = ()

    @property
    def crops(self) -> int:
        return len(self.counts) - 1 - len(self.closeups)

    def to_bytes(self) -> bytes:
        """Raises PacketError for a size, a count or a window that the layout can't hold."""
        if not self.counts or len(self.counts) != len(self.windows):
            raise PacketError(f"{len(self.counts)} counts for {len(self.windows)} views")
        for side in self.size:
            _check_side(side)
        self._check_closeups()
        same, near = len(set(self.counts)) == 1, bool(self.closeups)
        numbers = [*self.size, len(self.counts) * 4 + near * 2 + same]
        numbers += self.counts[:1] if same else self.counts
        numbers += [len(self.closeups), *self.closeups] if near else []
        header = b"".join(map(_varint, numbers))
        return header + b"".join(bytes(window_steps(window)) for window in self.windows[1:])

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits) -> ViewsHeader:
        """Raises PacketError for anything but this layout, LimitExceeded for too much of it."""
        reader = _Reader(data)
        size = (reader.varint(), reader.varint())
        for side in size:
            _check_side(side)
        views, flags = divmod(reader.varint(), 4)
        near, same = divmod(flags, 2)
        if views == 0:
            raise PacketError("a packet without views")
        check("views", views, limits.views)
        stated = [reader.varint() for _ in range(1 if same else views)]
        counts = tuple(stated * views if same else stated)
        for view, count in enumerate(counts):
            check(f"tokens in view {view}", count, limits.tokens_per_view)
            check(f"tokens in view {view}", count, limits.grid_tokens)
        closeups = reader.closeups(views) if near else ()
        windows = [WHOLE, *(_window(reader.take(4)) for _ in range(views - 1))]
        reader.finish()
        header = cls(size, counts, tuple(windows), closeups)
        header._check_closeups()
        return header

    def _check_closeups(self) -> None:
        if self.crops < 0 or any(not 1 <= slot <= self.crops for slot in self.closeups):
            raise PacketError(
                f"close-ups of crops {list(self.closeups)} in a frame of {len(self.counts)} views"
            )


def window_steps(window: Box) -> tuple[int, int, int, int]:
    """A normalised window in 1/255 steps: rounded, kept inside the frame, never empty."""
    x0, x1 = _interval(window[0], window[2])
    y0, y1 = _interval(window[1], window[3])
    return x0, y0, x1, y1


def wire_window(window: Box) -> Box:
    """A normalised window as the other side will see it."""
    return _window(bytes(window_steps(window)))


def _interval(start: float, end: float) -> tuple[int, int]:
    if not start < end:  # also where one isn't a number
        raise PacketError(f"a window from {start:g} to {end:g} of the frame is empty")
    first = round(min(max(start, 0.0), 1.0) * STEPS)
    last = round(min(max(end, 0.0), 1.0) * STEPS)
    if first == last:
        first, last = (first, last + 1) if last < STEPS else (first - 1, last)
    return first, last


def _window(steps: bytes) -> Box:
    x0, y0, x1, y1 = steps
    if x0 >= x1 or y0 >= y1:
        raise PacketError(f"a crop's window ({x0}, {y0}, {x1}, {y1})/{STEPS} is empty")
    return (x0 / STEPS, y0 / STEPS, x1 / STEPS, y1 / STEPS)


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

    def closeups(self, views: int) -> tuple[int, ...]:
        count = self.varint()
        if not 1 <= count < views:
            raise PacketError(f"{count} close-ups in a frame of {views} views")
        return tuple(self.varint() for _ in range(count))

    def finish(self) -> None:
        if self._position != len(self._data):
            raise PacketError(
                f"the views header is {self._position} bytes, received {len(self._data)}"
            )
