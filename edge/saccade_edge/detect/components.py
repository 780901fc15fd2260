"""From a mask to the boxes of its connected parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from saccade.types import U8, Box


@dataclass(frozen=True, slots=True)
class Component:
    """One connected part: its box in cells of the mask, and which cells belong to it."""

    box: Box
    cells: int
    member: npt.NDArray[np.bool_]  # [rows, columns]


def components(mask: U8, min_cells: int) -> Iterator[Component]:
    """8-connected parts of ``mask`` [rows, columns] with at least ``min_cells`` cells."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for index in range(1, count):
        x, y, w, h, cells = (int(v) for v in stats[index])
        if cells >= min_cells:
            box = (float(x), float(y), float(x + w), float(y + h))
            yield Component(box, cells, np.asarray(labels == index))


def scale_box(box: Box, grid: tuple[int, int], size: tuple[int, int]) -> Box:
    """From cells of a (rows, columns) grid to pixels of a (height, width) frame."""
    across, down = size[1] / grid[1], size[0] / grid[0]
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
