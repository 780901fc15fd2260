"""What a source's text means: a path of this machine, or the URL of a camera."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from saccade.errors import ConfigError, SourceError
from saccade.paths import expand
from saccade.redaction import redact

NETWORK = ("rtsp", "rtsps")
_URI = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_FILE_URI = re.compile(r"file:(?=/(?!/))", re.IGNORECASE)  # RFC 8089's short form, file:/path
# What a URL may hold as it is (RFC 3986), "%" included: it has been encoded already.
_SAFE = "%/:?#[]@!$&'()*+,;=~-._"


def scheme_of(uri: str) -> str:
    """In lower case; empty for a path. ``://`` follows a scheme: ``13:30:00.mp4`` has none."""
    if found := _URI.match(uri):
        return found[1].lower()
    return "file" if _FILE_URI.match(uri) else ""


def local_path(uri: str) -> Path:
    """What a path, a ``file://`` or a ``v4l2://`` URI names; it is there.

    The URI is percent-decoded (RFC 8089). Raises ``SourceError``.
    """
    path = _decoded(uri) if scheme_of(uri) else _expanded(uri)
    try:
        # A camera may be plugged in later. A NUL ends a path for the system.
        there = "\0" not in str(path) and (path.exists() or scheme_of(uri) == "v4l2")
    except OSError as error:
        raise SourceError(f"{redact(uri)[:200]!r} cannot be a path: {error.strerror}") from error
    if not there:
        raise SourceError(f"no such file or folder: {_printable(redact(str(path)))}")
    return path


def network_url(uri: str) -> str:
    """A camera's URL as FFmpeg reads it, which percent-decodes user name and password.

    A password may stand there as it is: it ends at the last ``@``. Raises ``SourceError``.
    """
    found = _URI.fullmatch(uri)
    assert found is not None, "scheme_of knows it"
    user, at, place = found[2].strip().rpartition("@")
    host = re.split(r"[/?#]", place, maxsplit=1)[0]
    if not host or host.startswith(":"):
        raise SourceError(f"{redact(uri)} names no host")
    login = quote(user, safe="%:!$&'()*+,;=~-._") + at
    return f"{found[1].lower()}://{login}{quote(place, safe=_SAFE)}"


def with_credentials(uri: str, credentials: str) -> str:
    """A camera's URL with ``user:password``, which is not percent-encoded.

    Raises ``ConfigError`` for a source that takes none, has some, or for text that is none.
    """
    found = _URI.fullmatch(uri)
    if found is None or found[1].lower() not in NETWORK:
        raise ConfigError(f"{redact(uri)} is no network camera: it takes no credentials")
    if "@" in re.split(r"[/?#]", found[2], maxsplit=1)[0]:
        raise ConfigError("the source's URL has a user already: take it out, or the credentials")
    user, colon, password = credentials.strip("\r\n").partition(":")
    if not (user and colon) or not credentials.strip("\r\n").isprintable():
        raise ConfigError("a camera's credentials are one line: user:password")
    return f"{found[1]}://{quote(user, safe='')}:{quote(password, safe='')}@{found[2]}"


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _expanded(path: str) -> Path:
    try:
        return expand(path)
    except ConfigError as error:
        raise SourceError(str(error)) from error


def _decoded(uri: str) -> Path:
    """Absolute: a URI's path is."""
    text = _FILE_URI.sub("file://", uri.strip(), count=1)
    host, slash, path = text.partition("://")[2].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise SourceError(
            f"{redact(uri)} names no path of this machine: give a path, or file:///PATH"
        )
    return Path("/" + os.fsdecode(unquote_to_bytes(path)))
