"""A baseline's model as a bundle, so that every arm of a benchmark runs through the same system."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from saccade.bundle import Manifest
from saccade_export.assemble import write
from saccade_export.forms import Form
from saccade_export.tiny.language import Language


def write_arm(
    out: Path, form: Form, model: Language, words: Tokenizer, *, command: str
) -> Manifest:
    """Write the bundle of one arm. It has no detector: arms must not differ in what they find."""
    return write(out, form, model, words, training={"command": command}, accuracy={})
