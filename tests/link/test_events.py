from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench.link.link_events import Event, chaos, parse, parse_timed, read_schedule
from bench.link.trace import Trace

from saccade.errors import ConfigError


class Recorder:
    """Controls that only remember what was done to them."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def blackhole(self, seconds: float, ways: str = "both") -> None:
        self.done.append(("blackhole", seconds, ways))

    def reset(self) -> None:
        self.done.append(("reset",))

    def half_open(self, silent: str = "both") -> None:
        self.done.append(("half_open", silent))

    def set_trace(self, trace: Trace | None, ways: str = "both") -> None:
        self.done.append(("set_trace", trace and trace.mean_bps, ways))

    def set_delay(self, seconds: float, ways: str = "both") -> None:
        self.done.append(("set_delay", seconds, ways))

    def set_slice(self, most_bytes: int, ways: str = "both") -> None:
        self.done.append(("set_slice", most_bytes, ways))


def done_by(*events: Event) -> list[tuple[Any, ...]]:
    recorder = Recorder()
    for event in events:
        event.apply(recorder)
    return recorder.done


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("blackhole 5", ("blackhole", 5, "both")),
        ("blackhole 0.5 up", ("blackhole", 0.5, "up")),
        ("reset", ("reset",)),
        ("half-open", ("half_open", "both")),
        ("half-open cloud", ("half_open", "cloud")),
        ("rate 500k down", ("set_trace", 500e3, "down")),
        ("rate free", ("set_trace", None, "both")),
        ("trace steady up", ("set_trace", 250e3, "up")),
        ("delay 0.2", ("set_delay", 0.2, "both")),
        ("slice 7", ("set_slice", 7, "both")),
    ],
)
def test_a_line_says_what_happens(line: str, done: tuple[Any, ...]) -> None:
    assert done_by(parse(line)) == [done]
    timed = parse_timed(f" 12.5 {line}")
    assert (timed.at_s, timed.line) == (12.5, line)
    assert done_by(timed) == [done]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no event ''"),
        ("explode", "no event 'explode', known: blackhole, delay, half-open"),
        ("blackhole", "blackhole wants a value"),
        ("blackhole -1", "'-1' is not a time"),
        ("blackhole nan", "'nan' is not a time"),
        ("blackhole 5 left", "'left' is none of: both, up, down"),
        ("blackhole 5 up down", "'up down' is none of"),
        ("reset 5", "'5' is none of"),
        ("half-open up", "'up' is none of: both, edge, cloud"),
        ("rate fast", "'fast' is not a rate"),
        ("trace nowhere", "cannot be read as a trace"),
        ("delay 61", "'61' is not a time: seconds from 0 to 60"),
        ("slice 1e3", "'1e3' is not a number of bytes"),
    ],
)
def test_a_line_that_says_nothing_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(line)


def test_a_schedule_is_a_file_of_them(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    path.write_text("# what goes wrong\n1 reset\n\n2.5 slice 7  # tiny\n")
    events = read_schedule(path)
    assert [(event.at_s, event.line) for event in events] == [(1, "reset"), (2.5, "slice 7")]
    path.write_text("1 reset\nsoon reset\n")
    with pytest.raises(ConfigError, match="line 2: 'soon' is not a time"):
        read_schedule(path)
    with pytest.raises(ConfigError, match="cannot be read as a schedule"):
        read_schedule(tmp_path / "absent")


def test_chaos_is_the_same_for_one_seed() -> None:
    def lines(seed: int) -> list[tuple[float, str]]:
        return [(event.at_s, event.line) for event in chaos(seed, 600, 20)]

    assert lines(1) == lines(1) != lines(2)
    assert 15 < len(lines(1)) < 50
    assert {line.split()[0] for _, line in lines(1)} == {"blackhole", "reset", "half-open"}
