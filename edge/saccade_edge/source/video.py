"""Decoding with PyAV: a container's frames as RGB pictures with their time."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from saccade.errors import SourceError
from saccade.nouns import U8, Frame
from saccade.redaction import scrub
from saccade_edge.source.bounds import MAX_PIXELS, check_size

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decoded:
    """``picture``: uint8 [H, W, 3] RGB; ``time_s`` from the first frame; ``number`` from 1."""

    picture: U8
    time_s: float
    number: int


class Video:
    """An open container and its first video stream. One thread opens, reads and closes it.

    ``driver`` names FFmpeg's input format where the URL does not say it (``v4l2``);
    ``name`` stands in errors, free of credentials. Raises ``SourceError`` when it cannot be
    opened, holds no video, or has pictures of absurd size.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        driver: str | None = None,
        options: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.name = name
        try:
            opened = av.open(url, format=driver, options=options or {}, timeout=timeout_s)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"cannot open {name}: {_reason(error)}") from error
        self._container: InputContainer = opened
        try:
            self._stream = self._first_stream()
        except SourceError:
            self.close()
            raise

    def _first_stream(self) -> VideoStream:
        if not self._container.streams.video:
            raise SourceError(f"{self.name} holds no video stream")
        stream = self._container.streams.video[0]
        check_size(stream.height, stream.width, what=self.name)
        # The size may change in mid-stream: FFmpeg refuses before it allocates.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        return stream

    def decode(self, min_interval_s: float = 0.0) -> Iterator[Decoded]:
        """Frames at least ``min_interval_s`` apart in the recording's own time.

        A damaged packet costs its frames, not the rest. ``SourceError`` when none is left.
        """
        start_s: float | None = None
        due_s = 0.0
        number = 0
        for number, frame in enumerate(self._frames(), start=1):
            stamp_s = frame.time if frame.time is not None else self._nominal_s(number)
            start_s = stamp_s if start_s is None else start_s
            time_s = stamp_s - start_s
            if time_s + 1e-6 >= due_s:  # a microsecond: rounded time stamps count as due
                due_s = max(due_s + min_interval_s, time_s)
                yield Decoded(self._picture(frame), time_s, number)
        if number == 0:
            raise SourceError(f"{self.name} holds no frame that can be decoded")

    def _frames(self) -> Iterator[VideoFrame]:
        damaged = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = self._stream.codec_context.decode(packet)
                except av.error.InvalidDataError:
                    damaged += 1
                    continue
                yield from frames
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} broke off: {_reason(error)}") from error
        finally:
            if damaged:
                log.warning("%s: %d damaged packets left out", self.name, damaged)

    def _nominal_s(self, number: int) -> float:
        """For containers without time stamps: the frame's place at the nominal rate."""
        return (number - 1) / float(self._stream.average_rate or 25)

    def _picture(self, frame: VideoFrame) -> U8:
        check_size(frame.height, frame.width, what=self.name)
        picture = frame.to_ndarray(format="rgb24")
        # Phones record sideways and say so: PyAV gives degrees counter-clockwise.
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(picture, turns), np.uint8)

    def close(self) -> None:
        self._container.close()


def video_frames(
    video: Video, camera: str, opened_ns: int, fps: float | None
) -> Generator[Frame, None, None]:
    """Every frame of a recording, or ``fps`` per second of it; captured as if it began at
    ``opened_ns`` (Unix nanoseconds).
    """
    for shot in video.decode(1 / fps if fps else 0.0):
        captured_ns = opened_ns + round(shot.time_s * 1e9)
        yield Frame(shot.picture, captured_ns, camera, shot.number)


def _reason(error: Exception) -> str:
    """Without secrets: FFmpeg's words may repeat the URL."""
    return scrub(str(getattr(error, "strerror", None) or error))
