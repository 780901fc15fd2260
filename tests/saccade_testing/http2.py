"""HTTP/2 by hand, for what no gRPC client would send (RFC 9113, RFC 7541)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, DATA, RESET, SETTINGS = 1, 0, 3, 4
END_HEADERS, END_STREAM = 4, 1
Header = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Of HTTP/2 (RFC 9113, section 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def headers(path: bytes, more: Sequence[Header] = ()) -> bytes:
    """A header block of a gRPC call: literals, without Huffman code and outside the table
    (RFC 7541, section 6.2.2).
    """
    usual = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
             (b"content-type", b"application/grpc"), (b"te", b"trailers"))  # fmt: skip
    return b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (*usual, *more)
    )


def message(body: bytes) -> bytes:
    """A gRPC message of ``body``."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def opened(path: bytes, more: Sequence[Header] = (), stream: int = 1) -> bytes:
    """A call's headers, and nothing that follows."""
    return frame(HEADERS, END_HEADERS, stream, headers(path, more))


def called(path: bytes, body: bytes, more: Sequence[Header] = ()) -> bytes:
    """A whole call with one message, on a new connection."""
    begun = PREFACE + frame(SETTINGS, 0, 0, b"") + opened(path, more)
    return begun + frame(DATA, END_STREAM, 1, message(body))


def throw(address: str, sent: bytes, listen_s: float = 1.0) -> bytes:
    """Send ``sent`` on a connection of its own; what comes back within ``listen_s``."""
    host, _, port = address.rpartition(":")
    heard = b""
    with suppress(OSError), socket.create_connection((host, int(port)), 10) as plain:
        plain.sendall(sent)
        plain.settimeout(listen_s)
        while part := plain.recv(4096):
            heard += part
            if b"grpc-status" in heard:
                break
    return heard
