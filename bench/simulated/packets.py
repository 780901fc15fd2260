"""Packets of the sample clip, made once, for edges that have no camera."""

from __future__ import annotations

from dataclasses import replace

from saccade.bundle import Bundle
from saccade_edge.gate import GateSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.runtime import RuntimeSettings
from saccade_edge.source import open_source
from saccade_export.demo.show import CLIP

FPS = 1.0  # neighbouring frames show the same vehicles; a second apart their number differs


def packets_of_clip(bundle: Bundle, count: int, settings: PipelineSettings) -> list[bytes]:
    """``count`` serialised FramePackets, in which every field but the sequence is as sent."""
    every = replace(settings, gate=GateSettings(threshold=0), runtime=RuntimeSettings(threads=1))
    pipeline = Pipeline(bundle, every)
    made: list[bytes] = []
    with open_source(str(bundle.folder / CLIP), "camera", fps=FPS) as source:
        for frame in source:
            packet = pipeline.look(frame).packet
            assert packet is not None, "a gate of 0 skips nothing"
            made.append(packet.SerializeToString())
            if len(made) == count:
                break
    return made
