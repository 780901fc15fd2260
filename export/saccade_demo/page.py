"""``demo.html``: one file with the frames and what was sent, asked and answered about each."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saccade.files import replace
from saccade.types import U8
from saccade_demo.baselines import FRAME_QUALITY, QUALITY, encoded
from saccade_demo.rows import Row
from saccade_demo.table import split_ms
from saccade_demo.tally import Totals

MOST_FRAMES = 48  # about 2 MB of page
MOST_WIDTH_PX = 960
TEMPLATE = Path(__file__).with_name("page.html")
PLACEHOLDER = "/*DATA*/null"
_TITLE = b"<title>Saccade"


class Album:
    """Keeps frames evenly spread over a run of unknown length, `MOST_FRAMES` of them at most."""

    def __init__(self) -> None:
        self._frames: list[dict[str, Any]] = []
        self._stride = 1
        self._count = 0

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What the page's script reads."""
        return self._frames

    def add(self, row: Row) -> None:
        """Keep the row's frame, or not."""
        if self._count % self._stride == 0:
            if len(self._frames) == MOST_FRAMES:
                self._frames = self._frames[::2]
                self._stride *= 2
            if self._count % self._stride == 0:
                self._frames.append(_frame(row))
        self._count += 1


def write_page(path: Path, album: Album, totals: Totals, source: str, domain: str) -> None:
    """Write ``path``; it needs nothing but itself."""
    data = {
        "source": source,
        "domain": domain,
        "frames": album.frames,
        "totals": totals.to_json(),
        "quality": QUALITY | {"frame": FRAME_QUALITY},
    }
    # "</" would end the script element that holds it.
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    page = TEMPLATE.read_text(encoding="utf-8").replace(PLACEHOLDER, text)
    replace(path, page.encode(), "the demo's page", page_begins(), mode=0o666)


def page_begins() -> tuple[bytes]:
    """How a page of ours begins."""
    head, title, _ = TEMPLATE.read_bytes().partition(_TITLE)
    return (head + title,)


def _frame(row: Row) -> dict[str, Any]:
    height, width = row.picture.shape[:2]
    sent, sizes = row.sent, row.sizes
    times = [split_ms(asked) for asked in row.asked if not asked.reply.refused]
    return {
        "number": sent.sequence,
        "size": [width, height],
        "jpeg": base64.b64encode(encoded(_shrunk(row.picture), "JPEG", FRAME_QUALITY)).decode(
            "ascii"
        ),
        "regions": [[region.label, *region.box] for region in sent.regions],
        "views": [
            {
                "window": view.window,
                "kind": view.kind,
                "crop": view.crop,
                "label": view.region.label if view.region else "",
                "rows": view.grid[1],
                "columns": view.grid[2],
                "ids": view.ids,
            }
            for view in sent.views
        ],
        "tokens": sent.tokens,
        "bytes": {
            "sent": sent.packet_bytes,
            "AVIF": sizes.avif,
            "WebP": sizes.webp,
            "JPEG": sizes.jpeg,
            "frame": sizes.frame_jpeg,
        },
        "asked": [[a.question, a.answer, a.truth] for a in row.asked],
        "ms": np.mean(times, axis=0).round(1).tolist() if times else [],
    }


def _shrunk(picture: U8) -> U8:
    height, width = picture.shape[:2]
    if width <= MOST_WIDTH_PX:
        return picture
    size = (MOST_WIDTH_PX, max(round(height * MOST_WIDTH_PX / width), 1))
    return np.asarray(Image.fromarray(picture).resize(size), np.uint8)
