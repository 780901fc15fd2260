"""Where everything stands at one instant: what the painter reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from saccade_drawn_world.crossing.camera import Camera


@dataclass(frozen=True)
class Placed:
    """A vehicle on the ground; yaw in radians, 0 along +x, anticlockwise from above."""

    track: int
    kind: str
    colour: str
    heading: str
    x: float
    y: float
    yaw: float
    text: str
    plate_scale: float
    plate_yellow: bool
    shade: float
    braking: bool = False


@dataclass(frozen=True)
class Walking:
    """A person on foot; `facing` is -1 left, 1 right, 0 along the view; phase in radians."""

    track: int
    colour: str
    x: float
    y: float
    height_m: float
    facing: int
    phase: float
    skin: float


@dataclass(frozen=True)
class Signal:
    """A traffic light on a pole at the kerb; housing height in metres."""

    state: str
    x: float
    y: float
    top_m: float
    housing_m: float


@dataclass(frozen=True)
class Setting:
    """What does not move: time, weather and the street. Metres."""

    time: str
    weather: str
    style: int
    cross_y: float
    cross_half_m: float
    road_half_m: float
    pavement_m: float
    fog_m: float
    noise: int
    zebra: bool


@dataclass(frozen=True)
class Layout:
    """One instant of a world."""

    seed: int
    t_s: float
    camera: Camera
    setting: Setting
    vehicles: tuple[Placed, ...]
    walkers: tuple[Walking, ...]
    signal: Signal | None


def bearing(camera: Camera, x: float, y: float) -> float:
    """Direction of the sight line from the camera, radians, anticlockwise from +x."""
    return math.atan2(y, x - camera.x)
