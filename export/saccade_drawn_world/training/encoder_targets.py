"""What each token and each CLS should know: exact targets from the scene's ground truth.

Dense targets make features local: a token is asked only about what stands in its own patch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from saccade.types import Box
from saccade_drawn_world.crossing.scene import (
    COLOURS,
    HEADINGS,
    HEIGHT,
    KINDS,
    LIGHTS,
    PLATE_ALPHABET,
    PLATE_LENGTH,
    TIMES,
    WEATHERS,
    WIDTH,
    Scene,
)

I8 = npt.NDArray[np.int8]
IGNORE = -1
COVERS = ("nothing", *KINDS, "person", "light")
CELL_PX = 4  # of the overview: fine enough to part two people side by side


@dataclass(frozen=True)
class Targets:
    """For one view of T patches; -1 means "do not ask"."""

    chars: I8  # [T] close-ups: 0 no letter at the patch's centre, 1 + index in PLATE_ALPHABET
    nth: I8  # [T] which letter of the plate that is, from 0
    cover: I8  # [T] index in COVERS of what lies at the patch's centre
    colour: I8  # [T] colour of the vehicle there
    heading: I8  # [T]
    kinds: I8  # [T, len(KINDS) + 1] how many centres of each kind (last: person) fall here
    colours: I8  # [T, len(COLOURS)] the same by vehicle colour
    light: I8  # [T] 0 no lamp centre here, else 1 + index in LIGHTS
    walkers: I8  # [24 * 40] the overview's cells of 4 pixels: 1 where a person's centre is
    crop: I8  # [3 + PLATE_LENGTH] kind, colour, heading of a crop's vehicle; a close-up's plate
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
    *,
    closeup: bool = False,
) -> Targets:
    """``ids``: [96, 160] quarter-resolution id map; ``window`` in frame pixels; ``subject``: index
    of the crop's vehicle, None for the overview; ``grid`` (rows, columns); ``closeup``: the view
    shows that vehicle's plate.
    """
    place = _Place(window, grid)
    cover, colour, heading = _covers(scene, ids, place)
    kinds, colours, light = _centres(scene, place)
    chars, nth = _letters(scene, subject if closeup else None, place)
    return Targets(
        chars=chars,
        nth=nth,
        cover=cover,
        colour=colour,
        heading=heading,
        kinds=kinds,
        colours=colours,
        light=light,
        walkers=_walkers(scene, view_size, asked=subject is None),
        crop=_crop(scene, subject, closeup),
        scene=_scene(scene) if subject is None else np.full(SCENE_WIDTH, IGNORE, np.int8),
    )


class _Place:
    """From frame pixels to patches of one window."""

    def __init__(self, window: Box, grid: tuple[int, int]) -> None:
        self.window, self.grid = window, grid
        self.patches = grid[0] * grid[1]

    def patch(self, point: tuple[float, float]) -> int | None:
        x0, y0, x1, y1 = self.window
        column = int(np.floor((point[0] - x0) / (x1 - x0) * self.grid[1]))
        row = int(np.floor((point[1] - y0) / (y1 - y0) * self.grid[0]))
        inside = 0 <= column < self.grid[1] and 0 <= row < self.grid[0]
        return row * self.grid[1] + column if inside else None

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


def _centres(scene: Scene, place: _Place) -> tuple[I8, I8, I8]:
    """For each patch the kinds, vehicle colours and lamps whose centres fall into it."""
    kinds = np.zeros((place.patches, len(KINDS) + 1), np.int8)
    colours = np.zeros((place.patches, len(COLOURS)), np.int8)
    light = np.zeros(place.patches, np.int8)
    for vehicle in scene.vehicles:
        if (at := place.patch(_centre(vehicle.box))) is not None:
            kinds[at, KINDS.index(vehicle.kind)] += 1
            colours[at, COLOURS.index(vehicle.colour)] += 1
    for person in scene.pedestrians:
        if (at := place.patch(_centre(person.box))) is not None:
            kinds[at, -1] += 1
    if scene.light and (at := place.patch(_centre(scene.light.box))) is not None:
        light[at] = 1 + LIGHTS.index(scene.light.state)
    return kinds, colours, light


def _letters(scene: Scene, subject: int | None, place: _Place) -> tuple[I8, I8]:
    """For each patch the letter that its centre lies on, and which of the plate's it is; nothing
    is asked where no plate is looked at.
    """
    chars, nth = (np.full(place.patches, IGNORE, np.int8) for _ in range(2))
    if subject is None or (vehicle := scene.vehicles[subject]).plate is None:
        return chars, nth
    chars[:] = 0
    centres = place.centres()
    half_x = (vehicle.chars[-1][0] - vehicle.chars[0][0]) / (PLATE_LENGTH - 1) / 2
    half_y = vehicle.char_height_px / 2
    for number, (letter, (x, y)) in enumerate(zip(vehicle.plate, vehicle.chars, strict=True)):
        here = (np.abs(centres[:, 0] - x) < half_x) & (np.abs(centres[:, 1] - y) < half_y)
        chars[here], nth[here] = 1 + PLATE_ALPHABET.index(letter), number
    return chars, nth


def _walkers(scene: Scene, view_size: tuple[int, int], *, asked: bool) -> I8:
    rows, columns = view_size[0] // CELL_PX, view_size[1] // CELL_PX
    out = np.full((rows, columns), 0 if asked else IGNORE, np.int8)
    for person in scene.pedestrians if asked else ():
        x, y = _centre(person.box)
        row, column = int(y / HEIGHT * rows), int(x / WIDTH * columns)
        out[min(row, rows - 1), min(column, columns - 1)] = 1
    return out.reshape(-1)


def _crop(scene: Scene, subject: int | None, closeup: bool) -> I8:
    out = np.full(3 + PLATE_LENGTH, IGNORE, np.int8)
    if subject is None:
        return out
    vehicle = scene.vehicles[subject]
    if closeup and vehicle.plate is not None:
        out[3:] = [PLATE_ALPHABET.index(c) for c in vehicle.plate]
    else:
        out[:3] = (
            KINDS.index(vehicle.kind),
            COLOURS.index(vehicle.colour),
            HEADINGS.index(vehicle.heading),
        )
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
