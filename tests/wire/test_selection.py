"""Every selection method keeps the selector's contract."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.errors import SelectionError
from saccade.nouns import TokenGrid
from saccade.selection import METHODS, select
from saccade_testing.selector_contract import SelectorContract
from saccade_testing.tokens import token_grid


class TestClsEnsemble(SelectorContract):
    method = "cls_ensemble"

    def test_scores_are_head_means_summed_over_layers(self) -> None:
        grid = token_grid(3)
        scores = grid.saliency.astype(np.float64).mean(axis=1).sum(axis=0)
        kept = select(grid, 7)
        assert set(kept.ids.tolist()) == set(np.argsort(scores)[-7:].tolist())
        assert np.all(np.diff(scores[kept.ids[kept.order]]) <= 0)

    def test_of_equal_scores_the_lowest_ids_win(self) -> None:
        grid = token_grid(3)
        flat = TokenGrid(grid.features, np.full_like(grid.saliency, 0.25), grid.keys, grid.grid)
        np.testing.assert_array_equal(select(flat, 5).ids, np.arange(5))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_scores_that_are_not_finite_are_refused(self, value: float) -> None:
        grid = token_grid(3)
        grid.saliency[0, 0, 5] = value
        with pytest.raises(SelectionError, match="1 of 64 saliency scores are not finite"):
            select(grid, 5)

    def test_an_encoder_without_saliency_rows_is_refused(self) -> None:
        grid = token_grid(3)
        bare = TokenGrid(grid.features, np.zeros((0, 4, 64), np.float32), grid.keys, grid.grid)
        with pytest.raises(SelectionError, match=r"\[0, 4, 64\]"):
            select(bare, 5)


class TestUniform(SelectorContract):
    method = "uniform"

    def test_a_quarter_of_the_places_is_every_second_row_and_column(self) -> None:
        rows, columns = np.divmod(select(token_grid(0), 16, method="uniform").ids, 8)
        assert set(rows.tolist()) == set(columns.tolist()) == {0, 2, 4, 6}

    def test_frames_take_turns(self) -> None:
        kept = select(token_grid(0, (2, 4, 4)), 8, method="uniform")
        assert np.count_nonzero(kept.ids < 16) == 4


class TestRandom(SelectorContract):
    method = "random"

    def test_another_seed_draws_other_places(self) -> None:
        drawn = {tuple(select(token_grid(0), 8, method="random", seed=s).ids) for s in range(9)}
        assert len(drawn) == 9

    def test_the_draw_is_the_same_on_every_machine(self) -> None:
        kept = select(token_grid(0), 6, method="random", seed=1)
        assert kept.ids.tolist() == [9, 31, 36, 39, 55, 61]


def test_every_method_is_under_contract() -> None:
    contracts = {c.method for c in SelectorContract.__subclasses__()}
    assert contracts == set(METHODS)


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(
        SelectionError,
        match="unknown selection method 'best', known are: cls_ensemble, random, uniform",
    ):
        select(token_grid(0), 5, method="best")
