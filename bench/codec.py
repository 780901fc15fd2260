"""Bytes, distortion and time of every codec, against zstd and the entropy of what is coded.

    python -m bench.codec [--frames N] [--bundle PATH|NAME]

Two kinds of tokens: rendered demo frames through the bundle's own edge, cut into frames of 5 views
x 16 tokens; and 576 x 1024 made-up tokens with a spectrum like CLIP's and a few dominant features.
Calibrated codecs are fitted to other frames than those that are measured; with a star are those of
the bundle, fitted to many more. Columns:

- `bytes`: all layers up to here, ids included; `mse`: squared error as a share of the variance;
- `ideal`: what the calibrated frequencies allow; `order-0`: what the measured frames' own
  frequencies, table by table, would allow if they were known for nothing; `zstd-19`: of the same
  values as bytes, in one frame without magic number. All three without ids.

Times are medians over frames on one core. The last line is JSON:
`frame_ms` is encoding plus decoding of such a frame, the slowest of klt with one layer, rvq with
eight stages and the bundle's rvq with the layers of its own operating point; `over_entropy` and
`over_ideal`: coded bytes beyond those bounds, the worst of klt with one layer and rvq. The order-0
entropy of few frames flatters: they show no table's every symbol.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from bench.common import table
from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.codecs import CALIBRATED, PLAIN, Codec, SetShape, of
from saccade.codecs.base import shapes_of
from saccade.codecs.frequencies import TOTAL, Frequencies
from saccade.codecs.ids import encode_ids
from saccade.codecs.klt import Klt
from saccade.codecs.klt_levels import coarser
from saccade.codecs.rvq import Rvq
from saccade.types import F32, VIEW_KINDS, Frame, TokenSet, ViewKind, ViewTokens
from saccade_calibration.fit_klt import fit_klt
from saccade_calibration.fit_rvq import fit_rvq, units
from saccade_calibration.fit_usage import fit_usage
from saccade_calibration.operating_points import first
from saccade_calibration.sample_views import SampleView, fitted, of_view
from saccade_drawn_world.crossing.render import render
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.stopwatch import Stopwatch

VIEWS, KEPT = 5, 16
FIRST_SEED = 40_000
CALIBRATION_FRAMES = 400

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Views:
    """Token sets of a frame, and of what kind of view each is."""

    sets: list[TokenSet]
    kinds: list[ViewKind]

    @property
    def shapes(self) -> list[SetShape]:
        return shapes_of(self.sets, self.kinds)

    @property
    def features(self) -> F32:
        return np.concatenate([tokens.features for tokens in self.sets])


@dataclass(frozen=True)
class Coded:
    """Symbols [N] that one table of one layer codes; ``plain``: as other compressors get them."""

    layer: int
    table: tuple[int, int]
    symbols: I64
    frequencies: Frequencies
    plain: I64


def demo_frames(bundle: Bundle, count: int) -> tuple[list[SampleView], list[Views]]:
    """Views to calibrate on, and ``count`` frames to measure."""
    runtime = RuntimeSettings(threads=1)
    most = bundle.manifest.most_tokens
    pipeline = Pipeline(
        bundle, PipelineSettings(encode=EncodeOptions(tokens_per_view=most), runtime=runtime)
    )

    def views() -> Iterator[ViewTokens]:
        for seed in range(FIRST_SEED, FIRST_SEED + 100_000):
            frame = Frame(render(seed).picture, 0, "bench", seed)
            yield from pipeline.encode(frame, Stopwatch()).tokens.views

    coming = views()
    fit = [of_view(next(coming)) for _ in range(CALIBRATION_FRAMES * VIEWS)]
    several = [[next(coming) for _ in range(VIEWS)] for _ in range(count)]
    return fit, [
        Views([first(view.tokens, KEPT) for view in views], [view.kind for view in views])
        for views in several
    ]


def clip_like_frames(count: int) -> tuple[F32, list[Views]]:
    """576 tokens of 1024 features: variances fall as 1/i, and four features are 20 times larger."""
    generator = np.random.default_rng(7)
    basis, _ = np.linalg.qr(generator.normal(size=(1024, 1024)))
    spectrum = 1 / np.sqrt(np.arange(1, 1025))

    def tokens(rows: int) -> F32:
        features = (generator.normal(size=(rows, 1024)) * spectrum) @ basis
        features[:, :4] *= 20
        return np.asarray(features, np.float32)

    places = np.arange(576, dtype=np.int32)
    sets = [[TokenSet(tokens(576), places, (1, 24, 24), places)] for _ in range(count)]
    return tokens(576 * 8), [Views(each, ["overview"]) for each in sets]


def coded(codec: Codec, views: Views) -> Iterator[Coded]:
    """What the entropy coder is given."""
    features = views.features
    if isinstance(codec, Rvq):
        left = units(features, codec.table.shift, codec.table.projection)
        for number, stage in enumerate(codec.table.stages):
            nearest = stage.search(left)
            left = left - stage.entries[nearest]
            symbols, layer = stage.symbols(nearest), number // codec.table.per_layer
            kinds = [VIEW_KINDS.index(s.kind) for s in views.shapes for _ in range(s.count)]
            for kind, frequencies in enumerate(stage.frequencies):
                mine = np.array(kinds) == kind
                yield Coded(layer, (number, kind), symbols[mine], frequencies, nearest[mine])
    if isinstance(codec, Klt):
        levels, layers = codec.levels(features), len(codec.table.layers)
        for layer in reversed(range(layers)):
            first, finer = codec.table.layers[layer]
            for dim, shares, reach in zip(first.dims, first.tables, first.reaches, strict=True):
                mine = levels[:, dim]
                symbols = np.where(np.abs(mine) > reach, 2 * reach + 1, mine + reach)
                yield Coded(layer, (int(dim), 0), symbols, shares, symbols)
            before = coarser(levels)
            for dim, by_sign in zip(finer.dims, finer.tables, strict=True):
                refined, signs = (levels - 3 * before + 1)[:, dim], np.sign(before[:, dim])
                for sign, shares in enumerate(by_sign):
                    mine = refined[signs == sign - 1]
                    yield Coded(layer, (int(dim), 1 + sign), mine, shares, mine)
            levels = before


def ids_bytes(codec: Codec, views: Views) -> float:
    """What the ids of a frame cost; of `rvq`, whose stream they share, the information."""
    ids = [tokens.ids for tokens in views.sets]
    if isinstance(codec, Rvq):
        _, widths = codec.table.places.slots(ids, views.shapes)
        return -float(np.log2(np.array(widths) / TOTAL).sum()) / 8
    return len(encode_ids(ids, views.shapes))


def bounds(codec: Codec, frames: Sequence[Views], layers: int) -> tuple[float, float, float]:
    """(ideal, order-0, zstd-19) bytes per frame of the first ``layers``."""
    pooled: dict[tuple[int, tuple[int, int]], list[Coded]] = {}
    packed = 0
    for views in frames:
        mine = [c for c in coded(codec, views) if c.layer < layers]
        packed += len(zstd(np.concatenate([c.plain for c in mine])))
        for each in mine:
            pooled.setdefault((each.layer, each.table), []).append(each)
    ideal = own = 0.0
    for several in pooled.values():
        counts = np.bincount(np.concatenate([c.symbols for c in several]))
        seen = np.flatnonzero(counts)
        shares = np.array(several[0].frequencies.widths)[seen] / TOTAL
        ideal -= float(counts[seen] @ np.log2(shares))
        own -= float(counts[seen] @ np.log2(counts[seen] / counts.sum()))
    return ideal / 8 / len(frames), own / 8 / len(frames), packed / len(frames)


def zstd(symbols: I64) -> bytes:
    """One byte a symbol, two where one is not enough."""
    data = symbols.astype(np.uint8 if symbols.max(initial=0) < 256 else "<u2").tobytes()
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


@dataclass(frozen=True)
class Row:
    """One codec with so many layers; per frame."""

    bytes: float
    ids: float
    mse: float
    cosine: float
    encode_ms: float
    decode_ms: float
    bounds: tuple[float, float, float] | None

    @property
    def over_entropy(self) -> float:
        """What is coded beyond the order-0 entropy, as a share of it."""
        return (self.bytes - self.ids) / self.bounds[1] - 1 if self.bounds else 0.0

    @property
    def over_ideal(self) -> float:
        """The same beyond what the calibrated frequencies allow: the coder's own part."""
        return (self.bytes - self.ids) / self.bounds[0] - 1 if self.bounds else 0.0

    def cells(self) -> dict[str, str]:
        ideal, own, packed = (f"{n:,.0f}" for n in self.bounds) if self.bounds else ("-",) * 3
        return {
            "bytes": f"{self.bytes:,.0f}", "ids": f"{self.ids:,.0f}", "mse": f"{self.mse:.2g}",
            "cosine": f"{self.cosine:.4f}", "encode ms": f"{self.encode_ms:.2f}",
            "decode ms": f"{self.decode_ms:.2f}", "ideal": ideal, "order-0": own, "zstd-19": packed,
        }  # fmt: skip


def measure(codec: Codec, frames: Sequence[Views]) -> Iterator[Row]:
    """A row for each number of layers."""
    spread = float(np.concatenate([views.features for views in frames]).var())
    whole = [codec.encode(views.sets, kinds=views.kinds) for views in frames]
    ids = np.mean([ids_bytes(codec, views) for views in frames])
    for count in range(1, len(whole[0]) + 1):
        parts = [layers[:count] for layers in whole]
        pairs = [(part, views.shapes) for part, views in zip(parts, frames, strict=True)]
        got = [joined(codec.decode(part, shape)) for part, shape in pairs]
        errors = [np.mean((a - b.features) ** 2) for a, b in zip(got, frames, strict=True)]
        likeness = [cosine(a, b.features) for a, b in zip(got, frames, strict=True)]
        writing = [timed(lambda v=v, n=count: codec.encode(v.sets, n, v.kinds)) for v in frames]
        reading = [timed(lambda p=p, s=s: codec.decode(p, s)) for p, s in pairs]
        yield Row(
            bytes=float(np.mean([sum(map(len, part)) for part in parts])),
            ids=float(ids),
            mse=float(np.mean(errors)) / spread,
            cosine=float(np.mean(likeness)),
            encode_ms=float(np.median(writing)),
            decode_ms=float(np.median(reading)),
            bounds=bounds(codec, frames, count) if isinstance(codec, Klt | Rvq) else None,
        )


def joined(sets: Sequence[TokenSet]) -> F32:
    return np.concatenate([tokens.features for tokens in sets])


def cosine(a: F32, b: F32) -> float:
    """Mean over tokens."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(axis=1) / np.maximum(lengths, 1e-12)))


def timed(work: object, repeats: int = 3) -> float:
    """Milliseconds, the best of ``repeats``: other processes only ever add."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()  # type: ignore[operator]  # a lambda with its defaults
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e3


def arms(features: F32, stages: int, views: Sequence[SampleView] = ()) -> dict[str, Codec]:
    """Codecs by their row's name; ``views``: where rvq is told of kinds of view and places."""
    books = fit_rvq(features, stages=stages)
    return {
        **{name: PLAIN.get(name) for name in PLAIN.names},
        "klt/1": Klt(fit_klt(features, layers=1)),
        "klt": Klt(fit_klt(features, layers=3)),
        "rvq": Rvq(fit_usage(books, views) if views else books),
    }


def report(title: str, codecs: dict[str, Codec], frames: Sequence[Views]) -> dict[str, Row]:
    """Print the table; rows by codec and layers, and by the codec's name alone the last."""
    rows: dict[str, Row] = {}
    lines: dict[str, dict[str, str]] = {}
    for name, codec in codecs.items():
        for count, row in enumerate(measure(codec, frames), start=1):
            lines[f"{name} {count}"] = row.cells()
            rows[name] = rows[f"{name} {count}"] = row
    columns = {key: {n: cells[key] for n, cells in lines.items()} for key in lines["f16 1"]}
    print(table(title, columns, width=11), flush=True)
    print()
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="bytes, distortion and time of every codec")
    parser.add_argument("--bundle", default="crossing", metavar="PATH|NAME")
    parser.add_argument("--frames", type=int, default=200, help="to measure (%(default)d)")
    parser.add_argument("--clip-frames", type=int, default=2, help="0: none (%(default)d)")
    options = parser.parse_args(arguments)
    bundle = Bundle.open(options.bundle)
    seen, frames = demo_frames(bundle, options.frames)
    known = of(bundle)
    shipped = {f"{name}*": known.get(name) for name in known.names if name in CALIBRATED}
    title = f"demo, {VIEWS} x {KEPT} x {bundle.manifest.encoder.dim}"
    codecs = {**arms(fitted(seen), 8, seen), **shipped}
    rows = report(title, codecs, frames)
    own = bundle.manifest.selection.point
    layers = bundle.manifest.points[own].layers if own is not None else 1
    timed = [rows[name] for name in ("klt/1", "rvq", f"rvq* {layers}") if name in rows]
    record: dict[str, object] = {
        "frame_ms": round(max(row.encode_ms + row.decode_ms for row in timed), 2),
        "over_entropy": round(max(rows[n].over_entropy for n in ("klt/1", "rvq")), 4),
        "over_ideal": round(max(rows[n].over_ideal for n in ("klt/1", "rvq")), 4),
        "bytes": {name: round(rows[name].bytes, 1) for name in codecs},
        "mse": {name: round(rows[name].mse, 5) for name in codecs},
    }
    if options.clip_frames:
        features, frames = clip_like_frames(options.clip_frames)
        codecs = arms(features, 4)
        wide = report("CLIP-like, 576 x 1024", codecs, frames)
        record["clip_like_bytes"] = {name: round(wide[name].bytes) for name in codecs}
        record["clip_like_ms"] = {
            name: round(wide[name].encode_ms + wide[name].decode_ms, 1) for name in codecs
        }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
