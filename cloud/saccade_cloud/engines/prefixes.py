"""Caches of visual prefixes, so that several questions about one frame read it once.

Keys are digests of the content, never names: two prompts share a prefix only if they are equal
in every bit, whoever asks.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic

from saccade_cloud.engines.base import Prompt
from saccade_cloud.engines.reading import CacheT, piece_of


class PrefixCaches(Generic[CacheT]):
    """The most recently used prefixes, at most ``max_bytes`` of them; 0 keeps none."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._caches: OrderedDict[bytes, CacheT] = OrderedDict()

    @property
    def enabled(self) -> bool:
        return self._max_bytes > 0

    @property
    def nbytes(self) -> int:
        return self._bytes

    def get(self, key: bytes) -> CacheT | None:
        cache = self._caches.get(key)
        if cache is not None:
            self._caches.move_to_end(key)
        return cache

    def put(self, key: bytes, cache: CacheT) -> None:
        """Keep ``cache`` (one row), letting go of the oldest ones. Too large: not kept."""
        if key in self._caches or cache.nbytes > self._max_bytes:
            return
        self._caches[key] = cache
        self._bytes += cache.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._caches.popitem(last=False)
            self._bytes -= oldest.nbytes


def prefix_key(prompt: Prompt) -> bytes:
    """16 bytes that stand for the content of the prompt's shared places."""
    shared = piece_of(prompt, 0, prompt.shared)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(shared.positions.shape).encode())
    digest.update(shared.ids.tobytes())
    digest.update(shared.positions.tobytes())
    for span in shared.spans:
        deepstack = () if span.deepstack is None else span.deepstack.shape
        digest.update(repr((span.start, span.embeds.shape, deepstack, span.bidirectional)).encode())
        digest.update(span.embeds.tobytes())
        if span.deepstack is not None:
            digest.update(span.deepstack.tobytes())
    return digest.digest()
