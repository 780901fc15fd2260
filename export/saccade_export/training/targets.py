"""What each token and each CLS should know: exact targets from the scene's ground truth.

Dense targets make features local: a token is asked only about what stands in its own patch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from saccade.nouns import Box
from saccade_export.crossing.scene import (
    COLOURS,
    HEADINGS,
    KINDS,
    LIGHTS,
    PLATE_ALPHABET,
    TIMES,
    WEATHERS,
    Scene,
    Vehicle,
)

I8 = npt.NDArray[np.int8]
IGNORE = -1
CHARS = 3  # characters whose centre can fall into one patch
PLATE = 4
COVERS = ("nothing", *KINDS, "person", "light")
# Below this advance (pixels of the view) a character cannot be read: do not ask for it.
MIN_ADVANCE_PX = 4.0
ASKED_ADVANCE_PX = 4.5  # questions keep a little distance from that border


@dataclass(frozen=True)
class Targets:
    """For one view of T patches; -1 means "do not ask"."""

    chars: I8  # [T, CHARS] 0 nothing, 1 + index in PLATE_ALPHABET, left to right
    cover: I8  # [T] index in COVERS of what lies at the patch's centre
    colour: I8  # [T] colour of the vehicle there
    heading: I8  # [T]
    kinds: I8  # [T, len(KINDS) + 1] how many centres of each kind (last: person) fall here
    colours: I8  # [T, len(COLOURS)] the same by vehicle colour
    light: I8  # [T] 0 no lamp centre here, else 1 + index in LIGHTS
    crop: I8  # [3 + PLATE] kind, colour, heading, plate of the crop's vehicle
    scene: I8  # [5 + len(KINDS) + len(COLOURS)] time, weather, light, vehicles, people, counts


SCENE_WIDTH = 5 + len(KINDS) + len(COLOURS)
NAMES = tuple(f.name for f in fields(Targets))


def targets(
    scene: Scene,
    ids: npt.NDArray[np.uint8],
    window: Box,
    subject: int | None,
    grid: tuple[int, int],
    view_size: tuple[int, int],
) -> Targets:
    """``ids``: [96, 160] quarter-resolution id map; ``window`` in frame pixels; ``subject``: index
    of the crop's vehicle, None for the overview; ``grid`` (rows, columns).
    """
    place = _Place(window, grid)
    cover, colour, heading = _covers(scene, ids, place)
    tokens = grid[0] * grid[1]
    kinds = np.zeros((tokens, len(KINDS) + 1), np.int8)
    colours = np.zeros((tokens, len(COLOURS)), np.int8)
    for vehicle in scene.vehicles:
        if (at := place.patch(_centre(vehicle.box))) is not None:
            kinds[at, KINDS.index(vehicle.kind)] += 1
            colours[at, COLOURS.index(vehicle.colour)] += 1
    for person in scene.pedestrians:
        if (at := place.patch(_centre(person.box))) is not None:
            kinds[at, -1] += 1
    light = np.zeros(tokens, np.int8)
    if scene.light and (at := place.patch(_centre(scene.light.box))) is not None:
        light[at] = 1 + LIGHTS.index(scene.light.state)
    scale = view_size[1] / (window[2] - window[0])
    chars = (
        np.zeros((tokens, CHARS), np.int8)
        if subject is not None
        else np.full((tokens, CHARS), IGNORE, np.int8)
    )
    if subject is not None:
        _write_chars(chars, scene, place, scale)
    return Targets(
        chars,
        cover,
        colour,
        heading,
        kinds,
        colours,
        light,
        _crop(scene, subject, scale),
        _scene(scene) if subject is None else np.full(SCENE_WIDTH, IGNORE, np.int8),
    )


class _Place:
    """From frame pixels to patches of one window."""

    def __init__(self, window: Box, grid: tuple[int, int]) -> None:
        self.window, self.grid = window, grid

    def patch(self, point: tuple[float, float]) -> int | None:
        x0, y0, x1, y1 = self.window
        column = int(np.floor((point[0] - x0) / (x1 - x0) * self.grid[1]))
        row = int(np.floor((point[1] - y0) / (y1 - y0) * self.grid[0]))
        inside = 0 <= column < self.grid[1] and 0 <= row < self.grid[0]
        return row * self.grid[1] + column if inside else None

    def covered(self, box: Box) -> npt.NDArray[np.bool_]:
        """[T]: patches that a box in frame pixels touches."""
        x0, y0, x1, y1 = self.window
        rows, columns = self.grid
        xs = x0 + np.arange(columns + 1) * (x1 - x0) / columns
        ys = y0 + np.arange(rows + 1) * (y1 - y0) / rows
        across = (xs[1:] > box[0]) & (xs[:-1] < box[2])
        down = (ys[1:] > box[1]) & (ys[:-1] < box[3])
        return (down[:, None] & across[None, :]).reshape(-1)

    def centres(self) -> npt.NDArray[np.float64]:
        """[T, 2] patch centres in frame pixels."""
        x0, y0, x1, y1 = self.window
        xs = x0 + (np.arange(self.grid[1]) + 0.5) * (x1 - x0) / self.grid[1]
        ys = y0 + (np.arange(self.grid[0]) + 0.5) * (y1 - y0) / self.grid[0]
        return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _covers(scene: Scene, ids: npt.NDArray[np.uint8], place: _Place) -> tuple[I8, I8, I8]:
    at = np.floor(place.centres() / 4).astype(int)
    inside = (at >= 0).all(1) & (at[:, 0] < ids.shape[1]) & (at[:, 1] < ids.shape[0])
    owner = np.where(
        inside, ids[at[:, 1].clip(0, ids.shape[0] - 1), at[:, 0].clip(0, ids.shape[1] - 1)], 0
    )
    cover, colour, heading = (np.full(len(owner), v, np.int8) for v in (0, IGNORE, IGNORE))
    for i, vehicle in enumerate(scene.vehicles):
        here = owner == 1 + i
        cover[here] = 1 + KINDS.index(vehicle.kind)
        colour[here], heading[here] = COLOURS.index(vehicle.colour), HEADINGS.index(vehicle.heading)
    cover[(owner >= 100) & (owner < 200)] = COVERS.index("person")
    cover[owner == 200] = COVERS.index("light")
    return cover, colour, heading


def legible(vehicle: Vehicle, window: Box, view_width: int) -> bool:
    """Whether a vehicle's plate can be read in a view of ``window`` that is ``view_width`` wide."""
    return (
        vehicle.plate is not None
        and advance_px(vehicle, view_width / (window[2] - window[0])) >= ASKED_ADVANCE_PX
    )


def advance_px(vehicle: Vehicle, scale: float) -> float:
    """Mean distance of neighbouring plate characters, in pixels of a view of that scale."""
    xs = [x for x, _ in vehicle.chars]
    return (max(xs) - min(xs)) / (len(xs) - 1) * scale


def _write_chars(chars: I8, scene: Scene, place: _Place, scale: float) -> None:
    for vehicle in scene.vehicles:
        if vehicle.plate is None or advance_px(vehicle, scale) < MIN_ADVANCE_PX:
            # There may be a plate that nobody is asked to read: neither text nor "nothing".
            chars[place.covered(vehicle.box)] = IGNORE
    for vehicle in scene.vehicles:
        if vehicle.plate is None or advance_px(vehicle, scale) < MIN_ADVANCE_PX:
            continue
        for letter, point in zip(vehicle.plate, vehicle.chars, strict=True):
            if (at := place.patch(point)) is None:
                continue
            chars[at] = np.where(chars[at] == IGNORE, 0, chars[at])
            free = np.flatnonzero(chars[at] == 0)
            if len(free):
                chars[at, free[0]] = 1 + PLATE_ALPHABET.index(letter)


def _crop(scene: Scene, subject: int | None, scale: float) -> I8:
    out = np.full(3 + PLATE, IGNORE, np.int8)
    if subject is None:
        return out
    vehicle = scene.vehicles[subject]
    out[:3] = (
        KINDS.index(vehicle.kind),
        COLOURS.index(vehicle.colour),
        HEADINGS.index(vehicle.heading),
    )
    if vehicle.plate is not None and advance_px(vehicle, scale) >= MIN_ADVANCE_PX:
        out[3:] = [PLATE_ALPHABET.index(c) for c in vehicle.plate]
    return out


def _scene(scene: Scene) -> I8:
    kinds = [sum(v.kind == k for v in scene.vehicles) for k in KINDS]
    colours = [sum(v.colour == c for v in scene.vehicles) for c in COLOURS]
    light = LIGHTS.index(scene.light.state if scene.light else "none")
    head = [
        TIMES.index(scene.time),
        WEATHERS.index(scene.weather),
        light,
        len(scene.vehicles),
        len(scene.pedestrians),
    ]
    return np.asarray([*head, *kinds, *colours], np.int8)
