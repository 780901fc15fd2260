"""Photographs to compare an exported encoder on: given ones, or what installed packages ship."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.errors import ConfigError
from saccade.types import U8

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_PIXELS = 50_000_000
# Package, and where in it photographs lie.
SHIPPED = (
    ("ultralytics", "assets"),
    ("skimage", "data"),
    ("sklearn", "datasets/images"),
    ("matplotlib", "mpl-data/sample_data"),
)
MIN_SIDE = 64  # smaller pictures in packages are icons


def load(folder: Path | None, most: int) -> list[U8]:
    """At most ``most`` pictures, uint8 [H, W, 3] RGB: of ``folder``, or of installed packages.

    Raises ``ConfigError`` where there is none.
    """
    paths = shipped() if folder is None else sorted(_pictures(folder))
    found = [picture for path in paths[: most * 4] if (picture := _read(path)) is not None][:most]
    if not found:
        where = folder or f"the packages {', '.join(name for name, _ in SHIPPED)}"
        raise ConfigError(f"no photographs in {where}: name a folder with some by --photos")
    return found


def shipped() -> list[Path]:
    """Files of installed packages, sorted."""
    paths: list[Path] = []
    for package, inside in SHIPPED:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            paths += sorted(_pictures(Path(place) / inside))
    return paths


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]


def _read(path: Path) -> U8 | None:
    """None for what is no photograph: broken, tiny, without colours."""
    try:
        with Image.open(path) as image:
            if min(image.size) < MIN_SIDE or image.width * image.height > MAX_PIXELS:
                return None
            if image.mode not in ("RGB", "YCbCr"):
                return None
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError):
        return None
