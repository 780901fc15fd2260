"""The encoder: views in, token grids out, all views of a frame in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.bundle import Bundle
from saccade.errors import BundleError
from saccade.types import F32, TokenGrid, View
from saccade_edge.onnx_model import Model, RuntimeSettings


class Encoder:
    """The bundle's vision encoder.

    Raises ``BundleError`` when the model's input or outputs are not what the manifest says.
    """

    def __init__(self, bundle: Bundle, runtime: RuntimeSettings | None = None) -> None:
        self._spec = bundle.manifest.encoder
        outputs = self._spec.outputs
        self._outputs = [outputs.features, outputs.saliency, outputs.keys]
        self._model = Model(bundle.model(self._spec.file), runtime or RuntimeSettings())
        self._check_names()

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return self._model.providers

    @property
    def view_size(self) -> tuple[int, int]:
        """(height, width) of the pictures it takes, pixels."""
        return self._spec.view_size

    def encode(self, views: Sequence[View]) -> list[TokenGrid]:
        """One grid for each view, in their order. Raises ``BundleError`` when the model fails, or
        gives what no selection and no codec can use.
        """
        if not views:
            return []
        batch = np.stack([view.picture for view in views])
        feeds = {self._spec.input.name: batch}
        features, saliency, keys = self._model.run(self._outputs, feeds)
        self._check_shapes(len(views), features, saliency, keys)
        _check_finite(features=features, saliency=saliency)
        return [
            TokenGrid(features[i], saliency[i], keys[i], self._spec.grid) for i in range(len(views))
        ]

    def _check_names(self) -> None:
        inputs = [port.name for port in self._model.inputs]
        if inputs != [self._spec.input.name]:
            raise BundleError(
                f"the encoder takes {inputs}, the manifest says {self._spec.input.name!r}"
            )
        if missing := [name for name in self._outputs if name not in self._model.outputs]:
            raise BundleError(f"the encoder has no output {', '.join(missing)}")

    def _check_shapes(self, views: int, features: F32, saliency: F32, keys: F32) -> None:
        tokens = int(np.prod(self._spec.grid))
        fits = (
            features.shape == (views, tokens, self._spec.dim)
            and saliency.ndim == 4
            and (saliency.shape[0], saliency.shape[3]) == (views, tokens)
            and keys.ndim == 3
            and keys.shape[:2] == (views, tokens)
        )
        if not fits:
            raise BundleError(
                f"the encoder gives features {features.shape}, saliency {saliency.shape} and keys "
                f"{keys.shape} for {views} views; the manifest says {tokens} tokens of "
                f"{self._spec.dim}"
            )


def _check_finite(**outputs: F32) -> None:
    for name, array in outputs.items():
        odd = array.size - int(np.count_nonzero(np.isfinite(array)))
        if odd:
            raise BundleError(f"the encoder gives {odd} {name} that are no finite numbers")
