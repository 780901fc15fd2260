"""Colours, and what time and weather do to them. RGB, 0..255."""

from __future__ import annotations

import math
from dataclasses import dataclass

from saccade_drawn_world.crossing.layout import Setting

Rgb = tuple[float, float, float]

PAINT: dict[str, Rgb] = {
    "red": (206, 26, 32),
    "orange": (246, 122, 14),
    "yellow": (246, 214, 30),
    "green": (24, 162, 58),
    "blue": (24, 88, 228),
    "purple": (150, 48, 184),
    "white": (240, 240, 238),
    "black": (30, 30, 34),
}
MATERIAL: dict[str, Rgb] = {
    "glass": (50, 62, 76),
    "dark": (40, 40, 43),
    "tyre": (24, 24, 26),
    "rim": (150, 150, 156),
    "bed": (44, 42, 42),
    "floor": (76, 73, 70),
    "roofbox": (176, 178, 180),
    "sign": (24, 22, 18),
    "leather": (64, 62, 68),
    "skin": (206, 160, 128),
    "trousers": (52, 56, 76),
    "shoe": (32, 28, 28),
    "hair": (52, 38, 30),
    "head": (232, 232, 224),
    "tail": (150, 20, 26),
    "pole": (58, 60, 62),
    "backing": (196, 196, 190),
    "housing": (22, 24, 24),
}
LAMPS: dict[str, Rgb] = {"red": (255, 42, 34), "amber": (255, 178, 20), "green": (40, 255, 120)}
_TINT: dict[str, Rgb] = {
    "day": (1.0, 1.0, 1.0),
    "dusk": (0.80, 0.64, 0.64),
    "night": (0.48, 0.48, 0.56),
}
_FOG: dict[str, Rgb] = {"day": (198, 203, 207), "dusk": (164, 128, 122), "night": (66, 69, 80)}
_RAIN_TINT: dict[str, float] = {"day": 0.80, "dusk": 0.86, "night": 0.90}
_MAX_FOG = 0.72  # all that is asked about stays visible


@dataclass(frozen=True)
class Air:
    """Light and haze of one setting."""

    tint: Rgb
    fog: Rgb
    reach_m: float | None

    def seen(self, colour: Rgb, brightness: float, depth_m: float) -> Rgb:
        """A surface's colour after light and haze."""
        haze = self.haze(depth_m)
        r, g, b = (
            min(c * t * brightness, 255.0) * (1 - haze) + f * haze
            for c, t, f in zip(colour, self.tint, self.fog, strict=True)
        )
        return (r, g, b)

    def glow(self, colour: Rgb, depth_m: float) -> Rgb:
        """A lamp's colour: haze dims it, the hour does not."""
        haze = 0.5 * self.haze(depth_m)
        r, g, b = (c * (1 - haze) + f * haze for c, f in zip(colour, self.fog, strict=True))
        return (r, g, b)

    def haze(self, depth_m: float) -> float:
        """Share of fog between the camera and a distance."""
        return 0.0 if self.reach_m is None else min(1 - math.exp(-depth_m / self.reach_m), _MAX_FOG)


def air(setting: Setting) -> Air:
    """The light of a setting."""
    dim = _RAIN_TINT[setting.time] if setting.weather == "rain" else 1.0
    r, g, b = _TINT[setting.time]
    fog = _FOG[setting.time]
    return Air(
        (r * dim, g * dim, b * dim), fog, setting.fog_m if setting.weather == "fog" else None
    )


def mix(colour: Rgb, factor: float) -> Rgb:
    """Lighter or darker."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
