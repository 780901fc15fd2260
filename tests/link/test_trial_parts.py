"""What a trial puts in place of the product's parts: a looped clip, pictures, foresight."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bench.link.trace import Trace
from bench.link.trial.edge import EdgePlan
from bench.link.trial.foresight import Foresight
from bench.link.trial.looped import LoopedSource, clip_frames
from bench.link.trial.picture_cloud import PIXELS
from bench.link.trial.pictures import (
    PicturePipeline,
    measured_points,
    tokens_of,
    with_points,
)
from bench.pixels import codecs

from saccade.bundle import CLIP, Bundle
from saccade.client import EncodeOptions
from saccade.errors import PacketError
from saccade.limits import Limits
from saccade_edge.budget import BudgetSettings
from saccade_edge.encode import Encoder
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings, settle

ONE = RuntimeSettings(threads=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open("crossing")


def looped(bundle: Bundle, count: int, begin_unix_s: float) -> LoopedSource:
    clip = str(bundle.folder / CLIP)
    return LoopedSource(clip, "gate", count=count, interval_s=0.05, begin_unix_s=begin_unix_s)


def test_frames_come_at_their_times(bundle: Bundle) -> None:
    begin_s = time.time() + 3.0
    source = looped(bundle, 3, begin_s)
    frames = list(source)
    assert [f.captured_ns for f in frames] == [source.captured_ns(n) for n in range(3)]
    assert time.time() >= begin_s + 0.1
    assert (len(frames), source.replaced) == (3, 0)


def test_who_comes_late_gets_the_newest(bundle: Bundle) -> None:
    with looped(bundle, 5, time.time() - 60) as source:
        assert [frame.sequence for frame in source] == [5]
        assert source.replaced == 4


def test_a_closed_source_does_not_wait(bundle: Bundle) -> None:
    source = looped(bundle, 3, time.time() + 3600)
    source.close()
    assert list(source) == []


def test_a_picture_becomes_every_token_of_its_views(bundle: Bundle) -> None:
    clip = str(bundle.folder / CLIP)
    frame = clip_frames(clip, 0.5)[3]
    pixels = Bundle.open(PIXELS)
    points = measured_points(bundle, "JPEG", [frame])
    assert [p.bytes for p in points] == sorted(p.bytes for p in points)
    edge = with_points(bundle, points)
    settings = PipelineSettings(gate=GateSettings(threshold=0), runtime=ONE)
    pipeline = PicturePipeline(edge, settings, codecs()["JPEG"])
    plans = [
        settle(edge.manifest, PipelineSettings(encode=EncodeOptions(point=n)))
        for n in range(len(points))
    ]
    packets = [pipeline.process(frame, plan=plan).packet for plan in (plans[0], plans[-1])]
    sizes = [packet.ByteSize() for packet in packets if packet is not None]
    assert sizes[1] > 5 * sizes[0]
    encoder, limits = Encoder(pixels, ONE), Limits.of(bundle.manifest)
    assert packets[1] is not None
    seen = tokens_of(packets[1], limits, encoder, camera="gate", epoch_unix_ms=0)
    assert len(seen.views) > 1
    assert all(len(view.tokens.ids) == limits.tokens_per_view for view in seen.views)
    packets[1].layers.append(b"")
    with pytest.raises(PacketError, match="2 layers"):
        tokens_of(packets[1], limits, encoder, camera="gate", epoch_unix_ms=0)


def test_foresight_spools_what_an_outage_would_make_late(bundle: Bundle) -> None:
    trace = Trace.steps([(10, 1e6), (10, 0.0), (10, 1e6)], delay_s=0.02)
    now_s = 0.0
    budget = Foresight(bundle.manifest, BudgetSettings(), trace, lambda: now_s, frames=50)
    live = []
    for step in range(50):
        now_s = step * 0.5
        live.append(budget.decide(now_s, 0.0, "gate").live)
    # Captured in 10 ... 18 s: more than the deadline before the link's return.
    assert [s for s in range(50) if not live[s]] == list(range(20, 37))
    budget.lost_connection(now_s)
    assert not budget.decide(now_s, 0.0, "gate").live


def test_a_plan_is_read_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    plan = EdgePlan(
        cloud="127.0.0.1:1",
        bundle="crossing",
        clip="clip.mp4",
        spool="spool",
        policy="oracle",
        codec="AVIF",
        points=bundle.manifest.points[:2],
        frames=4,
        fps=2.0,
        deadline_s=2.0,
        begin_unix_s=8.0,
        link_unix_s=0.0,
        times_s=(0.0, 1.0),
        through=(0.0, 100.0),
        delay_s=0.04,
    )
    plan.write(tmp_path / "plan.json")
    read = EdgePlan.read(tmp_path / "plan.json")
    assert read.points == plan.points
    assert (tuple(read.times_s), read.delay_s) == (plan.times_s, plan.delay_s)
