"""Places as the calibration expects them: fewer bits where it is right, one reading always."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs import SetShape, rans
from saccade.codecs.frequencies import TOTAL
from saccade.codecs.position_model import BUCKETS, PlaceModel
from saccade.errors import CodecError
from saccade.types import I32, VIEW_KINDS, Grid, ViewKind
from saccade_testing.tables import place_model
from saccade_testing.tokens import grids, places_in

GRID: Grid = (1, 8, 8)


@st.composite
def frames(draw: st.DrawFn) -> tuple[list[I32], list[SetShape]]:
    grid: Grid = draw(st.just(GRID) | grids)
    some = draw(st.lists(places_in(grid), min_size=1, max_size=4))
    ids = draw(st.lists(st.sampled_from(some), min_size=1, max_size=8))
    kinds: list[ViewKind] = [draw(st.sampled_from(VIEW_KINDS)) for _ in ids]
    return ids, [SetShape(len(p), 1, grid, k) for p, k in zip(ids, kinds, strict=True)]


def stream(model: PlaceModel, ids: list[I32], shapes: list[SetShape]) -> bytes:
    return rans.encode(*model.slots(ids, shapes))


def bits(model: PlaceModel, ids: list[I32], shapes: list[SetShape]) -> float:
    _, widths = model.slots(ids, shapes)
    return -float(np.log2(np.array(widths) / TOTAL).sum())


@given(frames(), st.sampled_from([place_model(), PlaceModel.none()]))
def test_ids_come_back(frame: tuple[list[I32], list[SetShape]], model: PlaceModel) -> None:
    ids, shapes = frame
    decoder = rans.Decoder(stream(model, ids, shapes))
    found = model.read(decoder, shapes)
    decoder.finish()
    assert [places.tolist() for places in found] == [places.tolist() for places in ids]


@given(frames(), st.binary(max_size=60))
def test_any_bytes_are_ids_in_the_grid_or_a_codec_error(
    frame: tuple[list[I32], list[SetShape]], noise: bytes
) -> None:
    _, shapes = frame
    try:
        decoder = rans.Decoder(noise)
        found = place_model().read(decoder, shapes)
    except CodecError:
        return
    for places, shape in zip(found, shapes, strict=True):
        assert len(places) == shape.count
        assert np.all(np.diff(places) > 0)
        assert np.all((places >= 0) & (places < shape.places))


@given(frames())
def test_what_is_not_expected_costs_little_more_than_its_rank(
    frame: tuple[list[I32], list[SetShape]],
) -> None:
    """The form's name, and what rounding left / places to 2^-16 costs in a large grid."""
    ids, shapes = frame
    ranks = sum(math.log2(math.comb(shape.places, shape.count)) for shape in shapes)
    assert bits(PlaceModel.none(), ids, shapes) <= ranks * 1.02 + 7 * len(ids)


def test_what_is_expected_costs_less() -> None:
    expected: npt.NDArray[np.int64] = np.full((3, BUCKETS, 64), 1000)
    expected[:, :, :16] = TOTAL - 1000
    ids, shapes = [np.arange(16, dtype=np.int32)], [SetShape(16, 1, GRID)]
    assert bits(PlaceModel.of(expected), ids, shapes) < 1
    assert bits(PlaceModel.none(), ids, shapes) > 48


def test_each_kind_of_view_has_its_own_expectations() -> None:
    expected: npt.NDArray[np.int64] = np.full((3, BUCKETS, 64), 1000)
    expected[0, :, :16] = expected[1, :, 24:40] = TOTAL - 1000
    ids = [np.arange(24, 40, dtype=np.int32)]
    model = PlaceModel.of(expected)
    assert bits(model, ids, [SetShape(16, 1, GRID, "crop")]) < 3
    assert bits(model, ids, [SetShape(16, 1, GRID, "overview")]) > 48


def test_views_that_keep_the_same_places_pay_once() -> None:
    generator = np.random.default_rng(0)
    ids = np.sort(generator.permutation(64)[:16]).astype(np.int32)
    shapes = [SetShape(16, 1, GRID)] * 5
    once = bits(place_model(), [ids], shapes[:1])
    assert bits(place_model(), [ids] * 5, shapes) == pytest.approx(once + 4 * 6, abs=0.1)


def test_a_first_view_is_not_as_the_one_before() -> None:
    shapes = [SetShape(16, 1, GRID)] * 2
    ids = [np.arange(0, 64, 4, dtype=np.int32)] * 2
    starts, widths = place_model().slots(ids, shapes)
    repeated = rans.encode(starts[-1:], widths[-1:])
    with pytest.raises(CodecError, match="view 0 can't be as the one before"):
        place_model().read(rans.Decoder(repeated), shapes[:1])


def test_expectations_of_another_grid_are_refused() -> None:
    ids, shapes = [np.array([0], np.int32)], [SetShape(1, 1, GRID)]
    data = stream(PlaceModel.of(np.full((3, BUCKETS, 64), TOTAL - 1)), ids, shapes)
    with pytest.raises(CodecError, match="a grid of 4 places, expected are 64"):
        place_model().read(rans.Decoder(data), [SetShape(1, 1, (1, 2, 2))])


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        (np.zeros((3, BUCKETS, 4)), "a place that is kept 0 to 0 of 65536"),
        (np.full((3, BUCKETS, 4), TOTAL), "kept 65536 to 65536"),
        (np.ones((2, BUCKETS, 4)), r"\(2, 8, 4\) shares"),
    ],
)
def test_impossible_models_are_refused(widths: npt.ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlaceModel.of(widths)
