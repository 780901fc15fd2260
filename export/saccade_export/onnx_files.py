"""Torch modules to ONNX files, and their weights at half the size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

OPSET = 18
HALVED_ELEMENTS = 1000  # tensors with more are halved; the others weigh nothing


def write(
    module: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Export one module; ``axes`` names the dynamic dimensions of inputs and outputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracer warnings about Python integers: all are sizes
        torch.onnx.export(
            module.eval(),
            tuple(inputs),
            str(path),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def forget(path: Path, *keys: str) -> None:
    """Drop these entries of a file's metadata."""
    model = onnx.load(str(path))
    kept = [entry for entry in model.metadata_props if entry.key not in keys]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(path))


def halve(path: Path) -> None:
    """Store a file's large float32 weights as float16, for half the size; all is still computed in
    float32. ONNX Runtime casts the weights once, when it loads the file.
    """
    model = onnx.load(str(path))
    graph = model.graph
    fed = {port.name for port in graph.input}  # what a caller may replace stays what it is
    casts = []
    for weights in graph.initializer:
        half = None if weights.name in fed else _half(weights)
        if half is not None:
            whole = weights.data_type
            casts.append(helper.make_node("Cast", [half.name], [weights.name], to=whole))
            weights.CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _half(weights: onnx.TensorProto) -> onnx.TensorProto | None:
    """The tensor as float16 under another name; None where that gains nothing or overflows."""
    if weights.data_type != onnx.TensorProto.FLOAT:
        return None
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(weights).astype(np.float16)
    if values.size <= HALVED_ELEMENTS or not np.isfinite(values).all():
        return None
    return numpy_helper.from_array(values, f"{weights.name}.half")
