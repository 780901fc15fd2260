"""The types of the system: what flows between the stages of a frame's way.

Every type here is a frozen dataclass without I/O; arrays are numpy and are treated as
read-only once inside a noun. Boxes are ``(x0, y0, x1, y1)``. Shapes and dtypes are checked where
that is cheap, and a noun that breaks them raises ValueError: that is a programming error, unlike
the typed errors for what comes from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from saccade.spec import ViewLayout

Box = tuple[float, float, float, float]
Grid = tuple[int, int, int]  # (t, h, w): frames, rows, columns of patches
ViewKind = Literal["overview", "crop", "closeup"]
VIEW_KINDS: tuple[ViewKind, ...] = ("overview", "crop", "closeup")


def view_kinds(crops: int, closeups: int, *, overview: bool = True) -> tuple[ViewKind, ...]:
    """Of a frame's views, in their order."""
    return tuple(
        kind
        for kind, count in zip(VIEW_KINDS, (int(overview), crops, closeups), strict=True)
        for _ in range(count)
    )


NS_PER_MS = 1_000_000

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc(unix_ns: int) -> datetime:
    """A Unix time in nanoseconds, to the microsecond; times beyond the year 9999 are its end."""
    try:
        return _EPOCH + timedelta(microseconds=unix_ns // 1000)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _shape(array: npt.NDArray[np.generic]) -> str:
    return f"{array.dtype} {list(array.shape)}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera. ``picture``: uint8 [H, W, 3] RGB. ``name``: what people call it, a
    file's name for example; printable, empty where it has none.
    """

    picture: U8
    captured_ns: int  # Unix time of capture, nanoseconds
    camera: str
    sequence: int
    name: str = ""

    def __post_init__(self) -> None:
        _require(
            self.picture.dtype == np.uint8
            and self.picture.ndim == 3
            and self.picture.shape[2] == 3
            and self.picture.size > 0,
            f"a frame's picture is uint8 [H, W, 3], not {_shape(self.picture)}",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.picture.shape[0]), int(self.picture.shape[1])


@dataclass(frozen=True, slots=True)
class Region:
    """Something a detector found. ``box`` in pixels of the frame, ``score`` in 0..1."""

    box: Box
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class View:
    """What the encoder sees: a window of the frame as tiles of the encoder's input size.

    ``window`` in pixels of the frame; ``tiles``: uint8 [t, h, w, 3] RGB, in the order of the
    ``layout`` that the edge and the cloud agree on;
    ``region``: the region a view was planned for, None for the overview;
    ``closeup_of``: the slot of the crop in which a close-up's region lies, None for other views.
    """

    kind: ViewKind
    window: Box
    tiles: U8
    layout: ViewLayout
    region: Region | None = None
    closeup_of: int | None = None

    @property
    def picture(self) -> U8:
        """What it shows, uint8 [h, w, 3]: the tile of the whole view where there is one."""
        whole = [i for i, tile in enumerate(self.layout.tiles) if tile.overview]
        picture: U8 = self.tiles[whole[0] if whole else 0]
        return picture


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """The encoder's output for one view.

    ``features``: [T, D] float32, raster order. ``grid``: (t, h, w) with t*h*w == T.
    ``saliency``: [L, H, T] float32, softmax attention to each patch, of CLS or of a sample of
    patches, for L exported layers and H heads; ``keys``: [T, Dk] float32, head-mean keys. Where the
    encoder has none they are empty: [0, 0, T] and [T, 0].
    """

    features: F32
    saliency: F32
    keys: F32
    grid: Grid

    def __post_init__(self) -> None:
        tokens = math.prod(self.grid)
        _require(
            self.features.dtype == np.float32
            and self.features.ndim == 2
            and len(self.features) == tokens,
            f"features are float32 [{tokens}, D], not {_shape(self.features)}",
        )
        _require(
            self.saliency.dtype == np.float32
            and self.saliency.ndim == 3
            and self.saliency.shape[2] == tokens,
            f"saliency is float32 [L, H, {tokens}], not {_shape(self.saliency)}",
        )
        _require(
            self.keys.dtype == np.float32 and self.keys.ndim == 2 and len(self.keys) == tokens,
            f"keys are float32 [{tokens}, Dk], not {_shape(self.keys)}",
        )


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of one view that are kept.

    ``features``: [K, D] float32. ``ids``: [K] int32, ascending raster positions in ``grid``.
    ``order``: [K] int32, a permutation of 0..K-1, most important row first, for whoever has to do
    with fewer. ``owners``: None, or [T] int32 where ``owners[i]`` is the id of the
    kept token that token i was merged into, -1 where it was dropped.
    """

    features: F32
    ids: I32
    grid: Grid
    order: I32
    owners: I32 | None = None

    def __post_init__(self) -> None:
        # Made a few times for every packet: a message is put together only where it is needed.
        kept = len(self.ids)
        if (
            self.features.dtype != np.float32
            or self.features.ndim != 2
            or len(self.features) != kept
        ):
            raise ValueError(f"features are float32 [{kept}, D], not {_shape(self.features)}")
        for name, indices in (("ids", self.ids), ("order", self.order)):
            if indices.dtype != np.int32 or indices.shape != (kept,):
                raise ValueError(f"{name} are int32 [{kept}], not {_shape(indices)}")
        tokens = math.prod(self.grid)
        inside = kept == 0 or (self.ids[0] >= 0 and self.ids[-1] < tokens)
        if not (inside and (self.ids[1:] > self.ids[:-1]).all()):
            raise ValueError(f"ids ascend within 0..{tokens - 1}, not {self.ids.tolist()}")


@dataclass(frozen=True, slots=True)
class ViewTokens:
    """A token set and where its view was looking.

    ``window`` is normalised to 0..1 of the frame's width and height (the wire rounds it to
    1/255). Slot 0 is the overview, if there is one, slot i the i-th crop; close-ups follow the
    crops, and ``closeup_of`` is the slot of the crop that they look into.
    """

    slot: int
    window: Box
    tokens: TokenSet
    label: str = ""
    score: float = 0.0
    closeup_of: int | None = None

    @property
    def kind(self) -> ViewKind:
        if self.closeup_of is not None:
            return "closeup"
        return "crop" if self.slot else "overview"


@dataclass(frozen=True, slots=True)
class FrameTokens:
    """All that the edge says about one frame.

    ``damaged``: layers whose bytes were damaged on their way, by index; the tokens are those of the
    layers before the first of them. ``images``: how many images the views were laid out for, 0:
    as many as there are views.
    """

    sequence: int
    camera: str
    captured_ns: int
    size: tuple[int, int]  # (height, width) of the frame, pixels
    views: tuple[ViewTokens, ...]
    damaged: tuple[int, ...] = ()
    images: int = 0

    @property
    def laid_out_for(self) -> int:
        """How many images of a prompt the views' layouts are for."""
        return self.images or len(self.views)

    @property
    def kept(self) -> int:
        """Tokens in all views."""
        return sum(len(v.tokens.ids) for v in self.views)


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds spent in named stages, in the order in which they happened."""

    stages: dict[str, float] = field(default_factory=dict)

    @property
    def total_ms(self) -> float:
        return sum(self.stages.values())


@dataclass(frozen=True, slots=True)
class Probability:
    """What the model gave the tokens of its answer, the end token included; each in 0..1.

    ``mean``: the geometric mean, as of `log` probabilities; ``least``: of the least probable token.
    """

    mean: float
    least: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to one question about one frame.

    ``probability`` and ``least_probability``: see `Probability`; None where the other side does
    not say. A high one is no proof: about what is outside of ``domain``, the bundle's own sentence
    of what its model was trained to see, every answer is a guess.

    ``captured_ns``: Unix time by the edge's clock, 0 where nobody says. A single picture counts as
    captured when it was read.
    ``age_s``: age of the frame when the answer was complete, None where nobody says. For a camera
    it is the cloud's clock minus ``captured_ns``, so it is only as right as the two clocks agree.
    It is never less than the time since the frame reached the cloud, which is by one clock.
    ``clock_ahead_s``: how far in the future ``captured_ns`` lay when the frame reached the cloud,
    0 where it did not. Then the edge's clock is ahead by at least so much, or the frame is from a
    recording that is read faster than it was filmed.
    ``connected``: whether an edge that sends the camera is there, None for a single picture.

    ``point``: the operating point at which an edge sent the frame, and ``reason``, in a sentence,
    why: both only on that edge, and where a budget chose it.
    """

    text: str
    sequence: int
    camera: str
    timing: Timing
    bytes_sent: int = 0  # serialised size of the frame's packet, protobuf included
    finish: Literal["stop", "length"] = "stop"
    point: int | None = None
    reason: str = ""
    probability: float | None = None
    least_probability: float | None = None
    captured_ns: int = 0
    age_s: float | None = None
    clock_ahead_s: float = 0.0
    connected: bool | None = None
    domain: str = ""

    @property
    def captured(self) -> datetime | None:
        """``captured_ns`` as a time in UTC."""
        return utc(self.captured_ns) if self.captured_ns else None
