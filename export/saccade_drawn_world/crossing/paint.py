"""Objects, their plates and lamps, painted far to near."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing import textures
from saccade_drawn_world.crossing.layout import Layout, Placed, Walking
from saccade_drawn_world.crossing.measure import Item, fixed
from saccade_drawn_world.crossing.palette import LAMPS, MATERIAL, PAINT, Air, Rgb, mix
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH
from saccade_drawn_world.crossing.solids import Patch, PlateView

Bytes = NDArray[np.uint8]
_MIN_PLATE_PX = 5.0  # below this a plate is left blank


def draw(picture: Bytes, item: Item, layout: Layout, air: Air) -> None:
    """One object with its plate; glows come afterwards with `glows`."""
    depth = item.shape.depth_m
    for patch in item.shape.patches:
        _fill(picture, patch, _colour(patch, item, layout, air, depth))
    if item.shape.plate is not None and isinstance(item.thing, Placed):
        _plate(picture, item.shape.plate, item.thing, air, depth)


def _fill(picture: Bytes, patch: Patch, colour: Rgb) -> None:
    if patch.hole is None:
        cv2.fillConvexPoly(picture, fixed(patch.points), colour, cv2.LINE_AA, 4)
    else:
        cv2.fillPoly(picture, [fixed(patch.points), fixed(patch.hole)], colour, cv2.LINE_AA, 4)


def _colour(patch: Patch, item: Item, layout: Layout, air: Air, depth: float) -> Rgb:
    thing, role, time = item.thing, patch.role, layout.setting.time
    if isinstance(thing, Placed):
        return _vehicle_colour(patch, thing, time, air, depth)
    if isinstance(thing, Walking):
        base = PAINT[thing.colour] if role == "jacket" else MATERIAL[role]
        if role == "skin":
            base = mix(base, 1.08 - 0.6 * thing.skin)
        return air.seen(base, patch.brightness, depth)
    if role.startswith("lamp"):
        state = ("red", "amber", "green")[int(role[-1])]
        lit = item.shape.lamps[0][2] == state
        return (
            air.glow(LAMPS[state], depth) if lit else air.seen(mix(LAMPS[state], 0.2), 1.0, depth)
        )
    return air.seen(MATERIAL[role], 1.0, depth)


def _vehicle_colour(patch: Patch, placed: Placed, time: str, air: Air, depth: float) -> Rgb:
    role, body = patch.role, mix(PAINT[placed.colour], placed.shade)
    if role == "body":
        return air.seen(body, patch.brightness, depth)
    if role in ("line", "arch"):
        dark = mix(body, 0.55 if role == "line" else 0.3)
        return air.seen((dark[0] + 6, dark[1] + 6, dark[2] + 6), patch.brightness, depth)
    if role == "head" and time != "day":
        return air.glow((255, 250, 222), depth)
    if role == "tail" and (time != "day" or placed.braking):
        return air.glow((255, 48, 40) if placed.braking else (214, 24, 30), depth)
    if role == "glass" and placed.kind == "bus" and time != "day":
        return air.glow((172, 152, 104), depth)
    if role == "sign":
        return air.glow((210, 130, 20), depth)
    return air.seen(MATERIAL[role], 0.4 + 0.6 * patch.brightness, depth)


def _plate(picture: Bytes, view: PlateView, placed: Placed, air: Air, depth: float) -> None:
    """Warp the plate's text onto its four corners, from a texture of about its size."""
    x0, y0 = np.floor(view.corners.min(axis=0)).astype(int) - 1
    x1, y1 = np.ceil(view.corners.max(axis=0)).astype(int) + 2
    if x0 < 0 or y0 < 0 or x1 > WIDTH or y1 > HEIGHT:
        return
    tall = view.char_height_px / 0.76
    height = int(min(max(8, round(tall * 1.25)), 96))
    text = placed.text if view.char_height_px >= _MIN_PLATE_PX else ""
    source = textures.plate(text, placed.plate_yellow, height)
    high, wide = source.shape[:2]
    corners = np.array(
        [(-0.5, -0.5), (wide - 0.5, -0.5), (wide - 0.5, high - 0.5), (-0.5, high - 0.5)], np.float32
    )
    target = (view.corners - 0.5 - (x0, y0)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    size = (int(x1 - x0), int(y1 - y0))
    warped = cv2.warpPerspective(
        source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(mask, np.round(target * 16).astype(np.int32), 255, cv2.LINE_8, 4)
    haze = air.haze(depth)
    light = [max(t, 0.62) * (1 - haze) for t in air.tint]  # plates are lit and reflect
    matrix4 = np.hstack([np.diag(light), (np.array(air.fog) * haze)[:, None]])
    cv2.copyTo(cv2.transform(warped, matrix4), mask, picture[y0:y1, x0:x1])


def glows(picture: Bytes, item: Item, layout: Layout, air: Air) -> None:
    """Halos of lamps; on a wet road also their reflection."""
    time, depth = layout.setting.time, item.shape.depth_m
    metre = layout.camera.focal_px / depth
    gain = {"day": 0.0, "dusk": 0.55, "night": 0.8}[time] * (1 - 0.5 * air.haze(depth))
    for u, v, name in item.shape.lamps:
        if isinstance(item.thing, Placed):
            colour: Rgb = (255, 240, 196) if name == "head" else (255, 36, 30)
            reach = (0.85 if name == "head" else 0.45) * (1.35 if item.thing.braking else 1.0)
            power = gain if name == "head" else gain * 0.8
        else:
            colour, reach, power = LAMPS[name], 0.55, max(gain, 0.35)
        add_glow(picture, u, v, reach * metre, mix(colour, power))
        if layout.setting.weather == "rain" and power > 0.3 and isinstance(item.thing, Placed):
            add_glow(
                picture,
                u,
                item.shape.extent[3] + 0.25 * reach * metre,
                reach * metre * 0.7,
                mix(colour, power * 0.5),
            )


def add_glow(picture: Bytes, u: float, v: float, radius_px: float, colour: Rgb) -> None:
    """Add a halo, cut to the frame. Radii and colours are rounded so that halos are reused."""
    r = min(max(4, 4 * round(radius_px / 4)), 160)
    left, top = int(u) - r, int(v) - r
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + 2 * r, WIDTH), min(top + 2 * r, HEIGHT)
    if x1 <= x0 or y1 <= y0:
        return
    tone = (8 * int(colour[0] / 8), 8 * int(colour[1] / 8), 8 * int(colour[2] / 8))
    halo = textures.glow(r, tone)[y0 - top : y1 - top, x0 - left : x1 - left]
    part = picture[y0:y1, x0:x1]
    part[:] = cv2.add(part, halo)
