"""How a frame's tokens are shared among its views."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import SelectionError
from saccade.nouns import Box, TokenGrid
from saccade.selection import QUOTAS, allot
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
