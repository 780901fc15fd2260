"""From groups of tokens to a token set: sums in float64, in raster order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.errors import SelectionError
from saccade.selection.base import Ids, keep
from saccade.selection.exact import F64
from saccade.types import F32, I32, TokenGrid, TokenSet

DROPPED = -1


def keys_of(grid: TokenGrid) -> F32:
    """[T, Dk]. Raises SelectionError where the encoder exports none, or they are not finite."""
    if not grid.keys.shape[1]:
        raise SelectionError("this method needs keys, the encoder exports none")
    bad = int(np.count_nonzero(~np.isfinite(grid.keys)))
    if bad:
        raise SelectionError(f"{bad} of {grid.keys.size} key values are not finite")
    return grid.keys


def owning(tokens: int, ranked: Ids) -> I32:
    """[T] owners before any merge: the kept own themselves, all others are dropped."""
    owners = np.full(tokens, DROPPED, np.int32)
    owners[ranked] = ranked
    return owners


def group_sums(rows: npt.NDArray[np.floating], groups: Ids) -> F64:
    """[N, D] and [N] group numbers to [G, D], in ascending order of the numbers that occur."""
    by_group = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[by_group])) + 1
    # Six times as fast as np.add.reduceat for rows of 1024.
    parts = np.split(rows[by_group], starts)
    return np.stack([part.sum(axis=0, dtype=np.float64) for part in parts])


def member_sums(grid: TokenGrid, owners: I32) -> tuple[F64, F64]:
    """[K, D] sums of each kept token and those that it took in, in raster order; and [K, 1] how
    many they are.
    """
    taken = owners != DROPPED
    sums = group_sums(grid.features[taken], owners[taken])
    sizes = np.unique(owners[taken], return_counts=True)[1]
    return sums, sizes[:, None].astype(np.float64)


def merged(grid: TokenGrid, ranked: Ids, owners: I32, features: F64 | None = None) -> TokenSet:
    """``ranked``: [K] kept places, most important first. ``features``: [K, D] in raster order, the
    mean of each token's members where None.
    """
    if features is None:
        sums, sizes = member_sums(grid, owners)
        features = sums / sizes
    kept = keep(grid, ranked)
    return TokenSet(features.astype(np.float32), kept.ids, kept.grid, kept.order, owners)
