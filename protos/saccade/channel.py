"""How every client of ours reaches a cloud: its address and the options of its gRPC channel."""

from __future__ import annotations

import ipaddress
import logging
import re

from saccade.errors import ConfigError

log = logging.getLogger(__name__)

# Routers forget idle connections after a minute or more; the server allows a ping every 10 s.
KEEPALIVE_MS = 20_000
KEEPALIVE_TIMEOUT_MS = 10_000
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\s:/@\[\]%?#]+):(?P<port>[0-9]{1,5})")
Options = list[tuple[str, int]]


def check_address(cloud: str, *, plain: bool, insecure: bool) -> None:
    """Is ``cloud`` HOST:PORT, and may it be spoken to? Raises ``ConfigError``.

    Tokens are personal data like the picture they came from: ``plain`` text goes to loopback
    only, unless ``insecure`` says otherwise.
    """
    host = host_of(cloud)
    if not plain or is_loopback(host):
        return
    if insecure:
        log.warning(
            "plain text to %s: whoever is on the way can read and change pictures' tokens, "
            "questions and answers",
            cloud,
        )
    else:
        raise ConfigError(
            f"{cloud} is another machine and no TLS is set up: name the authority that signed its "
            "certificate (--tls-ca, in Python ca=...), or allow plain text (--insecure, "
            "insecure=True)"
        )


RECEIVED_BYTES = 1 << 20  # a cloud's messages are text and numbers


def channel_options(cloud: str, message_bytes: int) -> Options:
    """For a channel to ``cloud``, to which messages of at most ``message_bytes`` are sent."""
    return [
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_receive_message_length", RECEIVED_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Without it gRPC waits a minute for a ping, whatever the line above says; and without the
        # next it slows down once two pings had no data between them (bench/reconnect.py).
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
        # Our callers decide when to try again; gRPC's own pauses must not add to theirs.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A proxy of the environment knows nothing of this machine's own ports.
        ("grpc.enable_http_proxy", int(not is_loopback(host_of(cloud)))),
    ]


def host_of(cloud: str) -> str:
    """The host of HOST:PORT or [IPV6]:PORT. Raises ``ConfigError``."""
    found = _ADDRESS.fullmatch(cloud) if isinstance(cloud, str) else None
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ConfigError(
            f"{cloud!r} is no address: give HOST:PORT with a port of 1 to 65535, without a scheme "
            "like http:// and with an IPv6 address in brackets"
        )
    return found["host"].removeprefix("[").removesuffix("]")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, by its name or number alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
