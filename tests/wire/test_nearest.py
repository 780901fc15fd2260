"""The nearest entry is the exact one, ties and large numbers included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs.nearest import Nearest
from saccade.codecs.rvq_table import MAX_ENTRY, MAX_FEATURE


def by_hand(entries: np.ndarray, residuals: np.ndarray) -> list[int]:
    """In whole numbers; of equal distances the lowest index."""
    found = []
    for row in residuals.astype(np.int64):
        distances = [int(((row - entry) ** 2).sum()) for entry in entries.astype(np.int64)]
        found.append(distances.index(min(distances)))
    return found


@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(2, 60), width=st.integers(1, 40),
    bits=st.integers(0, 16), rows=st.integers(0, 12),
)  # fmt: skip
def test_it_is_the_one_found_by_hand(
    seed: int, count: int, width: int, bits: int, rows: int
) -> None:
    """Few bits make many ties, many bits more than float32 holds."""
    rng = np.random.default_rng(seed)
    entries = rng.integers(-(1 << bits), (1 << bits) + 1, (count, width)).astype(np.int32)
    near = entries[rng.integers(0, count, rows)] + rng.integers(-2, 3, (rows, width))
    far = rng.integers(-MAX_FEATURE, MAX_FEATURE + 1, (rows, width))
    residuals = np.concatenate([near, far]).astype(np.float64)
    assert Nearest(entries)(residuals).tolist() == by_hand(entries, residuals)


def test_two_entries_that_float32_cannot_tell_apart() -> None:
    entries = np.full((3, 32), MAX_ENTRY, np.int32)
    entries[1, 0] -= 1
    entries[2, 0] -= 2
    residuals = np.full((3, 32), float(MAX_FEATURE))
    residuals[1:, 0] = MAX_ENTRY - 1, MAX_ENTRY - 2
    assert Nearest(entries)(residuals).tolist() == by_hand(entries, residuals) == [0, 1, 2]


@pytest.mark.parametrize("rows", [0, 1])
def test_the_shape_is_the_rows(rows: int) -> None:
    assert Nearest(np.eye(3, dtype=np.int32))(np.zeros((rows, 3))).shape == (rows,)
