from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import BundleError
from saccade.nouns import F32, Region
from saccade_edge.detect import prioritise
from saccade_edge.detect.boxes import overlap, suppress, suppress_by_class
from saccade_edge.detect.layouts import read_output
from saccade_edge.detect.letterbox import BORDER, letterbox


def f32(*rows: tuple[float, ...]) -> F32:
    return np.asarray(rows, np.float32)


def test_overlap_is_intersection_over_union() -> None:
    boxes = f32((0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30), (3, 3, 3, 9))
    assert np.allclose(overlap(boxes[0], boxes), [1, 50 / 150, 0, 0])


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_what_stays_overlaps_little_and_what_goes_had_a_better_neighbour(
    seed: int, iou: float
) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (20, 2))], 1).astype(np.float32)
    scores = rng.random(20, np.float32)
    kept = suppress(boxes, scores, iou)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    for i in range(20):
        near = [k for k in kept if k != i and overlap(boxes[i], boxes[k : k + 1])[0] > iou]
        if i in kept:
            assert near == []
        else:
            assert any(scores[k] >= scores[i] for k in near)


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    boxes = f32((0, 0, 10, 10), (0, 0, 10, 10), (1, 0, 10, 10))
    kept = suppress_by_class(
        boxes, np.asarray([0.5, 0.6, 0.7], np.float32), np.array([0, 1, 1]), 0.5
    )
    assert sorted(kept) == [0, 2]


def test_the_anchors_layout_is_read_with_suppression() -> None:
    """Two labels, three anchors: a sure car, the same car less sure, and a doubtful person."""
    rows = f32(
        (50, 51, 10),  # centre x
        (40, 41, 10),  # centre y
        (20, 20, 4),  # width
        (10, 10, 8),  # height
        (0.1, 0.1, 0.2),  # person
        (0.9, 0.8, 0.1),  # car
    )
    found = read_output(rows[None], labels=2, score=0.25, iou=0.5)
    assert np.allclose(found.boxes, [[40, 35, 60, 45]])
    assert (list(found.scores), list(found.classes)) == ([np.float32(0.9)], [1])


def test_the_end_to_end_layout_is_read_as_it_is() -> None:
    rows = f32(
        (1, 2, 3, 4, 0.9, 1), (1, 2, 3, 4, 0.8, 1), (5, 6, 7, 8, 0.1, 0), (0, 0, 9, 9, 0.9, 7)
    )
    found = read_output(rows[None], labels=2, score=0.25, iou=0.5)
    assert np.allclose(found.boxes, [[1, 2, 3, 4], [1, 2, 3, 4]])  # class 7 does not exist


def test_no_detection_at_all_is_no_error() -> None:
    for shape in ((1, 6, 100), (1, 300, 6)):
        assert len(read_output(np.zeros(shape, np.float32), 2, 0.25, 0.5).boxes) == 0


@pytest.mark.parametrize("shape", [(1, 7, 100), (2, 6, 100), (100, 6), (1, 25200, 85)])
def test_another_layout_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="neither"):
        read_output(np.zeros(shape, np.float32), 2, 0.25, 0.5)


@pytest.mark.parametrize("size", [(384, 640), (720, 1280), (100, 100), (50, 400), (2000, 30)])
def test_a_box_comes_back_from_the_letterbox_where_it_was(size: tuple[int, int]) -> None:
    height, width = size
    canvas, box = letterbox(np.zeros((height, width, 3), np.uint8), (384, 640))
    assert canvas.shape == (384, 640, 3)
    original = f32((0.25 * width, 0.5 * height, 0.75 * width, height))
    inside = original * box.scale + np.asarray(box.offset * 2, np.float32)
    assert np.allclose(box.to_frame(inside), original, atol=1)
    assert (canvas == BORDER).any() == (width * 384 != height * 640)


def test_vehicles_come_first_then_the_largest() -> None:
    person = Region((0, 0, 100, 100), "person", 0.9)
    small, large = Region((0, 200, 20, 220), "car", 0.9), Region((200, 0, 260, 60), "bus", 0.5)
    assert prioritise([person, small, large]) == [large, small, person]


def test_one_thing_seen_twice_is_one_region() -> None:
    van, car = Region((0, 0, 100, 50), "van", 0.6), Region((2, 0, 100, 50), "car", 0.8)
    beside = Region((90, 0, 180, 50), "car", 0.3)
    assert prioritise([van, car, beside]) == [car, beside]
    assert prioritise([]) == []


def test_a_rider_does_not_hide_the_motorcycle() -> None:
    machine = Region((0, 0, 30, 90), "motorcycle", 0.4)
    rider = Region((0, 0, 30, 88), "person", 0.9)
    assert prioritise([rider, machine]) == [machine, rider]


def test_the_nearer_comes_before_the_surer() -> None:
    near, sure = Region((0, 0, 60, 60), "car", 0.4), Region((90, 0, 140, 50), "car", 0.9)
    assert prioritise([sure, near]) == [near, sure]
