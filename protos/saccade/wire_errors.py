"""Errors across the wire: one catalogue of code -> gRPC status -> public message, one translator.

An error crosses as its status and the details "code: message". What could tell a stranger about
this machine (paths, engine internals) stays in the server's log: its pattern has no ``{message}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from saccade import errors
from saccade.errors import LocalError, RemoteError, SaccadeError
from saccade.v1 import vision_pb2 as pb

MAX_MESSAGE_CHARS = 500  # details travel in HTTP/2 trailers, which peers bound at 8 KiB


@dataclass(frozen=True, slots=True)
class Entry:
    """How one kind of error looks from outside."""

    error: type[SaccadeError]  # what the receiver raises
    status: grpc.StatusCode
    pattern: str = "{message}"


_S = grpc.StatusCode

CATALOGUE: Mapping[str, Entry] = {
    # Who erred turns round on the way: what a server calls remote is local to its client.
    "remote_protocol": Entry(LocalError, _S.FAILED_PRECONDITION),
    "local_protocol": Entry(RemoteError, _S.INTERNAL, "the server broke the protocol"),
    "config": Entry(errors.ConfigError, _S.FAILED_PRECONDITION, "the server is misconfigured"),
    "bundle": Entry(errors.BundleError, _S.FAILED_PRECONDITION, "the server's bundle is unusable"),
    "digest_mismatch": Entry(errors.DigestMismatch, _S.FAILED_PRECONDITION),
    "version_mismatch": Entry(errors.VersionMismatch, _S.FAILED_PRECONDITION),
    "packet": Entry(errors.PacketError, _S.INVALID_ARGUMENT),
    "codec": Entry(errors.CodecError, _S.INVALID_ARGUMENT),
    "tag": Entry(errors.TagError, _S.INVALID_ARGUMENT),
    "selection": Entry(errors.SelectionError, _S.INVALID_ARGUMENT),
    "question": Entry(errors.QuestionError, _S.INVALID_ARGUMENT),
    "not_in_frame": Entry(errors.NotInFrame, _S.INVALID_ARGUMENT),
    "unknown_words": Entry(errors.UnknownWords, _S.INVALID_ARGUMENT),
    "stale_frame": Entry(errors.StaleFrame, _S.FAILED_PRECONDITION),
    "limit": Entry(errors.LimitExceeded, _S.RESOURCE_EXHAUSTED),
    "source": Entry(errors.SourceError, _S.INTERNAL, "the source can't be read"),
    "frames": Entry(errors.FramesFailed, _S.INTERNAL, "the source's frames can't be used"),
    "engine": Entry(errors.EngineError, _S.INTERNAL, "the engine could not answer"),
    "storage": Entry(
        errors.StorageError, _S.UNAVAILABLE, "the cloud can't store it now: say it again later"
    ),
    "unreachable": Entry(errors.Unreachable, _S.UNAVAILABLE),
    "unauthenticated": Entry(errors.Unauthenticated, _S.UNAUTHENTICATED),
    "forbidden": Entry(errors.Forbidden, _S.PERMISSION_DENIED),
    "error": Entry(SaccadeError, _S.UNKNOWN),
}

_UNEXPECTED = "unexpected error; the server's log has the details"

# What gRPC itself says when no handler of ours has spoken.
_BY_STATUS: Mapping[grpc.StatusCode, type[SaccadeError]] = {
    _S.UNAVAILABLE: errors.Unreachable,
    _S.DEADLINE_EXCEEDED: errors.Unreachable,
    _S.CANCELLED: errors.Unreachable,
    _S.RESOURCE_EXHAUSTED: errors.LimitExceeded,
    _S.UNIMPLEMENTED: errors.VersionMismatch,
    _S.UNAUTHENTICATED: errors.Unauthenticated,
    _S.PERMISSION_DENIED: errors.Forbidden,
}


def public(error: Exception) -> tuple[str, str]:
    """(code, message) fit for strangers; an error that isn't ours becomes "internal"."""
    if not isinstance(error, SaccadeError):
        return "internal", _UNEXPECTED
    entry = CATALOGUE.get(error.code, CATALOGUE["error"])
    message = " ".join(entry.pattern.format(message=error.message).split())
    return error.code, message[:MAX_MESSAGE_CHARS]


def to_status(error: Exception) -> tuple[grpc.StatusCode, str]:
    """What a servicer passes to ``context.abort``."""
    code, message = public(error)
    status = CATALOGUE[code].status if code in CATALOGUE else grpc.StatusCode.INTERNAL
    return status, f"{code}: {message}"


def to_failure(
    error: Exception, *, sequence: int = 0, question_id: int = 0, fatal: bool = False
) -> pb.Failure:
    """What goes down a stream that survives the error (or ends with it: ``fatal``)."""
    code, message = public(error)
    return pb.Failure(
        code=code, message=message, sequence=sequence, question_id=question_id, fatal=fatal
    )


def from_failure(failure: pb.Failure) -> SaccadeError:
    """The error that the other side's Failure stands for."""
    return _rebuild(failure.code, failure.message)


def from_rpc(error: grpc.RpcError) -> SaccadeError:
    """The error behind a failed call, sync or async.

    Details that carry a code of the catalogue become that error; anything else is judged by its
    status.
    """
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        return RemoteError(f"the call failed: {error}")
    status, details = error.code(), " ".join((error.details() or "").split())
    code, _, message = details.partition(": ")
    if code in CATALOGUE or code == "internal":
        return _rebuild(code, message)
    kind = _BY_STATUS.get(status, RemoteError)
    return kind(f"{status.name.lower().replace('_', ' ')}: {details or 'no details'}")


def _rebuild(code: str, message: str) -> SaccadeError:
    kind = CATALOGUE[code].error if code in CATALOGUE else RemoteError
    return kind(message or code)
