"""How pixels are made ready for the encoder, as the family's own image processor does it.

The edge resizes, pads and crops, and gives the encoder uint8 [tiles, H, W, 3] RGB. Rescaling and
normalising are the encoder graph's first steps (after a cast); ``scale``, ``mean`` and ``std``
say what they are, for whoever reads the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass

RESAMPLES = ("nearest", "bilinear", "bicubic", "lanczos", "area")
FITS = ("stretch", "pad", "crop")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """``resample``: Pillow's filter of that name, antialiased where it shrinks; "area" is
    OpenCV's: area averaging where it shrinks, bilinear where it grows.

    ``fit``: how a whole view is brought to one tile: "stretch"; "pad" (to the tile's aspect with
    ``pad_color``, in the centre, then resized); "crop" (the shorter side resized to the tile's,
    then its centre cut out). ``fit_several``: the same where the prompt has several images, empty:
    as ``fit``. ``pad_color``: RGB levels, of "pad"; ``canvas_color``: of the canvas that tiles are
    cut from, where a picture does not fill it.
    """

    resample: str
    fit: str = "stretch"
    fit_several: str = ""
    pad_color: tuple[int, int, int] = (0, 0, 0)
    canvas_color: tuple[int, int, int] = (0, 0, 0)
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def fit_of(self, images: int) -> str:
        """Of a view, one of ``images`` in its prompt."""
        return self.fit_several if images > 1 and self.fit_several else self.fit

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        known = {"resample": RESAMPLES, "fit": FITS, "fit_several": ("", *FITS)}
        problems = [
            f"{name} {getattr(self, name)[:40]!r} is unknown, known are: {', '.join(names)}"
            for name, names in known.items()
            if getattr(self, name) not in names
        ]
        colors = {"pad_color": self.pad_color, "canvas_color": self.canvas_color}
        problems += [
            f"{name} is {list(color)}, levels are 0..255"
            for name, color in colors.items()
            if not all(0 <= level <= 255 for level in color)
        ]
        if not all(value > 0 for value in self.std):
            problems.append(f"std is {list(self.std)}, every value is above 0")
        return problems
