"""The gRPC channel to the cloud."""

from __future__ import annotations

import asyncio
import ipaddress

import grpc

from saccade.errors import ConfigError, Unreachable

# Routers forget idle connections after a minute or more; the server allows a ping every 10 s.
_KEEPALIVE_MS = 20_000


def open_channel(
    cloud: str, *, insecure: bool, credentials: grpc.ChannelCredentials | None, message_bytes: int
) -> grpc.aio.Channel:
    """A channel to ``host:port``.

    Tokens are personal data like the picture they came from: without ``credentials`` only
    loopback is spoken to, unless ``insecure`` says otherwise. Raises ``ConfigError``.
    """
    host = _host(cloud)
    options = [
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Our own backoff decides when to try again; gRPC's must not add to it.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]
    if credentials is not None:
        return grpc.aio.secure_channel(cloud, credentials, options)
    if not insecure and not _is_loopback(host):
        raise ConfigError(
            f"{cloud} is another machine and no TLS is set up: accept plain text with --insecure"
        )
    return grpc.aio.insecure_channel(cloud, options)


async def wait_ready(channel: grpc.aio.Channel, cloud: str, timeout_s: float) -> None:
    """Raise ``Unreachable`` unless ``cloud`` accepts a connection in time.

    Streams are opened on ready channels only: failing stream calls leak (grpc issue 38499).
    """
    try:
        await asyncio.wait_for(channel.channel_ready(), timeout_s)
    except asyncio.TimeoutError:
        raise Unreachable(
            f"the cloud at {cloud} is not reachable: no connection within {timeout_s:g} s"
        ) from None


def _host(cloud: str) -> str:
    host, colon, port = cloud.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(f"{cloud!r} is no address: give HOST:PORT with a port below 65536")
    return host.removeprefix("[").removesuffix("]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
