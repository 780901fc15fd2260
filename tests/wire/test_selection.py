"""Every selection method keeps the selector's contract."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from saccade.errors import SelectionError
from saccade.selection import (
    COVERAGE_METHOD,
    METHODS,
    NEEDS,
    TEXT_GUIDED,
    member_positions,
    missing,
    select,
    usable,
)
from saccade.selection.mmr import marginal
from saccade.selection.prunesid import loadings
from saccade.types import TokenGrid
from saccade_testing.selection_by_hand import words
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


class TestClsTopk(SelectorContract):
    method = "cls_topk"

    def test_only_the_last_layer_counts(self) -> None:
        grid = token_grid(3)
        grid.saliency[0] = np.nan
        scores = grid.saliency[-1].astype(np.float64).mean(axis=0)
        kept = select(grid, 7, method="cls_topk")
        assert set(kept.ids.tolist()) == set(np.argsort(scores)[-7:].tolist())


class TestPool2d(SelectorContract):
    method = "pool2d"
    nested = False
    merges = True

    def test_a_budget_that_is_no_square_is_still_cut_evenly(self) -> None:
        kept = select(token_grid(0), 12, method="pool2d")
        assert kept.owners is not None
        sizes = np.unique(kept.owners, return_counts=True)[1]
        assert set(sizes.tolist()) == {4, 6}

    def test_frames_are_averaged_where_there_are_fewer_tokens(self) -> None:
        grid = token_grid(0, (4, 2, 2))
        kept = select(grid, 1, method="pool2d")
        np.testing.assert_allclose(kept.features[0], grid.features.mean(axis=0), atol=1e-6)


class TestVispruner(SelectorContract):
    method = "vispruner"
    nested = False

    @pytest.mark.parametrize("budget", [30, 34, 61, 62, 63])
    def test_an_odd_rest_is_no_obstacle(self, budget: int) -> None:
        assert len(select(token_grid(2, (1, 9, 7)), budget, method="vispruner").ids) == budget


class TestVisionzip(SelectorContract):
    method = "visionzip"
    nested = False
    merges = True


class TestVisionzipMean(SelectorContract):
    method = "visionzip_mean"
    nested = False
    merges = True


class TestDivprune(SelectorContract):
    method = "divprune"

    def test_duplicates_come_last(self) -> None:
        grid = token_grid(2)
        grid.features[32:] = grid.features[:32]
        places = select(grid, 32, method="divprune").ids
        assert set((places % 32).tolist()) == set(range(32))


class TestMmr(SelectorContract):
    method = "mmr"

    def test_importance_may_be_any(self) -> None:
        ranked = marginal(token_grid(2).features, np.arange(64, dtype=np.float32), 64)
        assert ranked[0] == 63
        assert sorted(ranked.tolist()) == list(range(64))


class TestScope(SelectorContract):
    method = "scope"


class TestApet(SelectorContract):
    method = "apet"
    nested = False
    merges = True


class TestPrumerge(SelectorContract):
    method = "prumerge"
    nested = False
    merges = True


class TestCdpruner(SelectorContract):
    method = "cdpruner"

    def test_more_tokens_than_dimensions_are_no_obstacle(self) -> None:
        kept = select(token_grid(4, dim=12), 30, method="cdpruner", text=words(12))
        assert len(set(kept.ids.tolist())) == 30


class TestFlashvlm(SelectorContract):
    method = "flashvlm"
    nested = False


class TestTome(SelectorContract):
    method = "tome"
    nested = False
    merges = True

    def test_the_mean_over_all_members_stays(self) -> None:
        grid = token_grid(4)
        kept = select(grid, 11, method="tome")
        sizes = np.array([np.count_nonzero(kept.owners == i) for i in kept.ids])
        total = (kept.features * sizes[:, None]).sum(axis=0)
        np.testing.assert_allclose(total, grid.features.sum(axis=0), atol=1e-4)


class TestMustdrop(SelectorContract):
    method = "mustdrop"
    nested = False
    merges = True
    drops = True

    def test_protected_tokens_are_kept_as_they_are(self) -> None:
        grid = token_grid(4)
        grid.features[:] = grid.features[0] + 0.01 * grid.features  # every window is even
        best = np.argsort(grid.saliency[-1].mean(axis=0))[-6:]
        kept = select(grid, 6, method="mustdrop")
        assert set(kept.ids.tolist()) == set(best.tolist())
        np.testing.assert_array_equal(kept.features, grid.features[kept.ids])


class TestDpcKnn(SelectorContract):
    method = "dpc_knn"  # its centres are nested, the means that they become are not
    merges = True

    def test_members_keep_their_positions(self) -> None:
        kept = select(token_grid(4, (2, 3, 4)), 5, method="dpc_knn")
        assert kept.owners is not None
        places = member_positions(kept)
        assert places.shape == (5, 8, 3)
        for row, owner in enumerate(kept.ids):
            members = np.flatnonzero(kept.owners == owner)
            flat = np.ravel_multi_index(tuple(places[row].T), (2, 3, 4)).tolist()
            walk = [members[-1], *members[:-1]]
            assert flat == [walk[n % len(walk)] for n in range(8)]

    def test_what_was_not_merged_has_one_position(self) -> None:
        kept = select(token_grid(4), 3)
        rows, columns = np.divmod(kept.ids, 8)
        np.testing.assert_array_equal(member_positions(kept, 2)[:, 1, 1:], np.c_[rows, columns])


class TestAlive(SelectorContract):
    method = "alive"

    def test_sinks_come_last_however_much_attention_they_get(self) -> None:
        grid = token_grid(4)
        grid.features[[7, 9]] *= 30
        grid.saliency[:, :, [7, 9]] = 1
        kept = select(grid, 64, method="alive")
        assert kept.order[-2:].tolist() == [7, 9]


class TestMmtok(SelectorContract):
    method = "mmtok"

    def test_one_of_each_kind_is_kept_first(self) -> None:
        """Three directions, the second of them of most tokens: it covers most."""
        grid = token_grid(0)
        kinds = np.repeat([0, 1, 2], [16, 32, 16])
        grid.features[:] = np.eye(32, dtype=np.float32)[kinds]
        kept = select(grid, 3, method="mmtok")
        assert kept.ids[kept.order].tolist()[0] == 16
        assert kinds[kept.ids].tolist() == [0, 1, 2]


class TestIdSelection(SelectorContract):
    method = "id_selection"

    def test_a_copy_of_a_kept_token_comes_last(self) -> None:
        grid = token_grid(3)
        best = int(grid.saliency.mean(axis=1).sum(axis=0).argmax())
        copy = 0 if best else 1
        grid.features[copy] = grid.features[best]
        grid.saliency[:, :, copy] = grid.saliency[:, :, best]
        ranked = select(grid, 64, method="id_selection")
        assert copy not in ranked.ids[ranked.order][1:32].tolist()


class TestPrunesid(SelectorContract):
    method = "prunesid"
    nested = False

    def test_an_encoder_without_saliency_ranks_by_loadings(self) -> None:
        grid = token_grid(3)
        bare = TokenGrid(grid.features, np.zeros((0, 4, 64), np.float32), grid.keys, grid.grid)
        kept = select(bare, 16, method="prunesid")
        groups = loadings(bare.features, 4, 0)
        assert set(groups.argmax(axis=1)[kept.ids].tolist()) == {0, 1, 2, 3}
        strongest = groups.max(axis=1)
        for group in range(4):
            members = np.flatnonzero(groups.argmax(axis=1) == group)
            assert members[strongest[members].argmax()] in kept.ids

    def test_components_are_the_principal_ones(self) -> None:
        """Where the spectrum falls fast, iteration finds what an exact decomposition finds."""
        generator = np.random.default_rng(4)
        parts = generator.normal(size=(64, 4)) * [8, 4, 2, 1] @ generator.normal(size=(4, 48))
        features = np.asarray(parts / 40, np.float32)
        centred = 1 / (1 + np.exp(-features.astype(np.float64)))
        centred -= centred.mean(axis=1, keepdims=True)
        exact = np.abs(np.linalg.svd(centred)[0][:, :2])
        np.testing.assert_allclose(loadings(features, 4, 1)[:, :2], exact, atol=1e-3)


def test_every_method_is_under_contract() -> None:
    contracts = {c.method for c in SelectorContract.__subclasses__()}
    assert contracts == set(METHODS)


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(
        SelectionError,
        match="unknown selection method 'best', known are: alive, apet, cdpruner, cls_ensemble, ",
    ):
        select(token_grid(0), 5, method="best")


@pytest.mark.parametrize("method", sorted(TEXT_GUIDED))
def test_a_method_that_is_guided_by_text_asks_for_it(method: str) -> None:
    with pytest.raises(SelectionError, match=f"{method} is guided by a text"):
        select(token_grid(0), 5, method=method)


@pytest.mark.parametrize("shape", [(0, 32), (3, 31), (32,)])
def test_a_text_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SelectionError, match=r"text features are float32 \[M, 32\], not"):
        select(token_grid(0), 5, text=np.zeros(shape, np.float32))


def test_a_text_that_is_not_finite_is_refused() -> None:
    text = words()
    text[2, 2] = np.nan
    with pytest.raises(SelectionError, match="1 of 96 text feature values"):
        select(token_grid(0), 5, text=text)


@pytest.mark.parametrize("method", ["visionzip", "prumerge", "tome"])
def test_an_encoder_without_usable_keys_is_refused(method: str) -> None:
    grid = token_grid(3)
    bare = TokenGrid(grid.features, grid.saliency, np.zeros((64, 0), np.float32), grid.grid)
    with pytest.raises(
        SelectionError, match=rf"{method} needs keys, the encoder exports \[64, 0\]"
    ):
        select(bare, 5, method=method)
    grid.keys[1, 1] = np.inf
    with pytest.raises(SelectionError, match="1 of 512 key values are not finite"):
        select(grid, 5, method=method)


def test_every_method_says_what_it_needs() -> None:
    assert NEEDS.keys() == METHODS.keys()
    assert missing("visionzip", {"saliency"}) == ("keys",)
    assert missing("cdpruner", set()) == ()


def test_methods_that_need_nothing_run_on_features_alone() -> None:
    """And the others don't: what a method declares is what it takes."""
    grid = token_grid(3)
    bare = TokenGrid(
        grid.features, np.zeros((0, 0, 64), np.float32), np.zeros((64, 0), np.float32), grid.grid
    )
    assert COVERAGE_METHOD in usable(())
    for method in METHODS:
        if missing(method, ()):
            with pytest.raises(SelectionError, match=f"{method} needs .*, the encoder exports"):
                select(bare, 5, method=method, text=words())
        else:
            assert len(select(bare, 5, method=method, text=words()).ids) == 5


@pytest.mark.parametrize("what", ["saliency", "keys"])
def test_a_method_that_declares_no_need_looks_at_nothing_else(what: str) -> None:
    grid = token_grid(3)
    if what == "keys":
        other = TokenGrid(grid.features, grid.saliency, grid.keys[::-1].copy(), grid.grid)
    else:
        other = TokenGrid(grid.features, grid.saliency[:, :, ::-1].copy(), grid.keys, grid.grid)
    for method, needs in NEEDS.items():
        if what in needs or (method, what) == ("prunesid", "saliency"):
            continue
        first, second = (select(g, 9, method=method, text=words()) for g in (grid, other))
        assert first.ids.tolist() == second.ids.tolist(), method


def test_threads_and_processors_change_nothing() -> None:
    """A process per setting, as BLAS reads it when it is loaded; an old processor's kernels add in
    another order.
    """
    program = "from saccade_testing.digest import digest_of_all; print(digest_of_all())"
    digests = set()
    for threads, kernels in (("1", "Nehalem"), ("2", "Haswell"), ("4", "")):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **counts, **paths, "OPENBLAS_CORETYPE": kernels},
            stdout=subprocess.PIPE,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("shape", "budget", "cells"),
    [
        # Two rows of three columns in two cells: a band of two cells, as square as it goes.
        ((1, 2, 3), 2, [[0, 3], [1, 2, 4, 5]]),
        ((1, 1, 7), 3, [[0, 1], [2, 3], [4, 5, 6]]),
        ((1, 7, 1), 3, [[0, 1], [2, 3], [4, 5, 6]]),
        # Square cells are nearer with one band than with two.
        ((1, 2, 4), 3, [[0, 4], [1, 5], [2, 3, 6, 7]]),
        # Two bands: one cell in the first, two in the second.
        ((1, 4, 4), 3, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]),
        # Fewer tokens than frames: frames are averaged, three of them in two spans.
        ((3, 1, 2), 2, [[0, 1], [2, 3, 4, 5]]),
        # More: each frame has its share.
        ((2, 1, 2), 3, [[0, 1], [2], [3]]),
    ],
)
def test_pooling_cuts_frames_into_bands_and_bands_into_cells(
    shape: tuple[int, int, int], budget: int, cells: list[list[int]]
) -> None:
    grid = token_grid(0, shape, dim=3)
    kept = select(grid, budget, method="pool2d")
    assert kept.owners is not None
    found = [np.flatnonzero(kept.owners == owner).tolist() for owner in kept.ids]
    assert sorted(found) == cells
    for members, features in zip(found, kept.features, strict=True):
        np.testing.assert_allclose(features, grid.features[members].mean(axis=0), atol=1e-6)


def test_a_cells_middle_token_has_its_place() -> None:
    kept = select(token_grid(0, (1, 6, 6)), 4, method="pool2d")
    assert kept.ids.tolist() == [7, 10, 25, 28]  # row 1 and column 1 of each 3 x 3
    even = select(token_grid(0, (1, 4, 4)), 1, method="pool2d")
    assert even.ids.tolist() == [5]  # of an even number the one before the middle
