"""Names and questions that travel: what both ends take, checked before anything is done with it."""

from __future__ import annotations

import hashlib
import socket
import unicodedata
from urllib.parse import quote

from saccade.errors import LimitExceeded, QuestionError, SaccadeError
from saccade.limits import check

MAX_NAME_CHARS = 64  # of a device or a camera: names travel in every listing
# Line breaks and escape codes have no place in a one-line question. Lone surrogates stand for bytes
# of a command line that are no UTF-8, and cannot be sent. Format characters (Cf) stay allowed:
# scripts and emoji need the zero-width joiner.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})
# A file name has at most 255 bytes, and suffixes follow.
_MAX_FILE_NAME_BYTES = 200


def check_name(name: str, error: type[SaccadeError]) -> None:
    """A device or a camera, "device/camera" to applications: one slash, nothing that breaks a line.

    Raises ``error``, or ``LimitExceeded`` for a name that is too long.
    """
    check("characters in a name", len(name), MAX_NAME_CHARS)
    if not name or "/" in name or not name.isprintable():
        raise error(
            f"{name!r} cannot name a device or a camera: "
            "it has to be printable text in UTF-8, without a slash"
        )


def is_name(name: str) -> bool:
    """Whether `check_name` takes it."""
    try:
        check_name(name, SaccadeError)
    except (SaccadeError, LimitExceeded):
        return False
    return True


def host_name() -> str:
    """This machine's, as a device may have it; "device" where it has none."""
    name = socket.gethostname()[:MAX_NAME_CHARS]
    return name if is_name(name) else "device"


def file_name(*names: str) -> str:
    """Names as one file's: what a path could stumble over is percent-encoded, and what is too long
    ends in a digest.
    """
    text = ".".join(quote(name, safe="", errors="surrogateescape") for name in names)
    if len(text) <= _MAX_FILE_NAME_BYTES:
        return text
    return text[: _MAX_FILE_NAME_BYTES - 17] + "-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def check_question(question: str, limit_chars: int | None) -> str:
    """The question. Raises ``QuestionError`` for one that is empty, too long (None: any length) or
    not one line of text.
    """
    if not isinstance(question, str):
        raise QuestionError(f"a question is text, not {type(question).__name__}")
    if not question.strip():
        raise QuestionError("the question is empty")
    if limit_chars is not None and len(question) > limit_chars:
        raise QuestionError(
            f"the question has {len(question)} characters, the bundle allows {limit_chars}"
        )
    for place, char in enumerate(question):
        kind = unicodedata.category(char)
        if kind in _FORBIDDEN_CATEGORIES:
            what = "the control character" if kind == "Cc" else "no UTF-8:"
            raise QuestionError(f"the question has {what} U+{ord(char):04X} at position {place}")
    return question
