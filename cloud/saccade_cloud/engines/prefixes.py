"""Caches of visual prefixes, so that several questions about one frame read it once.

Keys are digests of the content, never names: two prompts share a prefix only if they are equal
in every bit, whoever asks.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from saccade_cloud.engines.kv import Cache
from saccade_cloud.prompt import Segment, TextSegment


class PrefixCaches:
    """The most recently used prefixes, at most ``max_bytes`` of them; 0 keeps none."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._caches: OrderedDict[bytes, Cache] = OrderedDict()

    @property
    def enabled(self) -> bool:
        return self._max_bytes > 0

    @property
    def nbytes(self) -> int:
        return self._bytes

    def get(self, key: bytes) -> Cache | None:
        cache = self._caches.get(key)
        if cache is not None:
            self._caches.move_to_end(key)
        return cache

    def put(self, key: bytes, cache: Cache) -> None:
        """Keep ``cache`` (one row), letting go of the oldest ones. Too large: not kept."""
        if key in self._caches or cache.nbytes > self._max_bytes:
            return
        self._caches[key] = cache
        self._bytes += cache.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._caches.popitem(last=False)
            self._bytes -= oldest.nbytes


def prefix_key(segments: Sequence[Segment]) -> bytes:
    """16 bytes that stand for the content of ``segments``."""
    digest = hashlib.blake2b(digest_size=16)
    for segment in segments:
        if isinstance(segment, TextSegment):
            digest.update(b"text")
            digest.update(np.array(segment.ids, np.int64).tobytes())
        else:
            digest.update(b"visual")
            digest.update(segment.embeds.tobytes())
            digest.update(segment.positions.tobytes())
    return digest.digest()
