"""A live edge's frames cost what the link, the cloud and the day's cap allow, and it says why."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bench.link.proxy import LinkProxy
from bench.link.running import RunningLink, running_link
from bench.link.wire import Shape

from saccade.bundle import Bundle
from saccade.v1 import vision_pb2 as pb
from saccade_edge.budget import POLICIES, BudgetSettings, Decision
from saccade_edge.budget.fixed import Fixed
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.uplink import CloudBudget
from saccade_edge.watch_events import Event, FrameSent, FrameWithheld, Summary
from saccade_testing.commands import cloud_process, run, start
from saccade_testing.scripted_cloud import Line, Script, honest, scripted_cloud, serve

DAY_S = 86_400
EVERY_FRAME = PipelineSettings(gate=GateSettings(threshold=0), runtime=RuntimeSettings(threads=1))
Record = dict[str, Any]


@contextmanager
def linked_cloud(bundle: Bundle, store: Path) -> Iterator[RunningLink]:
    """A cloud behind an emulated link, which lets everything pass for the time being."""
    with (
        cloud_process(bundle.folder, "--store", str(store)) as (_, address),
        running_link(LinkProxy(address, Shape(delay_s=0.02))) as link,
    ):
        yield link


def live_words(bundle: Bundle, clip: Path, cloud: str, spool: Path) -> tuple[str, ...]:
    return (
        *("edge", "run", str(clip), "--live", "--fps", "2", "--cloud", cloud, "--gate", "0"),
        *("--bundle", str(bundle.folder), "--spool", str(spool), "--threads", "1", "--json"),
    )


def until(edge: subprocess.Popen[str], what: Callable[[Record], bool]) -> list[Record]:
    """The edge's records up to the first of which ``what`` is true."""
    assert edge.stdout is not None
    records: list[Record] = []
    for line in edge.stdout:
        records.append(json.loads(line))
        if what(records[-1]):
            return records
    raise AssertionError(f"the edge ended, its last words: {records[-1:]}")


def sent(record: Record) -> bool:
    return bool(record["event"] == "FrameSent")


def ended(edge: subprocess.Popen[str]) -> Record:
    """Its summary, once it was told to stop."""
    edge.send_signal(signal.SIGTERM)
    rest, errors = edge.communicate(timeout=100)
    assert (edge.returncode, errors) == (0, "")
    summary: Record = json.loads(rest.splitlines()[-1])
    return summary


def test_a_free_link_climbs_to_the_best_point_and_a_thin_one_brings_small_frames(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    best = len(bundle.manifest.points) - 1
    with linked_cloud(bundle, tmp_path / "store") as link:
        words = live_words(bundle, clip, link.address, tmp_path / "spool")
        edge = start(*words, "--max-point", "best")
        climbed = [r for r in until(edge, lambda r: r.get("bound") == "best") if sent(r)]
        link.do("rate 12k")
        slow = [r for r in until(edge, lambda r: r.get("bound") == "link" and r["live"]) if sent(r)]
        ended(edge)
    points = [r["point"] for r in climbed]
    assert points == sorted(points)
    assert (points[0] < best, points[-1]) == (True, best)
    assert climbed[0]["packet_bytes"] < climbed[-1]["packet_bytes"] / 4
    assert slow[-1]["point"] < best
    assert slow[-1]["packet_bytes"] < climbed[-1]["packet_bytes"] / 4
    assert "kbit/s" in slow[-1]["reason"]


def test_a_camera_on_a_free_link_stays_where_agreement_is_flat(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    flat = bundle.manifest.selection.flat_from
    assert flat is not None
    with linked_cloud(bundle, tmp_path / "store") as link:
        edge = start(*live_words(bundle, clip, link.address, tmp_path / "spool"))
        until(edge, lambda r: r.get("bound") == "max_point")
        frames: list[Record] = []
        while len(frames) < 15:
            frames.append(until(edge, sent)[-1])
        summary = ended(edge)
    assert {r["point"] for r in frames} == {flat}
    assert summary["packet_bytes"] / summary["sent"] < 1.5 * bundle.manifest.points[flat].bytes


def test_frames_of_a_blackhole_go_to_the_spool_with_their_reason_and_arrive_later(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    with linked_cloud(bundle, tmp_path / "store") as link:
        edge = start(*live_words(bundle, clip, link.address, spool))
        until(edge, lambda r: r["event"] == "Acknowledged")
        link.do("blackhole 5")
        kept = until(edge, lambda r: r.get("live") is False)[-1]
        assert kept["event"] == "FrameSpooled"
        assert kept["bound"] in ("age", "connection")
        assert kept["reason"].startswith("to the spool: ")
        arrived = until(
            edge, lambda r: r["event"] == "Acknowledged" and r["sequence"] == kept["sequence"]
        )
        late = arrived[-1]
        assert (late["live"], late["stored"]) == (False, True)
        assert len([r for r in arrived if sent(r) and r["sequence"] == kept["sequence"]]) == 1
        summary = ended(edge)
    assert summary["withheld"] == {}
    assert set(summary["spool"]["counts"]) == {"handed", "delivered"}


def test_the_days_cap_stops_the_frames_says_so_and_outlasts_a_restart(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    if DAY_S - time.time() % DAY_S < 120:
        pytest.skip("the day ends within this test")
    cap = 2000
    spool = tmp_path / "spool"
    with cloud_process(bundle.folder, "--store", str(tmp_path / "store")) as (_, address):
        words = (*live_words(bundle, clip, address, spool), "--bytes-per-day", str(cap))
        edge = start(*words)
        records = until(edge, lambda r: r["event"] == "FrameWithheld")
        first = ended(edge)
        again = start(*words)
        anew = until(again, lambda r: r["event"] == "FrameWithheld")
        ended(again)
    assert records[-1]["bound"] == "cap"
    assert records[-1]["reason"] == f"not sent: this camera's cap of {cap} bytes a day is reached"
    assert first["withheld"]["cap"] >= 1
    frames = [r for r in records if sent(r)]
    assert cap / 2 < sum(r["packet_bytes"] + 100 for r in frames) <= cap + 8192
    assert [r for r in anew if sent(r)] == []
    shown = run("edge", "status", "--spool", str(spool))
    assert "withheld (cap)" in shown.stdout
    assert f"of {cap:,}, headers included" in shown.stdout


def test_status_tells_how_an_edge_stands_while_it_runs_and_after(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    asked = ("edge", "status", "--spool", str(spool), "--json")
    nobody = run(*asked)
    assert nobody.returncode != 0
    assert f"no edge has written its status to {spool}.status" in nobody.stderr
    with cloud_process(bundle.folder, "--store", str(tmp_path / "store")) as (_, address):
        edge = start(*live_words(bundle, clip, address, spool), "--camera", "north")
        until(edge, lambda r: r["event"] == "Acknowledged")
        running = json.loads(run(*asked).stdout)
        while not running["points"]:  # it writes once a second
            running = json.loads(run(*asked).stdout)
        ended(edge)
    after = json.loads(run(*asked).stdout)
    assert (running["running"], running["link"]["connected"]) == (True, True)
    assert running["camera"] == "north"
    assert running["decision"]["reason"].startswith("point ")
    assert sum(running["points"].values()) >= 1
    assert running["bytes_today"] > 0
    assert running["spool"]["counts"]["handed"] >= 1
    assert after["running"] is False
    assert after["frames"]["sent"] >= running["frames"]["sent"]
    lines = run("edge", "status", "--spool", str(spool)).stdout.splitlines()
    assert ", ended " in lines[0]
    assert lines[1].startswith("last frame: captured ")
    assert lines[2].startswith("link: ")


def watched(bundle: Bundle, clip: Path, script: Script, frames: int, **changes: Any) -> list[Event]:
    """What a watch tells, of a cloud that plays ``script``, until it has sent so many frames since
    the cloud's bound, or since its start where there is none.
    """
    events: list[Event] = []

    async def test() -> None:
        async with scripted_cloud(bundle, script) as cloud:
            chosen = WatchSettings(str(clip), cloud.address, fps=2, pipeline=EVERY_FRAME, **changes)

            def show(event: Event) -> None:
                events.append(event)
                told = script is honest or any(isinstance(e, CloudBudget) for e in events)
                last = told and len(sent_since_bound(events)) == frames
                if last and isinstance(event, FrameSent):
                    watch.stop()

            watch = Watch(bundle, chosen, show)
            await watch.run()

    asyncio.run(asyncio.wait_for(test(), 100))
    return events


def since_bound(events: list[Event]) -> list[Event]:
    """What came after the cloud's bound; all where there is none."""
    bounds = [at for at, event in enumerate(events) if isinstance(event, CloudBudget)]
    return events[bounds[0] if bounds else 0 :]


def sent_since_bound(events: list[Event]) -> list[FrameSent]:
    return [event for event in since_bound(events) if isinstance(event, FrameSent)]


def decided(events: list[Event]) -> list[Decision]:
    return [e.decision for e in sent_since_bound(events) if e.decision is not None]


def test_more_frames_than_the_cloud_takes_are_withheld_without_a_spool_and_counted(
    bundle: Bundle, clip: Path
) -> None:
    events = watched(bundle, clip, few_frames, 4, live=True)
    withheld = [e for e in events if isinstance(e, FrameWithheld)]
    assert {e.decision.bound for e in withheld} == {"cloud"}
    assert "the cloud takes 20 frames a minute (busy)" in withheld[0].decision.reason
    summary = events[-1]
    assert isinstance(summary, Summary)
    assert summary.withheld == {"cloud": len(withheld)}
    assert lasting_s(sent_since_bound(events)[1:]) > 3.0  # three frames; unbounded, one second


def test_a_recording_waits_where_a_camera_would_lose_frames(bundle: Bundle, clip: Path) -> None:
    began_s = time.monotonic()
    events = watched(bundle, clip, few_frames, 4)
    assert time.monotonic() - began_s > 3.0
    assert not any(isinstance(e, FrameWithheld) for e in events)
    sequences = [e.result.frame.sequence for e in events if isinstance(e, FrameSent)]
    steps = {later - earlier for earlier, later in pairwise(sequences)}
    assert len(steps) == 1  # every frame of two a second, none left out


def lasting_s(frames: list[FrameSent]) -> float:
    """From the first to the last."""
    return (frames[-1].result.frame.captured_ns - frames[0].result.frame.captured_ns) / 1e9


async def few_frames(line: Line) -> None:
    await line.greet()
    await line.say(budget=pb.Budget(frames_per_minute=20, reason="busy"))
    await serve(line)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_runs_a_watch(bundle: Bundle, clip: Path, policy: str) -> None:
    settings = BudgetSettings(policy=policy, point=2)
    decisions = decided(watched(bundle, clip, honest, 3, live=True, budget=settings))
    assert {decision.policy for decision in decisions} == {policy}


def test_a_policy_of_ones_own_takes_the_named_ones_place(bundle: Bundle, clip: Path) -> None:
    decisions = decided(watched(bundle, clip, honest, 3, live=True, policy=Fixed(5)))
    assert {decision.number for decision in decisions} == {5}


def test_a_recording_keeps_the_bundles_own_point(bundle: Bundle, clip: Path) -> None:
    decisions = decided(watched(bundle, clip, honest, 3))
    assert {(d.number, d.bound) for d in decisions} == {(bundle.manifest.selection.point, "fixed")}
