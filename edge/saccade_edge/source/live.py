"""A live camera: one thread opens, reads and closes it; only its newest frame is kept.

Reading on although nobody fetches keeps the decoder at the present: a slow consumer sees
fewer frames, never old ones. The camera may be down at the start and go away at any time; it
is tried again for ever, with growing pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from saccade.errors import SourceError
from saccade.nouns import Frame
from saccade_edge.source.base import Source
from saccade_edge.source.slot import NewestSlot
from saccade_edge.source.video import Decoded, Video

log = logging.getLogger(__name__)

# Seconds before each further try; the last one repeats. A camera's reboot takes about 30 s.
RETRY_PAUSES_S = (1.0, 5.0, 10.0, 60.0)
# A camera that is silent for so long is taken for gone.
SILENCE_LIMIT_S = 20.0


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
        self._interval_s = 1 / fps if fps else 0.0
        self._endless = endless
        self._pauses_s = retry_pauses_s
        self._slot: NewestSlot[Frame] = NewestSlot()
        self._stop = threading.Event()
        self._count = 0
        self._error: SourceError | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, name=f"camera-{camera}", daemon=True)
        self._thread.start()

    @property
    def live(self) -> bool:
        return True

    @property
    def replaced(self) -> int:
        """Frames that were never fetched because a newer one came."""
        return self._slot.replaced

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
        self._stop.set()
        self._slot.close(discard=True)
        # A read that hangs ends with its own timeout: the thread is never torn off its camera.
        self._thread.join(SILENCE_LIMIT_S + 1)

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
            if not self._endless:
                break
            failures = 0 if self._count > before else failures
            pause_s = self._pauses_s[min(failures, len(self._pauses_s) - 1)]
            failures += 1
            log.warning("camera %s: %s; again in %g s", self._camera, self._error, pause_s)
            self._stop.wait(pause_s)

    def _play(self) -> None:
        video = self._open_video()
        try:
            started_s = time.monotonic()
            for shot in video.decode(self._interval_s):
                if not self._endless:
                    self._stop.wait(started_s + shot.time_s - time.monotonic())
                if self._stop.is_set():
                    return
                self._slot.put(self._frame(shot))
            self._error = SourceError(f"{video.name} ended") if self._endless else None
        finally:
            video.close()

    def _frame(self, shot: Decoded) -> Frame:
        """Stamped at arrival; numbered on across reconnections, so numbers never repeat."""
        self._count = max(self._count + 1, shot.number)
        return Frame(shot.picture, time.time_ns(), self._camera, self._count)
