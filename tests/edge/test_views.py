from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saccade.manifest import RegionSpec
from saccade.types import Box, Frame, Region
from saccade_edge.views import Closeup, Cutter, holder, plan_window, resample
from saccade_testing.encoder_specs import encoder_spec

FRAME, VIEW = (384, 640), (96, 160)
ASPECT = VIEW[1] / VIEW[0]
REGIONS = RegionSpec(8, crop_margin=0.1, closeup_margin=0.25, crop_min_px=32, aspect="tile")
CUTTER = Cutter(encoder_spec(), REGIONS)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted(draw(st.tuples(st.floats(0, 640), st.floats(0, 640))))
    y0, y1 = sorted(draw(st.tuples(st.floats(0, 384), st.floats(0, 384))))
    return (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))


@given(boxes(), st.floats(0, 0.5))
def test_a_window_holds_its_region_whole_in_the_views_aspect(box: Box, margin: float) -> None:
    x0, y0, x1, y1 = plan_window(box, FRAME, VIEW, margin, 32)
    inside = (min(box[2], 640), min(box[3], 384))
    assert x0 <= box[0] + 1e-6
    assert y0 <= box[1] + 1e-6
    assert x1 >= inside[0] - 1e-6
    assert y1 >= inside[1] - 1e-6
    assert abs((x1 - x0) / (y1 - y0) - ASPECT) < 1e-6
    assert x1 - x0 >= 32 - 1e-6


@given(boxes())
def test_a_window_stays_in_the_frame_where_it_fits(box: Box) -> None:
    x0, y0, x1, y1 = plan_window(box, FRAME, VIEW, 0.1, 32)
    for start, end, limit in ((x0, x1, 640), (y0, y1, 384)):
        if end - start <= limit:
            assert start >= -1e-6
            assert end <= limit + 1e-6
        else:
            assert start <= 1e-6  # longer than the frame: all of it is inside
            assert end >= limit - 1e-6


def test_a_window_at_the_corner_is_moved_inside() -> None:
    assert plan_window((620, 364, 640, 384), FRAME, VIEW, 0, 32) == (
        606.6666666666666,
        364,
        640,
        384,
    )


def test_what_lies_outside_the_frame_is_black() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    view = resample(picture, (-40, 0, 40, 40), (20, 40))
    assert (view[:, :20] == 0).all()
    assert (view[:, 20:] == 200).all()


def test_a_window_off_the_frame_altogether_is_black_and_not_an_error() -> None:
    assert not resample(np.full((40, 40, 3), 200, np.uint8), (50, 50, 60, 60), (8, 8)).any()


def test_the_overview_comes_first_then_a_crop_for_each_region_in_order() -> None:
    frame = Frame(np.zeros((*FRAME, 3), np.uint8), 0, "gate", 1)
    regions = [Region((10 * i, 10, 10 * i + 50, 60), "car", 0.9) for i in range(4)]
    views = CUTTER.views(frame, regions)
    assert [v.kind for v in views] == ["overview", *["crop"] * 4]
    assert [v.region for v in views] == [None, *regions]
    assert views[0].window == (0, 0, 640, 384)
    assert all(v.picture.shape == (96, 160, 3) for v in views)


def test_a_closeup_has_a_margin_of_its_own_and_names_its_crop() -> None:
    frame = Frame(np.zeros((*FRAME, 3), np.uint8), 0, "gate", 1)
    car = Region((100, 100, 260, 196), "car", 0.9)
    plate = Region((160, 160, 210, 175), "plate", 0.8)
    last = CUTTER.views(frame, [car, car], [Closeup(2, plate)])[-1]
    assert (last.kind, last.region, last.closeup_of) == ("closeup", plate, 2)
    assert last.window == plan_window(plate.box, FRAME, VIEW, 0.25, 32)


def test_a_plate_belongs_to_the_nearest_vehicle_around_it() -> None:
    bus = Region((100, 50, 400, 200), "bus", 0.9)
    car = Region((200, 120, 340, 240), "car", 0.9)
    plate = Region((250, 180, 290, 192), "plate", 0.9)
    beside = Region((110, 180, 150, 192), "plate", 0.9)
    assert holder(plate, [bus, car]) == 2
    assert holder(beside, [bus, car]) == 1
    assert holder(Region((0, 0, 9, 9), "plate", 0.9), [bus, car]) is None


class TestWindowsByHand:
    """In a frame of 1000 x 1000 pixels, for views that are twice as wide as tall."""

    frame, view = (1000, 1000), (50, 100)

    def plan(self, box: Box, margin: float = 0.0, min_px: float = 1.0) -> Box:
        return plan_window(box, self.frame, self.view, margin, min_px)

    def test_a_tall_region_is_widened_and_a_wide_one_heightened_about_its_centre(self) -> None:
        assert self.plan((400, 400, 440, 500)) == (320, 400, 520, 500)
        assert self.plan((400, 400, 600, 440)) == (400, 370, 600, 470)

    def test_a_margin_is_of_each_side(self) -> None:
        assert self.plan((400, 400, 600, 500), margin=0.25) == (350, 375, 650, 525)
        assert self.plan((400, 400, 500, 500), margin=0.5) == (250, 350, 650, 550)

    def test_the_least_width_is_of_the_window_and_the_least_height_follows_the_aspect(self) -> None:
        assert self.plan((500, 500, 501, 501), min_px=64) == (468.5, 484.5, 532.5, 516.5)
        assert self.plan((500, 500, 564, 532), min_px=64) == (500, 500, 564, 532)

    def test_at_each_border_it_is_moved_inside_and_not_cut(self) -> None:
        assert self.plan((0, 0, 20, 100)) == (0, 0, 200, 100)
        assert self.plan((980, 900, 1000, 1000)) == (800, 900, 1000, 1000)
        assert self.plan((0, 990, 100, 1000)) == (0, 950, 100, 1000)

    def test_a_region_too_tall_for_the_frame_is_centred_in_black(self) -> None:
        assert self.plan((300, 0, 310, 1000)) == (-500, 0, 1500, 1000)
        assert self.plan((0, 100, 1000, 900)) == (-300, 100, 1300, 900)

    def test_exactly_the_whole_frame_stays_where_it_is(self) -> None:
        assert plan_window((0, 0, 1000, 500), (500, 1000), self.view, 0.0, 1) == (0, 0, 1000, 500)


class TestResamplingByHand:
    def test_a_window_is_cut_at_its_rounded_pixels(self) -> None:
        picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
        np.testing.assert_array_equal(
            resample(picture, (1.6, 2.4, 4.4, 5.6), (4, 2)), picture[2:6, 2:4]
        )

    def test_it_averages_areas_when_it_shrinks(self) -> None:
        picture = np.zeros((4, 4, 3), np.uint8)
        picture[0, 0] = 200
        assert resample(picture, (0, 0, 4, 4), (2, 2))[:, :, 0].tolist() == [[50, 0], [0, 0]]

    def test_it_is_bilinear_when_it_grows(self) -> None:
        picture = np.zeros((2, 2, 3), np.uint8)
        picture[:, 1] = 200
        grown = resample(picture, (0, 0, 2, 2), (4, 4))[:, :, 0]
        assert grown[0].tolist() == [0, 50, 150, 200]

    def test_what_lies_outside_is_black_on_every_side_and_the_rest_in_its_place(self) -> None:
        picture = np.full((4, 4, 3), 9, np.uint8)
        for window, inside in (
            ((-2, 0, 2, 4), (slice(0, 4), slice(2, 4))),
            ((2, 0, 6, 4), (slice(0, 4), slice(0, 2))),
            ((0, -1, 4, 3), (slice(1, 4), slice(0, 4))),
            ((0, 1, 4, 5), (slice(0, 3), slice(0, 4))),
        ):
            expected = np.zeros((4, 4, 3), np.uint8)
            expected[inside] = 9
            np.testing.assert_array_equal(resample(picture, window, (4, 4)), expected)

    def test_a_window_of_less_than_a_pixel_has_one(self) -> None:
        picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
        assert resample(picture, (1.2, 1.2, 1.3, 1.3), (1, 1)).tolist() == [
            [picture[1, 1].tolist()]
        ]


def test_a_centre_on_a_crops_border_is_inside_and_the_lowest_crop_wins() -> None:
    upper, lower = Region((0, 0, 100, 100), "car", 0.9), Region((0, 0, 100, 120), "car", 0.9)
    for x, y in ((0, 0), (100, 100), (0, 100), (100, 0)):
        plate = Region((x - 5, y - 5, x + 5, y + 5), "plate", 0.9)
        assert holder(plate, [lower, upper]) == 1
        assert holder(plate, [upper, lower]) == 2
        assert holder(plate, [upper]) == 1
    for u, v in ((-0.5, 50.0), (100.5, 50.0), (50.0, -0.5), (50.0, 100.5)):
        assert holder(Region((u - 5, v - 5, u + 5, v + 5), "plate", 0.9), [upper]) is None


def test_a_crop_and_a_closeup_show_what_their_windows_say() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*FRAME, 3), np.uint8)
    frame = Frame(picture, 0, "gate", 1)
    car = Region((100, 100, 260, 196), "car", 0.9)
    overview, crop, closeup = CUTTER.views(frame, [car], [Closeup(1, car)])
    for view in (overview, crop, closeup):
        np.testing.assert_array_equal(view.picture, resample(picture, view.window, VIEW))
    assert crop.window == plan_window(car.box, FRAME, VIEW, 0.1, 32)
    assert crop.closeup_of is None
