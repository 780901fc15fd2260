"""Regions that the encoder itself finds worth attention: no detector is needed.

The overview's CLS attention, summed over the exported layers and averaged over heads, is a
map of what the encoder sums the frame up from. Cells well above its mean form regions.
"""

from __future__ import annotations

import numpy as np

from saccade.errors import ConfigError
from saccade.types import F32, Frame, Region, TokenGrid
from saccade_edge.detect.base import Overview
from saccade_edge.detect.components import components, scale_box

# Standard deviations above the mean that make a cell salient.
DEVIATIONS = 1.0


class SaliencyDetector:
    """Thresholds the overview's token saliency and boxes its connected cells."""

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        heat = saliency_map(overview())
        salient = np.asarray(heat > heat.mean() + DEVIATIONS * heat.std(), np.uint8)
        rows, columns = heat.shape
        return [
            Region(
                scale_box(part.box, (rows, columns), frame.size),
                "salient",
                float(heat[part.member].sum()),
            )
            for part in components(salient, min_cells=1)
        ]


def saliency_map(grid: TokenGrid) -> F32:
    """[rows, columns] float32, summing to 1: the share of attention that each cell gets."""
    _, rows, columns = grid.grid
    if not grid.saliency.size:
        raise ConfigError("the encoder gives no saliency: choose another detector")
    heat = grid.saliency.sum(axis=0).mean(axis=0).reshape(rows, columns)
    return np.asarray(heat / max(float(heat.sum()), 1e-12), np.float32)
