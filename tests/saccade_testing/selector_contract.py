"""What every selection method promises; a test class per method inherits these tests."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade import packet as packets
from saccade.errors import SelectionError
from saccade.selection import select
from saccade.types import Grid, TokenGrid, TokenSet
from saccade_testing.tokens import (
    CAMERAS,
    EPOCH_UNIX_MS,
    frame_tokens,
    grids,
    limits_of,
    token_grid,
)

seeds = st.integers(0, 2**32 - 1)


class SelectorContract:
    """Subclasses set ``method``; ``nested`` where a larger budget only appends; ``merges`` where
    features are made of several tokens; ``drops`` where it merges some and drops others.
    """

    method: str
    nested = True
    merges = False
    drops = False

    def select(self, grid: TokenGrid, budget: int, seed: int = 0) -> TokenSet:
        """With a text, which only some look at."""
        text = np.random.default_rng(1).normal(size=(3, grid.features.shape[1]))
        return select(grid, budget, method=self.method, seed=seed, text=text.astype(np.float32))

    @given(grid=grids, seed=seeds, data=st.data())
    def test_exactly_the_budget_is_kept_in_raster_order(
        self, grid: Grid, seed: int, data: st.DataObject
    ) -> None:
        tokens = token_grid(seed, grid, dim=3)
        budget = data.draw(st.integers(1, math.prod(grid)))
        kept = self.select(tokens, budget, seed)
        assert len(kept.ids) == budget
        assert np.all(np.diff(kept.ids) > 0)
        assert sorted(kept.order.tolist()) == list(range(budget))
        assert kept.grid == grid
        assert np.all(np.isfinite(kept.features))

    @given(grid=grids, seed=seeds)
    def test_kept_features_are_the_grids_own_or_their_owners_are_named(
        self, grid: Grid, seed: int
    ) -> None:
        tokens = token_grid(seed, grid, dim=3)
        kept = self.select(tokens, 1 + math.prod(grid) // 2, seed)
        if self.merges:
            assert kept.owners is not None
        else:
            assert kept.owners is None
            np.testing.assert_array_equal(kept.features, tokens.features[kept.ids])

    @given(grid=grids, seed=seeds, data=st.data())
    def test_every_token_has_one_owner_that_is_kept(
        self, grid: Grid, seed: int, data: st.DataObject
    ) -> None:
        if not self.merges:
            return
        tokens = token_grid(seed, grid, dim=3)
        budget = data.draw(st.integers(1, math.prod(grid)))
        kept = self.select(tokens, budget, seed)
        assert kept.owners is not None
        sizes = [np.count_nonzero(kept.owners == i) for i in kept.ids]
        dropped = np.count_nonzero(kept.owners == -1)
        assert sum(sizes) + dropped == math.prod(grid) == len(kept.owners)
        assert self.drops or not dropped
        np.testing.assert_array_equal(kept.owners[kept.ids], kept.ids)

    def test_owners_cross_the_wire(self) -> None:
        frame = frame_tokens([self.select(token_grid(seed), 9 + seed, seed) for seed in range(3)])
        packet = packets.pack(frame, "f16", epoch_unix_ms=EPOCH_UNIX_MS)
        received = packets.unpack(
            type(packet).FromString(packet.SerializeToString()),
            limits=limits_of(frame),
            cameras=CAMERAS,
            epoch_unix_ms=EPOCH_UNIX_MS,
        )
        for sent, got in zip(frame.views, received.views, strict=True):
            np.testing.assert_array_equal(got.tokens.ids, sent.tokens.ids)
            assert (got.tokens.owners is None) is not self.merges
            if self.merges:
                np.testing.assert_array_equal(got.tokens.owners, sent.tokens.owners)

    @given(grid=grids, seed=seeds)
    def test_the_same_input_gives_the_same_tokens(self, grid: Grid, seed: int) -> None:
        budget = 1 + math.prod(grid) // 2
        first, second = (self.select(token_grid(seed, grid, dim=3), budget, seed) for _ in range(2))
        assert_same(first, second)

    def test_many_threads_get_the_same_tokens(self) -> None:
        views = [token_grid(seed, (1, 12, 12), dim=64) for seed in range(6)]
        alone = [self.select(view, 30) for view in views]
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda view: self.select(view, 30), views))
        for first, second in zip(alone, together, strict=True):
            assert_same(first, second)

    @given(grid=grids, seed=seeds, data=st.data())
    def test_a_larger_budget_only_appends(self, grid: Grid, seed: int, data: st.DataObject) -> None:
        if not self.nested:
            return
        tokens = token_grid(seed, grid, dim=3)
        small, large = sorted(data.draw(st.integers(1, math.prod(grid))) for _ in range(2))
        first, second = self.select(tokens, small, seed), self.select(tokens, large, seed)
        ranked = second.ids[second.order].tolist()
        assert ranked[:small] == first.ids[first.order].tolist()

    def test_the_whole_budget_keeps_everything(self) -> None:
        grid = token_grid(1)
        kept = self.select(grid, 64)
        np.testing.assert_array_equal(kept.ids, np.arange(64))
        np.testing.assert_array_equal(kept.features, grid.features)

    def test_a_single_token_is_kept(self) -> None:
        grid = token_grid(1, (1, 1, 1))
        np.testing.assert_array_equal(self.select(grid, 1).features, grid.features)

    @pytest.mark.parametrize("value", [0.0, 1.0, -1e-42, 1e30])
    @pytest.mark.parametrize("budget", [1, 10, 40])
    def test_a_picture_of_one_colour_keeps_the_budget(self, value: float, budget: int) -> None:
        grid = token_grid(1)
        flat = TokenGrid(
            np.full_like(grid.features, value),
            np.full_like(grid.saliency, 1 / 64),
            np.full_like(grid.keys, value),
            grid.grid,
        )
        kept = self.select(flat, budget)
        assert len(set(kept.ids.tolist())) == budget
        if self.nested:
            assert kept.ids[kept.order].tolist() == self.select(flat, 64).order[:budget].tolist()

    def test_zero_vectors_among_others_are_no_obstacle(self) -> None:
        grid = token_grid(1)
        grid.features[10:30] = 0
        grid.keys[20:40] = 0
        kept = self.select(grid, 50)
        assert len(kept.ids) == 50
        assert np.all(np.isfinite(kept.features))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_features_that_are_not_finite_are_refused(self, value: float) -> None:
        grid = token_grid(1)
        grid.features[3, :2] = value
        with pytest.raises(SelectionError, match="2 of 2048 feature values are not finite"):
            self.select(grid, 5)

    @pytest.mark.parametrize("budget", [-1, 0, 65])
    def test_a_budget_out_of_range_is_refused(self, budget: int) -> None:
        with pytest.raises(SelectionError, match=f"a budget of {budget} tokens .* give 1..64"):
            self.select(token_grid(1), budget)


def assert_same(first: TokenSet, second: TokenSet) -> None:
    """To the bit."""
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.features, second.features)
    if first.owners is not None:
        assert second.owners is not None
        np.testing.assert_array_equal(first.owners, second.owners)
