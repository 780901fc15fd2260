"""Pictures made once per process: noise, rain, glows, skylines, trees and plates."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing.palette import Air
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH

Bytes = NDArray[np.uint8]
GROUND_TEXELS_PER_M = 28.0
GROUND_SIZE = 2048
SKYLINES, SKYLINE_SIZE = 6, (150, 1500)
TREES = 4


def _bytes(values: NDArray[np.float64] | NDArray[np.float32]) -> Bytes:
    out: Bytes = np.clip(values, 0, 255).astype(np.uint8)
    return out


def octaves(
    rng: np.random.Generator, size: tuple[int, int], scales: dict[int, float]
) -> NDArray[np.float32]:
    """Sum of smooth noises: {texels per feature: amplitude}."""
    out = np.zeros(size, np.float32)
    for scale, amplitude in scales.items():
        small = rng.standard_normal((size[0] // scale + 2, size[1] // scale + 2)).astype(np.float32)
        wide = cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        out += amplitude * wide
    return out


@lru_cache(maxsize=4)
def ground(variant: int) -> Bytes:
    """[2048, 2048] brightness of the ground, 128 = unchanged: grain, patches, cracks and stains."""
    rng = np.random.default_rng(1000 + variant)
    side = GROUND_SIZE
    out = 128 + octaves(rng, (side, side), {1: 11, 2: 8, 5: 5, 16: 5, 60: 6, 200: 6})
    picture = _bytes(out)
    for _ in range(90):
        x, y = rng.integers(0, side, 2)
        steps = rng.integers(-14, 15, (12, 2)).cumsum(axis=0) + np.array((x, y))
        cv2.polylines(
            picture, [steps.astype(np.int32)], False, int(rng.integers(70, 110)), 1, cv2.LINE_AA
        )
    return picture


@lru_cache(maxsize=1)
def noise_bank() -> tuple[tuple[Bytes, Bytes], ...]:
    """For sigma 2, 3, 4, 5, 6: what to add and what to subtract, [480, 800, 3] each."""
    rng = np.random.default_rng(7)
    luma = rng.standard_normal((480, 800, 1)) * 0.85 + rng.standard_normal((480, 800, 3)) * 0.5
    levels = [luma * sigma for sigma in (2, 3, 4, 5, 6)]
    return tuple((_bytes(level.round()), _bytes((-level).round())) for level in levels)


@lru_cache(maxsize=1)
def rain_bank() -> tuple[Bytes, ...]:
    """Six layers of streaks [384, 640, 3] to add."""
    rng = np.random.default_rng(9)
    layers = []
    for _ in range(6):
        layer = np.zeros((HEIGHT, WIDTH), np.uint8)
        for _ in range(210):
            x, y, long = rng.uniform(-20, WIDTH), rng.uniform(-30, HEIGHT), rng.uniform(8, 30)
            ends = np.round(np.array([x, y, x + long * 0.16, y + long]) * 16).astype(int).tolist()
            cv2.line(layer, ends[:2], ends[2:], int(rng.integers(35, 105)), 1, cv2.LINE_AA, 4)
        layers.append(cv2.merge([layer, layer, layer]))
    return tuple(np.asarray(layer, np.uint8) for layer in layers)


@lru_cache(maxsize=64)
def glow(radius: int, colour: tuple[int, int, int]) -> Bytes:
    """A round halo [2 r, 2 r, 3] to add."""
    axis = (np.arange(2 * radius) - radius + 0.5) / radius
    far = np.sqrt(axis[:, None] ** 2 + axis[None] ** 2)
    falloff = np.clip(1 - far, 0, 1) ** 2.2
    return _bytes(falloff[:, :, None] * np.array(colour))


@lru_cache(maxsize=512)
def plate(text: str, yellow: bool, height: int) -> Bytes:
    """A plate [height, 3.25 height, 3] with four characters in equal cells."""
    cell, tall = 104, 128
    picture = np.full((tall, 4 * cell, 3), (238, 196, 48) if yellow else (236, 236, 232), np.uint8)
    cv2.rectangle(picture, (2, 2), (4 * cell - 3, tall - 3), (30, 30, 34), 3)
    for i, letter in enumerate(text):
        glyph = _glyph(letter)
        top, left = (tall - glyph.shape[0]) // 2, i * cell + (cell - glyph.shape[1]) // 2
        part = picture[top : top + glyph.shape[0], left : left + glyph.shape[1]]
        part[glyph > 96] = (16, 18, 26)
    return np.asarray(
        cv2.resize(picture, (round(height * 3.25), height), interpolation=cv2.INTER_AREA), np.uint8
    )


@lru_cache(maxsize=64)
def _glyph(letter: str) -> Bytes:
    """A character cut out and stretched to [97, <= 78]."""
    canvas = np.zeros((200, 200), np.uint8)
    cv2.putText(canvas, letter, (40, 150), cv2.FONT_HERSHEY_DUPLEX, 4.0, 255, 6, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(canvas)
    cut = canvas[y : y + h, x : x + w]
    wide = min(78, max(round(w * 97 / h), 20))
    return np.asarray(cv2.resize(cut, (wide, 97), interpolation=cv2.INTER_AREA), np.uint8)


@lru_cache(maxsize=SKYLINES)
def _skyline(variant: int) -> tuple[Bytes, Bytes, Bytes]:
    """(picture [150, 1500, 3], what covers the sky [150, 1500], lit windows [150, 1500])."""
    rng = np.random.default_rng(100 + variant)
    high, wide = SKYLINE_SIZE
    picture, cover, lit = (
        np.zeros((high, wide, 3), np.uint8),
        np.zeros((high, wide), np.uint8),
        np.zeros((high, wide), np.uint8),
    )
    x = 0
    while x < wide:
        x += _building(rng, picture, cover, lit, x) + int(rng.choice((0, 0, 0, 14)))
    for _ in range(26):
        _bush(rng, picture, cover, lit)
    return picture, cover, lit


def _building(rng: np.random.Generator, picture: Bytes, cover: Bytes, lit: Bytes, x: int) -> int:
    """One house from column x; returns its width."""
    wide, high = int(rng.integers(50, 150)), int(rng.integers(50, 148))
    base = rng.choice(
        [
            (168, 150, 132),
            (150, 152, 158),
            (176, 120, 100),
            (190, 184, 168),
            (132, 140, 150),
            (160, 134, 120),
        ]
    )
    top, stop = SKYLINE_SIZE[0] - high, min(x + wide, SKYLINE_SIZE[1])
    wall = base * rng.uniform(0.8, 1.05) + octaves(rng, (high, stop - x), {1: 4, 8: 4})[:, :, None]
    picture[top:, x:stop], cover[top:, x:stop] = _bytes(wall), 255
    cv2.rectangle(picture, (x, top), (stop, top + 3), (base * 0.6).tolist(), -1)
    w, h, gap, storey = (
        int(rng.integers(5, 11)),
        int(rng.integers(7, 12)),
        int(rng.integers(4, 8)),
        int(rng.integers(5, 8)),
    )
    for wy in range(top + 8, SKYLINE_SIZE[0] - 14, h + storey):
        for wx in range(x + gap, stop - w - 2, w + gap):
            shade = rng.uniform(0.6, 1.2)
            cv2.rectangle(
                picture, (wx, wy), (wx + w, wy + h), (62 * shade, 74 * shade, 90 * shade), -1
            )
            cv2.rectangle(
                picture,
                (wx - 1, wy + h),
                (wx + w + 1, wy + h + 1),
                (base * 1.1).clip(0, 255).tolist(),
                -1,
            )
            if rng.random() < 0.4:
                cv2.rectangle(lit, (wx, wy), (wx + w, wy + h), int(rng.integers(120, 255)), -1)
    return wide


def _bush(rng: np.random.Generator, picture: Bytes, cover: Bytes, lit: Bytes) -> None:
    x, size = int(rng.integers(0, SKYLINE_SIZE[1])), int(rng.integers(10, 26))
    green = np.array([46, 84, 40]) * rng.uniform(0.7, 1.2)
    for _ in range(40):
        at = (x + int(rng.normal(0, size * 0.8)), SKYLINE_SIZE[0] - int(abs(rng.normal(0, size))))
        radius = int(rng.integers(3, 7))
        cv2.circle(picture, at, radius, (green * rng.uniform(0.7, 1.3)).tolist(), -1)
        cv2.circle(cover, at, radius, 255, -1)
        cv2.circle(lit, at, radius, 0, -1)


@lru_cache(maxsize=SKYLINES * 9)
def skyline(variant: int, air: Air, lights: float) -> tuple[Bytes, Bytes]:
    """A skyline in the light of an hour, and its cover; `lights` is how bright the windows are."""
    picture, cover, lit = _skyline(variant)
    haze = air.haze(80.0)
    out = picture * np.array(air.tint) * (1 - haze) + np.array(air.fog) * haze
    share = lit[:, :, None] / 255 * lights
    out = out * (1 - share) + share * np.array((250, 214, 140)) * (1 - haze * 0.6)
    return _bytes(out), cover


@lru_cache(maxsize=TREES)
def tree(variant: int) -> tuple[Bytes, Bytes]:
    """A tree [220, 160, 3] and its cover [220, 160]; the foot is at the middle of the last row."""
    rng = np.random.default_rng(300 + variant)
    picture, cover = np.zeros((220, 160, 3), np.uint8), np.zeros((220, 160), np.uint8)
    cv2.line(picture, (80, 219), (80, 110), (84, 66, 50), 9)
    cv2.line(cover, (80, 219), (80, 110), 255, 9)
    green = np.array([(58, 104, 44), (74, 112, 40), (48, 92, 52), (120, 104, 40)][variant % TREES])
    for step in range(420):
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        at = (int(80 + 66 * far * np.cos(angle)), int(78 + 68 * far * np.sin(angle)))
        radius, shade = (
            int(rng.integers(4, 11)),
            0.55 + 0.5 * step / 420 - 0.25 * np.sin(angle) * far,
        )
        cv2.circle(
            picture, at, radius, (green * shade * rng.uniform(0.85, 1.2)).clip(0, 255).tolist(), -1
        )
        cv2.circle(cover, at, radius, 255, -1)
    return picture, cover
