"""Which modules get faults, and which tests must notice them, the quickest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Group:
    """``modules`` that the files ``tests`` hold to their promises; both from the root."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


ROOT = Path(__file__).parents[2]


def _all(folder: str, *but: str) -> tuple[str, ...]:
    """Every module of a folder, but for those that talk to others or only list names."""
    names = sorted(path.stem for path in (ROOT / folder).glob("*.py"))
    return _in(folder, *(name for name in names if name not in ("__init__", *but)))


def _in(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.py" for name in names)


_SELECTION = "protos/saccade/selection"
_CODECS = "protos/saccade/codecs"

CHOSEN = {
    "session": Group(("protos/saccade/session.py",), _in("tests/wire", "test_session")),
    "packet": Group(
        _in("protos/saccade", "packet", "views_header"),
        _in(
            "tests/wire",
            "test_packet_bounds",
            "test_header_layout",
            "test_packet",
            "test_views_header",
        ),
    ),
    "ids": Group(
        _in(_CODECS, "ids", "bits", "position_model", "owners"),
        _in("tests/wire", "test_coding_by_hand", "test_ids", "test_position_model", "test_packet"),
    ),
    "entropy": Group(
        _in(_CODECS, "rans", "interleaved", "frequencies", "nearest"),
        _in("tests/wire", "test_coding_by_hand", "test_rans", "test_interleaved", "test_nearest"),
    ),
    "codecs": Group(
        _in(_CODECS, "klt", "klt_levels", "klt_table", "rvq", "rvq_table", "table_file")
        + _in(_CODECS, "int8z", "f16", "base", "registry"),
        _in("tests/wire", "test_coding_by_hand", "test_codecs"),
    ),
    "selection": Group(
        _all(_SELECTION, "quotas"), _in("tests/wire", "test_selection_by_hand", "test_selection")
    ),
    "quotas of tokens": Group(
        _in(_SELECTION, "quotas"), _in("tests/wire", "test_selection_quotas")
    ),
    "budgets": Group(
        _all("edge/saccade_edge/budget", "registry"),
        _in("tests/edge", "test_budget_rules", "test_budget_controller")
        + _in("tests/edge", "test_budget_parts", "test_budget"),
    ),
    "views and gate": Group(
        _in("edge/saccade_edge", "views", "gate"),
        _in("tests/edge", "test_views", "test_closeups", "test_gate"),
    ),
    "spool": Group(
        _all("edge/saccade_edge/spool"),
        _in("tests/edge", "test_spool_parts", "test_spool_file", "test_spool"),
    ),
    "uplink": Group(
        _in("edge/saccade_edge/uplink", "backoff", "link_state", "cloud_messages", "outbox")
        + _in("edge/saccade_edge/uplink", "backlog_pace", "queued_packet", "packet_queues")
        + _in("edge/saccade_edge/uplink", "spool_transfer", "in_flight"),
        _in(
            "tests/edge",
            "test_uplink_parts",
            "test_outbox",
            "test_outbox_spooled",
            "test_spooled_uplink",
            "test_uplink",
        ),
    ),
    "live sources": Group(
        _in("edge/saccade_edge/source", "live", "newest_slot", "timeline"),
        _in("tests/edge", "test_source_live", "test_source_timeline", "test_source_rtsp"),
    ),
    "detectors": Group(
        _all("edge/saccade_edge/detect", "base", "motion", "registry", "saliency"),
        _in("tests/edge", "test_boxes", "test_detector_layouts", "test_detectors"),
    ),
    "quotas of devices": Group(
        _in("cloud/saccade_cloud", "quotas", "stream_limits"),
        _in("tests/cloud", "test_quota_rules", "test_quotas"),
    ),
    "load": Group(
        _in("cloud/saccade_cloud", "cloud_load"), _in("tests/cloud", "test_load_rules", "test_load")
    ),
    "store": Group(
        _all("cloud/saccade_cloud/store", "base", "cli", "postgres"),
        _in("tests/cloud", "test_store_rules", "test_stores", "test_store_faults"),
    ),
    "engine": Group(
        _in("cloud/saccade_cloud/engines", "batch", "kv", "prefixes", "request", "scheduler")
        + _in("cloud/saccade_cloud/engines", "fair_queue", "sampling", "stopping"),
        _in("tests/cloud", "test_prefixes", "test_fair_queue", "test_scheduler", "test_caches")
        + _in("tests/cloud", "test_onnx_engine"),
    ),
}
