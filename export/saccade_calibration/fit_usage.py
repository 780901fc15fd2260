"""How often a bundle's edge sends each codebook entry and keeps each place, by kind of view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saccade.codecs.frequencies import TOTAL, Frequencies
from saccade.codecs.position_model import BUCKETS, MAX_PLACES, PlaceModel, bucket
from saccade.codecs.rvq_table import RvqTable
from saccade.types import F32, VIEW_KINDS
from saccade_calibration.fit_rvq import F64, I64, chunks, units
from saccade_calibration.sample_views import SampleView, budgets

# A kind's own counts, and a share of all kinds' for what it was too rarely seen with.
_OWN, _ALL = 16, 1
# Decisions that count as seen at a place beforehand, with the odds of all places of its bucket.
_PRIOR = 2.0


def fit_usage(table: RvqTable, views: Sequence[SampleView]) -> RvqTable:
    """``table`` with the frequencies and places of ``views``, at every budget they may have.

    Those of a frame one after the other. Places are those of the grid that most views have.
    """
    counts = [np.zeros((len(VIEW_KINDS), len(s.entries) + 1), np.int64) for s in table.stages]
    grids: dict[int, list[SampleView]] = {}
    for view in views:
        grids.setdefault(len(view.order), []).append(view)
    for alike in grids.values():
        _count(table, alike, counts)
    stages = tuple(
        replace(stage, frequencies=_frequencies(seen))
        for stage, seen in zip(table.stages, counts, strict=True)
    )
    usual = max(grids.values(), key=len)
    places = fit_places(usual) if len(usual[0].order) <= MAX_PLACES else PlaceModel.none()
    return replace(table, stages=stages, places=places)


def _count(table: RvqTable, views: Sequence[SampleView], counts: Sequence[I64]) -> None:
    """Add how often ``views`` of one grid send each stage's entries."""
    orders = np.stack([view.order for view in views])
    kinds = np.array([VIEW_KINDS.index(view.kind) for view in views])
    # Rows as they are ranked; a budget's are the first of them, in raster order.
    indexes = _indexes(table, np.stack([view.features for view in views]))
    for budget in budgets(orders.shape[1]):
        raster = np.argsort(orders[:, :budget], axis=1)
        for stage, nearest, seen in zip(table.stages, indexes, counts, strict=True):
            sent = np.take_along_axis(nearest[:, :budget], raster, axis=1).ravel()
            np.add.at(seen, (np.repeat(kinds, budget), stage.symbols(sent)), 1)


def fit_places(views: Sequence[SampleView]) -> PlaceModel:
    """How often each place is kept, by what is left to keep; see `PlaceModel`."""
    places = len(views[0].order)
    seen = np.zeros((len(VIEW_KINDS), BUCKETS, places, 2))  # dropped, kept
    kinds = np.array([VIEW_KINDS.index(view.kind) for view in views])
    ranks = np.argsort(np.stack([view.order for view in views]), axis=1)
    for budget in budgets(places):
        kept = ranks < budget
        left = np.full(len(views), budget)
        for place in range(places):
            open_ = (left > 0) & (left < places - place)
            now = np.array([bucket(n, places - place) for n in left[open_].tolist()], np.int64)
            is_kept = kept[open_, place].astype(np.int64)
            np.add.at(seen, (kinds[open_], now, np.full_like(now, place), is_kept), 1)
            left = left - kept[:, place]
    odds = seen.sum(axis=2, keepdims=True) + np.array([BUCKETS, 1])
    smooth = seen + _PRIOR * odds / odds.sum(axis=3, keepdims=True)
    shares = np.rint(TOTAL * smooth[..., 1] / smooth.sum(axis=3))
    return PlaceModel.of(np.clip(shares, 1, TOTAL - 1).astype(np.int64))


def _frequencies(seen: I64) -> tuple[Frequencies, ...]:
    everywhere = seen.sum(axis=0)
    return tuple(Frequencies.fit(_OWN * own + _ALL * everywhere) for own in seen)


def _indexes(table: RvqTable, features: F32) -> list[I64]:
    """[V, M, D] -> for each stage the entries' indexes [V, M]."""
    left: F64 = units(features.reshape(-1, table.dim), table.shift, table.projection)
    found: list[I64] = []
    for stage in table.stages:
        nearest = np.concatenate([stage.search(part) for part in chunks(left, len(stage.entries))])
        left = np.asarray(left - stage.entries[nearest], np.float64)
        found.append(nearest.reshape(features.shape[:2]))
    return found
