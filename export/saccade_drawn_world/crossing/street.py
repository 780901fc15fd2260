"""Sky, skyline, ground, road marks and trees: all that no question asks about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing import textures
from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Layout, Setting
from saccade_drawn_world.crossing.measure import fixed
from saccade_drawn_world.crossing.palette import Air, Rgb, mix
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH
from saccade_drawn_world.crossing.surroundings import zebra_y

Bytes = NDArray[np.uint8]
FAR_M = 95.0
_SKY: dict[str, tuple[Rgb, Rgb]] = {
    "day": ((108, 158, 214), (196, 214, 228)),
    "dusk": ((74, 72, 116), (238, 150, 92)),
    "night": ((12, 14, 30), (40, 42, 60)),
}
_TERRAIN: tuple[Rgb, ...] = ((84, 118, 58), (96, 112, 66), (128, 124, 114), (104, 126, 72))
_WINDOWS = {"day": 0.0, "dusk": 0.55, "night": 0.75}


def draw(picture: Bytes, layout: Layout, air: Air) -> int:
    """Paint the empty street; returns the first row of the ground."""
    base = _skyline_base(layout.camera)
    _ground(picture, layout.camera, layout.setting, air)
    _sky(picture, layout, air, base)
    return base


def _skyline_base(camera: Camera) -> int:
    return int(camera.horizon_px + camera.focal_px * camera.height_m / FAR_M) + 1


def _sky(picture: Bytes, layout: Layout, air: Air, base: int) -> None:
    setting = layout.setting
    low, high = np.array(_SKY[setting.time][1]), np.array(_SKY[setting.time][0])
    if setting.weather != "clear":
        grey = np.array(air.fog) * (0.95 if setting.weather == "fog" else 0.85)
        low, high = low * 0.25 + grey * 0.75, high * 0.25 + grey * 0.75
    ramp = np.linspace(0, 1, base)[:, None]
    picture[:base] = (high * (1 - ramp) + low * ramp).astype(np.uint8)[:, None]
    distant = (
        air if air.reach_m is None else replace(air, reach_m=50.0)
    )  # one per hour, to be reused
    scene, cover = textures.skyline(
        setting.style % textures.SKYLINES, distant, _WINDOWS[setting.time]
    )
    rows = min(base, textures.SKYLINE_SIZE[0])
    left = (setting.style // 8 + int(layout.camera.pan * layout.camera.focal_px)) % (
        textures.SKYLINE_SIZE[1] - WIDTH
    )
    part = picture[base - rows : base]
    cv2.copyTo(scene[-rows:, left : left + WIDTH], cover[-rows:, left : left + WIDTH], part)


def _ground(picture: Bytes, camera: Camera, setting: Setting, air: Air) -> None:
    """Terrain, pavements, roads and marks as flat polygons; texture and haze come later."""
    wet = 0.68 if setting.weather == "rain" else 1.0
    rng = random.Random(setting.style)

    def paint(colour: Rgb, x0: float, x1: float, y0: float, y1: float) -> None:
        loop = camera.ground_polygon(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))
        if loop is not None:
            r, g, b = colour
            t = air.tint
            cv2.fillConvexPoly(picture, fixed(loop), (r * t[0], g * t[1], b * t[2]), cv2.LINE_AA, 4)

    terrain = _TERRAIN[setting.style % len(_TERRAIN)]
    picture[max(int(camera.horizon_px), 0) :] = np.clip(
        np.array(terrain) * np.array(air.tint), 0, 255
    ).astype(np.uint8)
    stone = mix((158, 154, 148), wet * rng.uniform(0.97, 1.03))
    kerb = (186 * wet, 184 * wet, 178 * wet)
    grey = rng.uniform(78, 100) * wet
    asphalt = (grey, grey, grey * 1.03)
    edge, walk, mid, cross = (
        setting.road_half_m,
        setting.pavement_m,
        setting.cross_y,
        setting.cross_half_m,
    )
    paint(stone, -edge - walk, edge + walk, 0.5, FAR_M)
    paint(stone, -70, 70, mid - cross - walk, mid + cross + walk)
    paint(kerb, -edge - 0.2, edge + 0.2, 0.5, FAR_M)
    paint(kerb, -70, 70, mid - cross - 0.2, mid + cross + 0.2)
    paint(asphalt, -edge, edge, 0.5, FAR_M)
    paint(asphalt, -70, 70, mid - cross, mid + cross)
    _marks(paint, setting, rng, (214 * wet, 214 * wet, 208 * wet))


Painter = Callable[[Rgb, float, float, float, float], None]


def _marks(paint: Painter, setting: Setting, rng: random.Random, white: Rgb) -> None:
    """Centre line, lanes, stop line and zebra."""
    edge, mid, cross = setting.road_half_m, setting.cross_y, setting.cross_half_m
    near, far = zebra_y(setting) - 2.6, mid + cross + 4
    centre: Rgb = (208, 168, 40) if rng.random() < 0.5 else white
    for y0, y1 in ((0.5, near), (far, FAR_M)):
        paint(centre, -0.2, -0.07, y0, y1)
        paint(centre, 0.07, 0.2, y0, y1)
    if edge > 5:
        y = 2.0
        while y < 70:
            if not near - 3 < y < far:
                paint(white, -3.56, -3.44, y, y + 2.4)
                paint(white, 3.44, 3.56, y, y + 2.4)
            y += 5.5
    for x in np.arange(-26.0, 26.0, 5.0).tolist():
        if abs(x + 1) > edge + 1.5:
            paint(white, x, x + 2.4, mid - 0.08, mid + 0.08)
    paint(white, 0.3, edge - 0.2, near, near + 0.4)
    if setting.zebra:
        x = -edge + 0.35
        while x < edge - 0.5:
            paint(white, x, x + 0.5, zebra_y(setting) - 1.5, zebra_y(setting) + 1.5)
            x += 1.05


def trees(picture: Bytes, layout: Layout, air: Air) -> None:
    """Trees beyond the crossing, where they hide nothing."""
    setting, rng = layout.setting, random.Random(setting_key(layout.setting))
    first = setting.cross_y + setting.cross_half_m + setting.pavement_m + 3
    spots = [
        (
            rng.choice((-1, 1)) * rng.uniform(setting.road_half_m + setting.pavement_m + 2.5, 30),
            first + rng.random() * 34,
        )
        for _ in range(rng.randrange(3, 9))
    ]
    for x, y in sorted(spots, key=lambda spot: -spot[1]):
        _tree(picture, layout.camera, air, x, y, rng)


def setting_key(setting: Setting) -> int:
    """One number for all that is drawn from the street's style."""
    return setting.style * 31 + 7


def _tree(picture: Bytes, camera: Camera, air: Air, x: float, y: float, rng: random.Random) -> None:
    tall, variant = rng.uniform(5, 8), rng.randrange(textures.TREES)
    u, foot, depth = camera.pixel(x, y, 0.0)
    high = int(tall * camera.focal_px / depth)
    wide = int(high * 160 / 220)
    left, top = int(u - wide / 2), int(foot - high)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, WIDTH), min(top + high, HEIGHT)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    leaves, cover = textures.tree(variant)
    haze = air.haze(depth)
    gain = np.diag(np.array(air.tint) * (1 - haze))
    matrix = np.hstack([gain, (np.array(air.fog) * haze)[:, None]])
    leaves = np.asarray(
        cv2.transform(cv2.resize(leaves, (wide, high), interpolation=cv2.INTER_AREA), matrix),
        np.uint8,
    )
    mask = cv2.resize(cover, (wide, high), interpolation=cv2.INTER_AREA)
    cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    cv2.copyTo(
        np.ascontiguousarray(leaves[cut]), np.ascontiguousarray(mask[cut]), picture[y0:y1, x0:x1]
    )
