"""The questions that are decoded together: one row of the cache each.

Rows join and leave between steps. A prompt that shares its beginning with an earlier one starts
from that one's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from saccade.types import F32
from saccade_cloud.engines.prefixes import PrefixCaches
from saccade_cloud.engines.reading import CacheT, LanguageModel, Piece, piece_of, token_piece
from saccade_cloud.engines.request import Request
from saccade_cloud.engines.sampling import Decoded, choose


class Batch(Generic[CacheT]):
    """``requests[i]`` is row i of the cache. Owned by one thread."""

    def __init__(self, model: LanguageModel[CacheT], prefixes: PrefixCaches[CacheT]) -> None:
        self._model = model
        self._prefixes = prefixes
        self.requests: list[Request] = []
        self._cache = model.empty(0)

    def __len__(self) -> int:
        return len(self.requests)

    def admit(self, requests: Sequence[Request]) -> list[Decoded]:
        """Read the prompts of ``requests`` and add them; the first token of each."""
        logits, cache = self._read_prompts(requests)
        self._cache = self._model.join([self._cache, cache]) if self.requests else cache
        self.requests.extend(requests)
        return choose(logits, [request.draw for request in requests])

    def step(self) -> list[Decoded]:
        """The next token of every row."""
        pieces = [token_piece(each.last_id, each.last_position) for each in self.requests]
        logits, self._cache = self._model.read(pieces, self._cache)
        return choose(logits, [request.draw for request in self.requests])

    def keep(self, rows: Sequence[int]) -> None:
        """Let all rows but ``rows`` go."""
        if len(rows) < len(self):
            # Without rows nothing of the old cache is looked at: a failed run may have left it odd.
            model = self._model
            self._cache = model.take(self._cache, rows) if rows else model.empty(0)
            self.requests = [self.requests[row] for row in rows]

    def _read_prompts(self, requests: Sequence[Request]) -> tuple[F32, CacheT]:
        if not self._prefixes.enabled:
            return self._read_after(requests, [self._model.empty(1)] * len(requests))
        return self._read_after(requests, self._prefix_caches(requests))

    def _prefix_caches(self, requests: Sequence[Request]) -> list[CacheT]:
        """Each prompt's prefix cache; those not known yet are read first, each once."""
        caches: dict[bytes, CacheT] = {}
        unknown: dict[bytes, Piece] = {}
        for request in requests:
            key, prompt = request.prefix_key, request.prompt
            known = self._prefixes.get(key) if prompt.shared else self._model.empty(1)
            if known is None:
                unknown[key] = piece_of(prompt, 0, prompt.shared)
            else:
                caches[key] = known
        if unknown:
            caches |= self._read_prefixes(list(unknown), list(unknown.values()))
        return [caches[request.prefix_key] for request in requests]

    def _read_prefixes(self, keys: list[bytes], pieces: list[Piece]) -> dict[bytes, CacheT]:
        _, read = self._model.read(pieces, self._model.empty(len(pieces)))
        caches = {key: self._model.take(read, [row]) for row, key in enumerate(keys)}
        for key, cache in caches.items():
            self._prefixes.put(key, cache)
        return caches

    def _read_after(
        self, requests: Sequence[Request], pasts: Sequence[CacheT]
    ) -> tuple[F32, CacheT]:
        """Read each prompt after its past; logits [B, V] and the cache of all rows.

        All rows read the same number of places, the most that any of them needs. A row that
        needs fewer reads the end of its past again: so padding is on the left only.
        """
        prompts = [request.prompt for request in requests]
        needed = [len(p) - int(past.lengths[0]) for p, past in zip(prompts, pasts, strict=True)]
        places = max(1, *needed)  # a prompt that is all prefix reads its last place again
        known = [max(len(prompt) - places, 0) for prompt in prompts]
        pieces = [piece_of(p, k, len(p)) for p, k in zip(prompts, known, strict=True)]
        first = self._model.first
        past = [first(cache, count) for cache, count in zip(pasts, known, strict=True)]
        return self._model.read(pieces, self._model.join(past))
