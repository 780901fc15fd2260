"""Reading each layout of `saccade.detector_layouts`: which outputs it takes, and what they say.

Shapes are believed, metadata is not: exporters set the same flags for different graphs. Where
shapes fit several layouts, only the manifest can say which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saccade.detector_layouts import LAYOUTS
from saccade.errors import BundleError
from saccade.types import F32
from saccade_edge.detect.found import Found, best, chances, found

Outputs = Mapping[str, F32]
STRIDES = ((8, 16, 32), (8, 16, 32, 64))


@dataclass(frozen=True, slots=True)
class Model:
    """What is known beside the outputs. ``size``: (height, width) of the input; ``scores``: as in
    the manifest.
    """

    name: str
    labels: int
    size: tuple[int, int]
    scores: str


@dataclass(frozen=True, slots=True)
class Reader:
    """``pick``: the outputs that it reads, in the order that ``read`` takes them, or None where the
    shapes don't fit. ``suppress``: whether boxes may overlap still.
    """

    pick: Callable[[Outputs, Model], list[str] | None]
    read: Callable[[Sequence[F32], Model], Found]
    suppress: bool = False


def pick(layout: str, outputs: Outputs, model: Model) -> list[str]:
    """The names of the outputs that ``layout`` reads. Raises ``BundleError``, with the layouts that
    the shapes do fit.
    """
    names = READERS[layout].pick(outputs, model)
    if names is not None:
        return names
    others = fitting(outputs, model)
    hint = f"the shapes fit {' or '.join(others)}" if others else "no known layout has these shapes"
    raise BundleError(
        f"{model.name} gives {shapes(outputs)}, which is not layout {layout} "
        f"({LAYOUTS[layout].outputs}; L, the number of labels, is {model.labels}); {hint}: state "
        "the layout in the manifest's detector.layout, or with `saccade bundle detector --layout`"
    )


def fitting(outputs: Outputs, model: Model) -> list[str]:
    """The layouts that the outputs' shapes fit."""
    return [name for name, reader in READERS.items() if reader.pick(outputs, model) is not None]


def shapes(outputs: Outputs) -> str:
    """For messages: "boxes [1, 300, 4], scores [1, 300]"."""
    return ", ".join(f"{name} {list(array.shape)}" for name, array in [*outputs.items()][:8])


def strides_of(cells: int, size: tuple[int, int]) -> tuple[int, ...] | None:
    """The strides whose grids over an input of ``size`` have so many cells together."""
    for strides in STRIDES:
        if cells == sum((size[0] // s) * (size[1] // s) for s in strides):
            return strides
    return None


def _only(fits: Callable[[F32, Model], bool]) -> Callable[[Outputs, Model], list[str] | None]:
    """Of several outputs the one that fits; raw maps of five dimensions often lie beside it."""

    def pick_one(outputs: Outputs, model: Model) -> list[str] | None:
        names = [name for name, array in outputs.items() if fits(array, model)]
        others = [n for n, array in outputs.items() if n not in names and array.ndim in (2, 3)]
        return names if len(names) == 1 and not others else None

    return pick_one


def _rows(*widths: int, per_label: bool) -> Callable[[F32, Model], bool]:
    def fits(array: F32, model: Model) -> bool:
        wanted = {width + (model.labels if per_label else 0) for width in widths}
        return array.ndim == 3 and array.shape[0] == 1 and array.shape[2] in wanted

    return fits


def _fits_v8(array: F32, model: Model) -> bool:
    width = 4 + model.labels
    return array.ndim == 3 and array.shape[0] == 1 and width in array.shape[1:]


def _fits_yolox(array: F32, model: Model) -> bool:
    rows = _rows(5, per_label=True)(array, model)
    return rows and strides_of(array.shape[1], model.size) is not None


def _read_v5(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][0]
    scores = chances(rows[:, 4:], model.scores, model.name)
    return best(rows[:, :4], scores[:, :1] * scores[:, 1:])


def _read_v8(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][0]
    # Anchors last, unless the shape says that they are first.
    rows = rows.T if rows.shape[0] == 4 + model.labels else rows
    return best(rows[:, :4], chances(rows[:, 4:], model.scores, model.name))


def _read_joined(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][0]
    return best(rows[:, :4], chances(rows[:, 4:], model.scores, model.name))


def _read_v10(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][0]
    return found(rows[:, :4], chances(rows[:, 4], model.scores, model.name), rows[:, 5])


def _read_yolox(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][0]
    corner, stride = _grid(strides_of(len(rows), model.size) or (), model.size)
    with np.errstate(over="ignore"):
        sides = np.exp(rows[:, 2:4]) * stride
    boxes = np.concatenate([(rows[:, :2] + corner) * stride, sides], axis=1)
    scores = chances(rows[:, 4:], model.scores, model.name)
    return best(np.asarray(boxes, np.float32), scores[:, :1] * scores[:, 1:])


def _grid(strides: Sequence[int], size: tuple[int, int]) -> tuple[F32, F32]:
    """[A, 2] column and row of each cell, and [A, 1] its stride; the finest grid first, row by
    row.
    """
    corners, sides = [], []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sides.append(np.full((rows.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(sides).astype(np.float32)


def _pick_nms(outputs: Outputs, model: Model) -> list[str] | None:
    """By name: scores and classes have the same shape."""
    if len(outputs) != 4:
        return None
    words = (("num",), ("box",), ("score",), ("class", "label"))
    names = [_named(outputs, *several) for several in words]
    if not all(names) or len(set(names)) != 4:
        return None
    count, boxes, scores, classes = (outputs[name].shape for name in names)
    rows = boxes[:2]
    fits = len(boxes) == 3 and boxes[0] == 1 and boxes[2] == 4 and int(np.prod(count)) == 1
    return names if fits and scores == rows and classes == rows else None


def _named(outputs: Outputs, *words: str) -> str:
    """The one output whose name has one of the words, else nothing."""
    names = [name for name in outputs if any(word in name.lower() for word in words)]
    return names[0] if len(names) == 1 else ""


def _read_nms(arrays: Sequence[F32], model: Model) -> Found:
    count, boxes, scores, classes = arrays
    rows = slice(max(int(count.reshape(-1)[0]), 0))
    kept = chances(scores[0, rows], model.scores, model.name)
    return found(boxes[0, rows], kept, classes[0, rows])


def _fits_nms_rows(array: F32, model: Model) -> bool:
    return array.ndim == 2 and array.shape[1] == 7


def _read_nms_rows(arrays: Sequence[F32], model: Model) -> Found:
    rows = arrays[0][arrays[0][:, 0] == 0]
    return found(rows[:, 1:5], chances(rows[:, 6], model.scores, model.name), rows[:, 5])


def _pick_indices(outputs: Outputs, model: Model) -> list[str] | None:
    """Boxes and scores by shape, in whichever order alone they fit each other."""
    flat = [name for name, array in outputs.items() if array.ndim == 2 and array.shape[1] == 3]
    deep = [name for name, array in outputs.items() if array.ndim == 3 and array.shape[0] == 1]
    if len(outputs) != 3 or len(flat) != 1 or len(deep) != 2:
        return None
    fits = [
        [boxes, scores]
        for boxes, scores in (deep, deep[::-1])
        if outputs[boxes].shape[2] == 4
        and outputs[scores].shape == (1, model.labels, outputs[boxes].shape[1])
    ]
    return [*fits[0], *flat] if len(fits) == 1 else None


def _read_indices(arrays: Sequence[F32], model: Model) -> Found:
    boxes, scores, selected = arrays
    rows = selected.astype(np.int64)
    inside = (rows >= 0) & (rows < (1, model.labels, boxes.shape[1]))
    _, classes, places = rows[inside.all(axis=1)].T
    kept = chances(scores[0], model.scores, model.name)[classes, places]
    return Found(boxes[0, places], kept, classes)


def _pick_detr(outputs: Outputs, model: Model) -> list[str] | None:
    """Logits and boxes; by name where four labels make the shapes the same."""
    if len(outputs) != 2 or any(a.ndim != 3 or a.shape[0] != 1 for a in outputs.values()):
        return None
    boxes = [name for name, array in outputs.items() if array.shape[2] == 4]
    if len(boxes) == 2:
        boxes = [_named(outputs, "box", "det")]
    if len(boxes) != 1 or not boxes[0]:
        return None
    (logits,) = outputs.keys() - set(boxes)
    fits = outputs[logits].shape == (*outputs[boxes[0]].shape[:2], model.labels)
    return [logits, boxes[0]] if fits else None


def _read_detr(arrays: Sequence[F32], model: Model) -> Found:
    logits, boxes = arrays
    return best(boxes[0], chances(logits[0], model.scores, model.name))


def _pick_deploy(outputs: Outputs, model: Model) -> list[str] | None:
    names = [_named(outputs, "label", "class"), _named(outputs, "box"), _named(outputs, "score")]
    if len(outputs) != 3 or not all(names) or len(set(names)) != 3:
        return None
    labels, boxes, scores = (outputs[name].shape for name in names)
    fits = len(boxes) == 3 and boxes[::2] == (1, 4) and labels == boxes[:2] == scores
    return names if fits else None


def _read_deploy(arrays: Sequence[F32], model: Model) -> Found:
    labels, boxes, scores = arrays
    return found(boxes[0], chances(scores[0], model.scores, model.name), labels[0])


READERS: Mapping[str, Reader] = {
    "yolo-v5": Reader(_only(_rows(5, per_label=True)), _read_v5, suppress=True),
    "yolo-v8": Reader(_only(_fits_v8), _read_v8, suppress=True),
    "yolo-v10": Reader(_only(_rows(6, per_label=False)), _read_v10),
    "yolox": Reader(_only(_fits_yolox), _read_yolox, suppress=True),
    "nms": Reader(_pick_nms, _read_nms),
    "nms-rows": Reader(_only(_fits_nms_rows), _read_nms_rows),
    "nms-indices": Reader(_pick_indices, _read_indices),
    "rt-detr": Reader(_pick_detr, _read_detr),
    "rt-detr-joined": Reader(_only(_rows(4, per_label=True)), _read_joined),
    "rt-detr-deploy": Reader(_pick_deploy, _read_deploy),
    "rf-detr": Reader(_pick_detr, _read_detr),
}
