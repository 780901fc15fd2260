"""The gRPC channel to the cloud."""

from __future__ import annotations

import asyncio

import grpc

from saccade.channel import channel_options, check_address
from saccade.errors import Unreachable
from saccade.tasks import within


def open_channel(
    cloud: str, *, insecure: bool, credentials: grpc.ChannelCredentials | None, message_bytes: int
) -> grpc.aio.Channel:
    """A channel to ``host:port``; plain text, where ``credentials`` are None, to loopback only
    unless ``insecure`` says otherwise. Raises ``ConfigError``.
    """
    check_address(cloud, plain=credentials is None, insecure=insecure)
    options = channel_options(cloud, message_bytes)
    if credentials is not None:
        return grpc.aio.secure_channel(cloud, credentials, options)
    return grpc.aio.insecure_channel(cloud, options)


async def wait_ready(channel: grpc.aio.Channel, cloud: str, timeout_s: float) -> None:
    """Raise ``Unreachable`` unless ``cloud`` accepts a connection in time.

    Streams are opened on ready channels only: failing stream calls leak (grpc issue 38499).
    """
    try:
        await within(timeout_s, channel.channel_ready())
    except asyncio.TimeoutError:
        raise Unreachable(
            f"the cloud at {cloud} is not reachable: no connection within {timeout_s:g} s"
        ) from None
