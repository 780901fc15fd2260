"""A baseline's model as a bundle, so that every arm of a benchmark runs through the same system."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from saccade.bundle import Manifest
from saccade_drawn_world.bundle_writing import write
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.view_forms import Form


def write_arm(
    out: Path, form: Form, model: Language, words: Tokenizer, *, command: str
) -> Manifest:
    """Write the bundle of one arm. It has no detector: arms must not differ in what they find."""
    return write(out, form, model, words, training={"command": command}, accuracy={})
