"""The cloud's load: what answers wait for the engine, and how many frames edges may send for it.

Pure: no clock, no I/O; times are passed in, seconds of one monotonic clock. Only frames a minute
are bounded, not tokens a frame: edges ask about frames, so fewer frames are fewer answers, whatever
makes them slow.

Each device has a share of the engine (`saccade_cloud.engines.fair_queue`), and so a load of its
own: a device whose answers wait is bounded, a device beside it whose answers do not is not.

- A bound begins when a device's answers wait longer than they may: an equal share, for each of its
  streams, of what the engine serves the device.
- From then on the wait is held below a third of that. While it is longer, the bound falls to what
  the engine serves, and a little lower, so that the queue ends; while it is shorter, the bound goes
  up, a few small steps at a time, until there is none.
- The wait is that of a question that would come now. The age of those that wait says too late that
  they are many, and an engine whose queue is full serves less: refusing takes time, too.
- The wait that counts is that of cameras. A recording asks as fast as it is answered, so its
  questions always wait: it has the bound of its device's cameras, and none without them.

The constants were chosen in a simulation of engines of 5 to 240 answers a second and 1 to 400 edges
(tests/system/test_load_settles.py), and tried on the real one (bench/load.py).
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from dataclasses import dataclass

# Frames a minute of one edge: whole numbers, from 10 on R20 of ISO 3, 12 % apart. A finer bound
# would be said more often than it is worth; a coarser one leaves the engine idle.
STEPS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 56),
    *(63, 71, 80, 90, 100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500),
)
NONE = len(STEPS)  # the step of no bound
SETTLED = 0.3  # of the longest wait: held below it, so that a burst has room
LOWEST = 0.5  # of what is served, however long the queue is
DRAIN_S = 6.0  # in which a queue that is too long would be served; faster, it swings
LEAST = 0.25  # a fall leaves so much of what was asked: a pause of the engine is not its end
WINDOW_S = 2.0  # over which what was asked and served counts
DOWN_S = 2.0  # between two falls: the window is of the last bound by then
UP_S = 2.0  # between two rises: edges have heard of the last one, and the wait shows it
MOST_UP = 3  # steps of one rise, where nothing waits
RATE_S = 10.0  # in which the most that the engine served is forgotten
UPDATE_S = 0.25
ASKED_S = 120.0  # who asked within it shares: twice the interval of the lowest bound
MOST_KEPT = 4096  # questions of the window


@dataclass(slots=True)
class _Stream:
    recording: bool
    asked_s: float
    sequence: int = 0  # of the last frame that it asked about


class Load:
    """``longest_s``: what a camera's answer may wait for its first token; 0 never bounds."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._devices: dict[str, _DeviceLoad] = {}
        self._device_of: dict[object, str] = {}  # by stream
        self._questions: dict[int, _DeviceLoad] = {}
        self._numbers = 0

    def asks(
        self,
        stream: object,
        sequence: int,
        now_s: float,
        *,
        device: str = "",
        recording: bool = False,
    ) -> int | None:
        """A ``stream`` of ``device`` asks about a frame, and shares in the device's bound from now
        on. The question's number for ``begins`` and ``leaves``; None where its wait does not count.
        """
        load = self._devices.setdefault(device, _DeviceLoad(self._longest_s))
        self._device_of[stream] = device
        self._numbers += 1
        if not load.asks(stream, self._numbers, sequence, now_s, recording=recording):
            return None
        self._questions[self._numbers] = load
        return self._numbers

    def begins(self, number: int | None, now_s: float) -> None:
        """An answer's first token is there. Later tokens change nothing."""
        if number is not None and number in self._questions:
            self._questions[number].begins(number, now_s)

    def leaves(self, number: int | None) -> None:
        """A question ended, with or without an answer."""
        load = self._questions.pop(number, None) if number is not None else None
        if load is not None and number is not None:
            load.leaves(number)

    def ended(self, stream: object) -> None:
        device = self._device_of.pop(stream, None)
        if device is not None and self._devices[device].ended(stream):
            del self._devices[device]

    def bound(self, stream: object, now_s: float) -> tuple[int, str]:
        """Frames a minute that ``stream`` may send, and why; 0 for no bound.

        Who has not asked for ``ASKED_S`` costs the engine nothing and is not bounded.
        """
        device = self._device_of.get(stream)
        return (0, "") if device is None else self._devices[device].bound(stream, now_s)


class _DeviceLoad:
    """Of one device."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._waiting: dict[int, float] = {}  # question -> when it came, oldest first
        self._asked: deque[tuple[float, bool]] = deque(maxlen=MOST_KEPT)  # when, a frame's first
        self._served: deque[float] = deque(maxlen=MOST_KEPT)  # when
        self._streams: dict[object, _Stream] = {}
        self._rate = 0.0  # answers a second: what the engine has shown that it serves
        self._step = NONE
        self._reason = ""
        self._changed_s = self._updated_s = float("-inf")

    def asks(
        self, stream: object, number: int, sequence: int, now_s: float, *, recording: bool
    ) -> bool:
        """Whether the question's wait counts."""
        known = self._streams.setdefault(stream, _Stream(recording, now_s))
        first, known.sequence, known.asked_s = known.sequence != sequence, sequence, now_s
        if not recording:
            self._asked.append((now_s, first))
            self._waiting[number] = now_s
        return not recording

    def begins(self, number: int, now_s: float) -> None:
        if self._waiting.pop(number, None) is not None:
            self._served.append(now_s)

    def leaves(self, number: int) -> None:
        self._waiting.pop(number, None)

    def ended(self, stream: object) -> bool:
        """Whether nothing of the device is left."""
        self._streams.pop(stream, None)
        return not self._streams and not self._waiting

    def wait_s(self, now_s: float) -> float:
        """What a question that comes now will wait, as far as can be told: the age of the oldest,
        or the time in which the engine serves as many as wait, if that is more.
        """
        oldest_s = next(iter(self._waiting.values()), now_s)
        queue_s = len(self._waiting) / self._rate if self._rate else 0.0
        return max(now_s - oldest_s, queue_s)

    def bound(self, stream: object, now_s: float) -> tuple[int, str]:
        """See ``Load.bound``."""
        if self._longest_s > 0 and now_s - self._updated_s >= UPDATE_S:
            self._updated_s = now_s
            self._update(now_s)
        known = self._streams.get(stream)
        if known is None or now_s - known.asked_s > ASKED_S:
            return 0, ""
        return (STEPS[self._step] if self._step < NONE else 0), self._reason

    def _update(self, now_s: float) -> None:
        while self._asked and self._asked[0][0] < now_s - WINDOW_S:
            self._asked.popleft()
        while self._served and self._served[0] < now_s - WINDOW_S:
            self._served.popleft()
        fading = self._rate * (1 - UPDATE_S / RATE_S)
        self._rate = max(len(self._served) / WINDOW_S, fading)
        cameras = sum(
            not known.recording and now_s - known.asked_s <= ASKED_S
            for known in self._streams.values()
        )
        if not cameras:
            self._step = NONE
            return
        wait_s, settled_s = self.wait_s(now_s), SETTLED * self._longest_s
        bounded, since_s = self._step < NONE, now_s - self._changed_s
        if wait_s > (settled_s if bounded else self._longest_s):
            if since_s >= DOWN_S and self._asked:  # fewer than none is not asked for
                part = min(max(1 + (settled_s - wait_s) / DRAIN_S, LOWEST), 1.0)
                step = max(bisect(STEPS, self._fitting(part, cameras)) - 1, 0)
                self._move(min(step, self._step), wait_s, cameras, now_s)
        elif bounded and since_s >= UP_S:
            steps = round(MOST_UP + (1 - MOST_UP) * wait_s / settled_s)
            self._move(min(self._step + steps, NONE), wait_s, cameras, now_s)

    def _fitting(self, part: float, cameras: int) -> float:
        """Frames a minute of one edge with which the engine is asked ``part`` of what it serves: of
        an equal share, or of the present bound, which is more where some cameras ask for less.
        """
        span_s = max(self._asked[-1][0] - self._asked[0][0], 1.0)
        served = min(self._rate * span_s / len(self._asked), 1.0)
        frames = sum(first for _, first in self._asked)
        share = frames * 60.0 / span_s / cameras
        bound = STEPS[self._step] if self._step < NONE else 0
        return max(share, bound) * max(part * served, LEAST)

    def _move(self, step: int, wait_s: float, cameras: int, now_s: float) -> None:
        if step == self._step:
            return
        self._step, self._changed_s = step, now_s
        plural = "camera" if cameras == 1 else "cameras"
        self._reason = f"answers wait {wait_s:.1f} s for the engine, {cameras} {plural}"
