"""The demo bundle's region detector: YOLO11n from its YAML, trained from scratch on this world.

Ultralytics (AGPL-3.0) is needed here only; the edge runs the exported ONNX file. The file's
licence is named in the manifest.
"""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2

from saccade_drawn_world.crossing.moving import World
from saccade_drawn_world.crossing.render import Rendered, render, render_world
from saccade_drawn_world.crossing.scene import HEIGHT, KINDS, WIDTH, Box, Scene
from saccade_drawn_world.crossing.traffic import stage
from saccade_export import onnx_files

PLATE = "plate"
BEST = Path("detector/weights/best.pt")  # in the folder of a run
LABELS = (*KINDS, "person", "traffic light", PLATE)
# (height, width): three quarters of the frame; the narrowest plate keeps 20 x 6 pixels.
INPUT = (288, 480)
# One picture in FILMED is a film's frame: films have the small and the half-seen vehicles that
# stills avoid. A film of CLIP_S seconds gives FILMED * INSTANTS seeds their frames.
FILMED, INSTANTS, CLIP_S = 4, 10, 24.0


def picture(seed: int) -> Rendered:
    """The picture of a seed, as the detector is trained on it."""
    if seed % FILMED:
        return render(seed)
    film, instant = divmod(seed // FILMED, INSTANTS)
    return render_world(_film(film), CLIP_S * instant / INSTANTS)


@lru_cache(maxsize=1)
def _film(seed: int) -> World:
    return stage(seed, CLIP_S)


def label_lines(scene: Scene) -> list[str]:
    """YOLO's text format: class and normalised centre and size, one object a line."""
    found = [(KINDS.index(v.kind), v.box) for v in scene.vehicles]
    plates = (v.plate_box for v in scene.vehicles)
    found += [(LABELS.index(PLATE), box) for box in plates if box]
    found += [(LABELS.index("person"), p.box) for p in scene.pedestrians]
    if scene.light:
        found.append((LABELS.index("traffic light"), scene.light.box))
    return [f"{c} {_normalised(box)}" for c, box in found]


def _normalised(box: Box) -> str:
    x0, y0, x1, y1 = box
    w, h = WIDTH, HEIGHT
    values = ((x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h)
    return " ".join(f"{v:.5f}" for v in values)


def write_pictures(root: Path, split: str, seeds: range) -> None:
    """JPEG pictures of the input's size and labels in the layout that Ultralytics reads."""
    pictures, labels = root / "images" / split, root / "labels" / split
    for folder in (pictures, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        if (labels / f"{seed}.txt").exists():
            continue
        rendered = picture(seed)
        small = cv2.resize(rendered.picture, (INPUT[1], INPUT[0]), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(pictures / f"{seed}.jpg"), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        (labels / f"{seed}.txt").write_text("\n".join(label_lines(rendered.scene)))


def write_yaml(root: Path) -> Path:
    """The data set's description, as Ultralytics reads it."""
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(LABELS))
    path = root / "data.yaml"
    path.write_text(
        f"path: {root.resolve()}\ntrain: images/train\nval: images/val\nnames:\n{names}\n"
    )
    return path


def train(
    root: Path,
    work: Path,
    *,
    epochs: int,
    batch: int,
    threads: int,
    device: str,
    hours: float | None,
    start: Path | None = None,
) -> Path:
    """Train on what ``write_pictures`` wrote; resumes, or begins with the weights in ``start``.
    Returns the best weights.
    """
    # Ultralytics strips a finished run's checkpoint, and would begin anew rather than resume it.
    finished = work / "detector" / "finished"
    if finished.exists():
        return work / BEST
    import torch
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    def use_threads(_: object) -> None:
        torch.set_num_threads(threads)  # Ultralytics chooses its own number when it starts

    last = work / "detector" / "weights" / "last.pt"
    model = YOLO(str(last) if last.exists() else "yolo11n.yaml")
    if start and start.exists() and not last.exists():
        model.load(str(start))
    # ``nbs``: else gradients of small batches are added up to 64 pictures before each step, and a
    # short run has a quarter of the steps.
    options: dict[str, Any] = {
        "data": str(write_yaml(root)), "epochs": epochs, "batch": batch, "imgsz": INPUT[1],
        "nbs": batch,
        "rect": True, "pretrained": False, "amp": False, "device": device, "workers": 0,
        "project": str(work), "name": "detector", "exist_ok": True, "plots": False,
        "optimizer": "AdamW", "lr0": 1.5e-3, "lrf": 0.05, "warmup_epochs": 0.5, "cos_lr": True,
        "mosaic": 0.0, "translate": 0.05, "scale": 0.2, "fliplr": 0.0, "erasing": 0.0,
        "seed": 0, "time": hours, "resume": last.exists(),
    }  # fmt: skip
    model.add_callback("on_train_start", use_threads)
    model.train(**options)
    finished.touch()
    return work / BEST


def export(weights: Path, path: Path) -> None:
    """ONNX with output (N, 4 + classes, anchors): boxes cxcywh in input pixels, sigmoid scores."""
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    made = YOLO(str(weights)).export(
        format="onnx", imgsz=list(INPUT), simplify=False, dynamic=False, opset=18
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, path)
    # When it was made, and from which folder: else the same weights are another file every time.
    onnx_files.forget(path, "date", "description")
