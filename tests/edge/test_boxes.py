from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.types import F32, Region
from saccade_edge.detect import prioritise
from saccade_edge.detect.boxes import MAX_CANDIDATES, overlap, suppress, suppress_by_class
from saccade_edge.detect.letterbox import BORDER, place


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


def test_of_very_many_boxes_the_best_are_looked_at() -> None:
    """A model that finds something everywhere does not hold up the camera."""
    count = MAX_CANDIDATES + 500
    places = np.arange(count, dtype=np.float32)[:, None] * 10
    boxes = np.concatenate([places, places * 0, places + 5, places * 0 + 5], axis=1)
    scores = np.linspace(0.1, 0.9, count, dtype=np.float32)
    kept = suppress_by_class(boxes, scores, np.zeros(count, np.int64), 0.5)
    assert sorted(kept) == list(range(500, count))


@pytest.mark.parametrize("size", [(384, 640), (720, 1280), (100, 100), (50, 400), (2000, 30)])
def test_a_box_comes_back_from_the_letterbox_where_it_was(size: tuple[int, int]) -> None:
    height, width = size
    canvas, box = place(np.zeros((height, width, 3), np.uint8), (384, 640))
    assert canvas.shape == (384, 640, 3)
    original = f32((0.25 * width, 0.5 * height, 0.75 * width, height))
    inside = original * np.asarray(box.scale * 2, np.float32) + np.asarray(
        box.offset * 2, np.float32
    )
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
