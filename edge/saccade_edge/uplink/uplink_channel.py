"""The gRPC channel to the cloud."""

from __future__ import annotations

import asyncio

import grpc

from saccade.channel import channel_options, check_address
from saccade.errors import ConfigError, Unreachable
from saccade.tasks import within
from saccade.tls import ClientTls
from saccade.tls_reason import tls_reason

# Looking for a reason takes a few seconds at most; a cloud that drips bytes shall not prolong it.
REASON_TIMEOUT_S = 10.0

_READY, _FAILED = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE


def open_channel(
    cloud: str, *, insecure: bool, tls: ClientTls | None, message_bytes: int
) -> grpc.aio.Channel:
    """A channel to ``host:port``; plain text, where ``tls`` is None, to loopback only unless
    ``insecure`` says otherwise: else ``ConfigError``.

    Raises ``Unreachable`` for certificate files that are unusable now: whoever renews them may be
    half way through.
    """
    check_address(cloud, plain=tls is None, insecure=insecure)
    options = channel_options(cloud, message_bytes)
    if tls is None:
        return grpc.aio.insecure_channel(cloud, options)
    try:
        return grpc.aio.secure_channel(cloud, tls.credentials(), options)
    except ConfigError as error:
        raise Unreachable(f"no connection to {cloud} without a certificate: {error}") from error


async def wait_ready(
    channel: grpc.aio.Channel, cloud: str, timeout_s: float, tls: ClientTls | None
) -> None:
    """Raise ``Unreachable``, with the reason, unless ``cloud`` accepts a connection in time.

    Streams are opened on ready channels only: failing stream calls leak (grpc issue 38499).
    """
    try:
        await within(timeout_s, _ready(channel, cloud, tls))
    except asyncio.TimeoutError:
        raise Unreachable(
            f"the cloud at {cloud} is not reachable: no connection within {timeout_s:g} s"
        ) from None


async def _ready(channel: grpc.aio.Channel, cloud: str, tls: ClientTls | None) -> None:
    """As ``channel.channel_ready``, but who was refused asks why, once: it may not get better."""
    asked = False
    while (state := channel.get_state(try_to_connect=True)) is not _READY:
        if state is _FAILED and not asked:
            asked = True
            if reason := await _reason(cloud, tls):
                raise Unreachable(f"the cloud at {cloud} is not reachable: {reason}")
        await channel.wait_for_state_change(state)


async def _reason(cloud: str, tls: ClientTls | None) -> str | None:
    try:
        return await within(REASON_TIMEOUT_S, asyncio.to_thread(tls_reason, cloud, tls))
    except asyncio.TimeoutError:
        return None
