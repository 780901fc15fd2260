"""Short films of the crossing with the truth of every frame beside them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from saccade_drawn_world.crossing.render import render_world
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH, Scene
from saccade_drawn_world.crossing.traffic import stage

MAX_BYTES = 3_000_000
_CRFS = (26, 29, 32, 35)  # x264's constant quality, coarser until the film is small enough


def write_clip(path: str | Path, seed: int, seconds: float = 24, fps: int = 10) -> Path:
    """Write an H.264 film to `path` and {fps, width, height, seed, frames} to the same name .json.

    Returns the path of the JSON file. Raises ValueError if no quality fits in `MAX_BYTES`.
    """
    target = Path(path)
    for crf in _CRFS:
        scenes = _encode(target, seed, seconds, fps, crf)
        if target.stat().st_size <= MAX_BYTES:
            return _write_truth(target.with_suffix(".json"), seed, fps, scenes)
    raise ValueError(
        f"{target}: {target.stat().st_size} bytes at crf {_CRFS[-1]}, the limit is {MAX_BYTES}"
    )


def _encode(target: Path, seed: int, seconds: float, fps: int, crf: int) -> list[Scene]:
    world = stage(seed, seconds)
    scenes: list[Scene] = []
    with av.open(str(target), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(fps),
            options={"crf": str(crf), "preset": "medium", "threads": "2"},
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(round(seconds * fps)):
            frame = render_world(world, number / fps)
            scenes.append(frame.scene)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.picture, format="rgb24")))
        container.mux(stream.encode(None))
    return scenes


def _write_truth(path: Path, seed: int, fps: int, scenes: list[Scene]) -> Path:
    record = {
        "seed": seed,
        "fps": fps,
        "width": WIDTH,
        "height": HEIGHT,
        "frames": [scene.to_json() for scene in scenes],
    }
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    return path
