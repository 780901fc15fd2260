"""A look into a spool from outside, also while an edge writes to it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from saccade_edge.spool.packet_rows import one
from saccade_edge.spool.spool_schema import connect_read_only, names_of, read_counts, read_meta
from saccade_edge.spool.spool_types import Fate, SpoolReport


@dataclass(frozen=True, slots=True)
class Waiting:
    """Packets of one camera."""

    camera: str
    packets: int
    bytes: int
    oldest_unix_ms: int
    newest_unix_ms: int


def look_into(path: Path) -> tuple[SpoolReport, list[Waiting]]:
    """What has been committed to the spool at ``path``. Raises ``ConfigError``."""
    with closing(connect_read_only(path)) as connection:
        connection.execute("BEGIN")  # all of it as of one moment
        meta = read_meta(connection)
        cameras = names_of(meta.get("cameras"))
        others = "SELECT COUNT(*) FROM packet WHERE bundle != ?"
        report = SpoolReport(
            path=str(path),
            device=meta.get("device", ""),
            boot=meta.get("boot", ""),
            cameras=cameras,
            packets=one(connection, "SELECT COUNT(*) FROM packet"),
            bytes=one(connection, "SELECT SUM(bytes) FROM packet"),
            other_bundle=one(connection, others, int(meta.get("bundle", 0))),
            quota_bytes=int(meta.get("quota_bytes", 0)),
            counts=read_counts(connection),
        )
        groups = connection.execute(
            "SELECT camera, COUNT(*), SUM(bytes), MIN(captured_unix_ms), "
            "MAX(captured_unix_ms) FROM packet GROUP BY camera ORDER BY camera"
        ).fetchall()
    return report, [Waiting(cameras[camera], *rest) for camera, *rest in groups]


def report_lines(report: SpoolReport, waiting: list[Waiting]) -> list[str]:
    """For people."""
    lines = [
        f"{report.path}: device {report.device}, boot {report.boot}",
        f"waiting: {report.packets:,} packets, {report.bytes:,} of {report.quota_bytes:,} bytes"
        + (f", {report.other_bundle:,} of another bundle" if report.other_bundle else ""),
    ]
    for group in waiting:
        span_s = (group.newest_unix_ms - group.oldest_unix_ms) / 1e3
        lines.append(
            f"  {group.camera}: {group.packets:,} packets, "
            f"{group.bytes:,} bytes, captured within {span_s:,.0f} s"
        )
    lines.append(f"handed over: {report.handed:,}, delivered: {report.delivered:,}")
    lines += [
        f"  {name}: {packets:,}"
        for name, packets in sorted(report.counts.items())
        if name not in ("handed", Fate.DELIVERED.value)
    ]
    return lines
