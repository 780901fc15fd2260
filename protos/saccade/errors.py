"""Every error that Saccade raises on purpose, each with a code that survives the wire.

Messages are one line and carry the values: "received 70 tokens, the budget allows 64".
How a code becomes a gRPC status and back is in `saccade.wire_errors`.
"""

from __future__ import annotations

from typing import ClassVar


class SaccadeError(Exception):
    """Base of all. ``code`` names the kind of error on the wire and in logs."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class LocalError(SaccadeError):
    """This side broke the conversation's rules; nothing was sent."""

    code = "local_protocol"


class RemoteError(SaccadeError):
    """The other side broke the conversation's rules, or failed without saying why."""

    code = "remote_protocol"


class ConfigError(SaccadeError):
    """An option, a setting or a missing installation extra."""

    code = "config"


class BundleError(SaccadeError):
    """A bundle that is missing, incomplete or damaged."""

    code = "bundle"


class DigestMismatch(BundleError):
    """Edge and cloud hold different bundles: their tokens don't mean the same."""

    code = "digest_mismatch"


class VersionMismatch(SaccadeError):
    """The other side speaks another protocol version."""

    code = "version_mismatch"


class PacketError(SaccadeError):
    """A packet that says something impossible: truncated, damaged, mis-shaped."""

    code = "packet"


class CodecError(PacketError):
    """Layer bytes that their codec can't have written, or values that a codec can't write."""

    code = "codec"


class TagError(PacketError):
    """A packet whose keyed tag is missing or wrong: not what its device sent."""

    code = "tag"


class LimitExceeded(SaccadeError):
    """More than was agreed: bytes, views, tokens, packets in flight, characters."""

    code = "limit"


class SelectionError(SaccadeError):
    """A selection that can't be made: unknown method, budget out of range, unusable scores."""

    code = "selection"


class SourceError(SaccadeError):
    """A source of pictures that can't be opened or read."""

    code = "source"


class FramesFailed(SaccadeError):
    """Frame after frame could not be read, looked at or sent: what is wrong is not one frame."""

    code = "frames"


class EngineError(SaccadeError):
    """The language model's engine can't answer."""

    code = "engine"


class QuestionError(SaccadeError):
    """A question that can't be asked: empty, too long, about a frame that isn't there."""

    code = "question"


class NotInFrame(QuestionError):
    """A question about a numbered thing that this frame does not show. Other frames may show it."""

    code = "not_in_frame"


class UnknownWords(QuestionError):
    """A question with words that the bundle's language model does not know."""

    code = "unknown_words"


class StaleFrame(QuestionError):
    """A camera's newest frame is older than the question allows."""

    code = "stale_frame"


class StorageError(SaccadeError):
    """The disk or the database can't keep it now: full, read-only, gone, too slow.

    Nothing is wrong with what was said: the same may be said again later.
    """

    code = "storage"


class Unreachable(SaccadeError):
    """The other side doesn't answer: no connection, or the deadline passed."""

    code = "unreachable"


class Unauthenticated(SaccadeError):
    """Nobody showed who they are, or a token that is not known."""

    code = "unauthenticated"


class Forbidden(SaccadeError):
    """Who calls is known, and may not do this: another device's name, a call for applications."""

    code = "forbidden"
