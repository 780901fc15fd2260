"""Traces from files: Mahimahi's, four layouts of published measurements, and a short one of ours.

A file says by its first line which it is:

========== ====================================================================================
ours       ``# saccade rates 1``, then ``SECONDS KBIT_PER_S`` (the rate from then on), at last
           ``SECONDS end``; ``# delay_ms N`` gives the one-way delay
mahimahi   a whole number a line: a millisecond in which 1504 bytes can pass (a line for each)
samples    ``SECONDS MBIT_PER_S``: the mean rate since the line before (Pensieve's simulator)
list       runs of comma-separated Mbit/s at 100 ms after ``Run K`` lines (NUWiNS 5G uplinks)
csv        ten columns, seconds first, uplink Mbit/s seventh (SIGCOMM'21 "5G in the Wild")
========== ====================================================================================

Gzipped files are opened as they are. Everything that is wrong is a ``ConfigError`` with file,
line and value.
"""

from __future__ import annotations

import gzip
import math
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from bench.link.trace import MAX_RATE_BPS, Trace
from saccade.errors import ConfigError

FOLDER = Path(__file__).parent / "traces"
SUFFIX = ".rates"
MAGIC = "# saccade rates 1"
MAX_BYTES = 64 << 20  # unpacked; an hour at 50 Mbit/s is 75 MB in Mahimahi's layout, 10 min 12 MB
OPPORTUNITY_BYTES = 1504  # Mahimahi's packet: 1500 and the 4 bytes that a TUN device puts before
MAX_MS = 7 * 86400 * 1000
LIST_STEP_S = 0.1
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")

Lines = Sequence[tuple[int, str]]  # number in the file from 1, text


def shipped() -> tuple[str, ...]:
    """Names of the traces that come with the project."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def trace_of(text: str) -> Trace:
    """A rate (``250k``, ``2M``), a shipped trace's name, or a file; ``FILE#2`` is its second run.

    Raises ``ConfigError``.
    """
    if _RATE.fullmatch(text):
        return Trace.constant(rate_of(text))
    if text in shipped():
        return load(FOLDER / f"{text}{SUFFIX}")
    path, mark, run = text.rpartition("#")
    if mark and run.isdecimal():
        return load(Path(path), run=int(run))
    return load(Path(text))


def traces_of(texts: Sequence[str]) -> dict[str, Trace]:
    """Each as for ``trace_of``, or a folder of files; the shipped traces where there is none. By
    name, or by path where another file has that name, in order. What is no trace in a folder is
    named on standard error. Raises ``ConfigError``, also where no trace is left.
    """
    found: dict[str, Trace] = {}
    for text in texts or shipped():
        path = Path(text)
        traces = _in_folder(path) if path.is_dir() else [(path, trace_of(text))]
        for at, trace in traces:
            found[at.name if at.name not in found else str(at)] = trace
    if not found:
        raise ConfigError(f"no trace in {', '.join(texts)}")
    return found


def _in_folder(folder: Path) -> Iterator[tuple[Path, Trace]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if (trace := _loaded(path)) is not None:
            yield path, trace


def _loaded(path: Path) -> Trace | None:
    try:
        return load(path)
    except ConfigError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


def rate_of(text: str) -> float:
    """``250k`` → 250,000 bit/s. Raises ``ConfigError``."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is not a rate: give bit/s as 250k, 2M or 1500000")
    return float(found[1]) * _UNITS[found[2]]


def load(path: Path, *, run: int = 1) -> Trace:
    """``run``: which of a list's runs, from 1. Raises ``ConfigError``."""
    text = _read(path)
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ConfigError(f"{path}: an empty file is no trace")
    reader = _reader_of(lines)
    if reader is _from_list:
        return _checked(path, lambda: _from_list(path, lines, run))
    if run != 1:
        raise ConfigError(f"{path}: run {run} of a file that has one")
    return _checked(path, lambda: reader(path, lines, 1))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            data = (gzip.GzipFile(fileobj=plain) if packed else plain).read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: cannot be read as a trace: {error}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES:,} bytes of trace")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text, byte {error.start} is {data[error.start]}") from error


def _checked(path: Path, make: Callable[[], Trace]) -> Trace:
    """What the trace itself says is wrong, with the file's name before it."""
    try:
        return make()
    except ConfigError as error:
        if error.message.startswith(str(path)):
            raise
        raise ConfigError(f"{path}: {error.message}") from error


def _reader_of(lines: Lines) -> Callable[[Path, Lines, int], Trace]:
    first = lines[0][1]
    if first == MAGIC:
        return _from_ours
    if first.startswith(("###", "Run ")):
        return _from_list
    if "," in first:
        return _from_csv
    return _from_samples if len(first.split()) == 2 else _from_mahimahi


def _from_mahimahi(path: Path, lines: Lines, _: int) -> Trace:
    """What may pass in a millisecond passes evenly in the millisecond that ends there."""
    moments = np.empty(len(lines), np.int64)
    last = 0
    for at, (number, text) in enumerate(lines):
        if not (text.isdecimal() and last <= int(text) <= MAX_MS):
            _wrong(path, number, text, f"a millisecond from {last} to {MAX_MS}")
        moments[at] = last = int(text)
    if last == 0:
        raise ConfigError(f"{path}: a trace of no milliseconds")
    ends, counts = np.unique(np.maximum(moments, 1), return_counts=True)
    grown = np.cumsum(counts) * float(OPPORTUNITY_BYTES)
    before = np.concatenate([[0.0], grown[:-1]])
    times = np.concatenate([[0.0], np.stack([ends - 1, ends], axis=1).ravel() / 1000])
    through = np.concatenate([[0.0], np.stack([before, grown], axis=1).ravel()])
    # One millisecond's end is the next one's beginning: the same point twice.
    new = np.concatenate([[True], np.diff(times) > 0])
    return Trace(times[new].astype(np.float64), through[new].astype(np.float64))


def _from_samples(path: Path, lines: Lines, _: int) -> Trace:
    samples = [(n, text, text.split()) for n, text in lines]
    for number, text, words in samples:
        if len(words) != 2:
            _wrong(path, number, text, "seconds and Mbit/s")
    return _sampled(path, [(n, words[0], words[1]) for n, _, words in samples])


def _from_csv(path: Path, lines: Lines, _: int) -> Trace:
    rows = [(n, text, text.split(",")) for n, text in lines]
    for number, text, words in rows:
        if len(words) != 10:
            _wrong(path, number, text[:60], "ten columns")
    return _sampled(path, [(n, words[0], words[6]) for n, _, words in rows])


def _sampled(path: Path, samples: Sequence[tuple[int, str, str]]) -> Trace:
    """Mean rates, each since the sample before; the first one only says when it began."""
    parts: list[tuple[float, float]] = []
    before = None
    for number, seconds, rate in samples:
        at, mbit = _number(path, number, seconds), _rate(path, number, rate)
        if before is not None:
            if at <= before:
                _wrong(path, number, seconds, f"a time after {before:g} s")
            parts.append((at - before, mbit))
        before = at
    if not parts:
        raise ConfigError(f"{path}: one sample is no trace")
    return Trace.steps(parts)


def _from_list(path: Path, lines: Lines, run: int) -> Trace:
    """Rates by their place, 100 ms each: some files give times beside them, which run backwards."""
    runs: list[tuple[int, list[str]]] = []
    for number, text in lines:
        if not text.startswith(("#", "Run ")):
            values = text.split(",")
            if not _are_times(path, number, values):
                runs.append((number, values))
    if not 1 <= run <= len(runs):
        raise ConfigError(f"{path}: run {run} of a file that has {len(runs)}")
    number, values = runs[run - 1]
    return Trace.steps([(LIST_STEP_S, _rate(path, number, value)) for value in values])


def _are_times(path: Path, number: int, values: Sequence[str]) -> bool:
    steps = np.diff([_number(path, number, value) for value in values])
    return len(steps) > 0 and float(np.mean(np.abs(steps - LIST_STEP_S) < 0.001)) > 0.8


def _from_ours(path: Path, lines: Lines, _: int) -> Trace:
    parts: list[tuple[float, float]] = []
    delay_ms, before, rate, ended = 0.0, 0.0, -1.0, False
    for number, text in lines[1:]:
        if text.startswith("# delay_ms "):
            delay_ms = _number(path, number, text.split()[-1])
        if text.startswith("#"):
            continue
        words = text.split()
        if ended or len(words) != 2:
            _wrong(path, number, text, "nothing" if ended else "seconds and kbit/s, or end")
        at = _number(path, number, words[0])
        if at != 0 if rate < 0 else at <= before:
            _wrong(path, number, words[0], "0" if rate < 0 else f"a time after {before:g} s")
        if rate >= 0:
            parts.append((at - before, rate))
        ended = words[1] == "end"
        before, rate = at, 0.0 if ended else _rate(path, number, words[1], 1e3)
    if not ended:
        raise ConfigError(f"{path}: the last line must be 'SECONDS end'")
    return Trace.steps(parts, delay_s=delay_ms / 1000)


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        _wrong(path, line, text, "a number from 0")
    return value


def _rate(path: Path, line: int, text: str, unit: float = 1e6) -> float:
    value = _number(path, line, text) * unit
    if value > MAX_RATE_BPS:
        _wrong(path, line, text, "at most 100 Gbit/s")
    return value


def _wrong(path: Path, line: int, value: str, wanted: str) -> NoReturn:
    raise ConfigError(f"{path}, line {line}: {value[:60]!r} where {wanted} belongs")
