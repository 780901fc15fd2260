"""A checkpoint in the form in which these families were published, which is still what users have.

Older files than today's classes write: flat configurations, a preprocessor's file of its own with
other names for its limits, the chat template in JSON.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

FLAT = ("qwen2_vl", "qwen2_5_vl")  # model types whose text fields stood at the top


def published(folder: Path, target: Path) -> Path:
    """A copy of a checkpoint folder in the older form."""
    shutil.copytree(folder, target)
    config = _read(target / "config.json")
    if config["model_type"] in FLAT:
        _flatten(config)
    _write(target / "config.json", config)
    processor = _read(target / "processor_config.json")
    (target / "processor_config.json").unlink()
    images = processor["image_processor"]
    images["image_processor_type"] = images["image_processor_type"].removesuffix("Pil")
    if config["model_type"] in FLAT:
        size = images.pop("size")
        images.update(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])
    _write(target / "preprocessor_config.json", images)
    template = target / "chat_template.jinja"
    if template.exists():
        _write(target / "chat_template.json", {"chat_template": template.read_text()})
        template.unlink()
    return target


def _flatten(config: dict[str, Any]) -> None:
    text = config.pop("text_config")
    del text["model_type"]
    rope = text.pop("rope_parameters")
    scaling = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    config.update(text, rope_scaling=scaling, rope_theta=rope["rope_theta"])
    config["vision_config"]["model_type"] = config["model_type"]


def _read(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text())
    return fields


def _write(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(fields))
