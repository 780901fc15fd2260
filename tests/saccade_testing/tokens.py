"""Tokens to test with: plain builders and hypothesis strategies."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from saccade.limits import Limits
from saccade.spec import AnyGrid, FixedGrid, TiledGrid
from saccade.types import I32, Box, FrameTokens, Grid, TokenGrid, TokenSet, ViewTokens
from saccade.views_header import WHOLE

GRID: Grid = (1, 8, 8)
DIM = 32
EPOCH_UNIX_MS = 1_700_000_000_000
CAMERAS = ("north", "south")


def token_grid(seed: int, grid: Grid = GRID, dim: int = DIM) -> TokenGrid:
    """Normal features, uniform saliency of 2 layers and 4 heads."""
    generator = np.random.default_rng(seed)
    places = math.prod(grid)
    return TokenGrid(
        features=generator.normal(size=(places, dim)).astype(np.float32),
        saliency=generator.random((2, 4, places), np.float32),
        keys=generator.normal(size=(places, 8)).astype(np.float32),
        grid=grid,
    )


def token_set(ids: list[int], seed: int = 0, grid: Grid = GRID, dim: int = DIM) -> TokenSet:
    """Normal features at the given ascending places."""
    features = np.random.default_rng(seed).normal(size=(len(ids), dim)).astype(np.float32)
    return TokenSet(features, np.array(ids, np.int32), grid, np.arange(len(ids), dtype=np.int32))


def frame_tokens(sets: list[TokenSet], sequence: int = 1) -> FrameTokens:
    """A frame of the given views; crops look at windows that the wire holds exactly."""
    windows: list[Box] = [
        WHOLE,
        *((i / 255, 0.2, (i + 51) / 255, 0.4) for i in range(1, len(sets))),
    ]
    views = zip(windows, sets, strict=True)
    return FrameTokens(
        sequence=sequence,
        camera=CAMERAS[0],
        captured_ns=(EPOCH_UNIX_MS + 61_234) * 1_000_000,
        size=(384, 640),
        views=tuple(ViewTokens(slot, *view) for slot, view in enumerate(views)),
    )


def usual_frame(views: int = 5, kept: int = 16) -> FrameTokens:
    """Every view of the demo bundle's shape, each with ``kept`` of 64 random places."""
    generator = np.random.default_rng(20)
    places = [sorted(generator.permutation(64)[:kept].tolist()) for _ in range(views)]
    return frame_tokens([token_set(ids, seed) for seed, ids in enumerate(places)])


def geometry_of(grid: Grid) -> AnyGrid:
    """One in which every view has ``grid``."""
    tiles, *one = grid
    if tiles == 1:
        return FixedGrid((96, 160), (one[0], one[1]))
    return TiledGrid((96, 160), (one[0], one[1]), "closest-ratio", ((1, tiles),), "none")


def limits_of(frame: FrameTokens, codecs: tuple[str, ...] = ("f16", "int8z")) -> Limits:
    """Limits that just let ``frame`` pass."""
    first = frame.views[0].tokens
    return Limits(
        views=len(frame.views),
        tokens_per_view=max(1, *(len(view.tokens.ids) for view in frame.views)),
        geometry=geometry_of(first.grid),
        dim=first.features.shape[1],
        codecs=codecs,
    )


grids = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


@st.composite
def places_in(draw: st.DrawFn, grid: Grid) -> I32:
    """Ascending ids, scattered or in runs, none to all."""
    places = math.prod(grid)
    if draw(st.booleans()):
        ids = draw(st.sets(st.integers(0, places - 1)))
    else:
        bounds = st.tuples(st.integers(0, places), st.integers(0, places))
        ids = {i for a, b in draw(st.lists(bounds, max_size=3)) for i in range(a, b)}
    return np.array(sorted(ids), np.int32)


@st.composite
def token_sets(
    draw: st.DrawFn, magnitude: float = 1000.0, dim: int | None = None
) -> list[TokenSet]:
    """One frame's sets: one grid, one width, any counts."""
    grid, dim = draw(grids), dim or draw(st.integers(1, 12))
    seed, scale = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, magnitude))
    generator = np.random.default_rng(seed)
    sets = []
    for _ in range(draw(st.integers(1, 5))):
        ids = draw(places_in(grid))
        features = (generator.uniform(-1, 1, (len(ids), dim)) * scale).astype(np.float32)
        order = generator.permutation(len(ids)).astype(np.int32)
        sets.append(TokenSet(features, ids, grid, order))
    return sets
