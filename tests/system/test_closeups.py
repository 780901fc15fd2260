"""A plate's whole way: found inside a crop, looked at closely, read in another process."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

import saccade
from saccade.bundle import Bundle
from saccade.errors import NotInFrame
from saccade.types import U8
from saccade_drawn_world.crossing.scene import Scene

QUESTION = "what is the plate of vehicle 1 ?"
FRAMES = 6


@pytest.fixture(scope="module")
def plated(clip: Path) -> list[tuple[U8, str]]:
    """Frames of the sample clip whose largest vehicle has a plate, well apart, and the plates."""
    frames = json.loads(clip.with_suffix(".json").read_text())["frames"]
    first = [s.vehicles[0] if s.vehicles else None for s in map(Scene.from_json, frames)]
    plates = {i: v.plate for i, v in enumerate(first) if v and v.plate}
    with av.open(str(clip)) as film:
        pictures = [np.asarray(f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]
    chosen = list(plates)[:: len(plates) // FRAMES][:FRAMES]
    return [(pictures[i], plates[i]) for i in chosen]


def test_plates_of_the_clip_are_read(
    cloud: str, bundle: Bundle, plated: list[tuple[U8, str]]
) -> None:
    with saccade.connect(cloud, bundle=bundle, encode=saccade.EncodeOptions(threads=1)) as vision:
        read = [(vision.ask(picture, QUESTION).text, plate) for picture, plate in plated]
    assert len(read) == FRAMES
    assert sum(text == plate for text, plate in read) >= FRAMES - 1, read


def test_without_crops_nothing_is_looked_at_closely(
    cloud: str, bundle: Bundle, plated: list[tuple[U8, str]]
) -> None:
    picture, _ = plated[0]
    far = saccade.EncodeOptions(threads=1, max_crops=0)
    with saccade.connect(cloud, bundle=bundle, encode=far) as vision:
        with pytest.raises(NotInFrame, match="it has no vehicle"):
            vision.ask(picture, QUESTION)
        answer = vision.ask(picture, "how many vehicles are there ?")
    assert answer.bytes_sent < 700  # the overview alone
