"""`rvq`: residual vector quantisation (Juang and Gray 1982), for the lowest rates.

Stage by stage, the nearest codebook entry to what the stages before left over. The indexes, or that
one is the same as the token before's, are entropy-coded with the frequencies that the calibration
found for the kind of view; each layer is one stream of those of its stages, one stage after the
other, and the base layer's stream begins with the ids (see `position_model`). All arithmetic is on
integers (see `rvq_table`), so that encoder and decoder give the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.codecs import rans
from saccade.codecs.base import SetShape, check_width, prefix, shapes_of, stack, unstack
from saccade.codecs.nearest import Nearest
from saccade.codecs.rvq_table import MAX_FEATURE, RvqTable, Stage
from saccade.codecs.table_file import Data
from saccade.errors import CodecError
from saccade.types import F32, VIEW_KINDS, TokenSet, ViewKind


class Rvq:
    """The error is what the last stage left over. Each stage but the first has the entry 0, so no
    further layer makes a token worse.
    """

    name = "rvq"
    wire_id = 3

    def __init__(self, table: RvqTable) -> None:
        self.table = table
        self._nearest = {id(stage): Nearest(stage.entries) for stage in table.stages}
        # [kinds, symbols]: one look-up for all tokens of a frame.
        self._slots = {
            id(stage): tuple(np.array(rows) for rows in _slots(stage)) for stage in table.stages
        }

    @classmethod
    def from_bytes(cls, data: Data) -> Rvq:
        """From a table's file. Raises BundleError."""
        return cls(RvqTable.from_bytes(data))

    @property
    def dim(self) -> int:
        return self.table.dim

    @property
    def most_layers(self) -> int:
        return len(self.table.layers)

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]:
        shapes = shapes_of(sets, kinds)
        check_width(shapes, self)
        left = self._units(stack(sets))
        starts, widths = self.table.places.slots([tokens.ids for tokens in sets], shapes)
        counts, numbers = zip(*_by_view(shapes), strict=True)
        kind = np.repeat(numbers, counts)
        streams = []
        for stages in self.table.layers[:layers]:
            for stage in stages:
                nearest = self._nearest[id(stage)](left)
                left = left - stage.entries[nearest]
                symbols = stage.symbols(nearest)
                first, wide = self._slots[id(stage)]
                starts += first[kind, symbols].tolist()
                widths += wide[kind, symbols].tolist()
            streams.append(rans.encode(starts, widths))
            starts, widths = [], []
        return tuple(streams)

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        prefix(layers, len(self.table.layers), self.name)
        tokens = check_width(shapes, self)
        decoders = [rans.Decoder(layer) for layer in layers]
        ids = self.table.places.read(decoders[0], shapes)
        units = np.zeros((tokens, self.table.rank), np.int32)
        for decoder, stages in zip(decoders, self.table.layers, strict=False):
            for stage in stages:
                symbols: list[int] = []
                for count, kind in _by_view(shapes):
                    symbols += decoder.take(stage.frequencies[kind], count)
                units += stage.entries[stage.indexes(np.array(symbols, np.int64))]
            decoder.finish()
        if self.table.projection is None:
            wide = units.astype(np.float64)
        else:
            wide = self.table.projection.features(units)
        return unstack(np.ldexp(wide, -self.table.shift).astype(np.float32), ids, shapes)

    def _units(self, features: F32) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        units = np.ldexp(features.astype(np.float64), self.table.shift)
        np.rint(units, out=units)
        beyond = np.max(np.abs(units), initial=0.0) > MAX_FEATURE
        if not beyond and self.table.projection is not None:
            units = self.table.projection.components(units)
            beyond = np.max(np.abs(units), initial=0.0) > MAX_FEATURE
        if beyond:
            raise CodecError(
                f"a feature of magnitude {np.max(np.abs(features)):g}, {self.name} reaches "
                f"{np.ldexp(float(MAX_FEATURE), -self.table.shift):g}"
            )
        return units


def _by_view(shapes: Sequence[SetShape]) -> list[tuple[int, int]]:
    """(tokens, number of the kind) of each view."""
    return [(shape.count, VIEW_KINDS.index(shape.kind)) for shape in shapes]


def _slots(stage: Stage) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Starts and widths of each symbol, by kind of view."""
    return [f.starts for f in stage.frequencies], [f.widths for f in stage.frequencies]
