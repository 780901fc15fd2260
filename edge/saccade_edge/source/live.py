"""A live camera: one thread opens, reads and closes it; only its newest frame is kept.

Reading on although nobody fetches keeps the decoder at the present: a slow consumer sees
fewer frames, never old ones. The camera may be down at the start and go away at any time; it
is tried again for ever, with growing pauses. A frame's time is when it arrived: a camera's own time
stamps are not used, so none of them can hold a frame back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from saccade.errors import SourceError
from saccade.types import Frame
from saccade_edge.source.base import CLOSE_WAIT_S, CameraState, Source
from saccade_edge.source.newest_slot import NewestSlot
from saccade_edge.source.timeline import ArrivalClock, Sampler
from saccade_edge.source.video import Damage, Shot, Video, timed

log = logging.getLogger(__name__)

# Seconds before each further try; the last one repeats. A camera's reboot takes about 30 s.
RETRY_PAUSES_S = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# A camera that gives no picture for so long is taken for gone.
SILENCE_LIMIT_S = 20.0
# A frame that comes by so much of an interval early is on time: networks do not keep time.
EARLY = 0.25
# The longest pause of a recording that is played like a camera.
MAX_PAUSE_S = 10.0


class LiveSource(Source):
    """``open_video`` is called in the reading thread, again after each loss when ``endless``.

    Without ``endless`` the source ends with its video, and frames come at the video's own
    pace: a recording that plays the part of a camera.
    """

    def __init__(
        self,
        open_video: Callable[[], Video],
        camera: str,
        *,
        fps: float | None = None,
        endless: bool = True,
        retry_pauses_s: tuple[float, ...] = RETRY_PAUSES_S,
    ) -> None:
        self._open_video = open_video
        self._camera = camera
        self._endless = endless
        self._sampler = Sampler(fps, EARLY if endless else 0.0)
        self._pauses_s = retry_pauses_s
        self._slot: NewestSlot[Frame] = NewestSlot()
        self._stop = threading.Event()
        self._clock = ArrivalClock()
        self._count = 0
        self._undecoded = 0
        self._error: SourceError | None = None
        self._ended = False
        self._given_up_s = math.inf
        self._state = CameraState(readable=False, since_unix_ms=_now_ms())
        self._thread = threading.Thread(target=self._read, name=f"camera-{camera}", daemon=True)
        self._thread.start()

    @property
    def live(self) -> bool:
        return True

    @property
    def replaced(self) -> int:
        """Frames that were never fetched because a newer one came."""
        return self._slot.replaced

    @property
    def undecoded(self) -> int:
        """Packets that could not be decoded, and frames that could not be shown."""
        return self._undecoded

    @property
    def camera_state(self) -> CameraState | None:
        return self._state if self._endless else None

    def __next__(self) -> Frame:
        frame = self._slot.take()
        if frame is not None:
            return frame
        if self._stop.is_set():
            raise StopIteration
        if self._error is not None:
            raise self._error
        if not self._ended:
            raise SourceError(f"the reader of camera {self._camera} broke down, see the log")
        raise StopIteration

    def close(self) -> None:
        if not self._stop.is_set():
            self._given_up_s = time.monotonic() + CLOSE_WAIT_S
            self._stop.set()
        self._slot.close(discard=True)
        # A read that hangs is left to its own time-out: it closes the camera, and gives nothing.
        self._thread.join(max(0.0, self._given_up_s - time.monotonic()))

    def _read(self) -> None:
        try:
            self._read_on()
            self._ended = True
        finally:
            self._slot.close()  # also after a defect: nobody waits for a thread that is gone

    def _read_on(self) -> None:
        failures = 0
        while not self._stop.is_set():
            before = self._count
            try:
                self._play()
            except SourceError as error:
                self._error = error
            if not self._endless or self._stop.is_set():
                break
            failures = 0 if self._count > before else failures
            pause_s = self._pauses_s[min(failures, len(self._pauses_s) - 1)]
            failures += 1
            log.warning("camera %s: %s; again in %g s", self._camera, self._error, pause_s)
            self._lost(pause_s)
            self._stop.wait(pause_s)

    def _play(self) -> None:
        self._state = replace(self._state, next_try_unix_ms=None)
        video = self._open_video()
        damaged = 0
        try:
            before = self._count
            for item, time_s in self._paced(video):
                if self._stop.is_set():
                    return
                self._count = before + item.number
                if isinstance(item, Damage):
                    damaged += item.packets
                    self._left_out(item.packets, f"{video.name}: {item}", damaged)
                elif self._sampler.takes(time_s):
                    self._show(video, item)
                else:
                    self._came()
            self._error = SourceError(f"{video.name} ended") if self._endless else None
        finally:
            video.close()

    def _paced(self, video: Video) -> Iterator[tuple[Shot | Damage, float]]:
        """A camera's items as they arrive, a recording's at their own pace; with the time in
        seconds by which they are sampled.
        """
        if self._endless:
            yield from ((item, time.monotonic()) for item in video.shots())
            return
        begun_s = time.monotonic()
        for item, time_s in timed(video):
            wait_s = begun_s + time_s - time.monotonic()
            if wait_s > MAX_PAUSE_S:
                begun_s -= wait_s - MAX_PAUSE_S
            self._stop.wait(min(wait_s, MAX_PAUSE_S))
            yield item, time_s

    def _show(self, video: Video, shot: Shot) -> None:
        """Stamped at arrival; numbered on across reconnections, so numbers never repeat."""
        captured_ns = self._clock.now_ns()
        try:
            picture = video.picture(shot)
        except SourceError as error:
            self._left_out(1, error.message, self._undecoded + 1)
            return
        self._came()
        self._slot.put(Frame(picture, captured_ns, self._camera, self._count))

    def _left_out(self, packets: int, reason: str, so_far: int) -> None:
        """Counted, and logged at 1, 2, 4, 8 ...: a camera on a bad link has many of them."""
        self._undecoded += packets
        if so_far & (so_far - 1) == 0:
            log.warning("camera %s: %s (%d so far)", self._camera, reason, self._undecoded)

    def _came(self) -> None:
        now_ms = _now_ms()
        since_ms = self._state.since_unix_ms if self._state.readable else now_ms
        self._state = CameraState(True, since_ms, last_frame_unix_ms=now_ms)

    def _lost(self, pause_s: float) -> None:
        now_ms = _now_ms()
        since_ms = now_ms if self._state.readable else self._state.since_unix_ms
        self._state = CameraState(
            False,
            since_ms,
            self._error.message if self._error else "",
            now_ms + round(pause_s * 1000),
            self._state.last_frame_unix_ms,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
