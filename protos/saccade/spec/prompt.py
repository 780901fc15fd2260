"""How images and text become the language model's input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

POSITIONS = ("sequential", "mrope", "mrope-interleaved")
PRUNED_POSITIONS = ("true", "compact")
ATTENTIONS = ("causal", "bidirectional", "prefix")
MAX_MEMBERS = 8  # what PPE uses; the channels of an axis are parted among them
MAX_TEXT_CHARS = 200  # of the texts around images


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What stands around the tokens of an image.

    ``token``: the string whose id stands at every visual place. ``placeholder``: what the chat
    template writes for an image, as ``token`` where it is empty; ``opening``: what the template
    writes right before it and belongs to the image, as "<|vision_start|>": introductions stand
    before that. ``before`` and ``after``: texts that replace the placeholder, around the tokens;
    ``tile``: the text before each tile, with ``{row}`` and ``{column}`` counted from 1;
    ``row_end``: after a row of tiles; ``overview`` and ``overview_after``: around the tile of the
    whole view; ``alone``: the text before an image that is a single tile, as ``overview`` where it
    is None.

    ``separator``: the learned vector that stands after each row of the mosaic of tiles, as a name
    in `PromptSpec.vectors`, or empty. With one, the tiles are written row by row over the mosaic,
    without padding, and ``separator_alone`` says whether a single tile ends with one, too.
    """

    token: str
    placeholder: str = ""
    opening: str = ""
    before: str = ""
    after: str = ""
    tile: str = ""
    row_end: str = ""
    overview: str = ""
    overview_after: str = ""
    alone: str | None = None
    separator: str = ""
    separator_alone: bool = False

    @property
    def mark(self) -> str:
        """What the chat template writes for an image."""
        return self.placeholder or self.token


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """``chat_template``: a file of Jinja text, rendered in a sandbox with limits of size and time.

    ``positions``: "sequential", or three rows (t, h, w) for "mrope" and "mrope-interleaved".
    ``pruned_positions``: "true": kept tokens stay at the positions that they have in the whole
    prompt; "compact": those behind them move up. ``members``: how many of its members' places a
    merged token keeps beside each other (PPE, arXiv 2510.22936); 1: it stands where the kept token
    of them stood. ``attention``: "causal"; "bidirectional" among the visual tokens of an image
    (Gemma 3); "prefix": in the whole prompt (PaliGemma).

    ``stop``: tokens that end an answer. ``region_intro``: the text before each region's image where
    a frame has several, with ``{number}`` (from 1), ``{label}`` and ``{place}``;
    ``overview_intro``: before the image of the whole frame there; empty: none. ``vectors``: files
    of learned vectors, float32 little-endian [width], by name. ``template_args``: variables of
    the template, as ``bos_token``.
    """

    chat_template: str
    image: ImageSpec
    stop: tuple[str, ...]
    positions: str = "sequential"
    pruned_positions: str = "true"
    members: int = 1
    attention: str = "causal"
    region_intro: str = ""
    overview_intro: str = ""
    vectors: Mapping[str, str] = field(default_factory=dict)
    template_args: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        known = {
            "positions": POSITIONS, "pruned_positions": PRUNED_POSITIONS, "attention": ATTENTIONS,
        }  # fmt: skip
        problems = [
            f"{name} {getattr(self, name)[:40]!r} is unknown, known are: {', '.join(names)}"
            for name, names in known.items()
            if getattr(self, name) not in names
        ]
        if not 1 <= self.members <= MAX_MEMBERS:
            problems.append(f"members is {self.members}, 1..{MAX_MEMBERS} are possible")
        if self.members > 1 and self.positions == "sequential":
            problems.append(f"members is {self.members}, which needs positions of M-RoPE")
        texts = {
            f"image.{field.name}": getattr(self.image, field.name) for field in fields(self.image)
        }
        texts |= {"region_intro": self.region_intro, "overview_intro": self.overview_intro}
        problems += [
            f"{name} has {len(text)} characters, {MAX_TEXT_CHARS} are allowed"
            for name, text in texts.items()
            if isinstance(text, str) and len(text) > MAX_TEXT_CHARS
        ]
        if not self.image.token:
            problems.append("image.token is empty")
        if self.image.mark in self.image.token * 2 and self.image.mark != self.image.token:
            problems.append("image.placeholder is a part of image.token")
        if not self.stop or not all(self.stop):
            problems.append("stop names no token")
        if self.image.separator and self.image.separator not in self.vectors:
            problems.append(f"image.separator {self.image.separator[:40]!r} is not in vectors")
        return problems
