"""Stage times on their way to the wire."""

from __future__ import annotations

from saccade.types import Timing
from saccade.v1 import vision_pb2 as pb


def stage_times(timing: Timing | None) -> list[pb.StageTime]:
    """One message per stage, in the order in which they happened; none for no timing."""
    stages = timing.stages if timing else {}
    return [pb.StageTime(stage=stage, ms=ms) for stage, ms in stages.items()]
