"""Random crossings: who stands where, drawn again until nothing about the picture is ambiguous.

`sample(seed)` gives the world of a still frame, in which everything in the frame is clearly
visible at t = 0. `traffic.stage` builds the worlds of clips from the same parts.
"""

from __future__ import annotations

import random

from saccade_drawn_world.crossing.layout import Layout
from saccade_drawn_world.crossing.measure import LIGHT_ID, Measured, measure
from saccade_drawn_world.crossing.moving import Stroll, Track, World
from saccade_drawn_world.crossing.placing import (
    PLATED,
    Slot,
    place_signal,
    place_vehicle,
    place_walker,
)
from saccade_drawn_world.crossing.scene import COLOURS, HEADINGS, KINDS, TIMES, WEATHERS, Box
from saccade_drawn_world.crossing.solids import signal_shape
from saccade_drawn_world.crossing.surroundings import random_camera, random_setting

__all__ = ["World", "acceptable", "sample"]

VEHICLE_COUNTS = (0.05, 0.16, 0.22, 0.25, 0.20, 0.12)
PEDESTRIAN_COUNTS = (0.25, 0.25, 0.22, 0.16, 0.12)
MIN_VISIBLE, MIN_WALKER_VISIBLE = 0.65, 0.70
ATTEMPTS = 60
REPEAT = 0.22  # share of vehicles that copy an earlier one's colour or kind, so that counts go up


def sample(seed: int) -> World:
    """The world of a still frame; ground truth is unambiguous at t = 0.

    The numbers of vehicles and people, and what they are, are drawn once; places are drawn again
    until they fit, so that hard-to-place kinds do not become rare.
    """
    rng = random.Random(f"crossing {seed}")
    slots = _slots(rng)
    people = rng.choices(range(5), PEDESTRIAN_COUNTS)[0]
    state = rng.choice(("red", "amber", "green", "none"))
    time, weather = rng.choice(TIMES), rng.choices(WEATHERS, (0.38, 0.32, 0.30))[0]
    for attempt in range(ATTEMPTS):
        keep = slots if attempt < ATTEMPTS - 20 else slots[: max(0, ATTEMPTS - attempt - 15)]
        world = _try(rng, seed, keep, people, state, time, weather)
        if world is not None and acceptable(measure(world.at(0.0)), world.at(0.0)):
            return world
    raise RuntimeError(f"seed {seed}: no unambiguous layout in {ATTEMPTS} attempts")


def _slots(rng: random.Random) -> tuple[Slot, ...]:
    """What vehicles there are; the first is near in most scenes and likely to show its plate."""
    count = rng.choices(range(6), VEHICLE_COUNTS)[0]
    slots: list[Slot] = []
    for index in range(count):
        near = index == 0 and rng.random() < 0.86
        kinds = PLATED if near else KINDS
        weights = (1, 1, 1, 1, 1) if near else (0.7, 0.7, 0.7, 0.7, 0.7, 1.85, 1.85)
        kind = rng.choices(kinds, weights)[0]
        turn = (0.42, 0.42, 0.08, 0.08) if near else (0.17, 0.17, 0.33, 0.33)
        colour = rng.choice(COLOURS)
        if index and not near and rng.random() < REPEAT:
            colour = rng.choice(slots).colour
        if index and not near and rng.random() < REPEAT:
            kind = rng.choice(slots).kind
        slots.append(Slot(kind, colour, rng.choices(HEADINGS, turn)[0], near))
    return tuple(slots)


def _try(
    rng: random.Random,
    seed: int,
    slots: tuple[Slot, ...],
    people: int,
    state: str,
    time: str,
    weather: str,
) -> World | None:
    """One draw of street, camera and places; None if something finds no place."""
    setting = random_setting(rng, time, weather)
    camera = random_camera(rng)
    signal = None if state == "none" else place_signal(rng, camera, setting, state)
    if state != "none" and signal is None:
        return None
    boxes: list[Box] = [] if signal is None else [signal_shape(signal, camera).extent]
    tracks: list[Track] = []
    for index, slot in enumerate(slots):
        placed = place_vehicle(rng, camera, setting, slot, index + 1, tracks, boxes)
        if placed is None:
            return None
        tracks.append(Track(placed, rng.uniform(3, 9)))
    strolls: list[Stroll] = []
    for index in range(people):
        stroll = place_walker(rng, camera, setting, 50 + index, tracks, strolls, boxes)
        if stroll is None:
            return None
        strolls.append(stroll)
    return World(seed, camera, setting, tuple(tracks), tuple(strolls), signal)


def acceptable(measured: Measured, layout: Layout) -> bool:
    """Everything in the picture is clearly visible and large enough."""
    scene = measured.scene
    if len(scene.vehicles) != len(layout.vehicles) or len(scene.pedestrians) != len(layout.walkers):
        return False
    for vehicle in scene.vehicles:
        x0, y0, x1, y1 = vehicle.box
        if vehicle.visible < MIN_VISIBLE or x1 - x0 < 22 or y1 - y0 < 26:
            return False
    if any(p.visible < MIN_WALKER_VISIBLE or p.box[3] - p.box[1] < 32 for p in scene.pedestrians):
        return False
    if layout.signal is None:
        return True
    return scene.light is not None and measured.shares[LIGHT_ID] > 0.6 and _lamps_seen(measured)


def _lamps_seen(measured: Measured) -> bool:
    light = measured.scene.light
    assert light is not None
    x0, y0, x1, y1 = (int(v / 4) for v in light.box)
    return bool((measured.ids[y0 + 1 : y1, x0 + 1 : x1] == LIGHT_ID).all())
