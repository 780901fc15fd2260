"""What can happen to a link during a run, as values, and as lines that people write.

    12 blackhole 5 [up|down|both]     nothing passes for 5 s; bytes are held, none is lost
    20 reset                          every connection is torn down with a RST at both ends
    25 half-open [edge|cloud|both]    that side hears nothing more and sees no end
    30 rate 500k [up|down|both]       a constant rate; `free` for none at all
    31 trace FILE [up|down|both]      a trace
    35 delay 0.2 [up|down|both]       one way, in seconds
    40 slice 7 [up|down|both]         packets of 1 to 7 bytes; 0 ends it

The first word is the link's second; without it, the event happens now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, Protocol, cast

from bench.link.trace import Trace
from bench.link.trace_files import rate_of, trace_of
from saccade.errors import ConfigError

Ways = Literal["up", "down", "both"]
Sides = Literal["edge", "cloud", "both"]
MAX_EVENTS = 100_000
MAX_SLICE = 65536


class Controls(Protocol):
    """What an emulated link lets one do to it; `bench.link.proxy.LinkProxy` is one."""

    def blackhole(self, seconds: float, ways: Ways = "both") -> None: ...
    def reset(self) -> None: ...
    def half_open(self, silent: Sides = "both") -> None: ...
    def set_trace(self, trace: Trace | None, ways: Ways = "both") -> None: ...
    def set_delay(self, seconds: float, ways: Ways = "both") -> None: ...
    def set_slice(self, most_bytes: int, ways: Ways = "both") -> None: ...


@dataclass(frozen=True, slots=True)
class Event:
    """``at_s``: the link's second. ``line`` is what was written, ``apply`` what it does."""

    at_s: float
    line: str
    apply: Callable[[Controls], None]


def parse(line: str, at_s: float = 0.0) -> Event:
    """One event without its second, as above. Raises ``ConfigError``."""
    name, *words = line.split() or [""]
    if name not in _KINDS:
        raise ConfigError(f"{line!r}: no event {name!r}, known: {', '.join(sorted(_KINDS))}")
    try:
        return Event(at_s, " ".join([name, *words]), _KINDS[name](words))
    except IndexError:
        raise ConfigError(f"{line!r}: {name} wants a value") from None
    except ConfigError as error:
        raise ConfigError(f"{line!r}: {error.message}") from error


def parse_timed(line: str) -> Event:
    """One event with its second before it. Raises ``ConfigError``."""
    at, _, rest = line.strip().partition(" ")
    return parse(rest, _seconds(at))


def read_schedule(path: Path) -> list[Event]:
    """A file of timed events, a line each; ``#`` begins a remark. Raises ``ConfigError``."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a schedule: {error}") from error
    events = []
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            try:
                events.append(parse_timed(text))
            except ConfigError as error:
                raise ConfigError(f"{path}, line {number}: {error.message}") from error
    if len(events) > MAX_EVENTS:
        raise ConfigError(f"{path}: {len(events):,} events, at most {MAX_EVENTS:,}")
    return events


def chaos(seed: int, seconds: float, every_s: float) -> Iterator[Event]:
    """Seeded trouble for soak tests: on average every ``every_s`` an outage of 2 to 20 s, a reset
    or a connection that is left half open.
    """
    random = Random(f"chaos {seed}")
    now = 0.0
    while (now := now - math.log(1 - random.random()) * every_s) < seconds:
        kind = random.choice(("blackhole", "blackhole", "reset", "half-open"))
        lasting = f" {2 * 10 ** random.random():.2f}" if kind == "blackhole" else ""
        yield parse(kind + lasting, round(now, 3))


def _blackhole(words: Sequence[str]) -> Callable[[Controls], None]:
    seconds, ways = _seconds(words[0]), _ways(words[1:])
    return lambda link: link.blackhole(seconds, ways)


def _reset(words: Sequence[str]) -> Callable[[Controls], None]:
    _one_of(words, ("",))
    return lambda link: link.reset()


def _half_open(words: Sequence[str]) -> Callable[[Controls], None]:
    silent = cast(Sides, _one_of(words, ("both", "edge", "cloud")))
    return lambda link: link.half_open(silent)


def _rate(words: Sequence[str]) -> Callable[[Controls], None]:
    trace = None if words[0] == "free" else Trace.constant(rate_of(words[0]))
    ways = _ways(words[1:])
    return lambda link: link.set_trace(trace, ways)


def _trace(words: Sequence[str]) -> Callable[[Controls], None]:
    trace, ways = trace_of(words[0]), _ways(words[1:])
    return lambda link: link.set_trace(trace, ways)


def _delay(words: Sequence[str]) -> Callable[[Controls], None]:
    seconds, ways = _seconds(words[0], 60), _ways(words[1:])
    return lambda link: link.set_delay(seconds, ways)


def _slice(words: Sequence[str]) -> Callable[[Controls], None]:
    if not (words[0].isdecimal() and int(words[0]) <= MAX_SLICE):
        raise ConfigError(f"{words[0]!r} is not a number of bytes from 0 to {MAX_SLICE}")
    most, ways = int(words[0]), _ways(words[1:])
    return lambda link: link.set_slice(most, ways)


_KINDS: Mapping[str, Callable[[Sequence[str]], Callable[[Controls], None]]] = {
    "blackhole": _blackhole,
    "reset": _reset,
    "half-open": _half_open,
    "rate": _rate,
    "trace": _trace,
    "delay": _delay,
    "slice": _slice,
}


def _ways(words: Sequence[str]) -> Ways:
    return cast(Ways, _one_of(words, ("both", "up", "down")))


def _one_of(words: Sequence[str], known: Sequence[str]) -> str:
    """The first is what no word means."""
    word = words[0] if words else known[0]
    if len(words) > 1 or word not in known:
        raise ConfigError(f"{' '.join(words)!r} is none of: {', '.join(known) or 'nothing'}")
    return word


def _seconds(text: str, most: float = 7 * 86400.0) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise ConfigError(f"{text!r} is not a time: seconds from 0 to {most:g}")
    return value
