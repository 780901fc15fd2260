"""A vision tower to ONNX: one static graph for each size of tile, as TensorRT takes them.

A graph takes uint8 [B, H, W, 3] with B dynamic, casts it in its first node, normalises and runs
the tower. There are no data-dependent shapes, no NonZero and no If.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from saccade.errors import BundleError
from saccade_export import export_attention
from saccade_export.families.base import TowerOutput
from saccade_export.graph_folding import fold
from saccade_export.graph_weights import Precision, WeightsFile, attach

OPSET = 18
INPUT = "views"
# Operators that make shapes depend on values, or that TensorRT does not take.
FORBIDDEN = frozenset({"NonZero", "If", "Loop", "Scan", "Unique", "Compress"})


@dataclass(frozen=True)
class Normalise:
    """Levels 0..255 -> (levels * scale - mean) / std, per channel."""

    scale: float
    mean: Sequence[float]
    std: Sequence[float]


class PixelEncoder(nn.Module):
    """uint8 [B, H, W, 3] -> features [B, T, D] and, where the tower has them, saliency
    [B, L, H, T] and keys [B, T, Dk], all float32.

    ``float32_scores``: attention scores in float32 whatever the weights are; ``saliency`` and
    ``keys``: whether they are given where the tower has them.
    """

    factor: Tensor
    shift: Tensor

    def __init__(
        self,
        tower: nn.Module,
        normalise: Normalise,
        *,
        float32_scores: bool = True,
        saliency: bool = True,
        keys: bool = True,
    ) -> None:
        super().__init__()
        wanted = {"features": True, "saliency": saliency, "keys": keys}
        self.wanted = frozenset(name for name, given in wanted.items() if given)
        self.tower = tower
        self.float32_scores = float32_scores
        std, mean = torch.tensor(normalise.std), torch.tensor(normalise.mean)
        self.register_buffer("factor", normalise.scale / std)
        self.register_buffer("shift", -mean / std)
        self.outputs: tuple[str, ...] = ()  # their names, known when it has run

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        pixels = views.to(torch.float32) * self.factor.float() + self.shift.float()
        dtype = next(self.tower.parameters()).dtype
        with export_attention.recording(float32=self.float32_scores):
            out: TowerOutput = self.tower(pixels.permute(0, 3, 1, 2).to(dtype))
        found = {"features": out.features, "saliency": out.saliency, "keys": out.keys}
        there = {
            name: value.float()
            for name, value in found.items()
            if value is not None and name in self.wanted
        }
        self.outputs = tuple(there)
        return tuple(there.values())


def export_encoder(
    encoder: PixelEncoder,
    size: tuple[int, int],
    path: Path,
    weights: WeightsFile,
    precision: Precision,
) -> tuple[str, ...]:
    """Write the graph for tiles of ``size`` (height, width); the names of its outputs.

    ``weights`` lies beside ``path``. With "f16" the tower must be in half precision. Raises
    ``BundleError`` where the graph has operators that shapes would depend on.
    """
    # One tile: what a trace computes is thrown away, and attention of large tiles is large.
    views = torch.zeros(1, *size, 3, dtype=torch.uint8)
    if not encoder.outputs:
        with torch.no_grad():
            encoder(views)
    names = encoder.outputs
    model = trace(encoder, [views], [INPUT], names, {n: {0: "batch"} for n in (INPUT, *names)})
    attach(model, dict(encoder.state_dict()), weights, precision)
    check(model, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)
    return names


def export_per_token(
    module: nn.Module, dim: int, path: Path, weights: WeightsFile, precision: Precision
) -> None:
    """A projector: features [K, D] float32 -> embeds [K, width] float32, K dynamic."""
    features = torch.zeros(3, dim)
    whole = nn.Sequential(_To(next(module.parameters()).dtype), module, _To(torch.float32))
    axes = {name: {0: "tokens"} for name in ("features", "embeds")}
    model = trace(whole, [features], ["features"], ["embeds"], axes)
    attach(model, dict(whole.state_dict()), weights, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)


class _To(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, values: Tensor) -> Tensor:
        return values.to(self.dtype)


def trace(
    module: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> onnx.ModelProto:
    """The graph without its weights, which are inputs named as in the state dict."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracer warnings about Python integers: all are sizes
        torch.onnx.export(
            module.eval(),
            tuple(inputs),
            buffer,  # type: ignore[arg-type]  # annotated for the other exporter only
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            export_params=False,
            do_constant_folding=False,  # it would rename weights; see graph_folding
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    fold(model)
    return model


def check(model: onnx.ModelProto, name: str) -> None:
    """Raises ``BundleError`` for a graph that TensorRT would not take."""
    found = sorted({node.op_type for node in model.graph.node} & FORBIDDEN)
    if found:
        raise BundleError(f"{name} has {', '.join(found)}: its shapes would depend on values")
    readers = [node.op_type for node in model.graph.node if INPUT in node.input]
    if readers != ["Cast"]:
        raise BundleError(f"{name} gives its uint8 input to {readers}, only a Cast may read it")
