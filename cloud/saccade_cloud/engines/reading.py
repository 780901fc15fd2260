"""What a batch reads at once, and what reads it: the border between batching and a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from saccade.types import F32
from saccade_cloud.engines.base import I64, Prompt, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one row reads: some places of its prompt, or the token that it decoded last.

    ``ids``: [n] int64. ``positions``: [1 | 3, n] int64. ``spans``: their starts count in the piece;
    a span that begins before the piece is there without its beginning.
    """

    ids: I64
    positions: I64
    spans: tuple[VisualSpan, ...] = ()
    prefix_attention: bool = False

    def __len__(self) -> int:
        return len(self.ids)


def piece_of(prompt: Prompt, start: int, stop: int) -> Piece:
    """The places of ``prompt`` from ``start`` to before ``stop``."""
    spans = (_cut(span, start, stop) for span in prompt.spans)
    return Piece(
        prompt.ids[start:stop],
        prompt.positions[:, start:stop],
        tuple(span for span in spans if len(span)),
        prompt.prefix_attention,
    )


def token_piece(token: int, position: int) -> Piece:
    """One decoded token."""
    return Piece(np.array([token], np.int64), np.array([[position]], np.int64))


def _cut(span: VisualSpan, start: int, stop: int) -> VisualSpan:
    first, last = max(start - span.start, 0), max(stop - span.start, 0)
    deepstack = span.deepstack
    return replace(
        span,
        start=max(span.start - start, 0),
        embeds=span.embeds[first:last],
        deepstack=None if deepstack is None else deepstack[:, first:last],
    )


class Cache(Protocol):
    """Keys and values of some rows. A value: no function changes it.

    ``lengths``: [B] int64, places that each row has read.
    """

    @property
    def lengths(self) -> I64: ...

    @property
    def nbytes(self) -> int: ...


CacheT = TypeVar("CacheT", bound=Cache)


class LanguageModel(Protocol[CacheT]):
    """Reads pieces after a cache. Owned by one thread."""

    def empty(self, rows: int) -> CacheT:
        """The cache of ``rows`` rows that have read nothing yet."""
        ...

    def read(self, pieces: Sequence[Piece], past: CacheT) -> tuple[F32, CacheT]:
        """Read one piece a row after ``past``; logits [B, V] after the last place of each.

        A row with a piece shorter than another row's has an empty past. Raises ``EngineError``.
        """
        ...

    def join(self, caches: Sequence[CacheT]) -> CacheT:
        """The rows of all ``caches``, in order."""
        ...

    def take(self, cache: CacheT, rows: Sequence[int]) -> CacheT:
        """Only ``rows`` of ``cache``."""
        ...

    def first(self, cache: CacheT, places: int) -> CacheT:
        """The first ``places`` places of a cache with one row."""
        ...
