"""The questions that are decoded together: one row of the cache each.

Rows join and leave between steps. A prompt that shares its visual prefix with an earlier one
starts from that prefix's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saccade.types import F32
from saccade_cloud.engines import kv
from saccade_cloud.engines.decoder import Decoder
from saccade_cloud.engines.kv import I64, Cache
from saccade_cloud.engines.prefixes import PrefixCaches
from saccade_cloud.engines.request import Decoded, Request


class Batch:
    """``requests[i]`` is row i of the cache. Owned by one thread."""

    def __init__(self, decoder: Decoder, prefixes: PrefixCaches) -> None:
        self._decoder = decoder
        self._prefixes = prefixes
        self.requests: list[Request] = []
        self._cache = decoder.empty(0)

    def __len__(self) -> int:
        return len(self.requests)

    def admit(self, requests: Sequence[Request]) -> list[Decoded]:
        """Read the prompts of ``requests`` and add them; the first token of each."""
        logits, cache = self._prefill(requests)
        self._cache = kv.join([self._cache, cache]) if self.requests else cache
        self.requests.extend(requests)
        return _greedy(logits)

    def step(self) -> list[Decoded]:
        """The next token of every row."""
        last = np.array([[request.last_id] for request in self.requests], np.int64)
        fresh = np.ones(len(self), np.int64)
        logits, self._cache = self._decoder.forward(
            self._decoder.embed_tokens(last), fresh, self._cache
        )
        return _greedy(logits)

    def keep(self, rows: Sequence[int]) -> None:
        """Let all rows but ``rows`` go."""
        if len(rows) < len(self):
            # Without rows nothing of the old cache is looked at: a failed run may have left it odd.
            self._cache = kv.take(self._cache, rows) if rows else self._decoder.empty(0)
            self.requests = [self.requests[row] for row in rows]

    def _prefill(self, requests: Sequence[Request]) -> tuple[F32, Cache]:
        embeds = [self._decoder.embed_prompt(request.prompt) for request in requests]
        if not self._prefixes.enabled:
            return self._read(embeds, [self._decoder.empty(1)] * len(requests))
        return self._read(embeds, self._prefix_caches(requests, embeds))

    def _prefix_caches(self, requests: Sequence[Request], embeds: Sequence[F32]) -> list[Cache]:
        """Each prompt's prefix cache; those not known yet are read first, each once."""
        keys = [request.prefix_key for request in requests]
        prompts = [request.prompt for request in requests]
        caches: dict[bytes, Cache] = {}
        unknown: dict[bytes, F32] = {}
        for key, prompt, rows in zip(keys, prompts, embeds, strict=True):
            known = self._prefixes.get(key) if prompt.shared else self._decoder.empty(1)
            if known is None:
                unknown[key] = rows[: prompt.shared_length]
            else:
                caches[key] = known
        if unknown:
            caches |= self._read_prefixes(unknown)
        return [caches[key] for key in keys]

    def _read_prefixes(self, unknown: Mapping[bytes, F32]) -> dict[bytes, Cache]:
        _, read = self._read(list(unknown.values()), [self._decoder.empty(1)] * len(unknown))
        caches = {key: kv.take(read, [row]) for row, key in enumerate(unknown)}
        for key, cache in caches.items():
            self._prefixes.put(key, cache)
        return caches

    def _read(self, embeds: Sequence[F32], pasts: Sequence[Cache]) -> tuple[F32, Cache]:
        """Read each prompt after its past; logits [B, V] and the cache of all rows.

        All rows read the same number of columns, the most that any of them needs. A row that
        needs fewer reads the end of its past again: so padding is on the left only.
        """
        needed = [len(e) - int(p.lengths[0]) for e, p in zip(embeds, pasts, strict=True)]
        columns = max(1, *needed)  # a prompt that is all prefix reads its last position again
        known = [max(len(e) - columns, 0) for e in embeds]
        block, fresh = _right_align([e[k:] for e, k in zip(embeds, known, strict=True)], columns)
        past = kv.join([kv.first(p, k) for p, k in zip(pasts, known, strict=True)])
        return self._decoder.forward(block, fresh, past)


def _right_align(rows: Sequence[F32], columns: int) -> tuple[F32, I64]:
    """[B, columns, width] with the rows at the right, zeros before them; their lengths."""
    block = np.zeros((len(rows), columns, rows[0].shape[1]), np.float32)
    for target, row in zip(block, rows, strict=True):
        target[columns - len(row) :] = row
    return block, np.array([len(row) for row in rows], np.int64)


def _greedy(logits: F32) -> list[Decoded]:
    """Of [B, V] the most probable token of each row; NaN for a row that has no finite best."""
    best = logits.argmax(axis=-1)
    with np.errstate(invalid="ignore"):
        below = logits - np.take_along_axis(logits, best[:, None], axis=-1)
        logs = -np.log(np.exp(below, dtype=np.float32).sum(axis=-1))
    return [Decoded(int(token), float(log)) for token, log in zip(best, logs, strict=True)]
