"""The header of windows: few bytes, one reading, and typed refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from saccade.errors import LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.types import Box
from saccade.views_header import STEPS, WHOLE, ViewsHeader, window_steps, wire_window

LIMITS = Limits(views=9)


@st.composite
def squares(draw: st.DrawFn) -> Box:
    """Windows of the frame's own aspect, wherever they lie between the wire's steps."""
    side = draw(st.floats(1 / STEPS, 1))
    x, y = (draw(st.floats(0, 1)) * (1 - side) for _ in range(2))
    return (x, y, x + side, y + side)


@st.composite
def rectangles(draw: st.DrawFn) -> Box:
    starts = [draw(st.floats(0, 0.98)) for _ in range(2)]
    x1, y1 = (draw(st.floats(start + 0.01, 1)) for start in starts)
    return (starts[0], starts[1], x1, y1)


@st.composite
def headers(draw: st.DrawFn) -> ViewsHeader:
    sides = draw(
        st.sampled_from([st.integers(1, 8191).map(lambda n: n * 8), st.integers(1, 65535)])
    )
    size = (draw(sides), draw(sides))
    crops = draw(st.integers(0, 4))
    closeups = sorted(draw(st.sets(st.integers(1, crops)))) if crops else []
    views = 1 + crops + len(closeups)
    by_kind = draw(st.lists(st.integers(0, 64), min_size=3, max_size=3))
    alike = [by_kind[0], *[by_kind[1]] * crops, *[by_kind[2]] * len(closeups)]
    each = draw(st.just(alike) | st.lists(st.integers(0, 64), min_size=views, max_size=views))
    kind = draw(st.sampled_from([squares(), rectangles()]))
    windows = [wire_window(draw(kind)) for _ in range(views - 1)]
    return ViewsHeader(size, tuple(each), (WHOLE, *windows), tuple(closeups))


@given(headers())
def test_a_header_comes_back(header: ViewsHeader) -> None:
    assert ViewsHeader.from_bytes(header.to_bytes(), LIMITS) == header


@given(st.binary(max_size=60))
def test_noise_is_a_header_or_a_typed_error(noise: bytes) -> None:
    try:
        header = ViewsHeader.from_bytes(noise, LIMITS)
    except (PacketError, LimitExceeded):
        return
    assert len(header.counts) == len(header.windows) <= LIMITS.views
    for x0, y0, x1, y1 in header.windows:
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
    assert ViewsHeader.from_bytes(header.to_bytes(), LIMITS) == header


@given(headers(), st.data())
def test_a_truncated_header_is_refused(header: ViewsHeader, data: st.DataObject) -> None:
    raw = header.to_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises((PacketError, LimitExceeded)):
        ViewsHeader.from_bytes(raw[:cut], LIMITS)


def header_of(
    crops: int, closeups: tuple[int, ...] = (), size: tuple[int, int] = (384, 640)
) -> bytes:
    """Windows of the frame's aspect, each kind of view with its count."""
    counts = (24, *(4,) * crops, *(8,) * len(closeups))
    windows = [wire_window((0.1, 0.2, 0.4, 0.5))] * (len(counts) - 1)
    return ViewsHeader(size, counts, (WHOLE, *windows), closeups).to_bytes()


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (header_of(0), 1 + 2 + 1),
        (header_of(1), 1 + 2 + 2 + 3),
        # Four windows of 22.4 bits.
        (header_of(4), 1 + 2 + 2 + 12),
        (header_of(4, (2,)), 1 + 2 + 1 + 3 + 15),
        # Sides that are no multiple of 8 cost the forms' byte and one each.
        (header_of(4, size=(383, 641)), 1 + 1 + 4 + 2 + 12),
    ],
)  # fmt: skip
def test_a_header_costs(raw: bytes, size: int) -> None:
    assert len(raw) == size


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the views header ends after 0 bytes, 1 needed"),
        (b"\x01\x00\x05\x10", "a frame side of 0 pixels"),
        (b"\x01\x80\x40\x05\x10", "a frame side of 65536 pixels"),
        (b"\x00\x07\x05\x05\x10", "forms 7, which are none"),
        (b"\x01\x05\x05\x10\x00", "the views header is 4 bytes, received 5"),
        (b"\x03\x05\x05\x01\x10", "close-ups 0b1 of 0 crops"),
        (b"\x07\x05\x05\x00\x10", "close-ups 0b0 of 1 crops"),
        (b"\x07\x05\x05\x02\x10", "close-ups 0b10 of 1 crops"),
        (b"\x05\x05\x05\x10\x10\xff\xff\xff", "windows beyond the 5559680"),
        (b"\xff" * 9, "a varint of more than 4 bytes"),
    ],
)
def test_impossible_headers_are_refused_with_the_reason(raw: bytes, message: str) -> None:
    with pytest.raises(PacketError, match=message):
        ViewsHeader.from_bytes(raw, LIMITS)


@pytest.mark.parametrize(
    "raw", [header_of(9), header_of(6, (1, 2, 3)), b"\xfd\xff\xff\x7f\x05\x05"]
)
def test_more_views_than_agreed_are_refused(raw: bytes) -> None:
    with pytest.raises(LimitExceeded, match="views, the limit is 9"):
        ViewsHeader.from_bytes(raw, LIMITS)


@pytest.mark.parametrize("closeups", [(0,), (3,), (2, 1), (1, 1)])
def test_closeups_of_no_crop_or_out_of_order_are_not_written(closeups: tuple[int, ...]) -> None:
    counts = (8,) * (3 + len(closeups))
    header = ViewsHeader((384, 640), counts, (WHOLE,) * len(counts), closeups)
    with pytest.raises(PacketError, match="at most one of each, in their order"):
        header.to_bytes()


@given(squares())
def test_a_window_of_the_frames_aspect_keeps_it(window: Box) -> None:
    x0, y0, x1, y1 = window_steps(window)
    assert x1 - x0 == y1 - y0
    for given_side, side in zip(window, wire_window(window), strict=True):
        assert abs(side - given_side) <= 0.7501 / STEPS


def sees_the_frame(pair: tuple[float, float]) -> bool:
    return pair[0] < pair[1] and pair[0] < 1 and pair[1] > 0


class TestWindows:
    sides = st.tuples(st.floats(-2, 3), st.floats(-2, 3)).filter(lambda pair: pair[0] < pair[1])

    @given(sides.filter(sees_the_frame), sides.filter(sees_the_frame))
    @example((0.0, 1.0), (-1.0, 1e-9))
    @example((-1e-9, 1.0), (-0.5, 0.5))
    def test_windows_are_kept_within_a_step_and_never_empty(
        self, x: tuple[float, float], y: tuple[float, float]
    ) -> None:
        window: Box = (x[0], y[0], x[1], y[1])
        seen = wire_window(window)
        assert 0 <= seen[0] < seen[2] <= 1
        assert 0 <= seen[1] < seen[3] <= 1
        for given_side, side in zip(window, seen, strict=True):
            clipped = min(max(given_side, 0), 1)
            assert abs(side - clipped) <= 1.0001 / STEPS
        assert wire_window(seen) == seen

    @given(sides.filter(lambda pair: not sees_the_frame(pair)), sides, st.booleans())
    @example((-1.0, 0.0), (0.0, 1.0), True)
    def test_a_window_that_shows_nothing_of_the_frame_is_refused(
        self, outside: tuple[float, float], other: tuple[float, float], upright: bool
    ) -> None:
        (x0, x1), (y0, y1) = (other, outside) if upright else (outside, other)
        header = ViewsHeader((480, 640), (4, 4), (WHOLE, (x0, y0, x1, y1)))
        with pytest.raises(PacketError, match="lies outside the frame, 0 to 1"):
            header.to_bytes()

    @pytest.mark.parametrize("window", [(0.5, 0, 0.5, 1), (0.5, 0, 0.4, 1), (math.nan, 0, 1, 1)])
    def test_an_empty_window_is_refused(self, window: Box) -> None:
        with pytest.raises(PacketError, match="is empty"):
            wire_window(window)
