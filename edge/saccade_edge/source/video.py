"""Decoding with PyAV: the frames of a container's video stream, none left out in silence."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from saccade.errors import SourceError
from saccade.redaction import scrub
from saccade.types import U8, Frame
from saccade_edge.source.base import FrameError
from saccade_edge.source.display import Display
from saccade_edge.source.picture_bounds import MAX_PIXELS, check_size
from saccade_edge.source.timeline import Sampler, Timeline

log = logging.getLogger(__name__)

# Pictures that stand for a recording, such as a song's cover: no video.
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails


@dataclass(frozen=True, slots=True)
class Shot:
    """A decoded frame. ``number``: its place in the video, from 1; packets that cannot be decoded
    have their places, too. ``pixel_aspect``: a pixel's width to its height, None: not known.
    """

    frame: VideoFrame
    number: int
    pixel_aspect: Fraction | None

    @property
    def stamp(self) -> Fraction | None:
        """Its time stamp in seconds: what the container says, be it right or wrong."""
        ticks = self.frame.pts if self.frame.pts is not None else self.frame.dts
        if ticks is None or not self.frame.time_base:
            return None
        return ticks * Fraction(self.frame.time_base)


@dataclass(frozen=True, slots=True)
class Damage:
    """``packets`` in a row from place ``number`` on that cannot be decoded, and why."""

    number: int
    packets: int
    reason: str

    def __str__(self) -> str:
        last = self.number + self.packets - 1
        which = f"packet {last}" if self.packets == 1 else f"packets {self.number} to {last}"
        return f"{which} cannot be decoded: {self.reason}"


class Video:
    """An open container and its video stream. One thread opens, reads and closes it; any thread may
    `interrupt` it.

    ``driver`` names FFmpeg's input format where the URL does not say it (``v4l2``);
    ``name`` stands in errors, free of credentials. ``timeout_s``: how long opening, and each
    packet, may take, and after how long without a frame the video has broken off; None: for ever.
    ``prompt``: the first frame soon, and the frame rate not measured.
    Raises ``SourceError`` when it cannot be opened, holds no video, or has pictures of absurd size.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        driver: str | None = None,
        options: dict[str, str] | None = None,
        timeout_s: float | None = None,
        prompt: bool = False,
    ) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._interrupted = threading.Event()
        # Nobody asks a camera's rate: measuring it would hold the first frame back for 20 frames.
        quick = {"fpsprobesize": "0"} if prompt else {}
        options = {**quick, **(options or {})}
        try:
            opened = av.open(url, format=driver, options=options, timeout=timeout_s)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"cannot open {name}: {self._reason(error)}") from error
        self._container: InputContainer = opened
        try:
            self._stream = self._video_stream()
        except SourceError:
            self.close()
            raise
        # Not one thread a frame: that gives each frame later by as many as there are threads, and
        # damage near the end would take frames with it that PyAV cannot fetch any more.
        self._stream.thread_type = ThreadType.SLICE
        self._display = Display(name)
        self._aspects = _PixelAspects(self._stream)

    def _video_stream(self) -> VideoStream:
        """The one that FFmpeg would take: one that is marked as default, then the largest; of two
        alike, such as an AVIF sequence and its title picture, the one that is more than a picture.
        """
        streams = [
            stream
            for stream in self._container.streams.video
            if stream.codec_context is not None and not stream.disposition & _STILLS
        ]
        if not streams:
            raise SourceError(f"{self.name} holds no video stream")
        stream = max(
            streams,
            key=lambda s: (
                bool(s.disposition & Disposition.default),
                s.width * s.height,
                s.frames != 1,
            ),
        )
        if stream.width or stream.height:  # a camera may say it with the first key frame only
            check_size(stream.height, stream.width, what=self.name)
        # The size may change in mid-stream: FFmpeg refuses before it allocates.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    @property
    def interval_s(self) -> float | None:
        """From frame to frame, as the container says."""
        rate = self._stream.average_rate
        return 1 / float(rate) if rate else None

    def shots(self) -> Generator[Shot | Damage, None, None]:
        """Every frame, and what could not be decoded. Ends early after `interrupt`.

        Raises ``SourceError`` when the video breaks off, or no frame comes out of it.
        """
        place, frames = 1, 0
        damage: Damage | None = None
        for item in self._decoded():
            if isinstance(item, str):
                first, packets = (damage.number, damage.packets) if damage else (place, 0)
                damage = Damage(first, packets + 1, item)
                place += 1
                continue
            if damage is not None:
                yield damage
                damage = None
            yield Shot(item, place, self._aspects.of(item))
            place, frames = place + 1, frames + 1
        if damage is not None:
            yield damage
        if frames == 0 and not self._interrupted.is_set():
            raise SourceError(f"{self.name} holds no frame that can be decoded")

    def _decoded(self) -> Iterator[VideoFrame | str]:
        """Frames, and for each packet that cannot be decoded the reason."""
        last_s = time.monotonic()
        for packet in self._packets():
            if self._interrupted.is_set():
                return
            try:
                frames = self._stream.codec_context.decode(packet) if packet is not None else []
            except av.error.EOFError:  # it was emptied before
                frames = []
            except av.error.FFmpegError as error:
                yield self._reason(error)
                frames = []
            if frames:
                last_s = time.monotonic()
            yield from frames
            waited_s = time.monotonic() - last_s
            if self._timeout_s is not None and waited_s > self._timeout_s:
                raise SourceError(
                    f"{self.name} broke off: it sends data, but no picture since {waited_s:.0f} s"
                )

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """Of the stream; None for another stream's, which shows that time passes. At the end, and
        when the video breaks off, an empty one: it has the decoder give what it still holds.
        """
        index = self._stream.index
        try:
            for packet in self._container.demux():
                yield packet if packet.stream.index == index else None
        except (av.error.FFmpegError, OSError) as error:
            if not isinstance(error, av.error.ExitError):
                yield Packet()
            raise SourceError(f"{self.name} broke off: {self._reason(error)}") from error

    def picture(self, shot: Shot) -> U8:
        """uint8 [H, W, 3] RGB, upright, with square pixels. Raises ``SourceError``."""
        return self._display.picture(shot.frame, shot.pixel_aspect)

    def interrupt(self) -> None:
        """Have `shots` end after the packet that is under way."""
        self._interrupted.set()

    def close(self) -> None:
        self._container.close()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, av.error.ExitError):
            return f"no answer within {self._timeout_s:g} s"
        return scrub(str(getattr(error, "strerror", None) or error))  # FFmpeg repeats URLs


class _PixelAspects:
    """Each frame's pixel aspect ratio, from what the container and the codec say.

    As in FFmpeg the container's word counts; once the codec changes its own, the codec's. It is
    known when a key frame is decoded, and frames of before may still be on their way.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._codec = stream.codec_context
        self._said = self._codec.sample_aspect_ratio
        self._aspect = stream.sample_aspect_ratio or self._said
        self._size: tuple[int, int] | None = None

    def of(self, frame: VideoFrame) -> Fraction | None:
        size = (frame.height, frame.width)
        says = self._codec.sample_aspect_ratio
        if says != self._said and (frame.key_frame or size != self._size):
            first = self._size is None and not says
            self._said = says
            if not first:
                self._aspect = says
        self._size = size
        return self._aspect


def video_frames(
    video: Video, camera: str, opened_ns: int, fps: float | None
) -> Generator[Frame | FrameError, None, None]:
    """Every frame of a recording, or ``fps`` per second of it; captured as if it began at
    ``opened_ns`` (Unix nanoseconds). What cannot be decoded is an error in its place.
    """
    sampler = Sampler(fps)
    for item, time_s in timed(video):
        if isinstance(item, Damage):
            yield FrameError(f"{video.name}: {item}", item.number)
        elif sampler.takes(time_s):
            try:
                picture = video.picture(item)
            except SourceError as error:
                yield FrameError(error.message, item.number)
                continue
            yield Frame(picture, opened_ns + round(time_s * 1e9), camera, item.number)


def timed(video: Video) -> Iterator[tuple[Shot | Damage, float]]:
    """A recording's items with their seconds since its first frame, see `Timeline`."""
    timeline = Timeline(video.interval_s)
    try:
        for item, following in _with_next(video.shots()):
            yield item, timeline.place(_stamp(item), _stamp(following))
    finally:
        if timeline.jumps:
            log.warning(
                "%s: its time stamps jump %d times; the parts are joined",
                video.name,
                timeline.jumps,
            )


def _stamp(item: Shot | Damage | None) -> Fraction | None:
    return item.stamp if isinstance(item, Shot) else None


def _with_next(
    items: Iterator[Shot | Damage],
) -> Iterator[tuple[Shot | Damage, Shot | Damage | None]]:
    """Each item with the one after it; where ``items`` fail, all of before come first."""
    held: list[Shot | Damage] = []
    try:
        for item in items:
            if held:
                yield held.pop(), item
            held.append(item)
    except SourceError:
        yield from zip(held, itertools.repeat(None))
        raise
    yield from zip(held, itertools.repeat(None))
