"""Detectors whose right answer is known: they say the same of every picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from saccade.types import F32
from saccade_testing.tiny_graphs import Graph

Arrays = Mapping[str, npt.NDArray[np.generic]]
Rows = Sequence[tuple[tuple[float, float, float, float], float, int]]  # box xyxy, score, class
SIZE = (64, 96)  # height, width of their input
FLOAT = TensorProto.FLOAT


def write_constant(
    path: Path,
    outputs: Arrays,
    dims: Sequence[int | str] = (1, 3, *SIZE),
    kind: int = FLOAT,
    extra: Mapping[str, tuple[int, Sequence[int | str]]] | None = None,
) -> Path:
    """``outputs`` whatever the input ``images`` is. ``extra``: more inputs, (type, shape)."""
    ports = {"images": (kind, dims), **(extra or {})}
    weights = [numpy_helper.from_array(np.asarray(v), f"{n}_value") for n, v in outputs.items()]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs],
        "constant",
        [helper.make_tensor_value_info(n, k, list(d)) for n, (k, d) in ports.items()],
        [
            helper.make_tensor_value_info(name, weight.data_type, list(weight.dims))
            for name, weight in zip(outputs, weights, strict=True)
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def write_half_of_size(path: Path) -> None:
    """labels, boxes, scores: one box, the middle half of ``orig_target_sizes`` (width, height)."""
    g = Graph()
    sides = f"n{len(g.nodes)}"
    g.nodes.append(helper.make_node("Cast", ["orig_target_sizes"], [sides], to=FLOAT))
    corners = g.add("Concat", sides, sides, axis=1)
    part = g.constant(np.asarray([[[0.25, 0.25, 0.75, 0.75]]], np.float32))
    g.add("Mul", corners, part, to="boxes")
    for name in ("labels", "scores"):
        g.add("Identity", g.constant(np.ones((1, 1), np.float32)), to=name)
    ports: dict[str, tuple[int, list[str | int]]] = {
        "images": (FLOAT, [1, 3, *SIZE]),
        "orig_target_sizes": (TensorProto.INT64, [1, 2]),
    }
    g.save(path, ports, {"labels": [1, 1], "boxes": [1, 1, 4], "scores": [1, 1]})


@dataclass(frozen=True, slots=True)
class Truth:
    """``boxes`` [N, 4] xyxy and ``centres`` (centre, size) in pixels of the input, ``normal``: the
    same as shares of it; ``chances``: [N, labels], the score in the column of the class.
    """

    boxes: F32
    centres: F32
    normal: F32
    scores: F32
    classes: npt.NDArray[np.int64]
    chances: F32

    @property
    def logits(self) -> F32:
        """[N, labels], of which `chances` is the sigmoid."""
        chances = np.clip(self.chances, 1e-9, None)
        return np.asarray(np.log(chances / (1 - chances)), np.float32)


def outputs_of(layout: str, rows: Rows, labels: int) -> Arrays:
    """What a model of that layout gives for ``rows``, in pixels of an input of `SIZE`."""
    boxes = np.asarray([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    classes = np.asarray([kind for _, _, kind in rows], np.int64)
    scores = np.asarray([score for _, score, _ in rows], np.float32)
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    centres = np.asarray(np.concatenate([middle, sides], 1), np.float32)
    chances = np.zeros((len(rows), labels), np.float32)
    chances[np.arange(len(rows)), classes] = scores
    normal = np.asarray(centres / np.asarray((SIZE[1], SIZE[0]) * 2), np.float32)
    return _MAKERS[layout](Truth(boxes, centres, normal, scores, classes, chances))


def _joined(*parts: npt.NDArray[np.generic]) -> F32:
    """[1, N, sum of widths]."""
    return np.concatenate([p.reshape(len(p), -1) for p in parts], 1).astype(np.float32)[None]


def _nms(truth: Truth) -> Arrays:
    """With two rows beyond the count, which are not to be read."""
    return {
        "num_dets": np.asarray([[len(truth.boxes)]], np.int32),
        "det_boxes": np.concatenate([truth.boxes, np.ones((2, 4), np.float32)])[None],
        "det_scores": np.concatenate([truth.scores, np.ones(2, np.float32)])[None],
        "det_classes": np.concatenate([truth.classes, [0, 0]]).astype(np.int32)[None],
    }


def _nms_indices(truth: Truth) -> Arrays:
    zeros, places = np.zeros_like(truth.classes), np.arange(len(truth.boxes))
    return {
        "boxes": truth.boxes[:, [1, 0, 3, 2]][None],
        "scores": truth.chances.T[None],
        "selected": np.stack([zeros, truth.classes, places], 1),
    }


def _nms_rows(truth: Truth) -> Arrays:
    pictures = np.zeros(len(truth.boxes), np.float32)
    return {"output": _joined(pictures, truth.boxes, truth.classes, truth.scores)[0]}


def _v5(truth: Truth) -> Arrays:
    """The score is objectness times the class's."""
    objectness = np.full(len(truth.boxes), 0.95, np.float32)
    return {"output0": _joined(truth.centres, objectness, truth.chances / objectness[:, None])}


def _yolox(truth: Truth) -> Arrays:
    """Each row in the cell of the finest stride that holds its centre and is free."""
    shapes = [(s, SIZE[0] // s, SIZE[1] // s) for s in (8, 16, 32)]
    cells = [(s, y, x) for s, rows, columns in shapes for y in range(rows) for x in range(columns)]
    out = np.zeros((1, len(cells), 5 + truth.chances.shape[1]), np.float32)
    taken: set[int] = set()
    for (x, y, w, h), chance in zip(truth.centres, truth.chances, strict=True):
        places = [cells.index((s, int(y // s), int(x // s))) for s, _, _ in shapes]
        place = next(p for p in places if p not in taken)
        taken.add(place)
        stride, row, column = cells[place]
        sides = np.log([w / stride, h / stride])
        out[0, place] = [x / stride - column, y / stride - row, *sides, 1.0, *chance]
    return {"output": out}


_MAKERS: Mapping[str, Callable[[Truth], Arrays]] = {
    "yolo-v5": _v5,
    "yolo-v8": lambda t: {"output0": _joined(t.centres, t.chances).transpose(0, 2, 1)},
    "yolo-v8 transposed": lambda t: {"output0": _joined(t.centres, t.chances)},
    "yolo-v10": lambda t: {"output0": _joined(t.boxes, t.scores, t.classes)},
    "yolox": _yolox,
    "nms": _nms,
    "nms-rows": _nms_rows,
    "nms-indices": _nms_indices,
    "rt-detr": lambda t: {"logits": t.logits[None], "pred_boxes": t.normal[None]},
    "rt-detr-joined": lambda t: {"output0": _joined(t.normal, t.chances)},
    "rt-detr-deploy": lambda t: {
        "labels": t.classes[None], "boxes": t.boxes[None], "scores": t.scores[None],
    },
    "rf-detr": lambda t: {"dets": t.normal[None], "labels": t.logits[None]},
}  # fmt: skip
