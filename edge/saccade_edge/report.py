"""Events as lines for people and as records for programs."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from saccade.errors import NotInFrame
from saccade.nouns import Answer, Region, Timing
from saccade_edge.budget import Decision
from saccade_edge.events import (
    Event,
    FrameAnswered,
    FrameSent,
    FrameSkipped,
    FrameWithheld,
    Summary,
)
from saccade_edge.pipeline import Sight
from saccade_edge.spool import SpoolMended, SpoolReborn, SpoolReport, SpoolTroubled
from saccade_edge.uplink.events import Acknowledged, Answered, Bounded, Connected, Lost, Refused

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_line(event: Event) -> str | None:
    """One line, None for what a person need not read."""
    match event:
        case Connected(cloud, resent, backlog):
            again = f", {resent} messages again" if resent else ""
            return f"connected to {cloud}{again}" + (f", {backlog} in the spool" if backlog else "")
        case Lost(error, retry_in_s):
            return f"{error}; again in {retry_in_s:.1f} s"
        case FrameSent(_, packet_bytes, decision):
            line = _sent_line(look_record(event), packet_bytes)
            return f"{line}; {decision.reason}" if decision else line
        case FrameWithheld(frame, decision):
            return f"frame {frame.sequence:>5}  {decision.reason}"
        case FrameAnswered(question, answer):
            return _answered_line(question, answer)
        case Refused():
            return _refused_line(event)
        case Bounded(tokens, reason, frames):
            often = f" and {frames} frames a minute" if frames else ""
            return f"the cloud asks for at most {tokens or 'any number of'} tokens{often}: {reason}"
        case Summary():
            return _summary_line(event)
        case _:
            return _spool_line(event)


def _answered_line(question: str, answer: Answer) -> str:
    at = "" if answer.point is None else f", point {answer.point}"
    if answer.probability is not None:
        at += f", probability {answer.probability:.2f}"
    text = f"{question} -> {answer.text}"
    return f"frame {answer.sequence:>5}  {text}  ({answer.timing.total_ms:.0f} ms{at})"


def _refused_line(refused: Refused) -> str:
    frame, question = f"frame {refused.sequence:>5}", refused.question
    if isinstance(refused.error, NotInFrame):
        return f"{frame}  {question} -> {refused.error}"
    return f"{frame}  refused{f' {question!r}' if question else ''}: {refused.error}"


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
        case FrameSent() | FrameSkipped():
            return {"event": name, **look_record(event)}
        case FrameWithheld(frame, decision):
            told = {"sequence": frame.sequence, "captured_ns": frame.captured_ns}
            return {"event": name, **told, **decision_record(decision)}
        case FrameAnswered(question, answer):
            return {
                "event": name,
                "sequence": answer.sequence,
                "question": question,
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
        case Lost(error, retry_in_s):
            return {"event": name, "code": error.code, "error": str(error), "retry_s": retry_in_s}
        case Refused(error, sequence, question):
            return {
                "event": name,
                "code": error.code,
                "error": str(error),
                "sequence": sequence,
                "question": question,
            }
        case Answered():
            return None  # FrameAnswered says more
        case Summary():
            spool = spool_record(event.spool) if event.spool else None
            return {"event": name, **summary_record(event), "spool": spool}
        case SpoolTroubled(fate, detail):
            return {"event": name, "fate": fate.value, "detail": detail}
        case Acknowledged() | Bounded() | Connected() | SpoolMended() | SpoolReborn():
            return {"event": name, **_fields(event)}
        case _:
            return None


def spool_record(report: SpoolReport) -> dict[str, Any]:
    """What is in a spool and what became of the rest, as a program reads it."""
    return {**_fields(report), "handed": report.handed, "lost": report.lost}


def summary_record(summary: Summary) -> dict[str, Any]:
    """A watch's counts, without its spool's."""
    return {name: value for name, value in _fields(summary).items() if name != "spool"}


def look_record(event: FrameSent | FrameSkipped) -> dict[str, Any]:
    """What the edge saw in a frame, without pictures and tokens."""
    look = event.look
    record: dict[str, Any] = {
        "sequence": look.frame.sequence,
        "captured_ns": look.frame.captured_ns,
        "gate": look.verdict.reason,
        "difference": round(look.verdict.difference, 2),
        "stages_ms": _rounded(look.timing),
    }
    if isinstance(event, FrameSent) and look.sight is not None:
        record |= {
            "size": list(look.frame.size),
            "regions": [_region_record(region) for region in look.sight.regions],
            "views": _view_records(look.sight),
            "tokens": look.sight.tokens.kept,
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


def _region_record(region: Region) -> dict[str, Any]:
    """The box in pixels of the frame."""
    box = [round(v, 1) for v in region.box]
    return {"label": region.label, "score": round(region.score, 3), "box": box}


def _view_records(sight: Sight) -> list[dict[str, Any]]:
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
        for view, kept in zip(sight.views, sight.tokens.views, strict=True)
    ]


def _sent_line(record: dict[str, Any], packet_bytes: int) -> str:
    took_ms = sum(record["stages_ms"].values())
    return (
        f"frame {record['sequence']:>5}  {record['gate']}, {len(record['regions'])} regions, "
        f"{record['tokens']} tokens, {packet_bytes:,} bytes, {took_ms:.0f} ms"
    )


def _summary_line(summary: Summary) -> str:
    mean = summary.packet_bytes // summary.sent if summary.sent else 0
    return (
        f"{summary.frames} frames, {summary.sent} sent, {summary.answers} answers, "
        f"{summary.refused} refused, {summary.packet_bytes:,} bytes ({mean:,} a frame)"
        + "".join(f", {n} withheld ({why})" for why, n in summary.withheld.items())
        + ("" if summary.complete else "; the cloud did not settle all of it")
        + (_spool_words(summary.spool) if summary.spool else "")
    )


def _spool_words(report: SpoolReport) -> str:
    """What is left, and what was lost over the spool's whole life, by reason."""
    ended = {k: n for k, n in report.counts.items() if k not in ("handed", "delivered")}
    told = "".join(f", {n:,} {name}" for name, n in ended.items())
    return f"; spool: {report.packets:,} waiting, {report.delivered:,} delivered{told} in all"


def _fields(event: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}


def _rounded(timing: Timing) -> dict[str, float]:
    return {stage: round(ms, 2) for stage, ms in timing.stages.items()}
