"""Where single letters of plates are in a view, in cells of four pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade_export.crossing.scene import PLATE_ALPHABET, Scene
from saccade_export.training.shards import GRID, VIEW_SIZE, Shard
from saccade_export.training.targets import IGNORE, MIN_ADVANCE_PX, advance_px

CELL_PX = 4
CELLS = (VIEW_SIZE[0] // CELL_PX, VIEW_SIZE[1] // CELL_PX)
Letter = tuple[int, int, int]  # row, column, 1 + index in PLATE_ALPHABET


def shard_letters(shard: Shard) -> dict[int, list[Letter]]:
    """For each view of a shard with legible plates: its letters."""
    found: dict[int, list[Letter]] = {}
    for frame, meta in enumerate(shard.frames):
        scene = Scene.from_json(meta["scene"])
        for i, window in enumerate(meta["windows"][1:], 1):
            if letters := _letters(scene, window):
                found[int(shard.offsets[frame]) + i] = letters
    return found


def _letters(scene: Scene, window: list[float]) -> list[Letter]:
    x0, y0, x1, y1 = window
    scale = VIEW_SIZE[1] / (x1 - x0)
    out: list[Letter] = []
    for vehicle in scene.vehicles:
        if vehicle.plate is None or advance_px(vehicle, scale) < MIN_ADVANCE_PX:
            continue
        for letter, (x, y) in zip(vehicle.plate, vehicle.chars, strict=True):
            row, column = int((y - y0) * scale // CELL_PX), int((x - x0) * scale // CELL_PX)
            if 0 <= row < CELLS[0] and 0 <= column < CELLS[1]:
                out.append((row, column, 1 + PLATE_ALPHABET.index(letter)))
    return out


def letter_map(
    chars: npt.NDArray[np.generic], rows: npt.NDArray[np.int64], letters: dict[int, list[Letter]]
) -> npt.NDArray[np.int8]:
    """int8 [B, 24, 40]; ``chars``: [B, T, 3], the patches' own targets, -1 where nobody asks."""
    asked = (np.asarray(chars)[:, :, 0] == IGNORE).reshape(-1, *GRID)
    size = (CELLS[0] // GRID[0], CELLS[1] // GRID[1])
    out = np.where(asked, IGNORE, 0).astype(np.int8).repeat(size[0], 1).repeat(size[1], 2)
    for i, row in enumerate(rows):
        for y, x, letter in letters.get(int(row), ()):
            out[i, y, x] = letter
    return out
