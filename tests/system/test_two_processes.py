"""An edge process and a cloud process give the answers of the whole model in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.question_rules import crops_of
from saccade.types import FrameTokens
from saccade_cloud.local_cloud import LocalCloud
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import open_source
from saccade_testing.commands import run

QUESTIONS = ("how many vehicles are there ?", "what is vehicle 1 ?", "describe the scene .")
FPS = 1.0


def watch(cloud: str, bundle: Bundle, clip: Path, *words: str) -> list[dict[str, Any]]:
    asked = [f"--ask={question}" for question in QUESTIONS]
    common = ("--cloud", cloud, "--bundle", str(bundle.folder), "--json", "--threads", "1")
    done = run("edge", "run", str(clip), *common, "--fps", f"{FPS:g}", *asked, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def seen_here(bundle: Bundle, clip: Path, codec: str) -> Iterator[FrameTokens]:
    """The tokens of each frame as the cloud decodes them."""
    pipeline = Pipeline(
        bundle,
        PipelineSettings(
            encode=EncodeOptions(codec=codec),
            gate=GateSettings(threshold=0),
            runtime=RuntimeSettings(threads=1),
        ),
    )
    limits = Limits.of(bundle.manifest)
    with open_source(str(clip), "camera", fps=FPS) as source:
        for frame in source:
            packet = pipeline.process(frame).packet
            assert packet is not None
            yield unpack(packet, limits=limits, cameras=["camera"], epoch_unix_ms=0)


@pytest.mark.parametrize("codec", ["int8z", "f16"])
def test_answers_are_those_of_one_process(
    cloud: str, bundle: Bundle, clip: Path, codec: str
) -> None:
    events = watch(cloud, bundle, clip, "--codec", codec, "--gate", "0")
    told = {
        (event["sequence"], event["question"]): event["answer"]
        for event in events
        if event["event"] == "FrameAnswered"
    }
    with LocalCloud(bundle) as whole:
        asked = [(t, question) for t in seen_here(bundle, clip, codec) for question in QUESTIONS]
        expected = {
            (tokens.sequence, question): whole.ask(tokens, question).text
            for tokens, question in asked
            if 1 in crops_of(tokens.views) or "vehicle 1" not in question
        }
    assert len(asked) >= 20 * len(QUESTIONS)
    assert len(expected) > 0.9 * len(asked)
    assert told == expected


def test_every_frame_is_accounted_for(cloud: str, bundle: Bundle, clip: Path) -> None:
    events = watch(cloud, bundle, clip)
    kinds = [event["event"] for event in events]
    summary = events[-1]
    assert summary["event"] == "Summary"
    assert summary["complete"]
    assert summary["frames"] == kinds.count("FrameSent") + kinds.count("FrameSkipped")
    assert summary["sent"] == kinds.count("Acknowledged") == kinds.count("FrameSent")
    assert summary["refused"] == summary["not_in_frame"] == kinds.count("Refused")
    assert summary["answers"] + summary["refused"] == summary["sent"] * len(QUESTIONS)
    sent = {e["sequence"]: e["packet_bytes"] for e in events if e["event"] == "FrameSent"}
    heard = {e["sequence"]: e["packet_bytes"] for e in events if e["event"] == "Acknowledged"}
    assert heard == sent
    assert summary["packet_bytes"] == sum(sent.values())


def test_an_answer_tells_the_time_of_every_stage(cloud: str, bundle: Bundle, clip: Path) -> None:
    answered = [e for e in watch(cloud, bundle, clip) if e["event"] == "FrameAnswered"]
    edge = ["gate", "detect", "views", "encode", "select", "code"]
    far = ["link", "receive", "decode", "reconstruct", "queue", "prefill", "decode_tokens"]
    for event in answered:
        stages = event["stages_ms"]
        assert list(stages) == [*edge, *far]
        assert sum(stages.values()) == pytest.approx(event["total_ms"], abs=0.1)
