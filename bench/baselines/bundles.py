"""A baseline's model as a bundle, so that every arm of a benchmark runs through the same system."""

from __future__ import annotations

import shutil
from pathlib import Path

from tokenizers import Tokenizer

from saccade.bundle import Manifest
from saccade_export.assemble import DETECTOR, write
from saccade_export.forms import Form
from saccade_export.tiny.language import Language
from saccade_export.training import detector

SHIPPED = Path(__file__).resolve().parents[2] / "export/saccade_crossing"


def write_arm(
    out: Path, form: Form, model: Language, words: Tokenizer, *, run: Path, command: str
) -> Manifest:
    """Write the bundle of one arm; ``run``: the training run that its detector is from."""
    _place_detector(run, out / DETECTOR)
    return write(out, form, model, words, training={"command": command}, accuracy={})


def _place_detector(run: Path, path: Path) -> None:
    """The run's own, or the demo bundle's: arms must not differ in what they find."""
    if (run / detector.BEST).exists():
        detector.export(run / detector.BEST, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SHIPPED / DETECTOR, path)
