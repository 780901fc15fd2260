"""Vehicle bodies as convex blocks with flat details, in metres: x forward, y left, z up.

A `Mesh` is drawn from a fixed list of faces. Blocks are sorted by level, then far to near, which
is a correct painter's order for a camera above the roofs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saccade_drawn_world.crossing.camera import Floats

Span = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A flat polygon `points: [N, 3]`; `normal: [3]`, zero when seen from both sides.

    `hole` is a second loop to cut out. `solid` faces make up the silhouette.
    """

    points: Floats
    normal: Floats
    role: str
    solid: bool = False
    hole: Floats | None = None


@dataclass(frozen=True)
class Part:
    """A convex block and the details on it."""

    level: int
    centre: Floats
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class Mesh:
    """One kind of vehicle. `plates` are (x, z) of front and rear plate centres, if it has any."""

    length: float
    width: float
    height: float
    parts: tuple[Part, ...]
    head_lamps: tuple[tuple[float, float, float], ...]
    tail_lamps: tuple[tuple[float, float, float], ...]
    plates: tuple[tuple[float, float], tuple[float, float]] | None = None


Quads = dict[str, Floats]
_NORMALS = {
    "front": (1.0, 0.0, 0.0),
    "rear": (-1.0, 0.0, 0.0),
    "left": (0.0, 1.0, 0.0),
    "right": (0.0, -1.0, 0.0),
    "top": (0.0, 0.0, 1.0),
}


def quads(x: Span, z: Span, wide: Span, slope: Span = (0.0, 0.0)) -> Quads:
    """Faces of a block, each [4, 3] from its lower left corner, anticlockwise from outside.

    `wide` is the half width at the bottom and at the top; `slope` how far the rear and the front
    lean inwards at the top.
    """
    (x0, x1), (z0, z1), (w0, w1), (rear, front) = x, z, wide, slope
    a, b, c, d = (x0, w0, z0), (x1, w0, z0), (x1, -w0, z0), (x0, -w0, z0)
    e, f, g, h = (
        (x0 + rear, w1, z1),
        (x1 - front, w1, z1),
        (x1 - front, -w1, z1),
        (x0 + rear, -w1, z1),
    )
    loops = {
        "front": (c, b, f, g),
        "rear": (a, d, h, e),
        "left": (b, a, e, f),
        "right": (d, c, g, h),
    }
    return {name: np.array(loop) for name, loop in {**loops, "top": (h, g, f, e)}.items()}


def inset(quad: Floats, u: Span, v: Span) -> Floats:
    """The part of a quad between shares `u` of its width and `v` of its height."""
    corners = [(u[0], v[0]), (u[1], v[0]), (u[1], v[1]), (u[0], v[1])]
    low, high = quad[1] - quad[0], quad[2] - quad[3]
    rows = [(quad[0] + s * low) * (1 - t) + (quad[3] + s * high) * t for s, t in corners]
    return np.array(rows)


def normal_of(quad: Floats) -> Floats:
    """Unit outward normal of an anticlockwise loop."""
    cross = np.cross(quad[1] - quad[0], quad[2] - quad[1])
    out: Floats = cross / np.linalg.norm(cross)
    return out


def block(
    level: int,
    shape: Quads,
    role: str,
    details: tuple[tuple[str, str, Span, Span], ...] = (),
    extra: tuple[Face, ...] = (),
) -> Part:
    """A block of one role with details (face, role, u, v) and free extra faces on it."""
    faces = [Face(quad, normal_of(quad), role, True) for quad in shape.values()]
    for name, detail, u, v in details:
        faces.append(Face(inset(shape[name], u, v), normal_of(shape[name]), detail))
    centre: Floats = np.concatenate(list(shape.values())).mean(axis=0)
    return Part(level, centre, (*faces, *extra))


def both(role: str, u: Span, v: Span) -> tuple[tuple[str, str, Span, Span], ...]:
    """A detail on the right side and mirrored on the left; u runs from rear to front."""
    return (("right", role, u, v), ("left", role, (1 - u[1], 1 - u[0]), v))


def pair(face: str, role: str, u: Span, v: Span) -> tuple[tuple[str, str, Span, Span], ...]:
    """A detail at the left of a face and mirrored at its right."""
    return ((face, role, u, v), (face, role, (1 - u[1], 1 - u[0]), v))


def disc(x: float, y: float, z: float, radius: float, corners: int = 14) -> Floats:
    """A wheel's outline in the plane y = const."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack(
        [x + radius * np.cos(angle), np.full(corners, y), z + radius * np.sin(angle)], axis=1
    )


def wheels(xs: tuple[float, ...], half_width: float, radius: float) -> tuple[Face, ...]:
    """Tyres, rims and hubs on both sides."""
    faces: list[Face] = []
    for side in (-1.0, 1.0):
        normal = np.array([0.0, side, 0.0])
        for x in xs:
            y = side * (half_width + 0.01)
            faces.append(Face(disc(x, y, radius * 1.02, radius * 1.18), normal, "arch"))
            faces.append(Face(disc(x, y, radius, radius), normal, "tyre", True))
            faces.append(Face(disc(x, y, radius, radius * 0.6, 10), normal, "rim"))
            faces.append(Face(disc(x, y, radius, radius * 0.2, 6), normal, "tyre"))
    return tuple(faces)
