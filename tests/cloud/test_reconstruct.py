from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.bundle_files import ModelFile, unlisted_model
from saccade.errors import BundleError, EngineError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.spec import LanguageSpec, ProjectorSpec, TiledGrid, TokenPart, TokenSpec
from saccade.types import F32, FrameTokens
from saccade_cloud.reconstruct import Projectors, Reconstructor
from saccade_cloud.visual_frame import VisualFrame
from saccade_testing.tiny_graphs import WIDTH, Graph
from saccade_testing.tokens import DIM, GRID, frame_tokens, geometry_of, token_set, usual_frame


@pytest.fixture
def reconstruct(bundle: Bundle) -> Reconstructor:
    return opened(bundle)


def opened(bundle: Bundle, limits: Limits | None = None, width: int = WIDTH) -> Reconstructor:
    language = bundle.manifest.language
    projectors = Projectors.of(language, bundle.manifest.encoder.tokens, bundle.model)
    limits = limits or Limits.of(bundle.manifest)
    return Reconstructor(replace(projectors, width=width), limits)


def embeds(frame: VisualFrame) -> F32:
    return np.concatenate([image.embeds for image in frame.images])


def test_every_kept_token_becomes_one_embedding_at_its_place(reconstruct: Reconstructor) -> None:
    visual = reconstruct(frame_tokens([token_set([0, 9, 63]), token_set([8])]))
    assert [image.embeds.shape for image in visual.images] == [(3, WIDTH), (1, WIDTH)]
    assert embeds(visual).dtype == np.float32
    assert [image.ids.tolist() for image in visual.images] == [[0, 9, 63], [8]]
    assert [image.kind for image in visual.images] == ["overview", "crop"]
    assert {image.layout.grid for image in visual.images} == {GRID}
    assert (len(visual), visual.nbytes) == (4, 4 * WIDTH * 4 + 4 * 4)


def test_a_token_is_projected_by_its_own_feature_place_and_window(
    reconstruct: Reconstructor,
) -> None:
    frame = usual_frame()
    whole = embeds(reconstruct(frame))
    for slot, view in enumerate(frame.views):
        alone = embeds(reconstruct(replace(frame, views=(view,))))
        np.testing.assert_allclose(alone, whole[slot * 16 : slot * 16 + 16], rtol=1e-5, atol=1e-5)


def test_a_closeup_has_the_slot_of_its_crop_and_a_kind_of_its_own(
    reconstruct: Reconstructor,
) -> None:
    frame = usual_frame(views=3)
    crop = embeds(reconstruct(frame))
    near = replace(frame.views[2], closeup_of=1)
    closeup = embeds(reconstruct(replace(frame, views=(*frame.views[:2], near))))
    change = closeup[32:] - crop[32:]
    np.testing.assert_allclose(change, np.broadcast_to(change[:1], change.shape), atol=1e-5)
    assert np.abs(change).max() > 0.1
    np.testing.assert_array_equal(closeup[:32], crop[:32])


def test_closeups_are_told_apart_by_the_slots_of_their_crops(reconstruct: Reconstructor) -> None:
    """The same tokens: as a close-up of crop 2 they are not what they are of crop 1, and differ by
    what the slots themselves differ by.
    """
    frame = usual_frame(views=4)
    views = [*frame.views[:3], replace(frame.views[3], window=frame.views[2].window)]
    last = [
        embeds(reconstruct(replace(frame, views=(*views[:3], replace(views[3], closeup_of=crop)))))
        for crop in (1, 2)
    ]
    same = views[1].tokens
    alike = tuple(replace(view, tokens=same, window=views[1].window) for view in views[:3])
    crops = embeds(reconstruct(replace(frame, views=alike)))
    by_crop = last[1][48:] - last[0][48:]
    np.testing.assert_allclose(by_crop, crops[32:48] - crops[16:32], atol=1e-5)
    assert np.abs(by_crop).max() > 0.1


@pytest.mark.parametrize("crop", [0, 2, 3])
def test_a_closeup_of_no_crop_is_refused(reconstruct: Reconstructor, crop: int) -> None:
    frame = usual_frame(views=3)
    near = replace(frame.views[2], closeup_of=crop)
    with pytest.raises(PacketError, match=f"view 2 is a close-up of view {crop}"):
        reconstruct(replace(frame, views=(*frame.views[:2], near)))


def test_a_frame_without_tokens_is_refused(reconstruct: Reconstructor) -> None:
    for views in ((), frame_tokens([token_set([])]).views):
        with pytest.raises(PacketError, match="frame 1 has no tokens"):
            reconstruct(replace(usual_frame(), views=views))


@pytest.mark.parametrize("slots", [(1, 0), (0, 0), (-1, 0), (0, 5), (1, 6)])
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


def test_a_grid_that_is_not_that_of_the_views_size_is_refused(bundle: Bundle) -> None:
    geometry = TiledGrid((96, 160), (8, 8), "closest-ratio", ((1, 2),), "none")
    reconstruct = opened(bundle, Limits(geometry=geometry, dim=DIM, tokens_per_view=128))
    with pytest.raises(PacketError, match=r"grid \(1, 8, 8\), the bundle's is \(2, 8, 8\)"):
        reconstruct(frame_tokens([token_set([1])]))


def test_more_tokens_than_the_limit_are_refused(bundle: Bundle) -> None:
    limits = Limits(tokens_per_view=4, geometry=geometry_of(GRID), dim=DIM)
    with pytest.raises(LimitExceeded, match="16 tokens in view 0, the limit is 4"):
        opened(bundle, limits)(usual_frame())


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
    with pytest.raises(EngineError, match=rf"\(80, {WIDTH}\), expected \(80, {WIDTH + 1}\)"):
        opened(bundle, width=WIDTH + 1)(usual_frame())


def test_a_projector_that_is_not_listed_is_a_bundle_error(bundle: Bundle) -> None:
    language = replace(bundle.manifest.language, projector=ProjectorSpec("none.onnx"))
    with pytest.raises(BundleError, match=r"lists no file 'none\.onnx'"):
        Projectors.of(language, bundle.manifest.encoder.tokens, bundle.model)


def test_without_a_projector_features_are_embeddings() -> None:
    projectors = Projectors(TokenSpec((TokenPart("main", DIM),)), DIM)
    frame = usual_frame()
    visual = Reconstructor(projectors, Limits())(frame)
    for image, view in zip(visual.images, frame.views, strict=True):
        np.testing.assert_array_equal(image.embeds, view.tokens.features)


def test_parts_have_projectors_of_their_own_or_pass_unchanged(tmp_path: Path) -> None:
    """The main part is doubled, the first deepstack part is tripled, the second one stays."""
    parts = (TokenPart("main", 8), TokenPart("deepstack-0", 8), TokenPart("deepstack-1", 8))
    language = LanguageSpec(
        width=8,
        vocab=4,
        max_tokens=4,
        max_context=16,
        tokenizer="t",
        projector=ProjectorSpec("2.onnx"),
        part_projectors={"deepstack-0": ProjectorSpec("3.onnx")},
    )
    projectors = Projectors.of(
        language, TokenSpec(parts), lambda name: scaling(tmp_path / name, float(name[0]))
    )
    frame = frame_tokens([token_set([0, 5], dim=24), token_set([7], dim=24)])
    visual = Reconstructor(projectors, Limits(dim=24))(frame)
    for image, view in zip(visual.images, frame.views, strict=True):
        features = view.tokens.features
        np.testing.assert_allclose(image.embeds, 2 * features[:, :8], rtol=1e-6)
        assert image.deepstack is not None
        np.testing.assert_allclose(image.deepstack[0], 3 * features[:, 8:16], rtol=1e-6)
        np.testing.assert_array_equal(image.deepstack[1], features[:, 16:])


def scaling(path: Path, factor: float) -> ModelFile:
    """A projector that multiplies."""
    from onnx import TensorProto

    g = Graph()
    g.add("Mul", "features", g.constant(np.array(factor, np.float32)), to="embeds")
    g.save(path, {"features": (TensorProto.FLOAT, ["K", 8])}, {"embeds": ["K", 8]})
    return unlisted_model(path)
