"""What every selection method promises; a test class per method inherits these tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import SelectionError
from saccade.nouns import Grid
from saccade.selection import select
from saccade_testing.tokens import grids, token_grid


class SelectorContract:
    """Subclasses set ``method``, and ``nested`` where a larger budget only appends."""

    method: str
    nested = True

    @given(grid=grids, seed=st.integers(0, 2**32 - 1), data=st.data())
    def test_exactly_the_budget_is_kept_in_raster_order(
        self, grid: Grid, seed: int, data: st.DataObject
    ) -> None:
        tokens = token_grid(seed, grid, dim=3)
        budget = data.draw(st.integers(1, math.prod(grid)))
        kept = select(tokens, budget, method=self.method, seed=seed)
        assert len(kept.ids) == budget
        assert np.all(np.diff(kept.ids) > 0)
        assert sorted(kept.order.tolist()) == list(range(budget))
        assert kept.grid == grid

    @given(grid=grids, seed=st.integers(0, 2**32 - 1))
    def test_kept_features_are_the_grids_own(self, grid: Grid, seed: int) -> None:
        tokens = token_grid(seed, grid, dim=3)
        kept = select(tokens, 1 + math.prod(grid) // 2, method=self.method, seed=seed)
        np.testing.assert_array_equal(kept.features, tokens.features[kept.ids])

    @given(grid=grids, seed=st.integers(0, 2**32 - 1))
    def test_the_same_input_gives_the_same_tokens(self, grid: Grid, seed: int) -> None:
        budget = 1 + math.prod(grid) // 2
        first, second = (
            select(token_grid(seed, grid, dim=3), budget, method=self.method, seed=seed)
            for _ in range(2)
        )
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.order, second.order)

    @given(grid=grids, seed=st.integers(0, 2**32 - 1), data=st.data())
    def test_a_larger_budget_only_appends(self, grid: Grid, seed: int, data: st.DataObject) -> None:
        if not self.nested:
            return
        tokens = token_grid(seed, grid, dim=3)
        small, large = sorted(data.draw(st.integers(1, math.prod(grid))) for _ in range(2))
        first = select(tokens, small, method=self.method, seed=seed)
        second = select(tokens, large, method=self.method, seed=seed)
        ranked = second.ids[second.order].tolist()
        assert ranked[:small] == first.ids[first.order].tolist()

    def test_the_whole_budget_keeps_everything(self) -> None:
        kept = select(token_grid(1), 64, method=self.method)
        np.testing.assert_array_equal(kept.ids, np.arange(64))

    @pytest.mark.parametrize("budget", [-1, 0, 65])
    def test_a_budget_out_of_range_is_refused(self, budget: int) -> None:
        with pytest.raises(SelectionError, match=f"a budget of {budget} tokens .* give 1..64"):
            select(token_grid(1), budget, method=self.method)
