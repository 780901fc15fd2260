"""Random streets, cameras and people, before anything is checked."""

from __future__ import annotations

import math
import random

from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Setting, Walking
from saccade_drawn_world.crossing.moving import Stroll
from saccade_drawn_world.crossing.scene import COLOURS, HEIGHT


def random_setting(rng: random.Random, time: str, weather: str) -> Setting:
    """A street under a sky."""
    return Setting(
        time=time,
        weather=weather,
        style=rng.randrange(1 << 16),
        cross_y=rng.uniform(15, 24),
        cross_half_m=rng.choice((3.6, 6.8)),
        road_half_m=rng.choice((3.8, 7.0, 7.0)),
        pavement_m=rng.uniform(2.2, 4.0),
        fog_m=rng.choice((34.0, 42.0, 50.0, 60.0)),
        noise=rng.randrange(1 << 16),
        zebra=rng.random() < 0.8,
    )


def random_camera(rng: random.Random) -> Camera:
    """On a pole at the near side of the crossing."""
    focal = rng.uniform(520, 680)
    horizon = rng.uniform(38, 92)
    return Camera(
        rng.uniform(-4.5, 4.5),
        rng.uniform(3.7, 6.2),
        rng.uniform(-0.16, 0.16),
        math.atan((HEIGHT / 2 - horizon) / focal),
        focal,
    )


def random_stroll(rng: random.Random, camera: Camera, setting: Setting, track: int) -> Stroll:
    """Someone along a pavement, across the zebra or about to cross."""
    edge = setting.road_half_m
    if rng.random() < 0.35:
        y = zebra_y(setting) + rng.uniform(-1.2, 1.2)
        x, vx, vy = rng.uniform(-edge - 1, edge + 1), rng.choice((-1.3, 1.3)), 0.0
    else:
        x = rng.choice((-1, 1)) * (edge + rng.uniform(0.4, setting.pavement_m + 3.0))
        y = rng.uniform(8, 32)
        vx, vy = rng.choice(((0.0, 1.2), (0.0, -1.2), (0.0, 0.0), (1.2, 0.0), (-1.2, 0.0)))
    facing = 0 if vx == 0.0 else 1 if vx > 0 else -1
    walking = Walking(
        track,
        rng.choice(COLOURS),
        x,
        y,
        rng.uniform(1.6, 1.88),
        facing,
        rng.uniform(0, 2 * math.pi),
        rng.random(),
    )
    return Stroll(walking, vx, vy)


def zebra_y(setting: Setting) -> float:
    """The middle of the zebra before the crossing, metres."""
    return setting.cross_y - setting.cross_half_m - 2.6
