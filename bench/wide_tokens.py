"""Codecs and their calibration at the width of real encoders' tokens: CPU time on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from saccade.codecs import PLAIN, Codec, SetShape
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.types import F32, TokenSet
from saccade_calibration.distortion import shares_left
from saccade_calibration.fit_klt import fit_klt, usual_layers
from saccade_calibration.fit_rvq import POINTS_PER_ENTRY, fit_rvq
from saccade_calibration.fit_usage import fit_usage
from saccade_calibration.operating_points import first
from saccade_calibration.principal import principal
from saccade_calibration.sample_views import SampleView

T = TypeVar("T")

PLACES, DIM, KEPT = 576, 1024, 64
FIRST_ENTRIES = 8192
_VIEWS = 32  # that codecs are told the usage of, and judged by


@dataclass(frozen=True)
class Row:
    """Bytes and CPU milliseconds for a view, of which so many tokens are kept."""

    bytes: int
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True)
class Calibration:
    """``seconds`` of CPU for each step; ``left``: of the variance, by codec and layers."""

    codecs: dict[str, Codec]
    seconds: dict[str, float]
    left: dict[str, tuple[float, ...]]


class MadeUp:
    """Tokens whose variances fall as 1/i along random directions, four features 20 times larger:
    a spectrum like CLIP's, and harder than most, as nothing gathers in clusters.
    """

    def __init__(self, dim: int = DIM, seed: int = 7) -> None:
        self._generator = np.random.default_rng(seed)
        basis = np.linalg.qr(self._generator.normal(size=(dim, dim)))[0]
        spectrum = 1 / np.sqrt(np.arange(1, dim + 1))
        self._mix: npt.NDArray[np.float32] = (spectrum[:, None] * basis).astype(np.float32)

    def tokens(self, count: int) -> F32:
        """[count, D] float32."""
        features: F32 = self._generator.standard_normal((count, len(self._mix)), np.float32)
        features = features @ self._mix
        features[:, :4] *= 20
        return features

    def view(self) -> TokenSet:
        """All places of a view; which of them matter is drawn."""
        order = self._generator.permutation(PLACES).astype(np.int32)
        places = np.arange(PLACES, dtype=np.int32)
        return TokenSet(self.tokens(PLACES), places, (1, 24, 24), order)


def calibrated(source: MadeUp, first_entries: int = FIRST_ENTRIES) -> Calibration:
    """`saccade export calibrate`'s steps on as many tokens as the first codebook asks for."""
    features = source.tokens(POINTS_PER_ENTRY * first_entries)
    views = [_sample(source.view()) for _ in range(_VIEWS)]
    parts, part_s = timed(lambda: principal(features))
    layers = usual_layers(features.shape[1])
    klt, klt_s = timed(lambda: Klt(fit_klt(features, layers=layers, parts=parts)))
    books, rvq_s = timed(lambda: fit_rvq(features, first=first_entries, parts=parts))
    rvq, usage_s = timed(lambda: Rvq(fit_usage(books, views)))
    codecs: dict[str, Codec] = {"klt": klt, "rvq": rvq}
    left = {name: shares_left(codec, views[:8]) for name, codec in codecs.items()}
    seconds = {"components": part_s, "klt": klt_s, "rvq": rvq_s, "usage": usage_s}
    return Calibration(codecs, seconds, left)


def speed(codecs: dict[str, Codec], source: MadeUp, rounds: int) -> dict[str, tuple[Row, Row]]:
    """By codec, for ``KEPT`` tokens of a view and for all."""
    whole = source.view()
    every = {**{name: PLAIN.get(name) for name in PLAIN.names}, **codecs}
    return {
        name: (_row(codec, first(whole, KEPT), rounds), _row(codec, whole, rounds))
        for name, codec in every.items()
    }


def _row(codec: Codec, tokens: TokenSet, rounds: int) -> Row:
    shape = [SetShape.of(tokens)]
    layers = codec.encode([tokens])
    encode = min(timed(lambda: codec.encode([tokens]))[1] for _ in range(rounds))
    decode = min(timed(lambda: codec.decode(layers, shape))[1] for _ in range(rounds))
    return Row(sum(map(len, layers)), 1e3 * encode, 1e3 * decode)


def _sample(view: TokenSet) -> SampleView:
    return SampleView.of("overview", view.order, view.features)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What ``work`` gives, and the CPU seconds that it took in all threads."""
    started = time.process_time()
    made = work()
    return made, time.process_time() - started
