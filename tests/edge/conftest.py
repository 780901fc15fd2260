"""Real videos, pictures and models, made small."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.types import U8, Frame
from saccade_testing.edge_bundle import write_edge_bundle

SIZE = (96, 160)  # height, width of the pictures here


def street(step: int, size: tuple[int, int] = SIZE) -> U8:
    """A grey street on which a bright block moves 4 pixels a step: uint8 [H, W, 3]."""
    height, width = size
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[height // 2 :] = 120
    left = (8 + 4 * step) % (width - 32)
    picture[height // 3 : height // 3 + 24, left : left + 32] = (220, 40, 30)
    return picture


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its detector finds what is red."""
    return write_edge_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    """``make_frame(step)``: a frame of the street, 0.1 s a step."""

    def make(step: int = 0, picture: U8 | None = None) -> Frame:
        shown = street(step) if picture is None else picture
        return Frame(shown, 1_700_000_000_000_000_000 + step * 100_000_000, "gate", step + 1)

    return make


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """``make_video(frames, fps)`` writes an H.264 mp4 of the street."""

    def make(frames: int = 10, fps: int = 10, name: str = "street.mp4") -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            stream.codec_context.time_base = Fraction(1, fps)
            for step in range(frames):
                frame = av.VideoFrame.from_ndarray(street(step), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make
