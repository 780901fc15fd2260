"""Owners of merged tokens to bytes: for each place that isn't kept, which kept token took it in.

Layout: one bit per view (1 = has owners, first view lowest), padded to bytes; then one
entropy-coded stream. It holds, view by view, for each place that isn't kept, in raster order, 0
where it was dropped, else 1 + the row of its owner: one of K + 1 equally likely symbols. No view
with owners: no bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from saccade.codecs import rans
from saccade.codecs.base import SetShape
from saccade.codecs.frequencies import TOTAL, Frequencies
from saccade.errors import CodecError
from saccade.types import I32, TokenSet

DROPPED = -1


def encode_owners(sets: Sequence[TokenSet]) -> bytes:
    """Raises CodecError for owners that are no kept tokens."""
    if all(tokens.owners is None for tokens in sets):
        return b""
    flags = 0
    starts: list[int] = []
    widths: list[int] = []
    for view, tokens in enumerate(sets):
        if tokens.owners is not None:
            flags |= 1 << view
            table = _table(len(tokens.ids))
            for symbol in _symbols(tokens, tokens.owners):
                starts.append(table.starts[symbol])
                widths.append(table.widths[symbol])
    return flags.to_bytes(_flag_bytes(len(sets)), "little") + rans.encode(starts, widths)


def decode_owners(data: bytes, ids: Sequence[I32], shapes: Sequence[SetShape]) -> list[I32 | None]:
    """Per view [T] int32 or None, where there are owners at all. Raises CodecError for bytes that
    `encode_owners` doesn't write.
    """
    start = _flag_bytes(len(shapes))
    flags = int.from_bytes(data[:start], "little")
    if len(data) < start or not flags or flags >> len(shapes):
        raise CodecError(f"owners: flags {flags:#x} for {len(shapes)} views")
    decoder = rans.Decoder(data[start:])
    owners = [
        _read(decoder, places, shape) if flags >> view & 1 else None
        for view, (places, shape) in enumerate(zip(ids, shapes, strict=True))
    ]
    decoder.finish()
    return owners


def _symbols(tokens: TokenSet, owners: I32) -> list[int]:
    places = SetShape.of(tokens).places
    kept_by_itself = owners.shape == (places,) and np.array_equal(owners[tokens.ids], tokens.ids)
    if not kept_by_itself or not np.all(np.isin(owners, [DROPPED, *tokens.ids])):
        raise CodecError(f"owners are [{places}] kept ids or {DROPPED}, kept tokens own themselves")
    others = np.delete(owners, tokens.ids)
    rows = np.searchsorted(tokens.ids, others) + 1
    symbols: list[int] = np.where(others == DROPPED, 0, rows).tolist()
    return symbols


def _read(decoder: rans.Decoder, ids: I32, shape: SetShape) -> I32:
    owners = np.full(shape.places, DROPPED, np.int32)
    others = np.delete(np.arange(shape.places), ids)
    symbols = decoder.take(_table(shape.count), len(others))
    owners[others] = np.concatenate([[DROPPED], ids])[symbols]
    owners[ids] = ids
    return owners


def _table(kept: int) -> Frequencies:
    """Equal shares for "dropped" and each of ``kept`` rows; every slot where none is kept."""
    if kept >= TOTAL:
        raise CodecError(f"owners among {kept} tokens, fewer than {TOTAL} are possible")
    bounds = [symbol * TOTAL // (kept + 1) for symbol in range(kept + 2)]
    widths = tuple(b - a for a, b in pairwise(bounds))
    return Frequencies(widths, tuple(bounds[:-1]))


def _flag_bytes(views: int) -> int:
    return (views + 7) // 8
