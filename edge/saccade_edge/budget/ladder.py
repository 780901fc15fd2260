"""The bundle's operating points as steps, in the bytes that they really cost.

A point's ``bytes`` are the mean of calibration's frames. A camera's own frames may differ, so the
ratio is learned from packets: quickly up and slowly down, because a frame that is larger than was
thought delays the next one. Around each packet there is a fixed overhead, which makes small points
alike to the link: a step up may therefore pass several points.
"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.errors import BundleError, ConfigError
from saccade.manifest import Manifest

# A step up: the next point, or as far as the wire carries half as much again.
STEP = 1.5
RATIO_BOUNDS = (0.5, 4.0)
RATIO_UP, RATIO_DOWN = 0.25, 0.05


class Ladder:
    """Points are known by their index, from the smallest to the best.

    Raises ``BundleError`` where the bundle has none.
    """

    def __init__(self, manifest: Manifest, overhead_bytes: int) -> None:
        if not manifest.points:
            raise BundleError(
                f"bundle {manifest.name!r} has no operating points: calibrate it, or send "
                "without a budget"
            )
        self.points = manifest.points
        self._overhead_bytes = overhead_bytes
        self.ratio = 1.0

    def wire_bytes(self, number: int) -> float:
        """What a frame at this point should cost."""
        return self.points[number].bytes * self.ratio + self._overhead_bytes

    def on_wire(self, packet_bytes: int) -> int:
        """What this packet costs."""
        return packet_bytes + self._overhead_bytes

    def learn(self, number: int, packet_bytes: int) -> None:
        """A packet that was made at this point."""
        seen = packet_bytes / self.points[number].bytes
        weight = RATIO_UP if seen > self.ratio else RATIO_DOWN
        least, most = RATIO_BOUNDS
        self.ratio = min(max(self.ratio + weight * (seen - self.ratio), least), most)

    def best_within(self, room_bytes: float, allowed: Sequence[int]) -> int | None:
        """The best of the ``allowed`` points (ascending) that fits, None where none does."""
        fits = [n for n in allowed if self.wire_bytes(n) <= room_bytes]
        return fits[-1] if fits else None

    def step_up(self, number: int, allowed: Sequence[int]) -> int:
        """One step from there, at most to the last of the ``allowed``."""
        above = [n for n in allowed if n > number]
        far = [n for n in above if self.wire_bytes(n) <= STEP * self.wire_bytes(number)]
        return (far or above[:1] or [number])[-1]

    def check(self, number: int) -> int:
        """The number, if there is such a point. Raises ``ConfigError``."""
        if not 0 <= number < len(self.points):
            raise ConfigError(
                f"budget: operating point {number}, the bundle has 0 to {len(self.points) - 1}"
            )
        return number
