"""`rvq`: residual vector quantisation (Juang and Gray 1982), for the lowest rates.

Stage by stage, the nearest codebook entry to what the stages before left over. The indexes, or that
one is the same as the token before's, are entropy-coded with the frequencies of the calibration;
each layer holds those of its stages, one stage after the other, and the base layer begins with the
ids. All arithmetic is on integers (see `rvq_table`), so that encoder and decoder give the same bits
on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.codecs import rans
from saccade.codecs.base import SetShape, check_width, prefix, stack, unstack
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.codecs.nearest import Nearest
from saccade.codecs.rvq_table import MAX_FEATURE, RvqTable
from saccade.errors import CodecError
from saccade.nouns import F32, TokenSet


class Rvq:
    """The error is what the last stage left over. Each stage but the first has the entry 0, so no
    further layer makes a token worse.
    """

    name = "rvq"
    wire_id = 3

    def __init__(self, table: RvqTable) -> None:
        self.table = table
        self._nearest = {id(stage): Nearest(stage.entries) for stage in table.stages}

    @classmethod
    def from_bytes(cls, data: bytes) -> Rvq:
        """From a table's file. Raises BundleError."""
        return cls(RvqTable.from_bytes(data))

    @property
    def dim(self) -> int:
        return self.table.dim

    def encode(self, sets: Sequence[TokenSet], layers: int | None = None) -> tuple[bytes, ...]:
        shapes = [SetShape.of(tokens) for tokens in sets]
        check_width(shapes, self)
        left = self._units(stack(sets))
        streams = []
        for stages in self.table.layers[:layers]:
            starts: list[int] = []
            widths: list[int] = []
            for stage in stages:
                nearest = self._nearest[id(stage)](left)
                left = left - stage.entries[nearest]
                symbols = stage.symbols(nearest).tolist()
                starts += [stage.frequencies.starts[s] for s in symbols]
                widths += [stage.frequencies.widths[s] for s in symbols]
            streams.append(rans.encode(starts, widths))
        ids = encode_ids([tokens.ids for tokens in sets], shapes)
        return (ids + streams[0], *streams[1:])

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        prefix(layers, len(self.table.layers), self.name)
        tokens = check_width(shapes, self)
        ids, start = decode_ids(layers[0], shapes)
        units = np.zeros((tokens, self.dim), np.int32)
        for layer, stages in zip(layers, self.table.layers, strict=False):
            decoder = rans.Decoder(layer[start:])
            start = 0  # only the base layer begins with the ids
            for stage in stages:
                symbols = np.array(decoder.take(stage.frequencies, tokens), np.int64)
                units += stage.entries[stage.indexes(symbols)]
            decoder.finish()
        # Below 2^21 and a power of two: exact in float32.
        features = np.ldexp(units.astype(np.float32), -self.table.shift)
        return unstack(features.astype(np.float32), ids, shapes)

    def _units(self, features: F32) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        units = np.rint(np.ldexp(features.astype(np.float64), self.table.shift))
        if np.max(np.abs(units), initial=0.0) > MAX_FEATURE:
            raise CodecError(
                f"a feature of magnitude {np.max(np.abs(features)):g}, {self.name} reaches "
                f"{np.ldexp(float(MAX_FEATURE), -self.table.shift):g}"
            )
        return units
