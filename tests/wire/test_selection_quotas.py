"""How a frame's tokens are shared among its views."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import SelectionError
from saccade.selection import QUOTAS, allot
from saccade.types import Box, TokenGrid
from saccade_testing.tokens import GRID, grids, token_grid

WHOLE: Box = (0, 0, 80, 80)
# Left and right half, and the top left quarter.
LEFT, RIGHT, QUARTER = (0, 0, 40, 80), (40, 0, 80, 80), (0, 0, 40, 40)


def with_attention(grid: TokenGrid, attention: np.ndarray) -> TokenGrid:
    saliency = np.broadcast_to(attention.astype(np.float32), grid.saliency.shape).copy()
    return TokenGrid(grid.features, saliency, grid.keys, grid.grid)


def seen_more(left: float) -> TokenGrid:
    """An overview whose left half has ``left`` times the attention of the right."""
    attention = np.ones((8, 8))
    attention[:, :4] = left
    return with_attention(token_grid(0), attention.ravel() / attention.sum())


@st.composite
def frames(draw: st.DrawFn) -> tuple[list[TokenGrid], list[Box]]:
    shape = draw(grids)
    count = draw(st.integers(1, 6))
    views = [token_grid(draw(st.integers(0, 99)), shape, dim=3) for _ in range(count)]
    corners = st.tuples(st.floats(0, 79), st.floats(0, 79), st.floats(0.5, 80), st.floats(0.5, 80))
    windows: list[Box] = [WHOLE]
    for x, y, width, height in draw(st.lists(corners, min_size=count - 1, max_size=count - 1)):
        windows.append((x, y, min(x + width, 80), min(y + height, 80)))
    return views, windows


@pytest.mark.parametrize("method", QUOTAS)
@given(frame=frames(), data=st.data())
def test_the_whole_budget_is_shared_and_every_view_has_some(
    method: str, frame: tuple[list[TokenGrid], list[Box]], data: st.DataObject
) -> None:
    views, windows = frame
    places = len(views[0].features)
    most = data.draw(st.integers(1, places))
    budget = data.draw(st.integers(len(views), most * len(views)))
    counts = allot(views, windows, budget, method=method, most=most)
    assert sum(counts) == budget
    assert min(counts) >= 1
    assert max(counts) <= most
    assert counts == allot(views, windows, budget, method=method, most=most)


@pytest.mark.parametrize("method", QUOTAS)
def test_views_of_the_same_worth_share_equally(method: str) -> None:
    flat = with_attention(token_grid(0), np.full(64, 1 / 64))
    assert allot([flat] * 4, [WHOLE] * 4, 66, method=method) == (17, 17, 16, 16)


@pytest.mark.parametrize("method", ["thumbnail_quota", "ata"])
def test_a_crop_that_is_looked_at_gets_more(method: str) -> None:
    views = [seen_more(6), token_grid(1), token_grid(2)]
    _, left, right = allot(views, [WHOLE, LEFT, RIGHT], 60, method=method)
    assert left > right


def test_thumbnail_quota_follows_its_formula() -> None:
    views = [seen_more(3), *(token_grid(n) for n in range(3))]
    got = allot(views, [WHOLE, LEFT, RIGHT, QUARTER], 100, method="thumbnail_quota")
    p = [3 / 7, 1 / 7, 3 / 7]  # softmax of the logarithms of 3, 1 and 3
    weights = [1, *(1 + x - 1 / 3 for x in p)]
    shares = [100 * w / sum(weights) for w in weights]
    assert all(abs(a - b) < 1 for a, b in zip(got, shares, strict=True))


def test_ata_gives_four_to_the_least_and_shares_the_rest_by_relevance() -> None:
    views = [seen_more(math.e**2), token_grid(1), token_grid(2)]
    # Mean logarithms 2 (left) and 0 (right), 1 for the overview: relevance 0.5, 1, 0.
    assert allot(views, [WHOLE, LEFT, RIGHT], 42, method="ata") == (14, 24, 4)


def test_ata_lowers_its_least_for_a_small_budget() -> None:
    views = [seen_more(math.e**2), token_grid(1), token_grid(2)]
    assert allot(views, [WHOLE, LEFT, RIGHT], 6, method="ata") == (2, 2, 2)


def test_what_a_full_view_cannot_take_goes_to_the_others() -> None:
    views = [seen_more(math.e**2), token_grid(1), token_grid(2)]
    assert allot(views, [WHOLE, LEFT, RIGHT], 60, method="ata", most=26) == (26, 26, 8)


def test_a_view_that_repeats_itself_gets_less() -> None:
    rich, plain = token_grid(1), token_grid(2)
    plain.keys[:48] = plain.keys[0]
    counts = allot([rich, plain], [WHOLE, LEFT], 80, method="correlation_density")
    assert counts == (64, 16)


def test_a_patch_cut_by_a_window_counts_by_its_share() -> None:
    attention = np.full((8, 8), 0.01)
    attention[:, 0] = 0.02
    views = [with_attention(token_grid(0), attention.ravel()), *(token_grid(n) for n in range(2))]
    half, whole = (0.0, 0.0, 15.0, 80.0), (0.0, 0.0, 10.0, 80.0)
    counts = allot(views, [WHOLE, half, whole], 60, method="thumbnail_quota")
    p = 2 ** (2 / 3) / (2 ** (2 / 3) + 2)
    weights = [1, 0.5 + p, 1.5 - p]
    assert counts[1] == round(60 * weights[1] / 3)


@pytest.mark.parametrize("budget", [2, 193])
def test_a_budget_out_of_range_is_refused_with_its_bounds(budget: int) -> None:
    with pytest.raises(SelectionError, match=rf"a budget of {budget} .* 3 views: give 3\.\.192"):
        allot([token_grid(n, GRID) for n in range(3)], [WHOLE] * 3, budget)


def test_an_unknown_quota_lists_the_known() -> None:
    with pytest.raises(SelectionError, match="'fair', known are: ata, correlation_density, equal"):
        allot([token_grid(0)], [WHOLE], 5, method="fair")


def test_a_window_for_each_view_is_asked_for() -> None:
    with pytest.raises(SelectionError, match="2 views with 1 windows"):
        allot([token_grid(0)] * 2, [WHOLE], 5)


def test_a_crop_outside_the_overview_is_refused() -> None:
    windows = [WHOLE, (90.0, 0.0, 95.0, 9.0)]
    with pytest.raises(SelectionError, match=r"window \(90.0, .* no area inside the overview's"):
        allot([token_grid(0)] * 2, windows, 50, method="thumbnail_quota")


class TestWholeTokens:
    """Weights become whole tokens: those of each share, then one each by what is left of it."""

    def flat(self, *sizes: int) -> tuple[list[TokenGrid], list[Box]]:
        return [token_grid(0, (1, 1, size), dim=3) for size in sizes], [WHOLE] * len(sizes)

    def shared(self, budget: int, most: int | None = None) -> tuple[int, ...]:
        """Equally among three views of 64."""
        views, windows = self.flat(64, 64, 64)
        return allot(views, windows, budget, most=most)

    def test_what_is_over_goes_to_the_first_views(self) -> None:
        assert [self.shared(n) for n in (3, 4, 5, 6)] == [
            (1, 1, 1),
            (2, 1, 1),
            (2, 2, 1),
            (2, 2, 2),
        ]

    def test_a_view_has_no_more_than_its_grid(self) -> None:
        views, windows = self.flat(2, 9, 9)
        assert allot(views, windows, 15) == (2, 7, 6)
        assert allot(views, windows, 20) == (2, 9, 9)

    def test_most_bounds_all_and_the_whole_budget_is_still_spent(self) -> None:
        assert self.shared(12, most=4) == (4, 4, 4)
        with pytest.raises(SelectionError, match=r"a budget of 13 tokens for 3 views: give 3..12"):
            self.shared(13, most=4)

    def test_one_token_each_is_the_least_budget(self) -> None:
        assert self.shared(3) == (1, 1, 1)
        with pytest.raises(SelectionError, match=r"a budget of 2 tokens for 3 views: give 3..192"):
            self.shared(2)

    def test_a_view_whose_share_is_less_than_one_has_one_and_the_others_share_the_rest(
        self,
    ) -> None:
        """Of 10 tokens by 64 to 1: 9.85 and 0.15."""
        rich, plain = token_grid(1), token_grid(2)
        plain.keys[:] = plain.keys[0]  # nothing in it is distinct
        counts = allot([rich, plain], [WHOLE, LEFT], 10, method="correlation_density")
        assert counts == (9, 1)

    def test_views_without_any_worth_share_equally(self) -> None:
        plain = token_grid(2)
        plain.keys[:] = plain.keys[0]
        assert allot([plain] * 3, [WHOLE] * 3, 7, method="correlation_density") == (3, 2, 2)


def apart(seed: int) -> TokenGrid:
    """Sixteen patches whose keys are at right angles."""
    grid = token_grid(seed, (1, 4, 4))
    return TokenGrid(grid.features, grid.saliency, np.eye(16, dtype=np.float32), grid.grid)


def test_two_alike_patches_are_still_distinct_and_three_of_few_are_not() -> None:
    """Redundant is a patch that is like more than a sixteenth of the view, and more than one."""
    for alike, distinct in ((2, 16), (3, 13)):
        view, rest = apart(0), apart(1)
        view.keys[:alike] = view.keys[0]
        counts = allot([view, rest], [WHOLE, LEFT], 29, method="correlation_density")
        assert abs(counts[0] - 29 * distinct / (distinct + 16)) <= 0.5
        assert sum(counts) == 29


@pytest.mark.parametrize(("angle", "distinct"), [(0.63, 13), (0.65, 16)])
def test_patches_are_alike_from_a_cosine_of_four_fifths(angle: float, distinct: int) -> None:
    keys = np.eye(16, dtype=np.float32)
    # Three vectors with the same cosine of each two: 0.808 and 0.796.
    cosine = math.cos(angle)
    corner = np.linalg.cholesky(np.full((3, 3), cosine) + (1 - cosine) * np.eye(3))
    keys[:3, :3] = corner.astype(np.float32)
    views = apart(0), apart(1)
    views[0].keys[:] = keys
    counts = allot(views, [WHOLE, LEFT], 29, method="correlation_density")
    assert counts == ((13, 16) if distinct == 13 else (15, 14))


def test_one_view_has_the_whole_budget_by_every_method() -> None:
    for method in QUOTAS:
        assert allot([token_grid(0)], [WHOLE], 17, method=method) == (17,)
