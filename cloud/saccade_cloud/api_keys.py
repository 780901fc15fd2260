"""API keys of applications: a file with a line ``name:sha256`` for each, never a key itself.

A key is 256 random bits, so a plain hash of it can be neither guessed nor looked up: salt and
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
from saccade.files import look, read_private
from saccade_cloud.reloaded_files import ReloadedFiles

PREFIX = "saccade_"  # so that people and secret scanners know one when they see it
MAX_FILE_BYTES = 1 << 20
_WHAT = "the file of API keys"
_LINE = re.compile(r"([\w.@-]{1,64}):([0-9a-f]{64})")


class ApiKeys:
    """The keys of a file, read again when it changes. Raises ``ConfigError`` when made."""

    def __init__(self, path: Path) -> None:
        self._digests = ReloadedFiles([path], lambda: read_api_keys(path))

    def name_of(self, api_key: str) -> str | None:
        """Whose key this is, None for nobody's. Takes the same time for all of them."""
        digest = digest_of(api_key)
        found = None
        for name, known in self._digests.value.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def read_api_keys(path: Path) -> Mapping[str, str]:
    """Digest by name. Raises ``ConfigError`` with the number of a line that is none, and for a
    file that others may read or write.
    """
    return _digests(path, read_private(path, _WHAT, MAX_FILE_BYTES))


def _digests(path: Path, text: str) -> Mapping[str, str]:
    digests: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in digests:
            raise ConfigError(f"{path}, line {number}: not a new name and a SHA-256, name:digest")
        digests[match[1]] = match[2]
    return digests


def add_api_key(path: Path, name: str) -> str:
    """A new key; its digest is appended to ``path``, which is made if it is not there.

    From then on only its owner may read it. Raises ``ConfigError`` for a name that is taken or
    cannot be one, and for a file that holds something else.
    """
    api_key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{digest_of(api_key)}"
    if _LINE.fullmatch(line) is None:
        raise ConfigError(f"{name!r} cannot name an API key: 1 to 64 of letters, digits, . _ - @")
    try:
        found = look(path, _WHAT)
        if found is not None and found.st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        text = "" if found is None else path.read_text("utf-8")
        if name in _digests(path, text):
            raise ConfigError(f"{path} has an API key named {name!r}: remove its line first")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            os.fchmod(file.fileno(), 0o600)
            separator = "\n" if text and not text.endswith("\n") else ""
            file.write(f"{separator}{line}\n".encode())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot write {path}: {reason}") from error
    return api_key


def digest_of(api_key: str) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).hexdigest()
