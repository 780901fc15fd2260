"""The keys with which devices sign their packets, as the cloud knows them.

A file of lines ``device:key``, which only its owner may read: keys are symmetric, so whoever reads
one can sign as its device. A device that the file lists must sign. Whether others may send without
a tag is the cloud's choice: ``required``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from saccade.errors import ConfigError, TagError
from saccade.files import look, read_private, write_private
from saccade.packet_tag import SignedSession, check_tag, new_key, parse_key
from saccade.text import check_name
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb

MAX_FILE_BYTES = 4 << 20  # some 30,000 devices
_WHAT = "the packet keys"


class PacketKeys:
    """``keys`` by device; ``required``: a device that has none is refused."""

    def __init__(self, keys: Mapping[str, bytes] | None = None, *, required: bool = False) -> None:
        self._keys = dict(keys or {})
        self._required = required

    @classmethod
    def read(cls, path: Path | None, *, required: bool = False) -> PacketKeys:
        """Raises ``ConfigError`` as `read_keys` does, and for required keys without a file."""
        if path is None:
            if required:
                raise ConfigError("packet keys are required and no file of them is given")
            return cls()
        return cls(read_keys(path), required=required)

    @property
    def devices(self) -> int:
        """How many have one."""
        return len(self._keys)

    def check(self, packet: tokens_pb2.FramePacket, session: SignedSession) -> None:
        """Raises ``TagError`` for a packet that was not signed by the session's device."""
        key = self._keys.get(session.device)
        if key is not None:
            check_tag(packet, session, key)
        elif self._required:
            raise TagError(f"the cloud has no packet key of {session.device!r}, and requires one")


def signed_session(hello: pb.Hello) -> SignedSession:
    """What of a hello is signed with each of its packets."""
    return SignedSession(
        hello.device, hello.boot, hello.epoch_unix_ms, tuple(hello.cameras), hello.token_digest
    )


def read_keys(path: Path) -> Mapping[str, bytes]:
    """Raises ``ConfigError`` with the number of a line that is none, never with what it says, and
    for a file that others may read.
    """
    return _parse(path, read_private(path, _WHAT, MAX_FILE_BYTES))


def _parse(path: Path, text: str) -> Mapping[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number},"
        device, colon, digits = line.rpartition(":")
        if not colon or device in keys:
            raise ConfigError(f"{where} is not a new device and its key, device:key")
        check_name(device, ConfigError)
        keys[device] = parse_key(digits, where)
    return keys


def add_key(path: Path, device: str, out: Path) -> None:
    """A new key of ``device``: appended to ``path``, which is made if it is not there, and written
    to the new file ``out``, for the device.

    Raises ``ConfigError`` for a device that has one, and for files that cannot be written.
    """
    check_name(device, ConfigError)
    try:
        text = "" if look(path, _WHAT) is None else read_private(path, _WHAT, MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if device in _parse(path, text):
        raise ConfigError(f"{path} has a key of {device!r}: remove its line first")
    key = new_key().hex()
    write_private(out, lambda: key + "\n", "the packet key")
    separator = "\n" if text and not text.endswith("\n") else ""
    try:
        _append(path, f"{separator}{device}:{key}\n".encode())
    except OSError as error:
        out.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _append(path: Path, line: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(line)
