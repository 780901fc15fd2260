"""The seven kinds of vehicle, block by block. Sizes are those of common European models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from saccade_drawn_world.crossing.meshes import (
    Face,
    Mesh,
    Part,
    block,
    both,
    disc,
    pair,
    quads,
    wheels,
)

Lamps = tuple[tuple[float, float, float], ...]


def _lamps(x: float, y: float, z: float) -> Lamps:
    return ((x, y, z), (x, -y, z))


def car() -> Mesh:
    """A hatchback with a sloping cabin."""
    lower = quads((-2.15, 2.15), (0.24, 0.86), (0.90, 0.86), (0.10, 0.14))
    cabin = quads((-1.75, 1.0), (0.86, 1.46), (0.84, 0.64), (0.50, 0.78))
    details = (
        ("front", "dark", (0.0, 1.0), (0.0, 0.2)),
        ("front", "dark", (0.28, 0.72), (0.62, 0.86)),
        ("rear", "dark", (0.0, 1.0), (0.0, 0.2)),
        *both("dark", (0.0, 1.0), (0.0, 0.13)),
        *pair("front", "head", (0.03, 0.24), (0.6, 0.9)),
        *pair("rear", "tail", (0.03, 0.22), (0.6, 0.92)),
        *both("line", (0.44, 0.45), (0.15, 1.0)),
        *both("line", (0.66, 0.67), (0.15, 1.0)),
        ("top", "line", (0.66, 0.67), (0.1, 0.9)),
    )
    glass = (
        ("front", "glass", (0.06, 0.94), (0.06, 0.92)),
        ("rear", "glass", (0.08, 0.92), (0.12, 0.88)),
        *both("glass", (0.14, 0.48), (0.1, 0.88)),
        *both("glass", (0.52, 0.88), (0.1, 0.88)),
    )
    parts = (
        block(0, lower, "body", details, wheels((-1.32, 1.35), 0.90, 0.33)),
        block(1, cabin, "body", glass),
    )
    plates = ((2.13, 0.43), (-2.13, 0.46))
    return Mesh(4.3, 1.8, 1.46, parts, _lamps(2.05, 0.64, 0.7), _lamps(-2.08, 0.66, 0.7), plates)


def van() -> Mesh:
    """A tall panel van with a short bonnet."""
    lower = quads((-2.5, 2.5), (0.26, 1.05), (0.97, 0.95), (0.02, 0.12))
    upper = quads((-2.48, 1.95), (1.05, 2.25), (0.95, 0.84), (0.05, 0.75))
    details = (
        ("front", "dark", (0.0, 1.0), (0.0, 0.2)),
        ("front", "dark", (0.26, 0.74), (0.55, 0.8)),
        ("rear", "dark", (0.0, 1.0), (0.0, 0.15)),
        *both("dark", (0.0, 1.0), (0.0, 0.12)),
        *pair("front", "head", (0.03, 0.23), (0.55, 0.88)),
        *pair("rear", "tail", (0.01, 0.12), (0.45, 0.95)),
        *both("line", (0.3, 0.308), (0.12, 1.0)),
        *both("line", (0.62, 0.628), (0.12, 1.0)),
        ("rear", "line", (0.495, 0.505), (0.15, 1.0)),
    )
    glass = (
        ("front", "glass", (0.06, 0.94), (0.1, 0.92)),
        *pair("rear", "glass", (0.1, 0.46), (0.35, 0.85)),
        *both("glass", (0.72, 0.92), (0.12, 0.62)),
        *both("line", (0.3, 0.308), (0.0, 0.9)),
        *both("line", (0.68, 0.688), (0.0, 0.9)),
        ("rear", "line", (0.495, 0.505), (0.0, 0.95)),
    )
    parts = (
        block(0, lower, "body", details, wheels((-1.55, 1.6), 0.97, 0.35)),
        block(1, upper, "body", glass),
    )
    plates = ((2.5, 0.5), (-2.51, 0.56))
    return Mesh(5.0, 1.94, 2.25, parts, _lamps(2.42, 0.72, 0.82), _lamps(-2.5, 0.86, 0.8), plates)


def pickup() -> Mesh:
    """A cab before an open bed."""
    lower = quads((-2.65, 2.65), (0.36, 1.02), (0.95, 0.93), (0.02, 0.1))
    cabin = quads((-0.45, 1.45), (1.02, 1.82), (0.88, 0.70), (0.16, 0.66))
    details = (
        ("top", "bed", (0.03, 0.405), (0.07, 0.93)),
        ("top", "floor", (0.05, 0.385), (0.16, 0.9)),
        ("front", "dark", (0.0, 1.0), (0.0, 0.22)),
        ("front", "dark", (0.25, 0.75), (0.45, 0.85)),
        ("rear", "dark", (0.0, 1.0), (0.0, 0.18)),
        *both("dark", (0.0, 1.0), (0.0, 0.12)),
        *pair("front", "head", (0.03, 0.22), (0.55, 0.88)),
        *pair("rear", "tail", (0.01, 0.11), (0.4, 0.98)),
        *both("line", (0.41, 0.418), (0.12, 1.0)),
        *both("line", (0.6, 0.607), (0.12, 1.0)),
        ("top", "line", (0.72, 0.73), (0.1, 0.9)),
    )
    glass = (
        ("front", "glass", (0.06, 0.94), (0.08, 0.92)),
        ("rear", "glass", (0.1, 0.9), (0.2, 0.88)),
        *both("glass", (0.12, 0.42), (0.12, 0.88)),
        *both("glass", (0.47, 0.82), (0.12, 0.88)),
    )
    parts = (
        block(0, lower, "body", details, wheels((-1.6, 1.7), 0.95, 0.4)),
        block(1, cabin, "body", glass),
    )
    plates = ((2.65, 0.56), (-2.66, 0.58))
    return Mesh(5.3, 1.9, 1.82, parts, _lamps(2.58, 0.72, 0.85), _lamps(-2.65, 0.86, 0.8), plates)


def bus() -> Mesh:
    """A long block full of windows."""
    shape = quads((-5.25, 5.25), (0.3, 3.05), (1.25, 1.20), (0.05, 0.10))
    windows = [both("glass", (0.03 + 0.118 * i, 0.135 + 0.118 * i), (0.46, 0.84)) for i in range(8)]
    details = (
        ("front", "glass", (0.05, 0.95), (0.34, 0.84)),
        ("front", "sign", (0.2, 0.8), (0.87, 0.97)),
        ("rear", "glass", (0.14, 0.86), (0.55, 0.85)),
        ("rear", "dark", (0.2, 0.8), (0.22, 0.4)),
        ("front", "dark", (0.0, 1.0), (0.0, 0.07)),
        ("rear", "dark", (0.0, 1.0), (0.0, 0.07)),
        *both("dark", (0.0, 1.0), (0.0, 0.06)),
        *(each for window in windows for each in window),
        ("right", "glass", (0.9, 0.975), (0.06, 0.84)),
        ("right", "glass", (0.5, 0.59), (0.06, 0.44)),
        *pair("front", "head", (0.04, 0.22), (0.16, 0.27)),
        *pair("rear", "tail", (0.03, 0.13), (0.18, 0.42)),
    )
    unit = quads((-2.6, 0.6), (3.05, 3.25), (0.8, 0.75), (0.05, 0.05))
    parts = (
        block(0, shape, "body", details, wheels((-3.1, 3.2), 1.25, 0.48)),
        block(1, unit, "roofbox"),
    )
    plates = ((5.26, 0.62), (-5.26, 0.68))
    return Mesh(10.5, 2.5, 3.2, parts, _lamps(5.25, 0.95, 0.88), _lamps(-5.25, 1.05, 1.1), plates)


def truck() -> Mesh:
    """A cab and a separate tall crate on a chassis."""
    chassis = quads((-3.8, 3.6), (0.4, 0.8), (1.0, 1.0))
    box = quads((-3.85, 1.75), (0.78, 3.35), (1.25, 1.25))
    cab = quads((2.0, 3.8), (0.42, 2.7), (1.2, 1.12), (0.0, 0.28))
    ribs = [both("line", (0.14 * i, 0.14 * i + 0.008), (0.04, 0.96)) for i in range(1, 7)]
    crate = (
        *(each for rib in ribs for each in rib),
        ("rear", "line", (0.495, 0.51), (0.03, 0.97)),
        *pair("rear", "line", (0.02, 0.035), (0.03, 0.97)),
        *pair("rear", "line", (0.3, 0.312), (0.05, 0.95)),
        ("rear", "dark", (0.0, 1.0), (0.0, 0.05)),
    )
    front = (
        ("front", "glass", (0.06, 0.94), (0.5, 0.88)),
        ("front", "dark", (0.2, 0.8), (0.2, 0.42)),
        ("front", "dark", (0.0, 1.0), (0.0, 0.16)),
        *both("glass", (0.3, 0.8), (0.52, 0.86)),
        *pair("front", "head", (0.04, 0.2), (0.14, 0.25)),
        *both("line", (0.2, 0.215), (0.1, 0.95)),
    )
    bar = quads((-3.88, -3.78), (0.45, 0.78), (1.15, 1.15))
    parts = (
        block(0, chassis, "dark", (), wheels((-2.6, 2.75), 1.18, 0.48)),
        block(0, bar, "dark", pair("rear", "tail", (0.01, 0.14), (0.1, 0.9))),
        block(1, box, "body", crate),
        block(1, cab, "body", front, wheels((2.75,), 1.2, 0.48)),
    )
    plates = ((3.8, 0.62), (-3.89, 0.62))
    return Mesh(7.6, 2.5, 3.35, parts, _lamps(3.75, 0.95, 0.9), _lamps(-3.88, 1.0, 0.62), plates)


def _solid(
    level: int, x: tuple[float, float], z: tuple[float, float], wide: tuple[float, float], role: str
) -> Part:
    return block(level, quads(x, z, wide), role)


def _fat_wheel(x: float) -> Part:
    shape = quads((x - 0.27, x + 0.27), (0.02, 0.6), (0.07, 0.07))
    faces = wheels((x,), 0.07, 0.32)
    return block(0, shape, "tyre", (), tuple(face for face in faces if face.role != "arch"))


def motorcycle() -> Mesh:
    """Fat wheels, a fairing, a rider in a helmet."""
    fairing = quads((0.42, 0.92), (0.58, 1.12), (0.24, 0.14), (0.0, 0.3))
    tail = quads((-0.98, -0.3), (0.66, 0.92), (0.14, 0.17), (0.0, 0.0))
    parts = (
        _fat_wheel(-0.72),
        _fat_wheel(0.75),
        _solid(1, (-0.45, 0.45), (0.28, 0.62), (0.17, 0.17), "dark"),
        block(2, tail, "body", (("rear", "tail", (0.15, 0.85), (0.3, 0.9)),)),
        _solid(2, (-0.3, 0.5), (0.56, 0.98), (0.2, 0.17), "body"),
        block(2, fairing, "body", (("front", "head", (0.2, 0.8), (0.35, 0.8)),)),
        _solid(3, (0.42, 0.5), (1.06, 1.12), (0.4, 0.4), "dark"),
        _solid(3, (-0.28, 0.3), (0.46, 0.84), (0.3, 0.26), "leather"),
        _solid(4, (-0.34, 0.06), (0.84, 1.42), (0.26, 0.24), "body"),
        _solid(4, (0.0, 0.46), (1.04, 1.22), (0.34, 0.3), "leather"),
        block(
            5,
            quads((-0.2, 0.12), (1.42, 1.74), (0.14, 0.12)),
            "body",
            (
                ("front", "glass", (0.08, 0.92), (0.25, 0.7)),
                *both("glass", (0.6, 1.0), (0.25, 0.7)),
            ),
        ),
    )
    return Mesh(2.15, 0.8, 1.74, parts, ((0.9, 0.0, 0.86),), ((-1.0, 0.0, 0.8),))


def _ring(x: float) -> Part:
    nothing = np.zeros(3)
    rim = Face(disc(x, 0.0, 0.36, 0.36, 18), nothing, "tyre", True, disc(x, 0.0, 0.36, 0.285, 18))
    hub = Face(disc(x, 0.0, 0.36, 0.06, 6), nothing, "rim")
    spokes = tuple(
        _tube((x - 0.3 * c, 0.36 - 0.3 * s), (x + 0.3 * c, 0.36 + 0.3 * s), 0.012, "rim")
        for c, s in ((1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.7, -0.7))
    )
    edge = quads((x - 0.26, x + 0.26), (0.02, 0.66), (0.025, 0.025))
    ends = tuple(
        Face(edge[name], normal_x, "tyre", True)
        for name, normal_x in (("front", np.array([1.0, 0, 0])), ("rear", np.array([-1.0, 0, 0])))
    )
    return Part(0, np.array([x, 0.0, 0.36]), (*ends, *spokes, rim, hub))


def _tube(
    start: tuple[float, float], stop: tuple[float, float], thick: float, role: str = "body"
) -> Face:
    """A bar in the plane y = 0 from (x, z) to (x, z), seen from both sides."""
    a, b = np.array(start), np.array(stop)
    along = (b - a) / np.linalg.norm(b - a)
    side = np.array([-along[1], along[0]]) * thick
    loop = np.array([a - side, b - side, b + side, a + side])
    points = np.stack([loop[:, 0], np.zeros(4), loop[:, 1]], axis=1)
    return Face(points, np.zeros(3), role, role == "body")


def bicycle() -> Mesh:
    """Two thin rings, a frame of tubes, an upright rider."""
    tubes = (
        _tube((-0.56, 0.36), (-0.1, 0.34), 0.035),
        _tube((-0.56, 0.36), (-0.2, 0.86), 0.035),
        _tube((-0.1, 0.34), (-0.22, 0.92), 0.045),
        _tube((-0.1, 0.34), (0.4, 0.84), 0.055),
        _tube((-0.2, 0.82), (0.38, 0.9), 0.05),
        _tube((0.36, 1.04), (0.56, 0.36), 0.045),
    )
    frame = Part(1, np.array([0.0, 0.0, 0.6]), tubes)
    parts = (
        _ring(-0.56),
        _ring(0.56),
        frame,
        _solid(3, (0.34, 0.42), (1.02, 1.07), (0.3, 0.3), "dark"),
        _solid(3, (-0.2, 0.0), (0.3, 0.98), (0.15, 0.17), "leather"),
        _solid(4, (-0.28, 0.0), (0.96, 1.5), (0.2, 0.24), "body"),
        _solid(4, (-0.02, 0.36), (1.1, 1.24), (0.28, 0.26), "body"),
        block(5, quads((-0.2, 0.04), (1.5, 1.64), (0.1, 0.1)), "skin"),
        block(6, quads((-0.24, 0.08), (1.64, 1.8), (0.13, 0.09), (0.05, 0.08)), "body"),
    )
    return Mesh(1.85, 0.6, 1.8, parts, (), ((-0.4, 0.0, 0.75),))


BUILDERS: dict[str, Callable[[], Mesh]] = {
    "car": car,
    "van": van,
    "pickup": pickup,
    "bus": bus,
    "truck": truck,
    "motorcycle": motorcycle,
    "bicycle": bicycle,
}


@cache
def mesh(kind: str) -> Mesh:
    """The mesh of one of `scene.KINDS`."""
    return BUILDERS[kind]()
