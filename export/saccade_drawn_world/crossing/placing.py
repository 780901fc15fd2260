"""Finding free, clearly visible places for vehicles, people and the traffic light."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from saccade_drawn_world.crossing.bodies import mesh
from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Placed, Setting, Signal, bearing
from saccade_drawn_world.crossing.measure import area, clipped, footprint, side_of
from saccade_drawn_world.crossing.moving import Stroll, Track
from saccade_drawn_world.crossing.scene import HEIGHT, PLATE_ALPHABET, PLATE_LENGTH, WIDTH, Box
from saccade_drawn_world.crossing.solids import signal_shape
from saccade_drawn_world.crossing.surroundings import random_stroll
from saccade_drawn_world.crossing.walkers import walker_shape

YAWS = {"toward": -math.pi / 2, "away": math.pi / 2, "left": math.pi, "right": 0.0}
PLATED = ("car", "van", "pickup", "bus", "truck")
# A heading counts as clear up to this angle between the vehicle and the sight line's axes.
MAX_TURN = math.radians(31)


@dataclass(frozen=True)
class Slot:
    """What a vehicle is, before it has a place. `near` asks for a wide or readable view."""

    kind: str
    colour: str
    heading: str
    near: bool


def place_signal(rng: random.Random, camera: Camera, setting: Setting, state: str) -> Signal | None:
    """At one of the kerbs before the crossing, its housing wholly in the frame."""
    for _ in range(24):
        side = rng.choice((-1, 1))
        x = side * (setting.road_half_m + rng.uniform(0.3, 0.8))
        y = setting.cross_y + rng.choice((-1, 1)) * (setting.cross_half_m + rng.uniform(0.6, 1.4))
        _, _, depth = camera.pixel(x, y, 0.0)
        high = rng.uniform(37, 66) * depth / camera.focal_px
        signal = Signal(state, x, y, max(rng.uniform(3.0, 4.2), high + 2.0), max(high, 0.85))
        x0, y0, x1, y1 = signal_shape(signal, camera).extent
        if x0 > 8 and x1 < WIDTH - 8 and y0 > 6 and y1 < HEIGHT - 60 and y1 - y0 >= 40:
            return signal
    return None


def place_vehicle(
    rng: random.Random,
    camera: Camera,
    setting: Setting,
    slot: Slot,
    track: int,
    tracks: list[Track],
    boxes: list[Box],
) -> Placed | None:
    """A free, clearly visible place for a vehicle; its box joins `boxes`."""
    for _ in range(40):
        x, y, yaw = _spot(rng, camera, setting, slot)
        if not 0 < camera.pixel(x, y, 0.0)[0] < WIDTH:
            continue
        placed = Placed(
            track,
            slot.kind,
            slot.colour,
            slot.heading,
            x,
            y,
            yaw,
            "".join(rng.choice(PLATE_ALPHABET) for _ in range(PLATE_LENGTH)),
            rng.uniform(1.15, 1.4),
            rng.random() < 0.3,
            rng.uniform(0.92, 1.08),
        )
        if turn_of(placed, camera) > MAX_TURN:
            continue
        box = rough_box(placed, camera)
        if _clear(slot, box) and _free(placed, tracks) and _apart(box, boxes, 0.22):
            boxes.append(box)
            return placed
    return None


def _spot(
    rng: random.Random, camera: Camera, setting: Setting, slot: Slot
) -> tuple[float, float, float]:
    """A place in the lanes that the heading allows (traffic keeps right), with some turning."""
    half = mesh(slot.kind).length / 2
    wide = setting.road_half_m > 5
    if slot.heading in ("toward", "away"):
        side = 1 if slot.heading == "away" else -1
        lane = rng.choice((1.8, 5.2)) if wide else 1.9
        first = camera.height_m * 1.55 + half
        last = first + (4.5 if slot.near else setting.cross_y + 22 if slot.kind in PLATED else 7.0)
        y = first + (last - first) * rng.random() ** (1.0 if slot.near else 1.3)
        x = side * lane + rng.uniform(-0.5, 0.5)
        if slot.near and rng.random() < 0.5:
            x = camera.x + y * math.sin(camera.pan) + rng.uniform(-4, 4)
    else:
        side = -1 if slot.heading == "right" else 1
        lane = rng.choice((1.8, 5.0)) if setting.cross_half_m > 5 else 1.8
        y = setting.cross_y + side * lane + rng.uniform(-0.4, 0.4)
        reach = y * 0.56
        x = camera.x + y * math.sin(camera.pan) + rng.uniform(-reach, reach)
    turn = rng.uniform(-1, 1) * math.radians(25 if rng.random() < 0.5 else 6)
    return x, y, YAWS[slot.heading] + turn


def rough_box(placed: Placed, camera: Camera) -> Box:
    """The box around the eight corners of a vehicle, pixels, not clipped."""
    height = mesh(placed.kind).height
    points = [camera.pixel(x, y, z) for x, y in footprint(placed) for z in (0.0, height)]
    us, vs = [p[0] for p in points], [p[1] for p in points]
    return (min(us), min(vs), max(us), max(vs))


def _clear(slot: Slot, box: Box) -> bool:
    """Mostly in the frame and large enough."""
    seen = clipped(box)
    wide, high = seen[2] - seen[0], seen[3] - seen[1]
    if wide < 27 or high < 30 or area(seen) < 0.76 * area(box):
        return False
    if slot.kind not in PLATED and high < 50:
        return False
    return not slot.near or wide >= 152


def turn_of(placed: Placed, camera: Camera) -> float:
    """Angle between a vehicle's yaw and its heading's axis as seen along the sight line."""
    axis = YAWS[placed.heading] + bearing(camera, placed.x, placed.y) - math.pi / 2
    return abs((placed.yaw - axis + math.pi) % (2 * math.pi) - math.pi)


def _free(placed: Placed, tracks: list[Track]) -> bool:
    """No other vehicle within half a metre."""
    here = footprint(placed, 0.5)
    for other in (footprint(track.placed) for track in tracks):
        if not side_of(here, other, (0.0, 0.0)) and not side_of(other, here, (0.0, 0.0)):
            return False
    return True


def _apart(box: Box, boxes: list[Box], share: float) -> bool:
    """No two boxes share more than this part of the smaller one."""
    for other in boxes:
        common = (
            max(box[0], other[0]),
            max(box[1], other[1]),
            min(box[2], other[2]),
            min(box[3], other[3]),
        )
        if area(common) > share * min(area(box), area(other)):
            return False
    return True


def place_walker(
    rng: random.Random,
    camera: Camera,
    setting: Setting,
    track: int,
    tracks: list[Track],
    strolls: list[Stroll],
    boxes: list[Box],
) -> Stroll | None:
    """A person on a pavement or on the zebra."""
    for _ in range(40):
        stroll = random_stroll(rng, camera, setting, track)
        w = stroll.walking
        box = walker_shape(w, camera).extent
        inside = box[0] > 3 and box[2] < WIDTH - 3 and box[1] > 2 and box[3] < HEIGHT - 2
        if not inside or box[3] - box[1] < 35 or not _apart(box, boxes, 0.15):
            continue
        r = 0.5
        here = ((w.x - r, w.y - r), (w.x + r, w.y - r), (w.x + r, w.y + r), (w.x - r, w.y + r))
        if all(side_of(footprint(each.placed), here, (0.0, 0.0)) for each in tracks):
            boxes.append(box)
            return stroll
    return None
