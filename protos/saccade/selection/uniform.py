"""Evenly spread places, blind to the picture: the baseline that a method has to beat.

Places are taken in the order of the dispersed-dot dither matrix (Bayer, "An optimum method for
two-level rendition of continuous-tone pictures", 1973): 16 of 8 x 8 are every second row and
column, and a larger budget only appends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.selection.base import keep
from saccade.types import F32, TokenGrid, TokenSet


def uniform(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The first ``budget`` places of the dither order; prefix-nested."""
    frames, rows, columns = grid.grid
    y, x = np.divmod(np.arange(rows * columns), columns)
    order = np.argsort(dither(y, x, max(rows, columns)), kind="stable")
    # The same place in every frame before the next place.
    ranked = (order[:, None] + np.arange(frames) * rows * columns).ravel()
    return keep(grid, ranked[:budget])


def dither(y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.int64]:
    """Each place's threshold: the bits of x^y and y interleaved, lowest bit most significant."""
    threshold = np.zeros_like(y)
    for bit in range((side - 1).bit_length()):
        threshold = threshold << 2 | ((x ^ y) >> bit & 1) << 1 | y >> bit & 1
    return threshold
