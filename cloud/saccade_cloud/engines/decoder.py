"""The bundle's language model: embedding and decoder graphs behind one function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError
from saccade.types import F32
from saccade_cloud.engines import kv
from saccade_cloud.engines.base import I64, Capabilities
from saccade_cloud.engines.kv import Cache
from saccade_cloud.engines.reading import Piece
from saccade_cloud.onnx_graph import Graph

ALL_OF_IT = 1 << 62  # the block of a prompt that attends to the whole of itself


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """What the manifest says about the decoder. ``kv_heads``: those that the cache holds."""

    layers: int
    kv_heads: int
    head_dim: int
    width: int


class Decoder:
    """A ``LanguageModel``. Raises ``BundleError`` at opening, ``EngineError`` when a run fails.

    Some inputs are there in some decoders only, and say what these can do: ``position_ids`` with
    three rows (M-RoPE), ``visual_blocks`` [B, S] (places with the same number above 0 attend to
    each other), ``deepstack`` [L, B, n, width]. Others are for what a layer needs:
    ``key_positions`` [B, S], in which sliding windows count, and ``logit_columns``, the columns
    whose logits are wanted.
    """

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
        self._check_cache(decoder.name)
        self._three_rows = len(self._decoder.inputs["position_ids"]) == 3
        deepstack = self._decoder.inputs.get("deepstack")
        self._deepstack = int(deepstack[0]) if deepstack else 0

    def capabilities(self, max_context: int) -> Capabilities:
        """What the graph can do."""
        return graph_capabilities(self._decoder.inputs, max_context)

    def empty(self, rows: int) -> Cache:
        """See ``LanguageModel``."""
        shape = self._shape
        return kv.empty(rows, layers=shape.layers, heads=shape.kv_heads, head_dim=shape.head_dim)

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
        """See ``LanguageModel``. Rows are padded on the left."""
        lengths = past.lengths + np.array([len(piece) for piece in pieces], np.int64)
        places = max(len(piece) for piece in pieces)
        labels = np.zeros((len(pieces), 2, places), np.int64)
        for row, piece in enumerate(pieces):
            labels[row, :, places - len(piece) :] = _labels(piece, int(past.lengths[row]))
        labels = np.concatenate([past.labels, labels], axis=2)
        feeds: dict[str, npt.NDArray[Any]] = {
            "inputs_embeds": self._embed(pieces, places),
            "attention_mask": kv.mask(lengths, past.columns + places),
            "position_ids": self._positions(pieces, places),
        }
        optional = {
            "key_positions": labels[:, 0],
            "visual_blocks": labels[:, 1],
            "logit_columns": np.array([places - 1], np.int64),
        }
        feeds |= {name: value for name, value in optional.items() if name in self._decoder.inputs}
        if self._deepstack:
            feeds["deepstack"] = self._deepstack_rows(pieces, places)
        logits, *arrays = self._decoder.run(feeds | dict(zip(self._past, past.arrays, strict=True)))
        return np.asarray(logits[:, -1]), Cache(tuple(arrays), lengths, labels)

    def _embed(self, pieces: Sequence[Piece], places: int) -> F32:
        """[B, places, width] float32."""
        ids = np.zeros((len(pieces), places), np.int64)
        for row, piece in enumerate(pieces):
            ids[row, places - len(piece) :] = text_ids(piece)
        embeds: F32 = self._embedding.run({"input_ids": ids})[0].copy()
        for row, piece in enumerate(pieces):
            start = places - len(piece)
            embeds[row, :start] = 0
            for span in piece.spans:
                embeds[row, start + span.start : start + span.stop] = span.embeds
        return embeds

    def _positions(self, pieces: Sequence[Piece], places: int) -> I64:
        """[B, places], or [3, B, places]."""
        positions = np.zeros((3, len(pieces), places), np.int64)
        for row, piece in enumerate(pieces):
            positions[:, row, places - len(piece) :] = piece.positions
        return positions if self._three_rows else positions[0]

    def _deepstack_rows(self, pieces: Sequence[Piece], places: int) -> F32:
        """[L, B, places, width]; 0 for text and for spans without."""
        rows = np.zeros((self._deepstack, len(pieces), places, self._shape.width), np.float32)
        for row, piece in enumerate(pieces):
            start = places - len(piece)
            for span in piece.spans:
                if span.deepstack is not None:
                    rows[:, row, start + span.start : start + span.stop] = span.deepstack
        return rows

    def _check_cache(self, name: str) -> None:
        """Raises ``BundleError`` for a graph whose cache has other sizes than the manifest says."""
        shape = self._shape
        for port, wanted in (
            ("inputs_embeds", {2: shape.width}),
            (self._past[0], {1: shape.kv_heads, 3: shape.head_dim}),
        ):
            found = self._decoder.inputs[port]
            for axis, size in wanted.items():
                if len(found) <= axis or (isinstance(found[axis], int) and found[axis] != size):
                    raise BundleError(
                        f"{name} has the input {port!r} of {list(found)}, "
                        f"the manifest says {size} in dimension {axis}"
                    )


def graph_capabilities(inputs: Mapping[str, Sequence[object]], max_context: int) -> Capabilities:
    """What a decoder with these inputs, and their dimensions, can do."""
    blocks = "visual_blocks" in inputs
    return Capabilities(
        max_context=max_context,
        explicit_positions=True,
        mrope=len(inputs.get("position_ids", ())) == 3,
        deepstack="deepstack" in inputs,
        bidirectional=blocks,
        prefix=blocks,
        sampling=True,
    )


def text_ids(piece: Piece) -> I64:
    """The ids to be embedded: 0 at visual places, whose id the vocabulary need not have."""
    ids: I64 = piece.ids.copy()
    for span in piece.spans:
        ids[span.start : span.stop] = 0
    return ids


def _labels(piece: Piece, before: int) -> I64:
    """[2, n] of a piece after ``before`` places, as ``kv.Cache.labels``.

    Windows count in text positions, so that a pruned token still takes its place in them; three
    rows of positions are no such count. A span's block is known by the place where it ends, which
    is the same when only its end is read again.
    """
    count = before + np.arange(len(piece))
    labels = np.zeros((2, len(piece)), np.int64)
    labels[0] = piece.positions[0] if len(piece.positions) == 1 else count
    if piece.prefix_attention:
        labels[1] = ALL_OF_IT
    for span in piece.spans:
        if span.bidirectional:
            labels[1, span.start : span.stop] = before + span.stop
    return labels
