from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from bench.link.synthetic import RECIPES, text_of
from bench.link.trace import Trace
from bench.link.trace_files import (
    FOLDER,
    SUFFIX,
    load,
    rate_of,
    shipped,
    trace_of,
    traces_of,
)
from hypothesis import example, given
from hypothesis import strategies as st

from saccade.errors import ConfigError

PARTS = st.lists(
    st.tuples(st.floats(0.01, 100), st.one_of(st.just(0.0), st.floats(1e3, 1e8))),
    min_size=1,
    max_size=8,
).filter(lambda parts: any(rate for _, rate in parts))


@given(PARTS, st.floats(0, 1e4))
def test_a_trace_never_runs_backwards_and_counts_what_its_rates_say(
    parts: list[tuple[float, float]], seconds: float
) -> None:
    trace = Trace.steps(parts)
    assert trace.bytes_by(seconds) <= trace.bytes_by(seconds + 0.01)
    whole = math.fsum(lasting * rate / 8 for lasting, rate in parts)
    assert trace.bytes_by(trace.period_s * 3) == pytest.approx(3 * whole)


@example([(1.0, 0.0), (1.0, 1000.0)], 5e-324)
@given(PARTS, st.floats(0, 1e9))
def test_when_is_the_first_moment_by_which_so_many_bytes_have_passed(
    parts: list[tuple[float, float]], count: float
) -> None:
    trace = Trace.steps(parts)
    moment = trace.when(count)
    near = 1e-6 * trace.period_s
    assert trace.bytes_by(moment + near) >= count * (1 - 1e-9)
    assert trace.bytes_by(max(0.0, moment - near)) <= count * (1 + 1e-9)


def test_bytes_that_end_with_an_outage_have_passed_before_it() -> None:
    trace = Trace.steps([(1, 8000), (50, 0), (1, 8000)])
    assert trace.when(1000) == 1.0
    assert trace.when(1000.001) == pytest.approx(51.0, abs=1e-3)
    assert trace.when(2000) == 52.0
    assert trace.when(3000) == 53.0
    assert trace.longest_gap_s() == 50


def test_a_mahimahi_line_is_1504_bytes_in_the_millisecond_that_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.up"
    path.write_text("1\n1\n3\n10\n")
    trace = load(path)
    passed = [trace.bytes_by(ms / 1000) for ms in (0, 1, 2, 3, 9, 10, 11, 20)]
    assert passed == pytest.approx([1504 * n for n in (0, 2, 2, 3, 3, 4, 6, 8)])
    assert trace.bytes_by(0.0025) == pytest.approx(1504 * 2.5)
    assert trace.when(1504 * 3 + 1) == pytest.approx(0.009, abs=1e-5)


def test_a_mahimahi_trace_may_begin_late_or_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0\n100\n")
    assert load(path).bytes_by(0.001) == 1504
    path.write_text("90\n100\n")
    assert load(path).bytes_by(0.089) == 0
    assert load(path).bytes_by(0.1) == pytest.approx(3008)


SAMPLES = "0.0\t9\n1.0\t2\n3.0\t0.5\n"
RUNS = "\n#####\nRun 1\n0.1,0.2,0.3,0.4\n1,2,3,4\n#####\nRun 2\n8.0,0,8\n"
CSV = "5.0,X,-91,-99,-7,0,9,1,1,1\n6.0,X,-91,-99,-7,0,2,1,1,1\n8.0,X,-91,-99,-7,0,0.5,1,1,1\n"
OURS = "# saccade rates 1\n# any words\n# delay_ms 40\n0 800\n2 0\n3.5 end\n"


def test_other_layouts_are_known_by_their_first_line(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    for text in (SAMPLES, CSV):
        path.write_text(text)
        trace = load(path)
        assert [trace.bytes_by(s) for s in (1, 3)] == pytest.approx([250_000, 375_000])
        assert trace.period_s == 3
    path.write_text(RUNS)
    assert load(path).mean_bps == pytest.approx(2.5e6)
    assert load(path, run=2).bytes_by(0.3) == pytest.approx(200_000)
    assert trace_of(f"{path}#2").period_s == pytest.approx(0.3)
    path.write_text(OURS)
    trace = load(path)
    assert (trace.bytes_by(3.5), trace.period_s, trace.delay_s) == (200_000, 3.5, 0.04)


def test_a_gzipped_trace_is_opened_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(b"5\n10\n"))
    assert load(path).bytes_by(0.01) == pytest.approx(3008)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("5\nfive\n", "line 2: 'five' where a millisecond"),
        ("5\n4\n", "line 2: '4' where a millisecond from 5"),
        ("-5\n", "line 1: '-5'"),
        ("0\n0\n", "no milliseconds"),
        ("5\n99999999999999999999\n", "line 2: '99999999999999999999'"),
        ("0 1\n0 2\n", "line 2: '0' where a time after 0 s"),
        ("0 1\n1 nan\n", "line 2: 'nan'"),
        ("0 1\n1 -3\n", "line 2: '-3'"),
        ("0 1\n1 1e9\n", "line 2: '1e9' where at most 100 Gbit/s"),
        ("0 1\n1 0\n", "0 bit/s"),
        ("0 1\n", "one sample"),
        ("0 1\n1 2 3\n", "line 2: '1 2 3' where seconds and Mbit/s"),
        ("0 1\n1e300 2\n", "1e\\+300 s"),
        ("1,2,3\n", "line 1: '1,2,3' where ten columns"),
        ("Run 1\n1,x\n", "line 2: 'x'"),
        ("Run 1\n", "run 1 of a file that has 0"),
        ("# saccade rates 1\n1 5\n", "line 2: '1' where 0 belongs"),
        ("# saccade rates 1\n0 5\n0 6\n", "line 3: '0' where a time after 0 s"),
        ("# saccade rates 1\n0 5\n", "last line must be"),
        ("# saccade rates 1\n0 5\n1 end\n2 5\n", "line 4: '2 5' where nothing"),
        ("# saccade rates 1\n0 0\n1 end\n", "0 bit/s"),
        ("# saccade rates 1\n# delay_ms 1e9\n0 1\n1 end\n", "delay of 1e\\+06 s"),
        ("\u00e4\n", "not text, byte 0"),
    ],
)
def test_an_absurd_file_is_an_error_with_its_line_and_value(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(path) in caught.value.message


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes(65 << 20)))
    with pytest.raises(ConfigError, match="more than 67,108,864 bytes"):
        load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be read as a trace"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read as a trace"):
        load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "rate"), [("250k", 250e3), ("2M", 2e6), ("1.5M", 1.5e6), ("64000", 64e3), ("1G", 1e9)]
)
def test_a_rate_is_a_trace_too(text: str, rate: float) -> None:
    assert trace_of(text).mean_bps == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "fast", "2m", "-5k", "1e6"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give bit/s as 250k"):
        rate_of(text)


def test_a_folders_traces_are_found_and_its_other_files_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.up.gz").write_bytes(gzip.compress(b"100\n200\n"))
    (tmp_path / "a.log").write_text("0 1.2\n1 1.2\n")
    (tmp_path / "README").write_text("Some traces\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.log").write_text("0 2.4\n1 2.4\n")
    traces = traces_of([str(tmp_path), "steady"])
    again = str(tmp_path / "c" / "a.log")  # a name that was there already
    assert list(traces) == ["a.log", "b.up.gz", again, "steady"]
    assert traces[again].mean_bps == pytest.approx(2.4e6)
    left_out = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in left_out] == [
        f" {tmp_path}/README, line 1",
        f" {tmp_path}/binary",
    ]
    assert tuple(traces_of([])) == shipped()


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no trace in"):
        traces_of([str(tmp_path)])


def test_shipped_traces_are_what_their_seeds_make() -> None:
    assert set(shipped()) == set(RECIPES)
    for name in shipped():
        assert (FOLDER / f"{name}{SUFFIX}").read_bytes() == text_of(name).encode()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 200_000


def test_shipped_traces_are_what_they_are_called() -> None:
    traces = {name: trace_of(name) for name in shipped()}
    assert all(180 <= trace.period_s <= 900 for trace in traces.values())
    gaps = {name: trace.longest_gap_s() for name, trace in traces.items()}
    assert (gaps["steady"], gaps["step"], gaps["subway"]) == (0, 0, 22)
    assert 70 <= gaps["driving"] <= 80
    assert 0.5 <= gaps["satellite"] <= 2
    assert traces["satellite"].delay_s == 0.3
    assert traces["step"].rates_bps(60).tolist() == pytest.approx([2e6, 100e3, 2e6])
    driving = traces["driving"].rates_bps(0.5)
    up = driving[driving > 0]
    assert up.min() >= 150e3
    assert up.max() <= 3e6
