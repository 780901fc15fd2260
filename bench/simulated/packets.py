"""Packets of the sample clip, made once, for edges that have no camera."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saccade import codecs
from saccade.bundle import CLIP, Bundle
from saccade.limits import Limits
from saccade.packet import pack, unpack
from saccade.types import TokenSet
from saccade.v1 import tokens_pb2
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import open_source

FPS = 1.0  # neighbouring frames show the same vehicles; a second apart their number differs


def packets_of_clip(bundle: Bundle, count: int, settings: PipelineSettings) -> list[bytes]:
    """``count`` serialised FramePackets, in which every field but the sequence is as sent."""
    every = replace(settings, gate=GateSettings(threshold=0), runtime=RuntimeSettings(threads=1))
    pipeline = Pipeline(bundle, every)
    made: list[bytes] = []
    with open_source(str(bundle.folder / CLIP), "camera", fps=FPS) as source:
        for frame in source:
            packet = pipeline.process(frame).packet
            assert packet is not None, "a gate of 0 skips nothing"
            made.append(packet.SerializeToString())
            if len(made) == count:
                break
    return made


def distinct(bundle: Bundle, packets: Sequence[bytes], count: int) -> list[bytes]:
    """``count`` packets of which no two show the cloud the same: those of ``packets`` in turn, each
    without a few tokens that chance chooses. A cloud reads equal frames once, and no two of a
    camera's are.
    """
    known, limits, dice = codecs.of(bundle), Limits.of(bundle.manifest), random.Random(1)
    made: list[bytes] = []
    for number in range(count):
        packet = tokens_pb2.FramePacket.FromString(packets[number % len(packets)])
        frame = unpack(packet, limits=limits, cameras=[""], epoch_unix_ms=0, codecs=known)
        views = tuple(replace(view, tokens=_fewer(view.tokens, dice)) for view in frame.views)
        coding = known.by_wire_id(packet.codec).name
        fewer = pack(replace(frame, views=views), coding, epoch_unix_ms=0, codecs=known)
        made.append(fewer.SerializeToString())
    return made


def _fewer(tokens: TokenSet, dice: random.Random) -> TokenSet:
    """Without two of them, where there are more than four."""
    count = len(tokens.ids)
    left = sorted(dice.sample(range(count), count - 2 if count > 4 else count))
    order = np.argsort(np.argsort(tokens.order))[left]  # each row's place
    return TokenSet(
        tokens.features[left], tokens.ids[left], tokens.grid, np.argsort(order).astype(np.int32)
    )
