"""Ground truth by painting labels: what is seen of each object, and which plates can be read.

Labels are painted at half resolution on a plane twice the frame's size, so that silhouettes cut by
the frame's edge are counted whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing.bodies import mesh
from saccade_drawn_world.crossing.layout import Layout, Placed, Walking
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH, Box, Light, Pedestrian, Scene, Vehicle
from saccade_drawn_world.crossing.solids import (
    Patch,
    PlateView,
    Shape,
    signal_shape,
    vehicle_shape,
)
from saccade_drawn_world.crossing.walkers import walker_shape

Bytes = NDArray[np.uint8]
LIGHT_ID, PEDESTRIAN_ID = 200, 100
MIN_CHAR_HEIGHT_PX, MIN_CHAR_ADVANCE_PX = 7.0, 6.5
LISTED_SHARE, LISTED_HEIGHT_PX = 0.4, 14.0  # clips only: stills hold nothing hidden or tiny
END_OF_ROAD_M = 90.0
_PAD_X, _PAD_Y = WIDTH // 4, HEIGHT // 4


@dataclass(frozen=True)
class Item:
    """One object to paint: its temporary label is its place in the layout."""

    label: int
    shape: Shape
    thing: Placed | Walking | None
    ground: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Measured:
    """Items far to near, ids [96, 160], shares seen by label, and the scene they make."""

    items: tuple[Item, ...]
    ids: Bytes
    shares: dict[int, float]
    scene: Scene


@lru_cache(maxsize=8)
def measure(layout: Layout) -> Measured:
    """Paint the labels of a layout and read the scene off them."""
    items = tuple(_far_to_near(_items(layout), (layout.camera.x, 0.0)))
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    totals = {item.label: _paint(labels, item) for item in items}
    window = labels[_PAD_Y : _PAD_Y + HEIGHT // 2, _PAD_X : _PAD_X + WIDTH // 2]
    seen = np.bincount(window.ravel(), minlength=256)
    shares = {label: float(seen[label]) / max(total, 1) for label, total in totals.items()}
    vehicles, codes = _vehicles(layout, items, shares, window)
    walkers, more = _pedestrians(items, shares)
    table = np.zeros(256, np.uint8)
    for label, code in {**codes, **more, LIGHT_ID: LIGHT_ID}.items():
        table[label] = code
    setting = layout.setting
    scene = Scene(
        layout.seed,
        layout.t_s,
        setting.time,
        setting.weather,
        _light(layout, window),
        vehicles,
        walkers,
    )
    return Measured(items, table[window[::2, ::2]], shares, scene)


def clipped(extent: Box) -> Box:
    """A box cut to the frame."""
    x0, y0, x1, y1 = extent
    return (
        min(max(x0, 0.0), WIDTH),
        min(max(y0, 0.0), HEIGHT),
        min(max(x1, 0.0), WIDTH),
        min(max(y1, 0.0), HEIGHT),
    )


def area(box: Box) -> float:
    """Square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _items(layout: Layout) -> list[Item]:
    camera = layout.camera
    items = [
        Item(1 + i, vehicle_shape(v, camera), v, footprint(v))
        for i, v in enumerate(layout.vehicles)
        if v.y < END_OF_ROAD_M and vehicle_shape(v, camera).patches
    ]
    items += [
        Item(PEDESTRIAN_ID + j, walker_shape(w, camera), w, _square(w.x, w.y, 0.2))
        for j, w in enumerate(layout.walkers)
    ]
    if layout.signal is not None:
        s = layout.signal
        items.append(Item(LIGHT_ID, signal_shape(s, camera), None, _square(s.x, s.y, 0.1)))
    return items


def footprint(placed: Placed, margin: float = 0.0) -> tuple[tuple[float, float], ...]:
    """The corners of a vehicle on the ground, anticlockwise, metres."""
    body = mesh(placed.kind)
    c, s = math.cos(placed.yaw), math.sin(placed.yaw)
    half, wide = body.length / 2 + margin, body.width / 2 + margin
    around = ((half, -wide), (half, wide), (-half, wide), (-half, -wide))
    return tuple((placed.x + c * a - s * b, placed.y + s * a + c * b) for a, b in around)


def _square(x: float, y: float, r: float) -> tuple[tuple[float, float], ...]:
    return ((x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r))


Corners = Sequence[tuple[float, float]]


def side_of(a: Corners, b: Corners, eye: tuple[float, float]) -> int:
    """1 if an edge of `a` parts it from `b`, the eye on b's side; -1: on a's side; 0: none does."""
    for i, (x0, y0) in enumerate(a):
        x1, y1 = a[(i + 1) % len(a)]
        nx, ny = y1 - y0, x0 - x1
        if all(nx * (x - x0) + ny * (y - y0) >= 0 for x, y in b):
            return 1 if nx * (eye[0] - x0) + ny * (eye[1] - y0) > 0 else -1
    return 0


def _hides(a: Item, b: Item, eye: tuple[float, float]) -> bool:
    """Whether `a` may stand before `b`, seen from the eye."""
    side = side_of(a.ground, b.ground, eye) or -side_of(b.ground, a.ground, eye)
    return side < 0 if side else a.shape.depth_m < b.shape.depth_m


def _far_to_near(items: list[Item], eye: tuple[float, float]) -> list[Item]:
    """Painter's order: each time the farthest item that hides no other one left."""
    left = sorted(items, key=lambda item: -item.shape.depth_m)
    order: list[Item] = []
    while left:
        free = (
            one
            for one in left
            if not any(
                one is not other and _touch(one, other) and _hides(one, other, eye)
                for other in left
            )
        )
        chosen = next(free, left[0])
        left.remove(chosen)
        order.append(chosen)
    return order


def _touch(a: Item, b: Item) -> bool:
    p, q = a.shape.extent, b.shape.extent
    return p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels to OpenCV's fixed point with 4 fractional bits, pixel centres on whole numbers."""
    bounded = np.minimum(np.maximum(points, -2000.0), 3000.0)
    out: NDArray[np.int32] = np.rint(bounded * 16 - 8).astype(np.int32)
    return out


def _paint(labels: Bytes, item: Item) -> int:
    """Paint one item's silhouette; returns its size in label pixels, seen or not."""
    x0, y0, x1, y1 = item.shape.extent
    if item.label == LIGHT_ID:  # the box is the housing's, the silhouette has the pole as well
        y1 = float(item.shape.patches[0].points[:, 1].max())
    left, top = max(int(x0 / 2) + _PAD_X - 2, 0), max(int(y0 / 2) + _PAD_Y - 2, 0)
    right, bottom = int(x1 / 2) + _PAD_X + 3, int(y1 / 2) + _PAD_Y + 3
    part = labels[top:bottom, left:right]
    if part.size == 0:
        return 0
    scratch = np.zeros(part.shape, np.uint8)
    shift = np.array([_PAD_X - left, _PAD_Y - top])
    for patch in item.shape.patches:
        if patch.solid:
            _fill(scratch, patch, shift)
    part[scratch > 0] = item.label
    return int(cv2.countNonZero(scratch))


def _fill(scratch: Bytes, patch: Patch, shift: NDArray[np.int64]) -> None:
    loop = fixed(patch.points / 2 + shift)
    if patch.hole is None:
        cv2.fillConvexPoly(scratch, loop, 255, cv2.LINE_8, 4)
    else:
        cv2.fillPoly(scratch, [loop, fixed(patch.hole / 2 + shift)], 255, cv2.LINE_8, 4)


def _vehicles(
    layout: Layout, items: tuple[Item, ...], shares: dict[int, float], window: Bytes
) -> tuple[tuple[Vehicle, ...], dict[int, int]]:
    found: list[tuple[int, Vehicle]] = []
    for item in items:
        placed = item.thing
        if isinstance(placed, Placed) and _listed(item, shares):
            found.append((item.label, _vehicle(layout, placed, item, shares[item.label], window)))
    found.sort(key=lambda pair: (-area(pair[1].box), pair[0]))
    return tuple(v for _, v in found), {label: 1 + i for i, (label, _) in enumerate(found)}


def _listed(item: Item, shares: dict[int, float]) -> bool:
    box = clipped(item.shape.extent)
    return shares[item.label] >= LISTED_SHARE and box[3] - box[1] >= LISTED_HEIGHT_PX


def _vehicle(layout: Layout, placed: Placed, item: Item, share: float, window: Bytes) -> Vehicle:
    plate = item.shape.plate
    readable = plate is not None and _readable(plate, item.label, window)
    centres = plate.centres.tolist() if plate is not None and readable else []
    distance = float(np.hypot(placed.x - layout.camera.x, placed.y))
    return Vehicle(
        track=placed.track,
        kind=placed.kind,
        colour=placed.colour,
        heading=placed.heading,
        box=clipped(item.shape.extent),
        visible=min(share, 1.0),
        distance_m=distance,
        plate=placed.text if readable else None,
        chars=tuple((x, y) for x, y in centres),
        char_height_px=plate.char_height_px if plate is not None and readable else 0.0,
    )


def _readable(plate: PlateView, label: int, window: Bytes) -> bool:
    """All four characters large enough, in the frame and not hidden."""
    if plate.char_height_px < MIN_CHAR_HEIGHT_PX or plate.advance_px < MIN_CHAR_ADVANCE_PX:
        return False
    points = np.concatenate([plate.corners, plate.centres])
    if points.min() < 2 or points[:, 0].max() > WIDTH - 3 or points[:, 1].max() > HEIGHT - 3:
        return False
    cells = (points / 2).astype(int)
    return bool((window[cells[:, 1], cells[:, 0]] == label).all())


def _pedestrians(
    items: tuple[Item, ...], shares: dict[int, float]
) -> tuple[tuple[Pedestrian, ...], dict[int, int]]:
    found = [
        (
            item.label,
            Pedestrian(
                item.thing.track,
                item.thing.colour,
                clipped(item.shape.extent),
                min(shares[item.label], 1.0),
            ),
        )
        for item in items
        if isinstance(item.thing, Walking) and shares[item.label] >= LISTED_SHARE
    ]
    found.sort(key=lambda pair: (-area(pair[1].box), pair[0]))
    return tuple(p for _, p in found), {
        label: PEDESTRIAN_ID + i for i, (label, _) in enumerate(found)
    }


def _light(layout: Layout, window: Bytes) -> Light | None:
    """The light where its lit lamp is in the picture and not hidden."""
    if layout.signal is None:
        return None
    shape = signal_shape(layout.signal, layout.camera)
    u, v, state = shape.lamps[0]
    if not (0 <= u < WIDTH and 0 <= v < HEIGHT):
        return None
    shown = window[int(v / 2), int(u / 2)] == LIGHT_ID
    return Light(state, clipped(shape.extent)) if shown else None
