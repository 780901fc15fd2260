"""The views header byte by byte, as its layout says it, with windows counted one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from saccade.errors import LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.types import Box
from saccade.views_header import STEPS, WHOLE, ViewsHeader, window_steps

Steps = tuple[int, int, int, int]


def box(steps: Steps) -> Box:
    x0, y0, x1, y1 = (side / STEPS for side in steps)
    return (x0, y0, x1, y1)


def square_number(steps: Steps) -> int:
    """How many squares come before: all smaller ones, then those further left, then further up."""
    x0, y0, x1, _ = steps
    side = x1 - x0
    smaller = sum((STEPS + 1 - less) ** 2 for less in range(1, side))
    return smaller + x0 * (STEPS + 1 - side) + y0


def interval_number(start: int, end: int) -> int:
    """How many intervals come before: all that end earlier, then those that start earlier."""
    return sum(earlier for earlier in range(1, end)) + start


SQUARES = square_number((0, 0, STEPS, STEPS)) + 1
INTERVALS = interval_number(STEPS - 1, STEPS) + 1


def header(
    *windows: Steps,
    size: tuple[int, int] = (384, 640),
    counts: tuple[int, ...] | None = None,
    closeups: tuple[int, ...] = (),
) -> ViewsHeader:
    chosen = counts or (24,) * (1 + len(windows))
    return ViewsHeader(size, chosen, (WHOLE, *map(box, windows)), closeups)


def written(of: ViewsHeader) -> list[int]:
    data = of.to_bytes()
    assert ViewsHeader.from_bytes(data, Limits(views=64)) == of
    return list(data)


def windows_bytes(numbers: list[int], radix: int) -> list[int]:
    """As one number of mixed radix, the first window lowest, little-endian."""
    whole = sum(number * radix**place for place, number in enumerate(numbers))
    length = math.ceil(math.log2(radix) * len(numbers) / 8)
    return list(whole.to_bytes(length, "little"))


SMALL, LARGE = (10, 20, 13, 23), (0, 5, 250, 255)
TALL, WIDE = (3, 4, 5, 200), (0, 0, 255, 1)


def test_there_are_as_many_squares_and_rectangles_as_the_layout_says() -> None:
    assert (SQUARES, INTERVALS) == (5_559_680, 32_640)


def test_the_usual_header_of_an_overview_is_four_bytes() -> None:
    assert written(header()) == [1, 48, 80, 24]


def test_usual_crops_are_counted_once_and_their_windows_are_one_number() -> None:
    numbers = [square_number(SMALL), square_number(LARGE)]
    usual = header(SMALL, LARGE, counts=(24, 4, 4))
    assert written(usual) == [2 * 4 + 1, 48, 80, 24, 4, *windows_bytes(numbers, SQUARES)]


@pytest.mark.parametrize("window", [SMALL, LARGE, (0, 0, 1, 1), (254, 254, 255, 255)])
def test_each_square_has_its_number(window: Steps) -> None:
    assert written(header(window))[-3:] == windows_bytes([square_number(window)], SQUARES)


def test_squares_are_numbered_without_a_gap() -> None:
    for before, after in pairwise([(0, 0, 254, 254), (0, 1, 254, 255), (1, 0, 255, 254)]):
        assert square_number(after) == square_number(before) + 1


def test_windows_that_are_not_square_cost_a_forms_byte_and_two_intervals_each() -> None:
    numbers = [
        interval_number(window[0], window[2]) * INTERVALS + interval_number(window[1], window[3])
        for window in (TALL, SMALL, WIDE)
    ]
    radix = INTERVALS**2
    data = written(header(TALL, SMALL, WIDE))
    assert data == [3 * 4, 4 + 1, 48, 80, 24, 24, *windows_bytes(numbers, radix)]


def test_sides_that_are_no_eighths_are_written_as_they_are() -> None:
    for size, sides in (((383, 640), [0xFF, 2, 0x80, 5]), ((384, 641), [0x80, 3, 0x81, 5])):
        assert written(header(size=size)) == [0, 2 + 1, *sides, 24]


def test_counts_that_differ_within_a_kind_are_written_one_by_one() -> None:
    windows = windows_bytes([square_number(SMALL)] * 2, SQUARES)
    data = written(header(SMALL, SMALL, counts=(24, 4, 5)))
    assert data == [2 * 4, 4 + 2, 48, 80, 24, 4, 5, *windows]


def test_closeups_are_a_mask_and_have_a_count_of_their_own() -> None:
    windows = windows_bytes([square_number(SMALL)] * 5, SQUARES)
    near = header(*[SMALL] * 5, counts=(24, 4, 4, 4, 9, 9), closeups=(1, 3))
    assert written(near) == [3 * 4 + 2 + 1, 48, 80, 0b101, 24, 4, 9, *windows]
    assert near.kinds == ("overview", "crop", "crop", "crop", "closeup", "closeup")
    odd = header(*[SMALL] * 5, counts=(24, 4, 4, 4, 9, 8), closeups=(1, 3))
    assert written(odd) == [3 * 4 + 2, 4 + 2, 48, 80, 0b101, 24, 4, 4, 4, 9, 8, *windows]


def test_numbers_from_128_take_a_second_byte() -> None:
    limits = Limits(views=64, tokens_per_view=1 << 20)
    for count, tail in ((127, [127]), (128, [0x80, 1]), (16_384, [0x80, 0x80, 1])):
        data = header(counts=(count,)).to_bytes()
        assert list(data) == [1, 48, 80, *tail]
        assert ViewsHeader.from_bytes(data, limits).counts == (count,)


def test_a_varint_has_at_most_four_bytes() -> None:
    with pytest.raises(LimitExceeded):
        ViewsHeader.from_bytes(b"\xff\xff\xff\x7f\x05\x05\x05\x05", Limits())
    with pytest.raises(PacketError, match="a varint of more than 4 bytes"):
        ViewsHeader.from_bytes(b"\xff\xff\xff\xff\x00\x05\x05\x05", Limits())


@pytest.mark.parametrize("side", [1, 8, 65_535])
def test_sides_from_1_to_65535_are_written(side: int) -> None:
    written(header(size=(side, 8)))
    written(header(size=(8, side)))


@pytest.mark.parametrize("size", [(0, 8), (8, 0), (65_536, 8), (8, 65_536), (-8, 8)])
def test_other_sides_are_not(size: tuple[int, int]) -> None:
    bad = next(side for side in size if side != 8)
    with pytest.raises(PacketError, match=f"a frame side of {bad} pixels, 1..65535 are possible"):
        header(size=size).to_bytes()


def test_views_and_windows_are_as_many() -> None:
    with pytest.raises(PacketError, match="2 counts for 1 views"):
        ViewsHeader((8, 8), (1, 1), (WHOLE,)).to_bytes()
    with pytest.raises(PacketError, match="0 counts for 0 views"):
        ViewsHeader((8, 8), (), ()).to_bytes()


def test_a_closeup_of_crop_28_is_written_and_of_29_is_not() -> None:
    for crops, last in ((28, 28), (29, 28), (29, 29)):
        near = header(*[SMALL] * (crops + 1), closeups=(last,))
        if last == 28:
            written(near)
        else:
            with pytest.raises(PacketError, match="a close-up of crop 29, at most of 28"):
                near.to_bytes()


def test_a_view_holds_as_many_tokens_as_was_agreed() -> None:
    data = header(SMALL, counts=(4, 5)).to_bytes()
    assert ViewsHeader.from_bytes(data, Limits(tokens_per_view=5)).counts == (4, 5)
    with pytest.raises(LimitExceeded, match="received 5 tokens in view 1, the limit is 4"):
        ViewsHeader.from_bytes(data, Limits(tokens_per_view=4))


def test_a_frame_without_an_overview_says_so_in_its_forms() -> None:
    crops = replace(header(SMALL, SMALL, counts=(4, 4, 4)), counts=(4, 4), overview=False)
    crops = replace(crops, windows=crops.windows[1:])
    data = crops.to_bytes()
    assert list(data[:5]) == [2 * 4, 8 + 7, 48, 80, 4]
    assert ViewsHeader.from_bytes(data, Limits()) == crops
    assert crops.kinds == ("crop", "crop")


def test_a_frame_without_any_view_is_refused() -> None:
    with pytest.raises(PacketError, match="the views header has no view"):
        ViewsHeader.from_bytes(bytes([0, 8 + 7, 48, 80]), Limits())


class TestSteps:
    """Sides in 1/255 of the frame."""

    def steps(self, *sides: float) -> Steps:
        x0, y0, x1, y1 = (side / STEPS for side in sides)
        return window_steps((x0, y0, x1, y1))

    def test_sides_are_rounded_to_the_nearest(self) -> None:
        assert self.steps(10.4, 20.6, 30.6, 90.4) == (10, 21, 31, 90)

    def test_sides_outside_are_cut_at_the_border(self) -> None:
        assert self.steps(-10, 5, 100, 300) == (0, 5, 100, 255)
        assert self.steps(-10, -99, 300, 100) == (0, 0, 255, 100)

    def test_what_is_thinner_than_a_step_has_one_inside_the_frame(self) -> None:
        assert self.steps(10.1, 20, 10.3, 90) == (10, 20, 11, 90)
        assert self.steps(254.8, 20, 254.9, 90) == (254, 20, 255, 90)
        assert self.steps(0, 20, 0.1, 90) == (0, 20, 1, 90)

    def test_one_as_wide_as_tall_keeps_its_centre_where_rounding_would_make_it_oblong(self) -> None:
        # 10.4 to 20.7 becomes 11 steps, 10.2 to 20.4 becomes 10; 10.25 is nearest to 10.
        assert self.steps(10.4, 10.2, 20.7, 20.4) == (11, 10, 21, 20)
        # 19.6 wide: 20 steps, centre at 30.2 and 70.2.
        assert self.steps(20.4, 60.4, 40.0, 80.0) == (20, 60, 40, 80)

    def test_it_stays_in_the_frame_where_its_centre_would_put_it_outside(self) -> None:
        x0, y0, x1, y1 = self.steps(244.4, 0.0, 255.0, 10.6)
        assert (x1 - x0, y1 - y0) == (11, 11)
        assert (x1, y0) == (255, 0)

    def test_half_a_step_more_in_one_side_is_still_as_wide_as_tall(self) -> None:
        x0, y0, x1, y1 = self.steps(10.0, 10.0, 20.45, 20.9)
        assert x1 - x0 == y1 - y0
        assert self.steps(10.0, 10.0, 20.4, 21.0) == (10, 10, 20, 21)
