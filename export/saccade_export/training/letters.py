"""Where single letters of plates are in a view, in cells of four pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade_export.crossing.scene import PLATE_ALPHABET, Scene
from saccade_export.training.shards import GRID, VIEW_SIZE, Shard
from saccade_export.training.targets import CHARS, IGNORE, MIN_ADVANCE_PX, advance_px

CELL_PX = 4
CELLS = (VIEW_SIZE[0] // CELL_PX, VIEW_SIZE[1] // CELL_PX)
PATCH = (CELLS[0] // GRID[0], CELLS[1] // GRID[1])  # cells in a patch
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
    x0, y0, x1, _ = window
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
    chars: npt.NDArray[np.int8], rows: npt.NDArray[np.int64], letters: dict[int, list[Letter]]
) -> npt.NDArray[np.int8]:
    """int8 [B, 24, 40]; ``chars``: [B, T, 3], the patches' own targets, -1 where nobody asks."""
    unasked = (chars[:, :, 0] == IGNORE).reshape(-1, *GRID)
    out = np.where(unasked, IGNORE, 0).astype(np.int8).repeat(PATCH[0], 1).repeat(PATCH[1], 2)
    for i, row in enumerate(rows):
        for y, x, letter in letters.get(int(row), ()):
            out[i, y, x] = letter
    return out


def shift(
    view: npt.NDArray[np.uint8], cells: npt.NDArray[np.int8], down: int, right: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """A view and its letters moved by whole cells, what leaves on one side coming back on the
    other -> view, cells, the patches' ``chars`` [T, 3].

    The same plate at another place in its patch is another thing to learn: without this the
    encoder read 58 % of the letters it was trained on and 33 % of others.
    """
    view = np.roll(view, (down * CELL_PX, right * CELL_PX), (0, 1))
    cells = np.roll(cells, (down, right), (0, 1))
    return view, cells, _chars(cells)


def _chars(cells: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """[24, 40] -> [T, 3]: the letters of each patch, left to right."""
    blocks = cells.reshape(GRID[0], PATCH[0], GRID[1], PATCH[1]).transpose(0, 2, 1, 3)
    flat = blocks.reshape(-1, *PATCH)
    chars = np.zeros((len(flat), CHARS), np.int8)
    chars[(flat == IGNORE).mean((1, 2)) > 0.5] = IGNORE
    for patch in np.flatnonzero((flat > 0).any((1, 2))):
        rows, columns = np.nonzero(flat[patch] > 0)
        left_to_right = np.argsort(columns, kind="stable")[:CHARS]
        chars[patch] = 0
        chars[patch, : len(left_to_right)] = flat[patch][
            rows[left_to_right], columns[left_to_right]
        ]
    return chars
