"""The numbers of docs/guide/security.md are the code's."""

from __future__ import annotations

from pathlib import Path

from saccade_cloud.quotas import BURST_S, Quota
from saccade_cloud.server_settings import (
    CALLS_OF_ONE_CONNECTION,
    HANDSHAKE_MS,
    IDLE_MS,
    ServerSettings,
)
from saccade_cloud.shared_places import RESERVE, SHARE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "security.md"


def limits_table() -> str:
    """The table under "Limits", from the settings."""
    quota, settings = Quota(), ServerSettings()
    burst = f"{BURST_S:g} s of burst"
    rows = (
        ("what", "how much", "beyond it"),
        ("---", "---", "---"),
        ("streams of one camera", f"{quota.streams_per_camera}: one that lives and one that died "
         "unnoticed", "the oldest ends, the newest is welcome"),
        ("streams of one device", f"{quota.streams}", "the same"),
        ("camera names of one device", f"{quota.cameras}", "the hello is refused"),
        ("packets and questions of one device", f"{quota.messages_per_s:g} a second "
         f"(`--device-messages`), {burst}", "they are read more slowly"),
        ("bytes of one device", f"{quota.bytes_per_s / 1e6:g} MB a second (`--device-bytes`), "
         f"{burst}", "the same"),
        ("decoding packets of one device", f"{quota.decoding:g} s a second, {burst}", "the same"),
        ("packets of one device on their way to the disk", f"{quota.storing}", "the same"),
        (
            "frames in memory, all devices; one device",
            f"{settings.frame_bytes >> 20} MiB (`--frame-bytes`); "
            f"{settings.device_frame_bytes >> 20} MiB (`--device-frame-bytes`)",
            "the oldest go, of the device that holds most",
        ),
        (
            "the same, decoded for questions",
            f"{settings.decoded_bytes >> 20} MiB (`--decoded-bytes`); "
            f"{settings.device_decoded_bytes >> 20} MiB (`--device-decoded-bytes`)",
            "the least recently used are decoded anew",
        ),
        (
            "stored packets and observations",
            "`--keep-bytes`",
            "the oldest go, of the device that holds most",
        ),
        ("open questions of one device", f"{quota.questions}", "the question is refused"),
        ("frames a minute of one edge", "as the cloud tells it", "questions are refused"),
        ("message; packets in flight; open questions of one stream",
         "the bundle's, in the welcome", "refused, typed"),
        ("streams of all devices; camera names of all devices", f"{settings.streams}; "
         f"{settings.max_cameras}; shared, see below", "the hello is refused"),
        ("calls of all applications; of one; its `Watch` calls", f"{settings.application_calls}; "
         f"{settings.calls_of_one_application}; {settings.watches_of_one_application}; shared",
         "refused"),
        ("`Health.Watch` calls; how long one lasts", f"{settings.health_watches}, shared; "
         f"{settings.health_watch_s:g} s", "refused; it ends"),
        ("calls that have sent nothing, at each address", f"{settings.silent_calls}, for "
         f"{settings.hello_timeout_s:g} s each", "the oldest of the connection with the most ends"),
        ("connections at `--listen`; at `--apps`", f"{settings.device_connections}; "
         f"{settings.application_connections}", "closed"),
        ("calls of one connection", f"{CALLS_OF_ONE_CONNECTION}", "they wait"),
        ("half a handshake; an idle connection", f"{HANDSHAKE_MS // 1000} s; "
         f"{IDLE_MS // 60_000} min", "closed"),
        ("an edge that reads nothing", f"{settings.stalled_timeout_s:g} s",
         "its stream is cut off"),
    )  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def test_the_page_has_the_limits_of_the_code() -> None:
    assert limits_table() in PAGE.read_text("utf-8"), f"put this into it:\n{limits_table()}"


def test_the_page_says_how_places_are_shared() -> None:
    assert (RESERVE, SHARE) == (4, 4)
    assert "A quarter of all places is kept for" in PAGE.read_text("utf-8")
