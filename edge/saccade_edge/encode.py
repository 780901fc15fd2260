"""The encoder: views in, token grids out, the tiles of a frame in batches by their size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np

from saccade.bundle import Bundle
from saccade.errors import BundleError
from saccade.types import F32, U8, TokenGrid, View
from saccade_edge.onnx_model import Model, RuntimeSettings

MAX_BATCH = 16  # tiles in one run: what a run takes does not grow with a view


class Encoder:
    """The bundle's vision encoder. The graph of a size is opened when the first tile has it.

    Raises ``BundleError`` when a graph's input or outputs are not what the manifest says.
    """

    def __init__(self, bundle: Bundle, runtime: RuntimeSettings | None = None) -> None:
        self._bundle = bundle
        self._spec = bundle.manifest.encoder
        self._runtime = runtime or RuntimeSettings()
        self._names = [self._spec.outputs.features]
        self._names += [name for name in (self._spec.outputs.saliency,) if name]
        self._names += [name for name in (self._spec.outputs.keys,) if name]
        self._models: dict[tuple[int, int], Model] = {}
        self._lock = Lock()
        # A graph that is wrong is told when the encoder opens, not at a frame; one is enough.
        self._first = self._model(self._spec.buckets[0].size)

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return self._first.providers

    def encode(self, views: Sequence[View]) -> list[TokenGrid]:
        """One grid for each view, in their order. Raises ``BundleError`` when the model fails, or
        gives what no selection and no codec can use.
        """
        sizes = dict.fromkeys(view.layout.pixels for view in views)
        found: dict[int, TokenGrid] = {}
        for size in sizes:
            alike = [i for i, view in enumerate(views) if view.layout.pixels == size]
            grids = self._encode(size, [views[i] for i in alike])
            found |= dict(zip(alike, grids, strict=True))
        return [found[i] for i in range(len(views))]

    def _encode(self, size: tuple[int, int], views: Sequence[View]) -> Iterator[TokenGrid]:
        """Of views whose tiles have one size."""
        all_tiles = np.concatenate([view.tiles for view in views])
        grid = views[0].layout.grid[1:]
        runs = [
            self._run(size, all_tiles[start : start + MAX_BATCH], int(np.prod(grid)))
            for start in range(0, len(all_tiles), MAX_BATCH)
        ]
        outputs = [np.concatenate(parts) for parts in zip(*runs, strict=True)]
        start = 0
        for view in views:
            part = slice(start, start + len(view.tiles))
            yield self._grid(view, [output[part] for output in outputs])
            start = part.stop

    def _grid(self, view: View, outputs: Sequence[F32]) -> TokenGrid:
        """A view's tiles, one after another."""
        features, *others = outputs
        features = features.reshape(-1, features.shape[-1])
        saliency = np.zeros((0, 0, len(features)), np.float32)
        keys = np.zeros((len(features), 0), np.float32)
        if self._spec.outputs.saliency:
            rows, *others = others
            saliency = np.ascontiguousarray(np.concatenate(rows, axis=-1))
        if self._spec.outputs.keys:
            keys = others[0].reshape(-1, others[0].shape[-1])
        return TokenGrid(features, saliency, keys, view.layout.grid)

    def _run(self, size: tuple[int, int], batch: U8, tokens: int) -> list[F32]:
        outputs = self._model(size).run(self._names, {self._spec.input: batch})
        named = dict(zip(self._names, outputs, strict=True))
        self._check_shapes(named, len(batch), tokens)
        for name, array in named.items():
            if name != self._spec.outputs.keys:
                _check_finite(name, array)
        return outputs

    def _model(self, size: tuple[int, int]) -> Model:
        with self._lock:
            if size not in self._models:
                file = self._spec.files[size]
                self._models[size] = self._opened(file)
            return self._models[size]

    def _opened(self, file: str) -> Model:
        model = Model(self._bundle.model(file), self._runtime)
        inputs = [port.name for port in model.inputs]
        if inputs != [self._spec.input]:
            raise BundleError(f"the encoder takes {inputs}, the manifest says {self._spec.input!r}")
        if missing := [name for name in self._names if name not in model.outputs]:
            raise BundleError(f"the encoder has no output {', '.join(missing)}")
        return model

    def _check_shapes(self, outputs: dict[str, F32], tiles: int, tokens: int) -> None:
        spec = self._spec
        features = outputs[spec.outputs.features]
        fits = features.shape == (tiles, tokens, spec.dim)
        if spec.outputs.saliency:
            shape = outputs[spec.outputs.saliency].shape
            fits &= len(shape) == 4 and (shape[0], shape[3]) == (tiles, tokens)
        if spec.outputs.keys:
            shape = outputs[spec.outputs.keys].shape
            fits &= len(shape) == 3 and shape[:2] == (tiles, tokens)
        if not fits:
            given = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise BundleError(
                f"the encoder gives {given} for {tiles} views; the manifest says {tokens} tokens "
                f"of {spec.dim}"
            )


def _check_finite(name: str, array: F32) -> None:
    odd = array.size - int(np.count_nonzero(np.isfinite(array)))
    if odd:
        raise BundleError(f"the encoder gives {odd} {name} that are no finite numbers")
