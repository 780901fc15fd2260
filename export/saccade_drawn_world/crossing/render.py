"""From a seed to a picture, an id map and the truth about both."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade_drawn_world.crossing import paint, street, textures
from saccade_drawn_world.crossing.camera import Camera
from saccade_drawn_world.crossing.layout import Layout, Placed
from saccade_drawn_world.crossing.measure import Item, Measured, fixed, footprint, measure
from saccade_drawn_world.crossing.palette import Air, air
from saccade_drawn_world.crossing.scene import HEIGHT, WIDTH, Scene
from saccade_drawn_world.crossing.world import World, sample

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Rendered:
    """picture: [384, 640, 3] uint8 RGB; ids: [96, 160] uint8, 0 background, 1 + i vehicle i,
    100 + j pedestrian j, 200 the traffic light.
    """

    picture: Bytes
    ids: Bytes
    scene: Scene


def render(seed: int, t_s: float = 0.0) -> Rendered:
    """The still frame of a seed, or its world t_s seconds later. The same bits each time."""
    return render_world(_sample(seed), t_s)


@lru_cache(maxsize=4)
def _sample(seed: int) -> World:
    return sample(seed)


def render_world(world: World, t_s: float) -> Rendered:
    """One instant of any world."""
    layout = world.at(t_s)
    measured = measure(layout)
    return Rendered(_picture(layout, measured), measured.ids, measured.scene)


def _picture(layout: Layout, measured: Measured) -> Bytes:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    light = air(layout.setting)
    base = street.draw(picture, layout, light)
    _texture(picture, layout, measured.items, base)
    if light.reach_m is not None:
        _haze(picture, layout.camera, light, base)
    street.trees(picture, layout, light)
    for item in measured.items:
        paint.draw(picture, item, layout, light)
        paint.glows(picture, item, layout, light)
    return _sensor(picture, layout)


def _texture(picture: Bytes, layout: Layout, items: tuple[Item, ...], base: int) -> None:
    """Multiply the ground with its grain, the shadows and the pools of street light."""
    rows = picture[base:]
    grain = _grain(layout.camera, layout.setting.style, base)
    shade = cv2.resize(_shade(layout, items), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[
        base:
    ]
    gain = cv2.multiply(grain, shade, scale=1 / 128)
    cv2.multiply(rows, cv2.merge([gain, gain, gain]), dst=rows, scale=1 / 128)


def _grain(camera: Camera, style: int, base: int) -> Bytes:
    """[384 - base, 640] brightness of the ground, 128 = unchanged."""
    texel, half = 1 / textures.GROUND_TEXELS_PER_M, textures.GROUND_SIZE / 2
    flip = 1 if style & 1 else -1
    to_ground = np.array(
        [[flip * texel, 0, camera.x - flip * texel * half], [0, texel, 4.0], [0, 0, 1.0]]
    )
    up = np.array([[1.0, 0, 0], [0, 1, -base], [0, 0, 1]])
    matrix = up @ camera.matrix[:, [0, 1, 3]] @ to_ground
    return np.asarray(
        cv2.warpPerspective(
            textures.ground(style % 4),
            matrix,
            (WIDTH, HEIGHT - base),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=128,
        ),
        np.uint8,
    )


def _shade(layout: Layout, items: tuple[Item, ...]) -> Bytes:
    """[96, 160] soft shadows below 128 and pools of light above."""
    shade = np.full((HEIGHT // 4, WIDTH // 4), 128, np.uint8)
    rng = random.Random(street.setting_key(layout.setting))
    if layout.setting.time != "day":
        for _ in range(3):
            _pool(shade, layout, rng)
    for item in items:
        margin = 0.35 if isinstance(item.thing, Placed) else 0.0
        corners = footprint(item.thing, margin) if isinstance(item.thing, Placed) else item.ground
        loop = layout.camera.ground_polygon(np.array(corners))
        if loop is not None:
            cv2.fillConvexPoly(shade, fixed(loop / 4), 46 if margin else 84, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(shade, (5, 5), 0), np.uint8)


def _pool(shade: Bytes, layout: Layout, rng: random.Random) -> None:
    x, y, radius = rng.choice((-1, 1)) * rng.uniform(3, 9), rng.uniform(9, 34), rng.uniform(3.5, 6)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for share in (1.0, 0.8, 0.6, 0.4):
        loop = layout.camera.ground_polygon(
            np.stack(
                [x + share * radius * np.cos(angle), y + share * radius * np.sin(angle)], axis=1
            )
        )
        if loop is not None:
            cv2.fillConvexPoly(shade, fixed(loop / 4), 140 + int(40 * (1 - share)), cv2.LINE_AA, 4)


def _haze(picture: Bytes, camera: Camera, light: Air, base: int) -> None:
    """Fog over the ground, more with each row's distance."""
    rows = np.arange(base, HEIGHT) - camera.horizon_px
    depth = camera.focal_px * camera.height_m / np.maximum(rows, 1.0)
    haze = np.array([light.haze(d) for d in depth.tolist()], np.float32)
    weight = np.repeat(haze[:, None], WIDTH, axis=1)
    part = picture[base:]
    fog = np.empty_like(part)
    fog[:] = np.round(light.fog).astype(np.uint8)
    part[:] = cv2.blendLinear(part, fog, 1 - weight, weight)


def _sensor(picture: Bytes, layout: Layout) -> Bytes:
    """Rain before the lens and the sensor's noise, different in every frame."""
    rng = random.Random(f"{layout.seed} {layout.t_s:.3f}")
    if layout.setting.weather == "rain":
        layer = rng.choice(textures.rain_bank())
        picture = np.asarray(
            cv2.add(picture, np.roll(layer, rng.randrange(HEIGHT), axis=0)), np.uint8
        )
    plus, minus = textures.noise_bank()[layout.setting.noise % 5]
    y, x = rng.randrange(plus.shape[0] - HEIGHT), rng.randrange(plus.shape[1] - WIDTH)
    cut = (slice(y, y + HEIGHT), slice(x, x + WIDTH))
    return np.asarray(cv2.subtract(cv2.add(picture, plus[cut]), minus[cut]), np.uint8)
