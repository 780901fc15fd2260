"""What calibration has seen: views with their tokens in the order of their importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saccade.types import F32, I32, ViewKind, ViewTokens

# Of a view's tokens: the budgets that are expected, the small ones, where each byte matters.
SHARES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8)
FITTED_SHARE = 1 / 4  # what codebooks and transforms are fitted to
FEW = 16  # views of so few tokens are sent whole, or any first of them


@dataclass(frozen=True, slots=True)
class SampleView:
    """``order``: [T] int32, all places, most important first; ``features``: [M, D] float32 of the
    first M of them, as many as the largest budget has.
    """

    kind: ViewKind
    order: I32
    features: F32

    @classmethod
    def of(cls, kind: ViewKind, order: I32, features: F32) -> SampleView:
        """``features``: [T, D] of all places, in raster order."""
        kept = order[: budgets(len(order))[-1]]
        return cls(kind, order.astype(np.int32), features[kept].astype(np.float32))

    def first(self, count: int) -> tuple[I32, F32]:
        """(ids [count], features [count, D]) of the most important tokens, in raster order."""
        raster = np.argsort(self.order[:count])
        return self.order[raster], self.features[raster]


def of_view(view: ViewTokens) -> SampleView:
    """A view that has all its tokens."""
    return SampleView.of(view.kind, view.tokens.order, view.tokens.features)


def fitted(views: Sequence[SampleView]) -> F32:
    """[N, D]: what codebooks and transforms are fitted to, in the order in which it is sent."""
    return np.concatenate([view.first(expected_tokens(len(view.order)))[1] for view in views])


def budgets(places: int) -> list[int]:
    """Tokens of a view, ascending, that an edge may send."""
    if places <= FEW:
        return list(range(1, places + 1))
    return sorted({max(round(places * share), 1) for share in SHARES})


def expected_tokens(places: int) -> int:
    """Of a view's tokens those that codecs are fitted to and judged by."""
    return places if places <= FEW else max(round(places * FITTED_SHARE), 1)
