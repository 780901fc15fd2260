"""A pinhole camera over flat ground: x to the right, y along the main road, z up, in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH

Floats = NDArray[np.float64]
NEAR_M = 0.8


@dataclass(frozen=True)
class Camera:
    """At (x, 0, height), turned right by `pan` and down by `tilt` (radians), without roll."""

    x: float
    height_m: float
    pan: float
    tilt: float
    focal_px: float

    @cached_property
    def position(self) -> Floats:
        """[3] metres."""
        return np.array([self.x, 0.0, self.height_m])

    @cached_property
    def matrix(self) -> Floats:
        """[3, 4]: homogeneous world metres to homogeneous pixels; the third row is the depth."""
        sp, cp, st, ct = *_sincos(self.pan), *_sincos(self.tilt)
        axes = np.array([[cp, -sp, 0.0], [-sp * st, -cp * st, -ct], [sp * ct, cp * ct, -st]])
        f = self.focal_px
        k = np.array([[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1.0]])
        rotation = k @ axes
        return np.concatenate([rotation, -(rotation @ self.position)[:, None]], axis=1)

    @cached_property
    def horizon_px(self) -> float:
        """The row where the ground ends."""
        return HEIGHT / 2 - self.focal_px * math.tan(self.tilt)

    def homogeneous(self, points: Floats) -> Floats:
        """[N, 3] metres to [N, 3] (u d, v d, d), d the depth in metres."""
        out: Floats = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return out

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """[N, 3] metres to ([N, 2] pixels, [N] depth); points must lie before the camera."""
        flat = self.homogeneous(points)
        depth = np.maximum(flat[:, 2], NEAR_M)
        return flat[:, :2] / depth[:, None], depth

    def pixel(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """One point's (u, v, depth), without array overhead."""
        (a, b, c, d), (e, f, g, h), (i, j, k, m) = self._rows
        depth = max(i * x + j * y + k * z + m, NEAR_M)
        return (a * x + b * y + c * z + d) / depth, (e * x + f * y + g * z + h) / depth, depth

    @cached_property
    def _rows(self) -> list[list[float]]:
        rows: list[list[float]] = self.matrix.tolist()
        return rows

    def ground_polygon(self, corners: Floats) -> Floats | None:
        """[N, 2] ground metres to [M, 2] pixels, cut at the near plane; None if wholly behind."""
        return self.polygon(np.concatenate([corners, np.zeros((len(corners), 1))], axis=1))

    def polygon(self, points: Floats) -> Floats | None:
        """[N, 3] metres to [M, 2] pixels, cut at the near plane; None if wholly behind."""
        kept = _clip_near(self.homogeneous(points))
        return None if kept is None else kept[:, :2] / kept[:, 2:]


def _sincos(angle: float) -> tuple[float, float]:
    return math.sin(angle), math.cos(angle)


def _clip_near(flat: Floats) -> Floats | None:
    """Sutherland-Hodgman against depth = NEAR_M."""
    ahead = flat[:, 2] >= NEAR_M
    if ahead.all():
        return flat
    if not ahead.any():
        return None
    kept: list[Floats] = []
    for index, point in enumerate(flat):
        after = (index + 1) % len(flat)
        if ahead[index]:
            kept.append(point)
        if ahead[index] != ahead[after]:
            share = (NEAR_M - point[2]) / (flat[after][2] - point[2])
            kept.append(point + share * (flat[after] - point))
    return np.array(kept)
