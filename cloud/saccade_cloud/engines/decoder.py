"""The bundle's language model: embedding and decoder graphs behind two functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.types import F32
from saccade_cloud.engines import kv
from saccade_cloud.engines.base import I64
from saccade_cloud.engines.kv import Cache
from saccade_cloud.engines.reading import Piece
from saccade_cloud.onnx_graph import Graph


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """What the manifest says about the decoder."""

    layers: int
    heads: int
    head_dim: int
    width: int


class Decoder:
    """A ``LanguageModel``. Raises ``BundleError`` at opening, ``EngineError`` when a run fails."""

    def __init__(
        self, embedding: ModelFile, decoder: ModelFile, shape: DecoderShape, threads: int
    ) -> None:
        names = [f"{i}.{kind}" for i in range(shape.layers) for kind in ("key", "value")]
        self._past = [f"past_key_values.{name}" for name in names]
        self._shape = shape
        self._embedding = Graph(embedding, ("input_ids",), ("embeds",), threads)
        self._decoder = Graph(
            decoder,
            ("inputs_embeds", "attention_mask", "position_ids", *self._past),
            ("logits", *(f"present.{name}" for name in names)),
            threads,
        )

    def empty(self, rows: int) -> Cache:
        """See ``LanguageModel``."""
        shape = self._shape
        return kv.empty(rows, layers=shape.layers, heads=shape.heads, head_dim=shape.head_dim)

    def join(self, caches: Sequence[Cache]) -> Cache:
        """See ``LanguageModel``."""
        return kv.join(caches)

    def take(self, cache: Cache, rows: Sequence[int]) -> Cache:
        """See ``LanguageModel``."""
        return kv.take(cache, rows)

    def first(self, cache: Cache, places: int) -> Cache:
        """See ``LanguageModel``."""
        return kv.first(cache, places)

    def read(self, pieces: Sequence[Piece], past: Cache) -> tuple[F32, Cache]:
        """See ``LanguageModel``."""
        fresh = np.array([len(piece) for piece in pieces], np.int64)
        places = int(fresh.max())
        embeds = np.zeros((len(pieces), places, self._shape.width), np.float32)
        positions = np.zeros((len(pieces), places), np.int64)
        for row, (piece, read) in enumerate(zip(pieces, self._embed(pieces), strict=True)):
            embeds[row, places - len(piece) :] = read
            positions[row, places - len(piece) :] = piece.positions[0]
        return self._forward(embeds, positions, past, past.lengths + fresh)

    def _forward(self, embeds: F32, positions: I64, past: Cache, lengths: I64) -> tuple[F32, Cache]:
        """Read ``embeds`` [B, L, width]; rows are ``lengths`` long then, padded on the left."""
        feeds: dict[str, npt.NDArray[Any]] = {
            "inputs_embeds": embeds,
            "attention_mask": kv.mask(lengths, past.columns + embeds.shape[1]),
            "position_ids": positions,
        }
        logits, *arrays = self._decoder.run(feeds | dict(zip(self._past, past.arrays, strict=True)))
        return np.asarray(logits[:, -1]), Cache(tuple(arrays), lengths)

    def _embed(self, pieces: Sequence[Piece]) -> list[F32]:
        """Of each piece [n, width] float32."""
        ids = np.concatenate([text_ids(piece) for piece in pieces])
        embeds = self._embedding.run({"input_ids": ids[None]})[0][0]
        ends = np.cumsum([len(piece) for piece in pieces])
        rows = [rows.copy() for rows in np.split(embeds, ends[:-1])]
        for piece, row in zip(pieces, rows, strict=True):
            for span in piece.spans:
                row[span.start : span.stop] = span.embeds
        return rows


def text_ids(piece: Piece) -> I64:
    """The ids to be embedded: 0 at visual places, whose id the vocabulary need not have."""
    ids: I64 = piece.ids.copy()
    for span in piece.spans:
        ids[span.start : span.stop] = 0
    return ids
