"""Is an exported encoder still the model's? Token by token, on photographs, against torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade import telemetry  # noqa: F401 - off before ONNX Runtime is loaded

# isort: split
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import nn

from saccade.errors import BundleError
from saccade.spec.geometry import AnyGrid, Size
from saccade.spec.preprocess import Preprocess
from saccade.types import F32, U8
from saccade_edge import preprocess
from saccade_export.encoder_export import INPUT
from saccade_export.graph_weights import Precision
from saccade_onnx.sessions import ERRORS, session_options

# The least cosine of any token with torch's in float32.
LIMITS: dict[Precision, float] = {"f32": 0.9999, "f16": 0.999, "int8": 0.99}
MOST_TILES = 8  # of one size: a tile has hundreds of tokens


@dataclass(frozen=True)
class Parity:
    """``least`` and ``mean`` cosine of ``tokens`` tokens of ``tiles`` tiles of one size."""

    size: Size
    least: float
    mean: float
    tokens: int
    tiles: int

    def __str__(self) -> str:
        high, wide = self.size
        return (
            f"{high} x {wide}: least cosine {self.least:.6f}, mean {self.mean:.6f} "
            f"({self.tokens} tokens of {self.tiles} tiles)"
        )


def tiles_of(
    pictures: Sequence[U8], geometry: AnyGrid, spec: Preprocess, size: Size, most: int = MOST_TILES
) -> U8:
    """Tiles of one size: [n, H, W, 3] uint8, the first of each picture before further ones."""
    rows: list[list[U8]] = []
    for picture in pictures:
        layout = geometry.layout((picture.shape[0], picture.shape[1]))
        if layout.pixels == size:
            rows.append(list(preprocess.tiles(picture, layout, spec)))
        else:
            rows.append([preprocess.resize(picture, size, spec.resample)])
    longest = max(map(len, rows))
    mixed = [row[place] for place in range(longest) for row in rows if place < len(row)]
    return np.stack(mixed[:most])


def expected(encoder: nn.Module, tiles: U8) -> F32:
    """Features [n, T, D] that torch computes."""
    with torch.no_grad():
        found = [encoder(torch.from_numpy(tile[None]))[0] for tile in tiles]
    features: F32 = torch.cat(found).numpy()
    return features


def compare(path: Path, tiles: U8, features: F32, size: Size) -> Parity:
    """Run the graph on the tiles, two at once where there are as many, on one core."""
    options = session_options(threads=1)
    options.enable_cpu_mem_arena = False
    # It would hold the weights a second time.
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        cosines = np.concatenate(list(_cosines(session, tiles, features)))
    except ERRORS as error:
        raise BundleError(f"{path.name} does not run: {error}") from error
    return Parity(size, float(cosines.min()), float(cosines.mean()), cosines.size, len(tiles))


def _cosines(
    session: ort.InferenceSession, tiles: U8, features: F32
) -> Iterator[npt.NDArray[np.float64]]:
    for start in range(0, len(tiles), 2):
        part = slice(start, start + 2)
        found = np.asarray(session.run(["features"], {INPUT: tiles[part]})[0])
        yield cosine(found, features[part]).ravel()


def cosine(a: F32, b: F32) -> npt.NDArray[np.float64]:
    """Over the last dimension; two zero vectors are alike."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    both_zero = (lengths == 0) & (np.linalg.norm(x - y, axis=-1) == 0)
    result: npt.NDArray[np.float64] = np.where(
        both_zero, 1.0, (x * y).sum(-1) / np.where(lengths == 0, np.inf, lengths)
    )
    return result


def require(parities: Sequence[Parity], precision: Precision) -> None:
    """Raises ``BundleError`` with the numbers where a token is not what torch computes."""
    limit = LIMITS[precision]
    # "not >=": what is not a number fails, too.
    if failed := [str(parity) for parity in parities if not parity.least >= limit]:
        raise BundleError(
            f"the exported encoder is not the model's: {'; '.join(failed)}; "
            f"{precision} needs {limit}"
        )
