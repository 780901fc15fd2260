from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saccade.nouns import Box, Frame, Region
from saccade_edge.views import Closeup, Cutter, holder, plan_window, resample

FRAME, VIEW = (384, 640), (96, 160)
ASPECT = VIEW[1] / VIEW[0]
CUTTER = Cutter(VIEW, crop_margin=0.1, closeup_margin=0.25, min_px=32)


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
