"""Worlds for clips: traffic that follows, stops at red and goes on, people who cross then.

Cars follow the Intelligent Driver Model (Treiber, Hennecke, Helbing 2000) along straight lanes.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from saccade_drawn_world.crossing.bodies import mesh
from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Placed, Setting, Signal, Walking
from saccade_drawn_world.crossing.moving import RATE_HZ, Stroll, Track, World
from saccade_drawn_world.crossing.placing import YAWS
from saccade_drawn_world.crossing.scene import COLOURS, HEIGHT, PLATE_ALPHABET, PLATE_LENGTH
from saccade_drawn_world.crossing.surroundings import zebra_y

# (start_s, state seen by the main road); the cross street has the opposite.
PROGRAMME = (
    (0.0, "green"),
    (5.0, "amber"),
    (6.5, "red"),
    (15.0, "green"),
    (22.0, "amber"),
    (23.5, "red"),
)
FREE_MPS, ACCEL, BRAKE, GAP_M, HEADWAY_S = 8.0, 1.8, 2.5, 2.0, 1.2


@dataclass(frozen=True)
class Lane:
    """A straight lane: position s metres along it; the stop line is at s = 0."""

    heading: str
    x: float
    y: float
    main: bool

    def point(self, s: float) -> tuple[float, float]:
        """Where s is on the ground."""
        yaw = YAWS[self.heading]
        return self.x + s * math.cos(yaw), self.y + s * math.sin(yaw)


@dataclass
class _Car:
    track: int
    kind: str
    start_s: float
    s: float
    v: float
    trail: list[tuple[float, float, bool]] = field(default_factory=list)


def stage(seed: int, seconds: float) -> World:
    """The world of a clip by day or at dusk."""
    rng = random.Random(f"clip {seed}")
    setting = Setting(
        time=rng.choice(("day", "dusk")),
        weather="clear",
        style=rng.randrange(1 << 16),
        cross_y=21.0,
        cross_half_m=3.6,
        road_half_m=3.8,
        pavement_m=3.0,
        fog_m=50.0,
        noise=0,
        zebra=True,
    )
    focal, horizon = 560.0, 66.0
    camera = Camera(
        rng.uniform(-1.0, 0.5),
        4.6,
        rng.uniform(-0.03, 0.03),
        math.atan((HEIGHT / 2 - horizon) / focal),
        focal,
    )
    signal = Signal("green", 4.6, setting.cross_y + 4.9, 3.6, 2.4)
    tracks: list[Track] = []
    for lane, arrivals in _lanes(setting, seconds):
        tracks += _drive(rng, lane, arrivals, seconds, len(tracks) + 1)
    return World(seed, camera, setting, tuple(tracks), _people(rng, setting), signal, PROGRAMME)


def _lanes(setting: Setting, seconds: float) -> list[tuple[Lane, list[tuple[float, str]]]]:
    """Lanes with (arrival_s at the stop line if free, kind)."""
    mid, half = setting.cross_y, setting.cross_half_m
    away = Lane("away", 1.9, zebra_y(setting) - 2.6, True)
    toward = Lane("toward", -1.9, mid + half + 2.0, True)
    right = Lane("right", -setting.road_half_m - 2.0, mid - 1.8, False)
    left = Lane("left", setting.road_half_m + 2.0, mid + 1.8, False)
    plan: list[tuple[Lane, list[tuple[float, str]]]] = [
        (away, [(1.0, "car"), (7.5, "van"), (17.5, "pickup"), (21.5, "car")]),
        (toward, [(0.5, "pickup"), (4.0, "car"), (9.0, "truck"), (16.5, "car")]),
        (right, [(8.0, "bus"), (11.5, "bicycle")]),
        (left, [(9.5, "car"), (12.0, "motorcycle")]),
    ]
    return [(lane, [a for a in arrivals if a[0] < seconds + 4]) for lane, arrivals in plan]


def _drive(
    rng: random.Random, lane: Lane, arrivals: list[tuple[float, str]], seconds: float, first: int
) -> list[Track]:
    """Run a lane through time and keep each car's trail."""
    cars = [
        _Car(first + i, kind, t, -FREE_MPS * t - mesh(kind).length / 2, FREE_MPS)
        for i, (t, kind) in enumerate(arrivals)
    ]
    for step in range(int((seconds + 1) * RATE_HZ) + 2):
        _step(cars, lane, step / RATE_HZ)
    return [Track(_placed(rng, lane, car), 0.0, tuple(car.trail)) for car in cars]


def _step(cars: list[_Car], lane: Lane, t_s: float) -> None:
    ahead: _Car | None = None
    for car in cars:
        front = car.s + mesh(car.kind).length / 2
        gaps = [] if ahead is None else [(ahead.s - mesh(ahead.kind).length / 2 - front, ahead.v)]
        if not _may_go(lane, t_s) and front <= 0 and -front > car.v**2 / (2 * 4.5):
            gaps.append((-front, 0.0))
        push = min(
            [_idm(car.v, gap, other) for gap, other in gaps], default=_idm(car.v, 1e3, car.v)
        )
        x, y = lane.point(car.s)
        car.trail.append((x, y, push < -0.6 or car.v < 0.2))
        car.v = max(car.v + push / RATE_HZ, 0.0)
        car.s += car.v / RATE_HZ
        ahead = car


def _idm(v: float, gap: float, other: float) -> float:
    """Acceleration towards a leader `gap` metres ahead at speed `other`."""
    wanted = (0.3 if other == 0 and gap < 4 else GAP_M) + max(
        0.0, v * HEADWAY_S * 0.6 + v * (v - other) / (2 * math.sqrt(ACCEL * BRAKE))
    )
    return ACCEL * (1 - (v / FREE_MPS) ** 4 - (wanted / max(gap, 0.1)) ** 2)


def _may_go(lane: Lane, t_s: float) -> bool:
    state = [state for start, state in PROGRAMME if start <= t_s][-1]
    return state == "green" if lane.main else state == "red" and 8.0 <= t_s < 13.0


def _placed(rng: random.Random, lane: Lane, car: _Car) -> Placed:
    text = "".join(rng.choice(PLATE_ALPHABET) for _ in range(PLATE_LENGTH))
    return Placed(
        car.track,
        car.kind,
        COLOURS[(car.track * 3 + rng.randrange(2)) % 8],
        lane.heading,
        0.0,
        0.0,
        YAWS[lane.heading],
        text,
        1.4,
        rng.random() < 0.3,
        1.0,
    )


def _people(rng: random.Random, setting: Setting) -> tuple[Stroll, ...]:
    """Two cross the zebra while the cars wait, one walks along the pavement."""
    edge, y = setting.road_half_m, zebra_y(setting)
    plan = [(1, 7.5, y + 0.5, 1.35), (-1, 8.5, y - 0.6, 1.25)]
    strolls: list[Stroll] = []
    for number, (way, start_s, at_y, speed) in enumerate(plan):
        walking = Walking(
            50 + number,
            rng.choice(COLOURS),
            -way * (edge + 0.6 + speed * start_s),
            at_y,
            rng.uniform(1.65, 1.85),
            way,
            0.0,
            rng.random(),
        )
        strolls.append(Stroll(walking, way * speed, 0.0))
    along = Walking(52, rng.choice(COLOURS), edge + 1.6, 30.0, 1.75, 0, 0.0, rng.random())
    return (*strolls, Stroll(along, 0.0, -0.9))
