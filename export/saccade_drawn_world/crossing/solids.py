"""Objects as ordered lists of polygons in pixels, ready to be painted or measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from saccade_drawn_world.crossing.bodies import mesh
from saccade_drawn_world.crossing.camera import NEAR_M, Camera, Floats
from saccade_drawn_world.crossing.layout import Placed, Signal
from saccade_drawn_world.crossing.meshes import Mesh
from saccade_drawn_world.crossing.scene import CHAR_SHARE

# European plate, enlarged by `Placed.plate_scale`. Metres.
PLATE_WIDTH_M, PLATE_HEIGHT_M = 0.52, 0.16


@dataclass(frozen=True)
class Patch:
    """One polygon [N, 2] pixels; `brightness` from the face's direction."""

    points: Floats
    role: str
    brightness: float
    solid: bool
    hole: Floats | None = None


@dataclass(frozen=True)
class PlateView:
    """The plate that faces the camera: corners [4, 2] pixels from top left, clockwise."""

    corners: Floats
    centres: Floats
    char_height_px: float
    advance_px: float


@dataclass(frozen=True)
class Shape:
    """An object on screen. `extent` is x0, y0, x1, y1 pixels, not clipped."""

    patches: tuple[Patch, ...]
    extent: tuple[float, float, float, float]
    depth_m: float
    lamps: tuple[tuple[float, float, str], ...] = ()
    plate: PlateView | None = None


@dataclass(frozen=True)
class _Packed:
    points: Floats
    spans: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    normals: Floats
    first: Floats
    parts: tuple[tuple[int, Floats, range], ...]


@cache
def _packed(kind: str) -> _Packed:
    points: list[Floats] = []
    spans: list[tuple[tuple[int, int], tuple[int, int]]] = []
    parts: list[tuple[int, Floats, range]] = []
    at = 0
    for part in mesh(kind).parts:
        parts.append((part.level, part.centre, range(len(spans), len(spans) + len(part.faces))))
        for face in part.faces:
            extra = 0 if face.hole is None else len(face.hole)
            stop = at + len(face.points)
            spans.append(((at, stop), (stop, stop + extra)))
            points += [face.points] if face.hole is None else [face.points, face.hole]
            at = stop + extra
    faces = [face for part in mesh(kind).parts for face in part.faces]
    return _Packed(
        np.concatenate(points),
        tuple(spans),
        np.array([f.normal for f in faces]),
        np.array([f.points[0] for f in faces]),
        tuple(parts),
    )


def _rotation(yaw: float) -> Floats:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


# The sun stands to the left behind the camera; faces away from it keep the sky's light.
_SUN = np.array([-0.45, -0.55, 0.70])


@lru_cache(maxsize=64)
def vehicle_shape(placed: Placed, camera: Camera) -> Shape:
    """A vehicle's visible faces, back to front."""
    packed, body = _packed(placed.kind), mesh(placed.kind)
    turn, origin = _rotation(placed.yaw), np.array([placed.x, placed.y, 0.0])
    eye = (camera.position - origin) @ turn
    facing = ((eye - packed.first) * packed.normals).sum(axis=1)
    two_sided = np.abs(packed.normals).sum(axis=1) == 0
    light: Floats = 0.62 + 0.4 * ((packed.normals @ turn.T) @ _SUN)
    points = packed.points @ turn.T + origin
    pixels, depth = camera.project(points)
    cut = bool(depth.min() <= NEAR_M)  # passing the camera: faces end at the near plane
    order = sorted(packed.parts, key=lambda p: (p[0], -float(((eye - p[1]) ** 2).sum())))
    faces = [face for part in body.parts for face in part.faces]
    patches: list[Patch] = []
    for _, _, indices in order:
        for i in indices:
            if facing[i] > 0 or two_sided[i]:
                (a, b), (c, d) = packed.spans[i]
                hole = pixels[c:d] if d > c and not cut else None
                loop = camera.polygon(points[a:b]) if cut else pixels[a:b]
                if loop is not None:
                    patches.append(
                        Patch(loop, faces[i].role, float(light[i]), faces[i].solid, hole)
                    )
    if not any(patch.solid for patch in patches):
        return Shape((), (0.0, 0.0, 0.0, 0.0), 0.0)
    return Shape(
        tuple(patches),
        extent(patches),
        float(depth.mean()),
        _lamps(placed, body, camera, eye, turn, origin),
        _plate(placed, body, camera, eye, turn, origin),
    )


def extent(patches: list[Patch]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the solid patches, pixels."""
    points = np.concatenate([patch.points for patch in patches if patch.solid])
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (x0, y0, x1, y1)


def _lamps(
    placed: Placed, body: Mesh, camera: Camera, eye: Floats, turn: Floats, origin: Floats
) -> tuple[tuple[float, float, str], ...]:
    """Pixel positions of the lamps that can be seen."""
    seen = [(p, "head") for p in body.head_lamps if eye[0] > p[0] + 0.25 * abs(eye[1])]
    seen += [(p, "tail") for p in body.tail_lamps if eye[0] < p[0] - 0.25 * abs(eye[1])]
    if not seen:
        return ()
    pixels, depth = camera.project(np.array([p for p, _ in seen]) @ turn.T + origin)
    return tuple(
        (float(u), float(v), name)
        for (u, v), d, (_, name) in zip(pixels, depth, seen, strict=True)
        if d > 2 * NEAR_M
    )


def _plate(
    placed: Placed, body: Mesh, camera: Camera, eye: Floats, turn: Floats, origin: Floats
) -> PlateView | None:
    if body.plates is None:
        return None
    front = eye[0] > 0
    x, z = body.plates[0 if front else 1]
    right = 1.0 if front else -1.0
    if (eye[0] - x) * right <= 0:
        return None
    w, h = PLATE_WIDTH_M * placed.plate_scale / 2, PLATE_HEIGHT_M * placed.plate_scale / 2
    x += 0.015 * right
    across = [(-w, h), (w, h), (w, -h), (-w, -h)] + [(w * (i / 2 - 0.75), 0.0) for i in range(4)]
    across += [(0.0, h * CHAR_SHARE), (0.0, -h * CHAR_SHARE)]
    local = np.array([(x, right * u, z + v) for u, v in across])
    pixels, depth = camera.project(local @ turn.T + origin)
    if depth.min() < 2 * NEAR_M:
        return None
    centres, (top, bottom) = pixels[4:8], pixels[8:10]
    advance = float(np.diff(centres[:, 0]).min())
    return PlateView(pixels[:4], centres, float(bottom[1] - top[1]), advance)


def signal_shape(signal: Signal, camera: Camera) -> Shape:
    """Pole, housing and three lamps; roles `pole`, `housing`, `lamp0..2` from the top."""
    u, foot, depth = camera.pixel(signal.x, signal.y, 0.0)
    _, top, _ = camera.pixel(signal.x, signal.y, signal.top_m)
    s = (foot - top) / signal.top_m
    high, wide, pole = signal.housing_m * s, signal.housing_m * s * 0.4, 0.07 * s
    half = wide / 2
    loops = [
        ("pole", [(-pole, 0.0), (-pole, foot - top), (pole, foot - top), (pole, 0.0)]),
        ("backing", [(-half - 2, -2), (half + 2, -2), (half + 2, high + 2), (-half - 2, high + 2)]),
        ("housing", [(-half, 0.0), (half, 0.0), (half, high), (-half, high)]),
    ]
    r = high * 0.14
    for i in range(3):
        angles = np.linspace(0, 2 * math.pi, 14, endpoint=False)
        loops.append(
            (
                f"lamp{i}",
                [(r * math.cos(a), high * (0.19 + 0.31 * i) + r * math.sin(a)) for a in angles],
            )
        )
    patches = [
        Patch(np.array([(u + x, top + y) for x, y in loop]), role, 1.0, True)
        for role, loop in loops
    ]
    extent = (u - half - 2, top - 2, u + half + 2, top + high + 2)
    lamp = {"red": 0, "amber": 1, "green": 2}[signal.state]
    return Shape(
        tuple(patches), extent, depth, ((u, top + high * (0.19 + 0.31 * lamp), signal.state),)
    )
