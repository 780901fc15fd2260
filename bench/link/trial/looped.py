"""A clip as a camera that never ends: the newest frame only, each captured at a known time."""

from __future__ import annotations

import itertools
import math
import threading
import time

from saccade.errors import SourceError
from saccade.types import U8, Frame
from saccade_edge.source.base import Source
from saccade_edge.source.video import Video, video_frames


class LoopedSource(Source):
    """``count`` frames, one every ``interval_s`` from ``begin_unix_s`` on, the clip's in turn.

    Whoever comes late gets the newest, as with a camera; ``replaced`` counts those that nobody got.
    Frame k of 0.. has the sequence k + 1.
    """

    def __init__(
        self, path: str, camera: str, *, count: int, interval_s: float, begin_unix_s: float
    ) -> None:
        self._pictures = _pictures(path, interval_s)
        self._camera = camera
        self._count = count
        self._interval_s = interval_s
        self._begin_s = begin_unix_s
        self._next = 0
        self._closed = threading.Event()
        self.replaced = 0

    @property
    def live(self) -> bool:
        return True

    def captured_ns(self, number: int) -> int:
        """When frame ``number`` of 0.. is captured, Unix nanoseconds."""
        return round((self._begin_s + number * self._interval_s) * 1e9)

    def __next__(self) -> Frame:
        there = math.floor((time.time() - self._begin_s) / self._interval_s)
        newest = min(max(self._next, there), self._count - 1)
        if self._next >= self._count:
            raise StopIteration
        self.replaced += newest - self._next
        captured_ns = self.captured_ns(newest)
        if self._closed.wait(max(captured_ns / 1e9 - time.time(), 0.0)):
            raise StopIteration
        self._next = newest + 1
        picture = self._pictures[newest % len(self._pictures)]
        return Frame(picture, captured_ns, self._camera, newest + 1)

    def close(self) -> None:
        self._closed.set()


def _pictures(path: str, interval_s: float) -> list[U8]:
    """The clip's, so far apart; at most a minute's. Raises ``SourceError``."""
    video = Video(path, path)
    try:
        frames = video_frames(video, "camera", 0, 1 / interval_s)
        good = (frame.picture for frame in frames if isinstance(frame, Frame))
        pictures = list(itertools.islice(good, math.ceil(60 / interval_s)))
    finally:
        video.close()
    if not pictures:
        raise SourceError(f"{path} holds no frame")
    return pictures


def clip_frames(path: str, interval_s: float) -> list[Frame]:
    """The clip's frames, so far apart, to measure what they weigh."""
    return [
        Frame(picture, 0, "camera", n) for n, picture in enumerate(_pictures(path, interval_s), 1)
    ]
