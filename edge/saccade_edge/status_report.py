"""How a watch stands: one record of its camera, link, budget and spool, and that as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from saccade.errors import DigestMismatch
from saccade_edge.event_lines import counts_line, decision_record, spool_record, summary_record
from saccade_edge.source import CameraState
from saccade_edge.status_file import clock
from saccade_edge.uplink import Connected, ConnectionLost, LinkState
from saccade_edge.watch_budget import WatchBudget
from saccade_edge.watch_events import Event, Summary


class StatusReport:
    """Hears a watch's events. ``about``: what does not change, such as device and camera;
    ``camera``: asks the source, which says None where it is a recording.
    """

    def __init__(
        self, about: Mapping[str, Any], camera: Callable[[], CameraState | None] = lambda: None
    ) -> None:
        self._camera = camera
        self._about = {**about, "began_unix_ms": _now_ms()}
        self._connected = False
        self._since_ms = _now_ms()
        self._trouble = ""
        self._waits_for_bundle = False

    @property
    def waits_for_bundle(self) -> bool:
        """Whether the cloud is there and does not have the bundle."""
        return self._waits_for_bundle

    def on_event(self, event: Event) -> None:
        """Only what tells of the link."""
        if isinstance(event, Connected):
            self._turn(True)
            self._trouble, self._waits_for_bundle = "", False
        elif isinstance(event, ConnectionLost):
            self._turn(False)
            self._trouble = str(event.error)
            self._waits_for_bundle = isinstance(event.error, DigestMismatch)

    def record(
        self,
        watch_budget: WatchBudget,
        link: LinkState,
        summary: Summary,
        *,
        running: bool,
        last_frame_unix_ms: int | None = None,
    ) -> dict[str, Any]:
        """``summary``: of the watch so far; ``last_frame_unix_ms``: when the newest frame that was
        taken was captured.
        """
        rate = watch_budget.rate_bytes_per_s
        camera = self._camera()
        came_ms = camera.last_frame_unix_ms if camera else None
        newest_ms = max(
            (ms for ms in (came_ms, last_frame_unix_ms) if ms is not None), default=None
        )
        return {
            **self._about,
            "running": running,
            "camera_state": None if camera is None else asdict(camera),
            "last_frame_unix_ms": newest_ms,
            "link": {
                "connected": self._connected,
                "waits_for_bundle": self._waits_for_bundle,
                "since_unix_ms": self._since_ms,
                "trouble": self._trouble,
                "rate_bytes_per_s": None if rate is None else round(rate),
                "unacknowledged": link.unacknowledged,
                "unacknowledged_bytes": link.unacknowledged_bytes,
                "oldest_s": round(link.unacknowledged_s, 2),
                "waiting": link.waiting,
                "backlog": link.backlog,
            },
            "decision": decision_record(watch_budget.last) if watch_budget.last else None,
            "points": {
                str(number): watch_budget.points[number] for number in sorted(watch_budget.points)
            },
            "bytes_today": watch_budget.bytes_today,
            "bytes_per_day": watch_budget.settings.bytes_per_day,
            "frames": {k: v for k, v in summary_record(summary).items() if k != "complete"},
            "spool": spool_record(summary.spool) if summary.spool else None,
        }

    def _turn(self, connected: bool) -> None:
        if connected != self._connected:
            self._connected, self._since_ms = connected, _now_ms()


def status_lines(record: Mapping[str, Any]) -> list[str]:
    """What a status file says, for people."""
    decision, state = record["decision"], record["state"]
    written = clock(record["written_unix_ms"])
    lines = [
        f"{record['device']}/{record['camera']}: {record['source']} to {record['cloud']}, since "
        + clock(record["began_unix_ms"])
        + {"running": "", "ended": f", ended {written}"}.get(
            state, f", silent since {written}: it was killed, or hangs"
        ),
        *_camera_lines(record),
        _link_line(record["link"]),
        counts_line(record["frames"]),
    ]
    if decision:
        lines.append(f"last decision: {decision['reason']}")
        used = ", ".join(f"{number}: {n:,}" for number, n in record["points"].items())
        lines.append(f"sent live, by point: {used or 'none'}")
        cap = record["bytes_per_day"]
        most = f" of {cap:,}" if cap else ""
        lines.append(f"bytes today: {record['bytes_today']:,}{most}, headers included")
    if spool := record["spool"]:
        trouble = f", takes nothing now: {spool['trouble']}" if spool["trouble"] else ""
        counts = ", ".join(f"{n:,} {name}" for name, n in spool["counts"].items())
        lines.append(
            f"spool: {spool['packets']:,} packets, {spool['bytes']:,} of "
            f"{spool['quota_bytes']:,} bytes{trouble}; in all {counts or 'none'}"
        )
    return lines


def _camera_lines(record: Mapping[str, Any]) -> list[str]:
    """Whether the camera can be read, and the age of the last frame."""
    newest_ms, camera = record["last_frame_unix_ms"], record["camera_state"]
    lines = []
    if camera is not None and record["state"] == "running":
        lines.append(_camera_line(camera))
    if newest_ms is None:
        lines.append("last frame: none yet")
    else:
        age = f", {record['last_frame_age_s']:,.1f} s ago"
        lines.append(f"last frame: captured {clock(newest_ms)}{age}")
    return lines


def _camera_line(camera: Mapping[str, Any]) -> str:
    since = clock(camera["since_unix_ms"])
    if camera["readable"]:
        return f"camera: readable since {since}"
    why = f" ({camera['trouble']})" if camera["trouble"] else ""
    next_ms = camera["next_try_unix_ms"]
    again = "being opened now" if next_ms is None else f"next try at {clock(next_ms)}"
    return f"camera: not readable since {since}{why}, {again}"


def _link_line(link: Mapping[str, Any]) -> str:
    rate = link["rate_bytes_per_s"]
    carries = "" if rate is None else f", about {rate * 8 / 1e3:,.0f} kbit/s"
    how = "connected" if link["connected"] else "no connection"
    if link.get("waits_for_bundle"):
        how = "waiting for a cloud that has the bundle"
    trouble = f" ({link['trouble']})" if link["trouble"] else ""
    return (
        f"link: {how} since {clock(link['since_unix_ms'])}{trouble}{carries}, "
        f"{link['unacknowledged']} packets not acknowledged, {link['backlog']:,} in the backlog"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
