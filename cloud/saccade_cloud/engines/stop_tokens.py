"""The tokens that end an answer, by name."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from saccade.errors import BundleError


def stop_ids(tokenizer: Tokenizer, stop: Sequence[str]) -> frozenset[int]:
    """Ids of the tokens that end an answer. Raises ``BundleError`` for one that is no token."""
    ids: set[int] = set()
    for token in stop:
        id_ = tokenizer.token_to_id(token)
        if id_ is None:
            raise BundleError(f"the tokenizer has no token {token!r}")
        ids.add(id_)
    return frozenset(ids)
