from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.errors import ConfigError, SourceError
from saccade.limits import Limits
from saccade.manifest import Manifest, OperatingPoint, TokensByKind
from saccade.packet import unpack
from saccade.selection import QUOTAS
from saccade.types import Frame
from saccade_edge.gate import GateSettings
from saccade_edge.image_encoder import ImageEncoder, encode_image
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings, settle
from saccade_edge.stopwatch import Stopwatch

MakeFrame = Callable[..., Frame]
EPOCH_UNIX_MS = 1_700_000_000_000 - 5_000


def settings(**changes: object) -> PipelineSettings:
    """``changes``: of the settings, and of how pictures are encoded."""
    fixed = {"epoch_unix_ms": EPOCH_UNIX_MS, "runtime": RuntimeSettings(threads=1)}
    ours = {field.name for field in fields(EncodeOptions)}
    encode = EncodeOptions(**{k: v for k, v in changes.items() if k in ours})  # type: ignore[arg-type]
    others = {k: v for k, v in changes.items() if k not in ours}
    return PipelineSettings(encode, **{**fixed, **others})  # type: ignore[arg-type]


def test_a_frame_becomes_a_packet_that_says_what_was_seen(
    bundle: Bundle, make_frame: MakeFrame
) -> None:
    result = Pipeline(bundle, settings(codec="f16")).process(make_frame(3))
    assert result.encoded is not None
    assert result.packet is not None
    assert [r.label for r in result.encoded.regions] == ["car"]
    assert [v.kind for v in result.encoded.views] == ["overview", "crop"]
    assert result.encoded.tokens.kept == 2 * 16
    limits = Limits.of(bundle.manifest)
    there = unpack(result.packet, limits=limits, cameras=["gate"], epoch_unix_ms=EPOCH_UNIX_MS)
    assert (there.sequence, there.camera, there.size) == (4, "gate", (96, 160))
    assert there.captured_ns == make_frame(3).captured_ns
    for mine, theirs in zip(result.encoded.tokens.views, there.views, strict=True):
        assert mine.window == theirs.window
        assert (mine.tokens.ids == theirs.tokens.ids).all()
        assert np.allclose(mine.tokens.features, theirs.tokens.features, atol=2e-3)


def test_every_stage_is_timed_in_order(bundle: Bundle, make_frame: MakeFrame) -> None:
    timing = Pipeline(bundle, settings()).process(make_frame()).timing
    assert list(timing.stages) == ["gate", "detect", "views", "encode", "select", "code"]
    assert all(ms > 0 for ms in timing.stages.values())


def test_a_frame_without_news_is_skipped_before_any_work(
    bundle: Bundle, make_frame: MakeFrame
) -> None:
    pipeline = Pipeline(bundle, settings())
    pipeline.process(make_frame())
    skipped = pipeline.process(make_frame())
    assert (skipped.verdict.reason, skipped.encoded, skipped.packet) == ("unchanged", None, None)
    assert list(skipped.timing.stages) == ["gate"]


def test_the_same_frame_gives_the_same_bytes(bundle: Bundle, make_frame: MakeFrame) -> None:
    packets = [Pipeline(bundle, settings()).process(make_frame(3)).packet for _ in range(2)]
    assert packets[0] == packets[1]


def test_saliency_encodes_the_overview_once(bundle: Bundle, make_frame: MakeFrame) -> None:
    result = Pipeline(bundle, settings(detector="saliency")).process(make_frame(3))
    assert result.encoded is not None
    assert 2 <= len(result.encoded.views) <= 5
    assert [v.kind for v in result.encoded.views].count("overview") == 1
    plain = Pipeline(bundle, settings()).process(make_frame(3))
    assert plain.encoded is not None
    overviews = [s.tokens.views[0].tokens for s in (result.encoded, plain.encoded)]
    assert (overviews[0].ids == overviews[1].ids).all()


def test_without_a_detector_the_whole_frame_is_all_that_is_sent(
    bundle: Bundle, make_frame: MakeFrame
) -> None:
    result = Pipeline(bundle, settings(detector="none")).process(make_frame(3))
    assert result.encoded is not None
    assert result.encoded.regions == ()
    assert [view.kind for view in result.encoded.views] == ["overview"]


def test_no_crops_leaves_the_overview(bundle: Bundle, make_frame: MakeFrame) -> None:
    result = Pipeline(bundle, settings(max_crops=0)).process(make_frame())
    assert result.encoded is not None
    assert [v.kind for v in result.encoded.views] == ["overview"]


def with_points(bundle: Bundle) -> Manifest:
    few, many = TokensByKind(8, 2, 4), TokensByKind(32, 16, 16)
    points = (
        OperatingPoint(crops=2, tokens=few, codec="int8z", layers=1, bytes=300, agreement=0.9),
        OperatingPoint(crops=4, tokens=many, codec="f16", layers=1, bytes=900, agreement=0.98),
    )
    chosen = replace(bundle.manifest.selection, point=0)
    return replace(bundle.manifest, points=points, selection=chosen)


def test_the_bundles_own_operating_point_is_what_is_sent(bundle: Bundle) -> None:
    plan = settle(with_points(bundle), settings())
    assert (plan.max_crops, plan.codec, plan.layers) == (2, "int8z", 1)
    assert plan.budgets(["overview", "crop", "closeup"]) == [8, 2, 4]


def test_another_operating_point_can_be_chosen_and_changed(bundle: Bundle) -> None:
    manifest = with_points(bundle)
    assert settle(manifest, settings(point=1)).tokens == TokensByKind(32, 16, 16)
    plan = settle(manifest, settings(point=1, tokens_per_view=3, codec="int8z", max_crops=1))
    assert (plan.tokens, plan.codec, plan.max_crops) == (TokensByKind.alike(3), "int8z", 1)
    assert plan.layers is None  # those of the point were another codec's


def test_an_operating_point_that_is_not_there_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="2 as operating point: the bundle allows 0 to 1"):
        settle(with_points(bundle), settings(point=2))
    with pytest.raises(ConfigError, match="operating point 0: the bundle has none"):
        settle(bundle.manifest, settings(point=0))


@pytest.mark.parametrize("quota", QUOTAS)
def test_a_quota_shares_what_the_views_have_together(
    bundle: Bundle, make_frame: MakeFrame, quota: str
) -> None:
    pipeline = Pipeline(bundle, settings(quota=quota, gate=GateSettings(threshold=0)))
    result = pipeline.process(make_frame(3))
    assert result.encoded is not None
    counts = [len(view.tokens.ids) for view in result.encoded.tokens.views]
    assert sum(counts) == 32
    assert min(counts) >= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers": 0}, "0 layers: the bundle allows 1 to 16"),
        ({"codec": "jpeg"}, "unknown codec 'jpeg', the bundle allows: f16, int8z"),
        ({"method": "guess"}, "unknown selection method 'guess'"),
        ({"method": "cdpruner"}, "unknown selection method 'cdpruner'"),
        (
            {"quota": "fair"},
            "unknown quota 'fair', the bundle allows: equal, thumbnail_quota, ata, correlation_",
        ),
        ({"tokens_per_view": 65}, "65 tokens per view: the bundle allows 1 to 64"),
        ({"tokens_per_view": 0}, "0 tokens per view"),
        ({"max_crops": 5}, "5 crops: the bundle allows 0 to 4"),
        ({"detector": "haar"}, "unknown detector 'haar'"),
    ],
)
def test_what_the_bundle_does_not_allow_is_said_before_the_first_frame(
    bundle: Bundle, change: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Pipeline(bundle, settings(**change))


def test_a_picture_file_and_its_array_give_the_same_tokens(
    bundle: Bundle, make_frame: MakeFrame, tmp_path: Path
) -> None:
    picture, path = make_frame(3).picture, tmp_path / "street.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    encoder = ImageEncoder(bundle, settings())
    from_file, timing = encoder.encode(path)
    from_array, _ = encoder.encode(picture)
    assert (from_file.views[0].tokens.features == from_array.views[0].tokens.features).all()
    assert (from_file.sequence, from_array.sequence) == (1, 2)
    assert list(timing.stages) == ["source", "detect", "views", "encode", "select"]
    with pytest.raises(SourceError, match="cannot read"):
        encode_image(bundle, tmp_path / "gone.png")


def test_an_inner_stages_time_is_not_the_outer_ones() -> None:
    watch = Stopwatch()
    with watch.stage("detect"), watch.stage("encode"):
        total = sum(i * i for i in range(200_000))
    stages = watch.timing().stages
    assert total > 0
    assert stages["detect"] < stages["encode"] / 5
    assert list(stages) == ["detect", "encode"]
