"""Every method keeps what its definition says, token by token."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from saccade.selection import METHODS, select
from saccade.types import TokenGrid
from saccade_testing.selection_by_hand import BY_HAND, frames, picture, words

GOLDEN = Path(__file__).parent / "golden" / "selection.json"
# Pooling is defined by hand for a quarter of the grid only.
CASES = [(m, b) for m in BY_HAND for b in ((16,) if m == "pool2d" else (1, 7, 16, 23))]

# The whole budget merges nothing, which prumerge's definition does not say; and determinants of
# more vectors than dimensions are 0: cdpruner's rest goes by relevance.
MOST = {"prumerge": 55, "cdpruner": 28, "pool2d": 0}
OF_FRAMES = [(m, b) for m in BY_HAND for b in (1, 2, 9, 28, 55, 56) if b <= MOST.get(m, 56)]


def test_every_method_is_defined_by_hand() -> None:
    assert set(BY_HAND) == set(METHODS)


@pytest.mark.parametrize("seed", [5, 6])
@pytest.mark.parametrize(("method", "budget"), CASES)
def test_it_keeps_what_the_definition_says(method: str, budget: int, seed: int) -> None:
    assert_as_defined(picture(seed), method, budget, seed)


@pytest.mark.parametrize(("method", "budget"), OF_FRAMES)
def test_it_does_so_in_several_frames_that_are_no_squares(method: str, budget: int) -> None:
    assert_as_defined(frames(), method, budget, 7)


def assert_as_defined(grid: TokenGrid, method: str, budget: int, seed: int) -> None:
    expected = BY_HAND[method](grid, budget, seed, words())
    kept = select(grid, budget, method=method, seed=seed, text=words())
    assert kept.ids[kept.order].tolist() == expected.ranked
    if not expected.owners:
        assert kept.owners is None
        return
    assert kept.owners is not None
    assert dict(enumerate(kept.owners.tolist())) == expected.owners
    features = [expected.features[i] for i in kept.ids.tolist()]
    np.testing.assert_allclose(kept.features, features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_it_keeps_the_golden_tokens(method: str) -> None:
    golden: dict[str, list[int]] = json.loads(GOLDEN.read_text())
    kept = select(picture(), 16, method=method, seed=5, text=words())
    assert kept.ids[kept.order].tolist() == golden[method]


def write_golden() -> None:
    """Anew, from the definitions: python -c 'import ...; write_golden()'."""
    ranked = {m: by_hand(picture(), 16, 5, words()).ranked for m, by_hand in BY_HAND.items()}
    lines = ",\n".join(f'  "{method}": {ids}' for method, ids in ranked.items())
    GOLDEN.write_text(f"{{\n{lines}\n}}\n")
