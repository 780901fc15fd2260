"""Events as lines for people and as records for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from saccade.errors import DigestMismatch, NotInFrame
from saccade.types import Frame, Region, Timing
from saccade_edge.budget import Decision
from saccade_edge.pipeline import EncodedFrame
from saccade_edge.spool import SpoolMended, SpoolReborn, SpoolReport, SpoolTroubled
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    Answered,
    CloudBudget,
    Connected,
    ConnectionLost,
    Refused,
)
from saccade_edge.watch_events import (
    Event,
    FrameAnswered,
    FrameFailed,
    FrameSent,
    FrameSkipped,
    FrameSpooled,
    FrameWithheld,
    LateFrameSent,
    Summary,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_line(event: Event) -> str | None:
    """One line, None for what a person need not read."""
    match event:
        case Connected(cloud, resent, backlog):
            again = f", {resent} messages again" if resent else ""
            return f"connected to {cloud}{again}" + (f", {backlog} in the spool" if backlog else "")
        case ConnectionLost(error, retry_in_s):
            waits = "waiting for a bundle: " if isinstance(error, DigestMismatch) else ""
            return f"{waits}{error}; again in {retry_in_s:.1f} s"
        case CloudBudget(frames, reason):
            return f"the cloud takes {frames or 'any number of'} frames a minute: {reason}"
        case Summary():
            return _summary_line(event)
        case _:
            return _frame_line(event) or _spool_line(event)


def _frame_line(event: Event) -> str | None:
    match event:
        case FrameSent(result, packet_bytes, decision):
            why = f"; {decision.reason}" if decision else ""
            text = f"sent, {_seen(result_record(event), packet_bytes)}{why}"
            return _of_frame(result.frame.sequence, result.frame.name, text)
        case FrameSpooled(result, packet_bytes, _, reason):
            text = f"{_seen(result_record(event), packet_bytes)}; {reason}"
            return _of_frame(result.frame.sequence, result.frame.name, text)
        case LateFrameSent(sequence, _, _, packet_bytes, name):
            return _of_frame(sequence, name, f"sent late, from the spool, {packet_bytes:,} bytes")
        case FrameWithheld(frame, decision):
            return _of_frame(frame.sequence, frame.name, decision.reason)
        case FrameFailed(sequence, name, stage, error):
            return _of_frame(sequence, name, f"failed in {stage}: {error}")
        case FrameAnswered():
            return _answer_line(event)
        case Refused():
            return _refused_line(event)
        case _:
            return None


def _answer_line(event: FrameAnswered) -> str:
    answer = event.answer
    at = "" if answer.point is None else f", point {answer.point}"
    if answer.probability is not None:
        at += f", probability {answer.probability:.2f}"
    how = f"{answer.timing.total_ms:.0f} ms{', late' if event.late else at}"
    return _of_frame(answer.sequence, event.name, f"{event.question} -> {answer.text}  ({how})")


def _refused_line(refused: Refused) -> str:
    question = refused.question
    if isinstance(refused.error, NotInFrame):
        text = f"{question} -> {refused.error}"
    else:
        text = f"refused{f' {question!r}' if question else ''}: {refused.error}"
    return _of_frame(refused.sequence, refused.name, text)


def _spool_line(event: Event) -> str | None:
    match event:
        case SpoolTroubled(fate, detail):
            return f"the spool takes nothing, live frames go on from memory: {fate.value}: {detail}"
        case SpoolMended():
            return "the spool takes packets again"
        case SpoolReborn(reason, lost):
            return f"the spool has a new identity: {reason}" + (f"; {lost} lost" if lost else "")
        case _:
            return None


def to_record(event: Event) -> dict[str, Any] | None:
    """A JSON object, None for what repeats another event; ``event`` names its kind."""
    name = type(event).__name__
    match event:
        case ConnectionLost(error, retry_in_s):
            return {"event": name, "code": error.code, "error": str(error), "retry_s": retry_in_s}
        case Answered():
            return None  # FrameAnswered says more
        case Summary():
            spool = spool_record(event.spool) if event.spool else None
            return {"event": name, **summary_record(event), "spool": spool}
        case SpoolTroubled(fate, detail):
            return {"event": name, "fate": fate.value, "detail": detail}
        case Acknowledged() | CloudBudget() | Connected() | SpoolMended() | SpoolReborn():
            return {"event": name, **_fields(event)}
        case _:
            record = _record_of_frame(event)
            return None if record is None else {"event": name, **record}


def _record_of_frame(event: Event) -> dict[str, Any] | None:
    """``event`` in it replaces the event's own name."""
    match event:
        case FrameSkipped():
            return result_record(event)
        case FrameSent():
            return {**result_record(event), "live": True, "late": False}
        case FrameSpooled():
            return {**result_record(event), "live": False, "reason": event.reason}
        case LateFrameSent():
            # To a program it is one event: a frame went to the cloud.
            return {"event": FrameSent.__name__, **_fields(event), "live": False, "late": True}
        case FrameFailed(sequence, frame_name, stage, error):
            about = {"sequence": sequence, "name": frame_name, "stage": stage}
            return {**about, "code": error.code, "error": str(error)}
        case FrameWithheld(frame, decision):
            return {**_frame_record(frame), **decision_record(decision)}
        case FrameAnswered():
            return _answer_record(event)
        case Refused(error, sequence, question, frame_name):
            about = {"sequence": sequence, "name": frame_name, "question": question}
            return {**about, "code": error.code, "error": str(error)}
        case _:
            return None


def _answer_record(event: FrameAnswered) -> dict[str, Any]:
    answer = event.answer
    return {
        "sequence": answer.sequence,
        "name": event.name,
        "late": event.late,
        "question": event.question,
        "answer": answer.text,
        "finish": answer.finish,
        "probability": answer.probability,
        "least_probability": answer.least_probability,
        "captured_ns": answer.captured_ns,
        "age_s": answer.age_s,
        "clock_ahead_s": answer.clock_ahead_s,
        "packet_bytes": answer.bytes_sent,
        "point": answer.point,
        "reason": answer.reason,
        "stages_ms": _rounded(answer.timing),
        "total_ms": round(answer.timing.total_ms, 2),
    }


def spool_record(report: SpoolReport) -> dict[str, Any]:
    """What is in a spool and what became of the rest, as a program reads it."""
    return {**_fields(report), "handed": report.handed, "lost": report.lost}


def summary_record(summary: Summary) -> dict[str, Any]:
    """A watch's counts, without its spool's."""
    return {name: value for name, value in _fields(summary).items() if name != "spool"}


def result_record(event: FrameSent | FrameSpooled | FrameSkipped) -> dict[str, Any]:
    """What the edge saw in a frame, without pictures and tokens."""
    result = event.result
    record: dict[str, Any] = {
        **_frame_record(result.frame),
        "gate": result.verdict.reason,
        "difference": round(result.verdict.difference, 2),
        "stages_ms": _rounded(result.timing),
    }
    if not isinstance(event, FrameSkipped) and result.encoded is not None:
        record |= {
            "size": list(result.frame.size),
            "regions": [_region_record(region) for region in result.encoded.regions],
            "views": _view_records(result.encoded),
            "tokens": result.encoded.tokens.kept,
            "packet_bytes": event.packet_bytes,
            **decision_record(event.decision),
        }
    return record


def decision_record(decision: Decision | None) -> dict[str, Any]:
    """Where a frame goes and why, as a program reads it; without a budget every frame is live."""
    if decision is None:
        return {"live": True, "point": None, "bound": None, "reason": ""}
    rate = decision.rate_bytes_per_s
    return {
        "live": decision.live,
        "point": decision.number,
        "bound": decision.bound,
        "reason": decision.reason,
        "policy": decision.policy,
        "rate_bytes_per_s": None if rate is None else round(rate),
        "backlog_bytes": round(decision.backlog_bytes),
        "oldest_s": round(decision.oldest_s, 2),
    }


def _frame_record(frame: Frame) -> dict[str, Any]:
    return {
        "sequence": frame.sequence,
        "name": frame.name,
        "captured_ns": frame.captured_ns,
    }


def _region_record(region: Region) -> dict[str, Any]:
    """The box in pixels of the frame."""
    box = [round(v, 1) for v in region.box]
    return {"label": region.label, "score": round(region.score, 3), "box": box}


def _view_records(encoded: EncodedFrame) -> list[dict[str, Any]]:
    """What each view looked at, in pixels of the frame, and which places of its grid were kept;
    ``crop`` is the number of the crop that it is or looks into, 0 for the overview.
    """
    return [
        {
            "kind": view.kind,
            "crop": kept.slot if kept.closeup_of is None else kept.closeup_of,
            "window": [round(v, 1) for v in view.window],
            "region": _region_record(view.region) if view.region else None,
            "grid": list(kept.tokens.grid),
            "ids": kept.tokens.ids.tolist(),
        }
        for view, kept in zip(encoded.views, encoded.tokens.views, strict=True)
    ]


def _of_frame(sequence: int, name: str, text: str) -> str:
    return f"frame {sequence:>5}  {name}{'  ' if name else ''}{text}"


def _seen(record: dict[str, Any], packet_bytes: int) -> str:
    took_ms = sum(record["stages_ms"].values())
    return (
        f"{record['gate']}, {len(record['regions'])} regions, "
        f"{record['tokens']} tokens, {packet_bytes:,} bytes, {took_ms:.0f} ms"
    )


def counts_line(counts: Mapping[str, Any]) -> str:
    """``counts``: as in `summary_record`."""
    mean = counts["packet_bytes"] // counts["sent"] if counts["sent"] else 0
    late = f" ({counts['late']:,} late)" if counts["late"] else ""
    late_answers = f" ({counts['late_answers']:,} late)" if counts["late_answers"] else ""
    return (
        f"{counts['frames']:,} frames, {counts['sent']:,} sent{late}, "
        f"{counts['answers']:,} answers{late_answers}, {counts['refused']:,} refused, "
        f"{counts['packet_bytes']:,} bytes ({mean:,} a frame)"
        + "".join(f", {n:,} withheld ({why})" for why, n in counts["withheld"].items())
        + "".join(f", {counts[k]:,} {k}" for k in ("spooled", "failed", "unsent") if counts[k])
    )


def _summary_line(summary: Summary) -> str:
    counts = counts_line(summary_record(summary))
    if summary.spool is not None:
        return counts + _spool_words(summary.spool)
    open_ends = {
        "packets not acknowledged": summary.unacknowledged,
        "questions not answered": summary.unanswered,
    }
    return counts + "".join(f"; {n:,} {what}" for what, n in open_ends.items() if n)


def _spool_words(report: SpoolReport) -> str:
    """What is left, and what was lost over the spool's whole life, by reason."""
    ended = {k: n for k, n in report.counts.items() if k not in ("handed", "delivered")}
    told = "".join(f", {n:,} {name}" for name, n in ended.items())
    other = f" ({report.other_bundle:,} of another bundle)" if report.other_bundle else ""
    waiting = f"{report.packets:,} waiting for the next run{other}"
    return f"; spool: {waiting}, {report.delivered:,} delivered{told} in all"


def _fields(event: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}


def _rounded(timing: Timing) -> dict[str, float]:
    return {stage: round(ms, 2) for stage, ms in timing.stages.items()}
