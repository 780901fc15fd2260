"""Things that move, and the world they make up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Layout, Placed, Setting, Signal, Walking

RATE_HZ = 20.0  # of recorded trails


@dataclass(frozen=True)
class Track:
    """A vehicle with its speed (m/s) along its yaw, or with a recorded trail at `RATE_HZ`."""

    placed: Placed
    speed: float
    trail: tuple[tuple[float, float, bool], ...] = ()

    def at(self, t_s: float) -> Placed:
        """Pose after t_s seconds; a trail holds (x, y, braking)."""
        if not self.trail:
            step = self.speed * t_s
            x, y = (
                self.placed.x + step * math.cos(self.placed.yaw),
                self.placed.y + step * math.sin(self.placed.yaw),
            )
            return replace(self.placed, x=x, y=y)
        place = min(max(t_s * RATE_HZ, 0.0), len(self.trail) - 1.001)
        (x0, y0, brake), (x1, y1, _) = self.trail[int(place)], self.trail[int(place) + 1]
        share = place - int(place)
        return replace(
            self.placed, x=x0 + share * (x1 - x0), y=y0 + share * (y1 - y0), braking=brake
        )


@dataclass(frozen=True)
class Stroll:
    """A person walking at (vx, vy) m/s."""

    walking: Walking
    vx: float
    vy: float

    def at(self, t_s: float) -> Walking:
        """Pose and stride after t_s seconds."""
        stride = 0.0 if self.vx == self.vy == 0.0 else t_s * 6.5
        w = self.walking
        return replace(w, x=w.x + self.vx * t_s, y=w.y + self.vy * t_s, phase=w.phase + stride)


@dataclass(frozen=True)
class World:
    """A crossing in motion. `programme` lists (start_s, state) of the light."""

    seed: int
    camera: Camera
    setting: Setting
    tracks: tuple[Track, ...]
    strolls: tuple[Stroll, ...]
    signal: Signal | None
    programme: tuple[tuple[float, str], ...] = ()

    def at(self, t_s: float) -> Layout:
        """Where everything is at t_s seconds."""
        signal = self.signal
        for start_s, state in self.programme:
            if signal is not None and t_s >= start_s:
                signal = replace(signal, state=state)
        return Layout(
            self.seed,
            t_s,
            self.camera,
            self.setting,
            tuple(track.at(t_s) for track in self.tracks),
            tuple(stroll.at(t_s) for stroll in self.strolls),
            signal,
        )
