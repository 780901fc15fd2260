"""A noun with arrays of another shape or dtype is a programming error, found at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saccade.types import Frame, Timing, TokenGrid, TokenSet
from saccade_testing.tokens import GRID, token_set, usual_frame


def test_kept_counts_all_views() -> None:
    assert usual_frame(views=5, kept=16).kept == 80


def test_total_is_the_sum_of_stages() -> None:
    assert Timing({"encode": 1.5, "send": 2.0}).total_ms == 3.5


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_a_frame_is_rgb(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a frame's picture is uint8"):
        Frame(np.zeros(shape, np.uint8), 0, "north", 1)


def test_a_grid_has_a_token_for_each_place() -> None:
    features, saliency = np.zeros((63, 4), np.float32), np.zeros((1, 1, 64), np.float32)
    with pytest.raises(ValueError, match=r"float32 \[64, D\], not float32 \[63, 4\]"):
        TokenGrid(features, saliency, np.zeros((64, 4), np.float32), GRID)


@pytest.mark.parametrize("ids", [[1, 1], [2, 1], [-1, 1], [3, 64]])
def test_ids_ascend_within_the_grid(ids: list[int]) -> None:
    whole = token_set([0, 1])
    with pytest.raises(ValueError, match=r"ids ascend within 0\.\.63"):
        TokenSet(whole.features, np.array(ids, np.int32), GRID, whole.order)


def test_float64_features_are_refused() -> None:
    whole = token_set([0, 1])
    wide: Any = whole.features.astype(np.float64)
    with pytest.raises(ValueError, match="not float64"):
        TokenSet(wide, whole.ids, GRID, whole.order)
