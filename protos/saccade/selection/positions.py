"""Where the members of a merged token lie."""

from __future__ import annotations

import numpy as np

from saccade.types import I32, TokenSet


def member_positions(tokens: TokenSet, count: int = 8) -> I32:
    """[K, count, 3] int32: for each token ``count`` places (t, h, w) of its members, which start
    with the last in raster order and go round. Where nothing was merged, its own place.

    PPE ("Positional Preservation Embedding for Multimodal Large Language Models", 2025), whose
    rotary sections each take one of eight places. Its members come from a sort that is not stable;
    raster order is the same everywhere.
    """
    owners = tokens.ids if tokens.owners is None else tokens.owners
    places = np.empty((len(tokens.ids), count), np.int32)
    for row, owner in enumerate(tokens.ids):
        members = [owner] if tokens.owners is None else np.flatnonzero(owners == owner)
        places[row] = np.resize(np.roll(members, 1), count)
    _, rows, columns = tokens.grid
    t, place = np.divmod(places, rows * columns)
    return np.stack([t, *np.divmod(place, columns)], axis=-1).astype(np.int32)
