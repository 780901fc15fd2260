"""Names that travel: what both ends take, checked before anything is done with it."""

from __future__ import annotations

import hashlib
import socket
from urllib.parse import quote

from saccade.errors import LimitExceeded, SaccadeError
from saccade.limits import check

MAX_NAME_CHARS = 64  # of a device or a camera: names travel in every listing
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
