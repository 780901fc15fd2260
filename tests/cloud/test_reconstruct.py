from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.bundle_files import ModelFile
from saccade.errors import BundleError, EngineError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.types import FrameTokens
from saccade_cloud.reconstruct import Reconstructor, positions
from saccade_testing.tiny_graphs import WIDTH
from saccade_testing.tokens import DIM, GRID, frame_tokens, geometry_of, token_set, usual_frame


@pytest.fixture
def reconstruct(bundle: Bundle) -> Reconstructor:
    return Reconstructor(projector(bundle), Limits.of(bundle.manifest), WIDTH)


def projector(bundle: Bundle) -> ModelFile:
    return bundle.model(bundle.manifest.language.projector)


def test_every_kept_token_becomes_one_embedding_at_its_place(reconstruct: Reconstructor) -> None:
    frame = frame_tokens([token_set([0, 9, 63]), token_set([8])])
    segment = reconstruct(frame)
    assert segment.embeds.shape == (4, WIDTH)
    assert segment.embeds.dtype == np.float32
    assert segment.positions.tolist() == [[0, 0, 0], [0, 1, 1], [0, 7, 7], [1, 1, 0]]


def test_a_token_is_projected_by_its_own_feature_place_and_window(
    reconstruct: Reconstructor,
) -> None:
    frame = usual_frame()
    whole = reconstruct(frame).embeds
    for slot, view in enumerate(frame.views):
        alone = reconstruct(replace(frame, views=(view,))).embeds
        np.testing.assert_allclose(alone, whole[slot * 16 : slot * 16 + 16], rtol=1e-5, atol=1e-5)


def test_a_closeup_has_the_slot_of_its_crop_and_a_kind_of_its_own(
    reconstruct: Reconstructor,
) -> None:
    frame = usual_frame(views=3)
    crop = reconstruct(frame)
    near = replace(frame.views[2], closeup_of=1)
    closeup = reconstruct(replace(frame, views=(*frame.views[:2], near)))
    change = closeup.embeds[32:] - crop.embeds[32:]
    np.testing.assert_allclose(change, np.broadcast_to(change[:1], change.shape), atol=1e-5)
    assert np.abs(change).max() > 0.1
    np.testing.assert_array_equal(closeup.embeds[:32], crop.embeds[:32])
    np.testing.assert_array_equal(closeup.positions, crop.positions)


def test_closeups_are_told_apart_by_the_slots_of_their_crops(reconstruct: Reconstructor) -> None:
    """The same tokens: as a close-up of crop 2 they are not what they are of crop 1, and differ by
    what the slots themselves differ by.
    """
    frame = usual_frame(views=4)
    views = [*frame.views[:3], replace(frame.views[3], window=frame.views[2].window)]
    last = [
        reconstruct(replace(frame, views=(*views[:3], replace(views[3], closeup_of=crop))))
        for crop in (1, 2)
    ]
    same = views[1].tokens
    alike = tuple(replace(view, tokens=same, window=views[1].window) for view in views[:3])
    crops = reconstruct(replace(frame, views=alike)).embeds
    by_crop = last[1].embeds[48:] - last[0].embeds[48:]
    np.testing.assert_allclose(by_crop, crops[32:48] - crops[16:32], atol=1e-5)
    assert np.abs(by_crop).max() > 0.1


@pytest.mark.parametrize("crop", [0, 2, 3])
def test_a_closeup_of_no_crop_is_refused(reconstruct: Reconstructor, crop: int) -> None:
    frame = usual_frame(views=3)
    near = replace(frame.views[2], closeup_of=crop)
    with pytest.raises(PacketError, match=f"view 2 is a close-up of view {crop}"):
        reconstruct(replace(frame, views=(*frame.views[:2], near)))


def test_positions_count_frames_of_a_clip_before_views() -> None:
    ids, slots = np.array([0, 7, 3], np.int64), np.array([0, 0, 2], np.int64)
    assert positions(ids, slots, (2, 2, 2)).tolist() == [[0, 0, 0], [1, 1, 1], [4, 1, 1]]


def test_a_frame_without_tokens_is_refused(reconstruct: Reconstructor) -> None:
    for views in ((), frame_tokens([token_set([])]).views):
        with pytest.raises(PacketError, match="frame 1 has no tokens"):
            reconstruct(replace(usual_frame(), views=views))


@pytest.mark.parametrize("slots", [(1, 0), (0, 0), (-1, 0), (0, 5)])
def test_slots_that_do_not_ascend_are_refused(
    reconstruct: Reconstructor, slots: tuple[int, int]
) -> None:
    frame = usual_frame(views=2)
    views = tuple(replace(v, slot=s) for v, s in zip(frame.views, slots, strict=True))
    with pytest.raises(PacketError, match="slots"):
        reconstruct(replace(frame, views=views))


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (frame_tokens([token_set([1], dim=DIM + 1)]), f"{DIM + 1} wide, the bundle's are {DIM}"),
        (frame_tokens([token_set([1], grid=(1, 4, 4))]), r"grid \(1, 4, 4\)"),
    ],
)
def test_tokens_of_another_encoder_are_refused(
    reconstruct: Reconstructor, frame: FrameTokens, says: str
) -> None:
    with pytest.raises(PacketError, match=says):
        reconstruct(frame)


def test_more_tokens_than_the_limit_are_refused(bundle: Bundle) -> None:
    limits = Limits(tokens_per_view=4, geometry=geometry_of(GRID), dim=DIM)
    with pytest.raises(LimitExceeded, match="16 tokens in view 0, the limit is 4"):
        Reconstructor(projector(bundle), limits, WIDTH)(usual_frame())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(reconstruct: Reconstructor, value: float) -> None:
    frame = usual_frame()
    frame.views[2].tokens.features[3, 1] = value
    with pytest.raises(PacketError, match="view 2 has features that are not finite"):
        reconstruct(frame)


def test_features_that_overflow_in_the_projector_are_refused(reconstruct: Reconstructor) -> None:
    frame = usual_frame()
    frame.views[0].tokens.features[:] = 3e38
    with pytest.raises(EngineError, match="not finite"):
        reconstruct(frame)


def test_a_projector_of_another_width_is_an_error(bundle: Bundle) -> None:
    wrong = Reconstructor(projector(bundle), Limits.of(bundle.manifest), WIDTH + 1)
    with pytest.raises(EngineError, match=rf"\(80, {WIDTH}\), expected \(80, {WIDTH + 1}\)"):
        wrong(usual_frame())


def test_a_projector_that_is_not_listed_is_a_bundle_error(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"lists no file 'none\.onnx'"):
        Reconstructor(bundle.model("none.onnx"), Limits.of(bundle.manifest), WIDTH)
