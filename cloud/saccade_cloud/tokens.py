"""Tokens of applications: a file with a line ``name:sha256`` for each, never a token itself.

A token is 256 random bits, so a plain hash of it can be neither guessed nor looked up: salt and
slow hashing are for passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from saccade.errors import ConfigError
from saccade_cloud.watched import Watched

PREFIX = "saccade_"  # so that people and secret scanners know one when they see it
MAX_FILE_BYTES = 1 << 20
_LINE = re.compile(r"([\w.@-]{1,64}):([0-9a-f]{64})")


class Tokens:
    """The tokens of a file, read again when it changes. Raises ``ConfigError`` when made."""

    def __init__(self, path: Path) -> None:
        self._digests = Watched([path], lambda: read_tokens(path))

    def name_of(self, token: str) -> str | None:
        """Whose token this is, None for nobody's. Takes the same time for all of them."""
        digest = digest_of(token)
        found = None
        for name, known in self._digests.value.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def read_tokens(path: Path) -> Mapping[str, str]:
    """Digest by name. Raises ``ConfigError`` with the number of a line that is none."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the tokens in {path}: {error}") from error
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in digests:
            raise ConfigError(f"{path}, line {number}: not a new name and a SHA-256, name:digest")
        digests[match[1]] = match[2]
    return digests


def add_token(path: Path, name: str) -> str:
    """A new token; its digest is appended to ``path``, which is made if it is not there.

    Raises ``ConfigError`` for a name that is taken or cannot be one.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{digest_of(token)}"
    if _LINE.fullmatch(line) is None:
        raise ConfigError(f"{name!r} cannot name a token: 1 to 64 of letters, digits, . _ - @")
    if path.exists() and name in read_tokens(path):
        raise ConfigError(f"{path} has a token named {name!r}: remove its line first")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "r+", encoding="utf-8") as lines:
            text = lines.read()
            lines.write(("\n" if text and not text.endswith("\n") else "") + line + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return token


def digest_of(token: str) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
