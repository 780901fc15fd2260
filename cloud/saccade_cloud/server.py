"""The gRPC server: puts the servicers together, starts them, and stops them in good order."""

from __future__ import annotations

import logging

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from saccade.errors import ConfigError, Unreachable
from saccade.v1 import fleet_pb2, vision_pb2
from saccade.v1.fleet_pb2_grpc import add_FleetServicer_to_server
from saccade.v1.vision_pb2_grpc import add_VisionServicer_to_server
from saccade_cloud.access import Access
from saccade_cloud.fleet import Fleet
from saccade_cloud.hub import Hub
from saccade_cloud.settings import Address, ServerSettings, channel_options
from saccade_cloud.tokens import Tokens
from saccade_cloud.vision import Vision

log = logging.getLogger(__name__)

SERVICES = (
    vision_pb2.DESCRIPTOR.services_by_name["Vision"].full_name,
    fleet_pb2.DESCRIPTOR.services_by_name["Fleet"].full_name,
)
# An InferRequest holds a hello and a question beside its packet.
ENVELOPE_BYTES = 64 * 1024


class CloudServer:
    """One bundle on one address. Use: ``start``, then ``wait``; ``stop`` from a signal handler."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._apps: Address | None = None
        self._health = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
        message_bytes = hub.limits.message_bytes + ENVELOPE_BYTES
        self._server = grpc.aio.server(
            options=channel_options(message_bytes),
            interceptors=[_access(hub.settings)],
            maximum_concurrent_rpcs=hub.settings.max_concurrent_rpcs,
        )
        add_VisionServicer_to_server(Vision(hub), self._server)
        add_FleetServicer_to_server(Fleet(hub), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> Address:
        """Listen; the address with the real port. Raises ``ConfigError`` when it is taken."""
        settings = self._hub.settings
        settings.check()
        if settings.risk:
            log.warning("%s", settings.risk)
        address = self._listen(settings.address, ask_client=settings.certified)
        if settings.apps is not None:
            self._apps = self._listen(settings.apps, ask_client=False)
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return address

    @property
    def apps(self) -> Address | None:
        """Where applications are served without a certificate, once started."""
        return self._apps

    def _listen(self, address: Address, *, ask_client: bool) -> Address:
        address.check_free()
        tls = self._hub.settings.tls
        try:
            if tls is None:
                port = self._server.add_insecure_port(str(address))
            else:
                credentials = tls.credentials(ask_client=ask_client)
                port = self._server.add_secure_port(str(address), credentials)
        except RuntimeError as error:  # taken since we looked
            raise ConfigError(f"cannot listen on {address}: {error}") from error
        return Address(address.host, port)

    async def wait(self) -> None:
        """Until the server has stopped."""
        await self._server.wait_for_termination()

    async def stop(self) -> None:
        """Say NOT_SERVING, let running answers end (at most ``drain_s``), then close all."""
        await self._health.enter_graceful_shutdown()
        self._hub.stopping.set()
        self._hub.board.close(Unreachable("the cloud is stopping"))
        await self._server.stop(self._hub.settings.drain_s)
        await self._hub.answerer.close()
        await self._hub.store.close()
        self._hub.unpacking.shutdown(wait=False)


def _access(settings: ServerSettings) -> Access:
    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    return Access(tokens, certified=settings.certified)
