"""What a detector's outputs can mean, and how its input is made where the manifest says no more.

How each is read is in `saccade_edge.detect`. docs/guide/detectors.md has the list for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CHANNELS = ("rgb", "bgr")
RANGES = ("0-1", "0-255")
FITS = ("letterbox", "letterbox-top-left", "stretch")
AXES = ("nchw", "nhwc")
BOXES = (
    *("xyxy", "yxyx", "cxcywh"),
    *("xyxy-normalised", "yxyx-normalised", "cxcywh-normalised"),
)
SCORES = ("as-is", "sigmoid")
# Fields of the manifest's detector that take one of a list.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "channels": CHANNELS,
    "range": RANGES,
    "fit": FITS,
    "axes": AXES,
    "boxes": BOXES,
    "scores": SCORES,
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Layout:
    """``outputs``: shapes, where L is the number of labels, Q, N and A are free. The other fields
    are the defaults of the manifest's fields of the same names.
    """

    outputs: str
    boxes: str
    fit: str = "letterbox"
    channels: str = "rgb"
    range: str = "0-1"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scores: str = "as-is"


LAYOUTS: Mapping[str, Layout] = {
    "yolo-v5": Layout("[1, N, 5 + L]: box, objectness, one score per class", "cxcywh"),
    "yolo-v8": Layout("[1, 4 + L, A] or [1, A, 4 + L]: box, one score per class", "cxcywh"),
    "yolo-v10": Layout("[1, N, 6]: box, score, class; nothing overlaps", "xyxy"),
    "yolox": Layout(
        "[1, A, 5 + L]: offsets in cells, log size, objectness, one score per class; A is the "
        "number of cells at strides 8, 16, 32 (and 64)",
        "cxcywh",
        fit="letterbox-top-left",
        channels="bgr",
        range="0-255",
    ),
    "nms": Layout("four: count [1, 1], boxes [1, N, 4], scores [1, N], classes [1, N]", "xyxy"),
    "nms-rows": Layout("[N, 7]: picture, box, class, score", "xyxy"),
    "nms-indices": Layout(
        "three: boxes [1, A, 4], scores [1, L, A], selected [N, 3]: picture, class, box", ""
    ),
    "rt-detr": Layout(
        "two: logits [1, Q, L], boxes [1, Q, 4]",
        "cxcywh-normalised",
        fit="stretch",
        scores="sigmoid",
    ),
    "rt-detr-joined": Layout(
        "[1, Q, 4 + L]: box, one score per class", "cxcywh-normalised", fit="stretch"
    ),
    "rt-detr-deploy": Layout(
        "three: labels [1, Q], boxes [1, Q, 4], scores [1, Q]; often with a second input "
        "orig_target_sizes [1, 2]",
        "xyxy",
        fit="stretch",
    ),
    "rf-detr": Layout(
        "two: boxes [1, Q, 4], logits [1, Q, L]",
        "cxcywh-normalised",
        fit="stretch",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        scores="sigmoid",
    ),
}

# Other models that give the same.
ALIASES: Mapping[str, str] = {
    **dict.fromkeys(("yolov5", "yolov6", "yolov7", "yolo-v6", "yolo-v7"), "yolo-v5"),
    **dict.fromkeys(("yolov8", "yolov9", "yolo11", "yolo12", "yolo-v9", "yolo-v11"), "yolo-v8"),
    **dict.fromkeys(("yolov10", "yolo26", "yolo-v26", "end-to-end"), "yolo-v10"),
    **dict.fromkeys(("rtdetr", "d-fine", "dfine"), "rt-detr"),
    "rfdetr": "rf-detr",
    "efficient-nms": "nms",
}


def canonical(name: str) -> str:
    """The layout that ``name`` means, or ``name`` itself."""
    return ALIASES.get(name.lower(), name.lower())
