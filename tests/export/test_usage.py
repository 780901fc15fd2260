"""What is expected of tokens is what calibration saw, by kind of view."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.codecs import SetShape
from saccade.codecs.frequencies import TOTAL
from saccade.codecs.position_model import BUCKETS
from saccade.codecs.rvq import Rvq
from saccade.types import F32, VIEW_KINDS, TokenSet, ViewKind
from saccade_calibration.fit_rvq import fit_rvq
from saccade_calibration.fit_usage import fit_places, fit_usage
from saccade_calibration.sample_views import SampleView, budgets, fitted

PLACES, DIM = 64, 8
RNG = np.random.default_rng(5)
HEAPS: F32 = (RNG.normal(size=(12, DIM)) * 8).astype(np.float32)


def view(kind: ViewKind, seed: int) -> SampleView:
    """Overviews keep the upper rows and show the first heaps, crops the lower and the last."""
    rng = np.random.default_rng(seed)
    first = 0 if kind == "overview" else 6
    features = HEAPS[first + rng.integers(0, 6, PLACES)] + rng.normal(size=(PLACES, DIM)) / 8
    halves = (rng.permutation(32), 32 + rng.permutation(32))
    order = np.concatenate(halves if kind == "overview" else halves[::-1])
    return SampleView.of(kind, order.astype(np.int32), features.astype(np.float32))


def sample(frames: int, first: int = 0) -> list[SampleView]:
    kinds: tuple[ViewKind, ...] = ("overview", "crop", "crop")
    return [view(kind, 10 * (first + n) + i) for n in range(frames) for i, kind in enumerate(kinds)]


def sent(views: list[SampleView], count: int) -> tuple[list[TokenSet], list[ViewKind]]:
    order = np.arange(count, dtype=np.int32)
    kept = [view.first(count) for view in views]
    return [TokenSet(f, ids, (1, 8, 8), order) for ids, f in kept], [v.kind for v in views]


def test_a_sample_holds_what_every_budget_needs() -> None:
    one = view("crop", 0)
    assert budgets(PLACES) == [2, 4, 8, 12, 16, 24]
    assert budgets(8) == list(range(1, 9))
    for count in budgets(PLACES):
        ids, features = one.first(count)
        assert ids.tolist() == sorted(one.order[:count].tolist())
        assert features.shape == (count, DIM)
    assert len(fitted([one, one])) == 2 * PLACES // 4


@pytest.mark.parametrize("count", [2, 8, 16, 24])
def test_usage_by_kind_of_view_saves_bytes_on_other_frames(count: int) -> None:
    seen, other = sample(120), sample(40, first=1000)
    plain = fit_rvq(fitted(seen), stages=2, first=64, entries=4)
    codecs = [Rvq(plain), Rvq(fit_usage(plain, seen))]
    sizes = []
    for codec in codecs:
        total = 0
        for at in range(0, len(other), 3):
            sets, kinds = sent(other[at : at + 3], count)
            layers = codec.encode(sets, 1, kinds)
            shapes = [SetShape.of(s, k) for s, k in zip(sets, kinds, strict=True)]
            for got, expected in zip(codec.decode(layers, shapes), sets, strict=True):
                np.testing.assert_array_equal(got.ids, expected.ids)
            total += len(layers[0])
        sizes.append(total)
    # A bit a token for the half of the heaps, and one for each place in the half of the grid.
    assert sizes[1] < 0.85 * sizes[0]


def test_places_are_expected_as_often_as_they_were_kept() -> None:
    model = fit_places(sample(200))
    overview, crop, never = (np.array(rows) for rows in model.widths)
    assert overview.shape == crop.shape == never.shape == (BUCKETS, PLACES)
    # 16 of 64 are left to keep in the first place: the third eighth. An overview has them in its
    # first half, each place every second time; a crop has none there.
    assert overview[2, 0] / TOTAL == pytest.approx(0.5, abs=0.12)
    assert crop[2, 0] / TOTAL < 0.02
    # No close-up was seen: its places are as likely as the bucket's odds beforehand say.
    assert np.all(np.abs(never / TOTAL - 1 / (1 + BUCKETS)) < 0.01)


def test_a_kind_that_was_never_seen_has_the_frequencies_of_all() -> None:
    table = fit_usage(fit_rvq(fitted(sample(60)), stages=1, first=32), sample(60))
    by_kind = dict(zip(VIEW_KINDS, table.stages[0].frequencies, strict=True))
    common = int(np.argmax(by_kind["overview"].widths[:-1]))
    assert by_kind["overview"].widths[common] > by_kind["closeup"].widths[common]
    assert by_kind["closeup"].widths[common] > by_kind["crop"].widths[common]


def test_fitting_again_gives_the_same_table() -> None:
    views = sample(30)
    books = fit_rvq(fitted(views), stages=2, first=32, entries=4)
    assert fit_usage(books, views).to_bytes() == fit_usage(books, views).to_bytes()


def test_views_of_several_grids_are_counted_together() -> None:
    """As tiles and sizes differ from picture to picture; places are those of the usual grid."""
    usual, rng = sample(12), np.random.default_rng(1)
    order = rng.permutation(30).astype(np.int32)
    features = (HEAPS[rng.integers(0, 12, 30)] + rng.normal(size=(30, DIM)) / 8).astype(np.float32)
    others = [SampleView.of("overview", order, features)]
    books = fit_rvq(fitted([*usual, *others]), stages=2, first=8, entries=4)
    mixed, alone = fit_usage(books, [*usual, *others]), fit_usage(books, usual)
    assert mixed.places == alone.places
    assert mixed.stages[0].frequencies != alone.stages[0].frequencies
    sets = [
        TokenSet(
            features[:9], np.arange(9, dtype=np.int32), (1, 5, 6), np.arange(9, dtype=np.int32)
        )
    ]
    codec = Rvq(mixed)
    (received,) = codec.decode(codec.encode(sets), [SetShape.of(sets[0])])
    assert received.ids.tolist() == list(range(9))
