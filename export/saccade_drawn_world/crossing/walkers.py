"""People on foot as upright cut-outs that face the camera.

Outlines are in metres of a figure 1.75 m tall: x from its middle, z above the ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Walking
from saccade_drawn_world.crossing.solids import Patch, Shape, extent

FIGURE_M = 1.75
Part = tuple[str, float, list[tuple[float, float]]]  # role, brightness, outline


@lru_cache(maxsize=64)
def walker_shape(walker: Walking, camera: Camera) -> Shape:
    """Roles `trousers`, `shoe`, `jacket`, `skin` and `hair`."""
    u, foot, depth = camera.pixel(walker.x, walker.y, 0.0)
    _, head, _ = camera.pixel(walker.x, walker.y, walker.height_m)
    scale = (foot - head) / FIGURE_M  # pixels per metre
    parts = (*_leg(walker, -1.0, 0.8), *_leg(walker, 1.0, 1.0), *_body(walker), *_head(walker))
    patches = [
        Patch(np.array([(u + x * scale, foot - z * scale) for x, z in outline]), role, bright, True)
        for role, bright, outline in parts
    ]
    return Shape(tuple(patches), extent(patches), depth)


def _leg(walker: Walking, side: float, shade: float) -> Iterator[Part]:
    """``side``: -1 or 1."""
    reach = 0.26 if walker.facing else 0.06
    hip = side * (0.04 if walker.facing else 0.09)
    step = side * reach * math.sin(walker.phase) if walker.facing else side * 0.03
    lift = max(0.0, side * math.cos(walker.phase)) * 0.08
    x, toe = hip + step, walker.facing * 0.08
    left, right = x + min(toe, 0), x + max(toe, 0)
    ankle = 0.06 + lift
    leg = [(hip - 0.1, 0.88), (hip + 0.1, 0.88), (x + 0.075, ankle), (x - 0.075, ankle)]
    yield "trousers", shade, leg
    above, below = 0.09 + lift, lift
    sole = [
        (left - 0.08, above),
        (right + 0.08, above),
        (right + 0.09, below),
        (left - 0.09, below),
    ]
    yield "shoe", shade, sole


def _body(walker: Walking) -> Iterator[Part]:
    wide = 0.19 if walker.facing else 0.24
    arm = -0.2 * math.sin(walker.phase) if walker.facing else 0.0
    out = 0.0 if walker.facing else 0.08
    lean = walker.facing * 0.03
    far, near = -wide + arm - out, wide - arm + out
    yield "jacket", 0.82, [
        (-wide - 0.03, 1.42), (-wide + 0.09, 1.44), (far + 0.06, 0.86), (far - 0.06, 0.86),
    ]  # fmt: skip
    yield "jacket", 1.0, [
        (-wide * 0.8, 0.82), (wide * 0.8, 0.82), (wide + lean, 1.46), (-wide + lean, 1.46),
    ]  # fmt: skip
    yield "jacket", 0.88, [
        (wide - 0.1, 1.43), (wide + 0.03, 1.42), (near + 0.06, 0.86), (near - 0.06, 0.86),
    ]  # fmt: skip


def _head(walker: Walking) -> Iterator[Part]:
    lean = walker.facing * 0.03
    left, right = -0.06 + lean, 0.06 + lean
    turns = np.linspace(0, 2 * math.pi, 10, endpoint=False)
    ring = [(0.115 * math.cos(a), 0.135 * math.sin(a)) for a in turns]
    yield "skin", 1.0, [(left, 1.42), (right, 1.42), (right, 1.54), (left, 1.54)]
    yield "skin", 1.0, [(x + lean * 2, 1.62 + z) for x, z in ring]
    parting = lean * 2 - walker.facing * 0.02
    yield "hair", 1.0, [(x * 1.08 + parting, 1.66 + z) for x, z in ring if z > -0.05]
