"""Pre-rendered training data: shards of views, targets and scenes on disk.

A shard is a folder of ``.npy`` files that training maps into memory; it appears under its
final name only when it is whole, so that rendering and training can run side by side.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from saccade.types import Box
from saccade_drawn_world.crossing.render import render
from saccade_drawn_world.crossing.scene import Scene
from saccade_drawn_world.training.encoder_targets import NAMES, Targets, targets
from saccade_edge.views import plan_window, resample

VIEW_SIZE = (96, 160)
GRID = (8, 8)
FRAME_SIZE = (384, 640)
MAX_CROPS = 4
MAX_CLOSEUPS = MAX_CROPS  # a vehicle shows one plate
CROP_MARGIN = 0.12
CLOSEUP_MARGIN = 0.2  # a plate cut by its window cannot be read
CROP_MIN_PX = 32.0
# Seeds below this one are held out: for benchmarks, tests and clips.
FIRST_TRAINING_SEED = 1_000_000
JITTER = 0.05  # of a box's side: what a detector gets wrong
PLATE_JITTER = 0.06  # the same for plates, whose sides are short
WHOLE: Box = (0.0, 0.0, float(FRAME_SIZE[1]), float(FRAME_SIZE[0]))


@dataclass(frozen=True)
class Sample:
    """One frame, ready for training. ``views``: uint8 [V, 96, 160, 3], overview, crops, close-ups;
    ``windows``: V boxes in frame pixels; ``subjects``: vehicle index of each crop; ``closeups``:
    the slot of the crop (from 1) whose plate each close-up shows.
    """

    views: npt.NDArray[np.uint8]
    windows: tuple[Box, ...]
    subjects: tuple[int, ...]
    closeups: tuple[int, ...]
    targets: tuple[Targets, ...]
    scene: Scene


def jitter(box: Box, rng: random.Random, share: float = JITTER) -> Box:
    """The box as a detector might have drawn it."""
    w, h = box[2] - box[0], box[3] - box[1]
    dx0, dx1 = (rng.gauss(0, share) * w for _ in range(2))
    dy0, dy1 = (rng.gauss(0, share) * h for _ in range(2))
    return (box[0] + dx0, box[1] + dy0, box[2] + dx1, box[3] + dy1)


def make_sample(seed: int) -> Sample:
    """Render one frame and cut its views as the edge would, with a detector's inaccuracy."""
    rng = random.Random(seed)
    rendered = render(seed)
    picture = rendered.picture
    if rng.random() < 0.4:  # video and JPEG sources
        picture = _recompress(picture, rng.randint(45, 95))
    scene = rendered.scene
    subjects = list(range(min(len(scene.vehicles), MAX_CROPS)))
    rng.shuffle(subjects)
    boxes = [jitter(scene.vehicles[i].box, rng) for i in subjects]
    closeups = []
    for slot, i in enumerate(subjects, 1):
        if (plate := scene.vehicles[i].plate_box) is not None:
            boxes.append(jitter(plate, rng, PLATE_JITTER))
            closeups.append(slot)
    margins = [CROP_MARGIN] * len(subjects) + [CLOSEUP_MARGIN] * len(closeups)
    windows = [
        WHOLE,
        *(
            plan_window(box, FRAME_SIZE, VIEW_SIZE, margin, CROP_MIN_PX)
            for box, margin in zip(boxes, margins, strict=True)
        ),
    ]
    views = np.stack([resample(picture, w, VIEW_SIZE) for w in windows])
    shown = [None, *subjects, *(subjects[slot - 1] for slot in closeups)]
    asked = [
        targets(scene, rendered.ids, w, s, GRID, VIEW_SIZE, closeup=n > len(subjects))
        for n, (w, s) in enumerate(zip(windows, shown, strict=True))
    ]
    return Sample(views, tuple(windows), tuple(subjects), tuple(closeups), tuple(asked), scene)


def _recompress(picture: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def write_shard(folder: Path, seeds: range) -> None:
    """Render ``seeds`` into ``folder``; a shard that exists is left as it is."""
    if folder.exists():
        return
    samples = [make_sample(seed) for seed in seeds]
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    counts = [len(s.views) for s in samples]
    np.save(part / "offsets.npy", np.cumsum([0, *counts]))
    np.save(part / "views.npy", np.concatenate([s.views for s in samples]))
    for name in NAMES:
        rows = [getattr(t, name) for s in samples for t in s.targets]
        np.save(part / f"{name}.npy", np.stack(rows))
    meta = [
        {
            "scene": s.scene.to_json(),
            "windows": s.windows,
            "subjects": s.subjects,
            "closeups": s.closeups,
        }
        for s in samples
    ]
    (part / "frames.json").write_text(json.dumps(meta))
    part.rename(folder)


@dataclass(frozen=True)
class Shard:
    """A shard on disk, mapped. Arrays are per view; ``offsets`` [F+1] delimits frames."""

    offsets: npt.NDArray[np.int64]
    arrays: dict[str, npt.NDArray[Any]]
    frames: list[dict[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> Shard:
        names = ("views", *NAMES)
        arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in names}
        return cls(
            np.load(folder / "offsets.npy"),
            arrays,
            json.loads((folder / "frames.json").read_text()),
        )


def shard_folders(root: Path) -> list[Path]:
    """The finished shards, in order."""
    return sorted(p for p in root.glob("shard-*") if not p.name.endswith(".part"))
